//! How long shards were not read, and why.
//!
//! **Owns** the stalls that are still open, and the times of those that ended.
//! **Promises** a stall ends when every shard in it has been read again, or has ended; at most [`SAMPLES_MAX`] times of
//! a kind are kept.
//! **Fails** never.
//! **Not here**: who reads what (`journal.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

const SAMPLES_MAX: usize = 100_000;

/// What shards stood still for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// Their worker was killed.
    Kill,
    /// Their worker was stopped for longer than others wait.
    Pause,
    /// Their worker was asked to end.
    Terminate,
    /// An actor of the shard was killed.
    Box,
    /// An actor of the whole worker was killed.
    WorkerActor,
    /// They were handed to a worker that has fewer, while nothing else was broken.
    HandOver,
    /// The same, while a service failed, or a worker or an actor was down.
    HandOverAmidFaults,
    /// They are the children of a split.
    Split,
    /// They are the child of a merge.
    Merge,
}

/// Times of one cause, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Times {
    /// How many.
    pub count: usize,
    /// The median.
    pub p50_ms: u64,
    /// 99 of 100 are not longer.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

#[derive(Debug)]
struct Open {
    cause: Cause,
    began: Instant,
    waiting: BTreeSet<String>,
    /// The incarnation of a worker that cannot have read any more: what is still heard of it is older.
    dead: Option<String>,
}

/// All stalls of a run.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    open: Vec<Open>,
    /// When something was broken last.
    broken_at: Option<Instant>,
    times: BTreeMap<Cause, Vec<Duration>>,
}

impl Stalls {
    /// Something is broken now.
    pub(super) fn broken(&mut self, now: Instant) {
        self.broken_at = Some(now);
    }

    /// From now on these shards are waited for.
    pub(super) fn begin(&mut self, cause: Cause, began: Instant, shards: BTreeSet<String>, dead: Option<String>) {
        if !shards.is_empty() {
            self.open.push(Open { cause, began, waiting: shards, dead });
        }
    }

    /// A shard is read, by this incarnation of a worker; or it was found to have ended.
    pub(super) fn read(&mut self, shard: &str, by: Option<&str>, now: Instant) {
        for stall in &mut self.open {
            if by.is_none() || stall.dead.as_deref() != by {
                stall.waiting.remove(shard);
            }
        }
        let (times, broken_at) = (&mut self.times, self.broken_at);
        self.open.retain(|stall| {
            let ended = stall.waiting.is_empty();
            if ended {
                let cause = match stall.cause {
                    Cause::HandOver if broken_at.is_some_and(|at| at >= stall.began) => Cause::HandOverAmidFaults,
                    cause => cause,
                };
                let times = times.entry(cause).or_default();
                if times.len() < SAMPLES_MAX {
                    times.push(now.duration_since(stall.began));
                }
            }
            !ended
        });
    }

    /// The shards that have been waited for for longer.
    pub(super) fn overdue(&self, limit: Duration, now: Instant) -> Vec<(Cause, String)> {
        let overdue = self.open.iter().filter(|stall| now.duration_since(stall.began) > limit);
        overdue.flat_map(|stall| stall.waiting.iter().map(|shard| (stall.cause, shard.clone()))).collect()
    }

    /// Waiting is over for what is overdue.
    pub(super) fn forget_overdue(&mut self, limit: Duration, now: Instant) {
        self.open.retain(|stall| now.duration_since(stall.began) <= limit);
    }

    /// Whether anything is waited for.
    pub(super) fn any(&self) -> bool {
        !self.open.is_empty()
    }

    /// The times of every cause.
    pub(super) fn times(&self) -> BTreeMap<Cause, Times> {
        self.times.iter().map(|(cause, times)| (*cause, Times::of(times))).collect()
    }
}

impl Times {
    fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<u64> = times.iter().map(|time| time.as_millis() as u64).collect();
        sorted.sort_unstable();
        // The nearest rank: a time that has really been seen.
        let rank = |share: f64| ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
        match sorted.last() {
            None => Self::default(),
            Some(max) => {
                Self { count: sorted.len(), p50_ms: sorted[rank(0.5)], p99_ms: sorted[rank(0.99)], max_ms: *max }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(shards: &[&str]) -> BTreeSet<String> {
        shards.iter().map(|shard| (*shard).to_owned()).collect()
    }

    #[test]
    fn a_stall_lasts_until_the_last_shard_is_read_by_somebody_alive() {
        let (mut stalls, began) = (Stalls::default(), Instant::now());
        let at = |ms| began + Duration::from_millis(ms);
        stalls.begin(Cause::Kill, began, set(&["a", "b"]), Some("w-1#1".into()));
        stalls.read("a", Some("w-2#1"), at(10));
        stalls.read("b", Some("w-1#1"), at(20));
        assert_eq!(stalls.overdue(Duration::from_millis(15), at(20)), [(Cause::Kill, "b".to_owned())]);
        stalls.read("b", Some("w-1#2"), at(30));
        assert!(!stalls.any());
        let times = stalls.times()[&Cause::Kill];
        assert_eq!(times, Times { count: 1, p50_ms: 30, p99_ms: 30, max_ms: 30 });
    }

    #[test]
    fn a_hand_over_is_quiet_if_nothing_was_broken_since_it_began() {
        let (mut stalls, began) = (Stalls::default(), Instant::now());
        let at = |ms| began + Duration::from_millis(ms);
        for (n, broken_ms) in [(0, 5), (100, 150), (200, 200)] {
            stalls.begin(Cause::HandOver, at(n), set(&["a"]), None);
            stalls.broken(at(broken_ms));
            stalls.read("a", Some("w-2#1"), at(n + 60));
        }
        stalls.begin(Cause::HandOver, at(300), set(&["a"]), None);
        stalls.read("a", Some("w-2#1"), at(340));
        let counts: Vec<(Cause, usize, u64)> = stalls.times().iter().map(|(c, t)| (*c, t.count, t.max_ms)).collect();
        assert_eq!(counts, [(Cause::HandOver, 1, 40), (Cause::HandOverAmidFaults, 3, 60)]);
    }

    #[test]
    fn a_worker_without_shards_stalls_nothing() {
        let mut stalls = Stalls::default();
        stalls.begin(Cause::Terminate, Instant::now(), BTreeSet::new(), None);
        assert!(!stalls.any() && stalls.times().is_empty());
    }

    #[test]
    fn percentiles_are_times_that_were_seen() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(Times::of(&times), Times { count: 200, p50_ms: 100, p99_ms: 198, max_ms: 200 });
    }
}
