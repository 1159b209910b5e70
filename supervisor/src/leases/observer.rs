//! The workers that are alive, as far as one worker can tell by looking at the table again and again.
//!
//! **Owns** when each worker's beat, and each lease's counter, was last seen to move.
//! **Promises** only this process's own monotonic clock is used: no time is read from a row, so clocks that differ
//! cannot matter. Memory is bounded by the table.
//! **Fails** never; a worker that was never seen before counts as alive for one failover time.
//! **Not here**: what to do about the dead (`assignment.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use actors::ports::faults::{Faults, Mechanism};
use actors::ports::leases::{LeaseRows, LeaseView, Standing, WorkerRow};
use messages::ShardId;

/// When silence means death.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For workers with a heartbeat row.
    pub worker: Duration,
    /// For owners without one, such as a KCL application: their leases' counters are all there is to see.
    pub foreign: Duration,
}

/// What was seen, and since when it has been so.
#[derive(Debug)]
pub(super) struct Observer {
    me: String,
    patience: Patience,
    /// False only in a mutant: silence is counted from the question to a later answer.
    counts_from_answers: bool,
    workers: BTreeMap<String, Seen<WorkerRow>>,
    counters: BTreeMap<ShardId, Seen<()>>,
    given_up: BTreeMap<ShardId, (String, Duration)>,
    /// When the last look at workers was asked for.
    now: Duration,
    /// The same of the last look at leases.
    scanned: Duration,
}

#[derive(Debug)]
struct Seen<T> {
    value: T,
    /// A number that only grows, but for a table that is put back.
    number: u64,
    /// A smaller number that was seen once since.
    behind: Option<u64>,
    since: Duration,
    moved: bool,
    gone: bool,
}

impl<T> Seen<T> {
    fn first(value: T, number: u64, since: Duration) -> Self {
        Self { value, number, behind: None, since, moved: false, gone: false }
    }

    /// Takes in another look; answers whether it shows a move. Looks are eventually consistent: one at a replica that
    /// lags shows an earlier number, once, which is no sign of life, and neither is the later one that follows. A table that
    /// was put back shows the earlier number again, or goes on from there.
    fn update(&mut self, value: T, number: u64, now: Duration) -> bool {
        self.gone = false;
        let moved = match self.behind.take() {
            Some(behind) if number < self.number && number >= behind => number > behind,
            _ if number < self.number => {
                self.behind = Some(number);
                return false;
            }
            _ => number > self.number,
        };
        (self.value, self.number) = (value, number);
        if moved {
            self.moves(now);
        }
        moved
    }

    fn moves(&mut self, now: Duration) {
        (self.since, self.moved) = (now, true);
    }
}

impl Observer {
    pub(super) fn new(me: &str, patience: Patience, faults: &Faults) -> Self {
        Self {
            me: me.to_owned(),
            patience,
            counts_from_answers: !faults.lacks(Mechanism::SilenceFromAnswer),
            workers: BTreeMap::new(),
            counters: BTreeMap::new(),
            given_up: BTreeMap::new(),
            now: Duration::ZERO,
            scanned: Duration::ZERO,
        }
    }

    /// Takes in one look at the table (times since any fixed moment, never going back). What has moved may have done so
    /// just before the answer, and what comes after the question may not have been seen: silence is counted from one
    /// answer to a later question, or a slow look would make the living seem dead.
    pub(super) fn see(&mut self, rows: &LeaseRows, asked: Duration, answered: Duration) {
        self.see_workers(&rows.workers, |_| true, asked, answered);
        self.see_leases(&rows.leases, asked, answered);
    }

    /// The same of heartbeats. Whoever was asked for and has none is gone; of others nothing is known.
    pub(super) fn see_workers(
        &mut self,
        rows: &BTreeMap<String, WorkerRow>,
        asked_for: impl Fn(&str) -> bool,
        asked: Duration,
        answered: Duration,
    ) {
        let (now, heard_until) = if self.counts_from_answers { (answered, asked) } else { (asked, answered) };
        // Of two looks that overlap, the one that was asked for first may be answered last.
        self.now = self.now.max(heard_until);
        for (id, row) in rows {
            match self.workers.get_mut(id) {
                Some(seen) if seen.value.incarnation == row.incarnation => {
                    seen.update(row.clone(), row.beat, now);
                }
                // Another process of that name.
                Some(seen) => {
                    *seen = Seen::first(row.clone(), row.beat, now);
                    seen.moves(now);
                }
                None => drop(self.workers.insert(id.clone(), Seen::first(row.clone(), row.beat, now))),
            }
        }
        for (id, seen) in self.workers.iter_mut().filter(|(id, _)| asked_for(id)) {
            seen.gone = !rows.contains_key(id);
        }
        // Whoever said goodbye is remembered for as long as somebody could still wait for it.
        let forget_after = self.patience.foreign * 2;
        self.workers.retain(|_, seen| !seen.gone || now.saturating_sub(seen.since) < forget_after);
    }

    /// Takes in a look at heartbeats alone. True if there are other candidates now.
    pub(super) fn heard(
        &mut self,
        rows: &BTreeMap<String, WorkerRow>,
        asked_for: impl Fn(&str) -> bool,
        (asked, answered): (Duration, Duration),
    ) -> bool {
        let before: Vec<String> = self.candidates().map(str::to_owned).collect();
        self.see_workers(rows, asked_for, asked, answered);
        !self.candidates().eq(before.iter().map(String::as_str))
    }

    fn see_leases(&mut self, rows: &BTreeMap<ShardId, LeaseView>, asked: Duration, answered: Duration) {
        let now = answered;
        let before = std::mem::replace(&mut self.scanned, asked);
        for (shard, lease) in rows {
            let moved = match self.counters.get_mut(shard) {
                Some(seen) => seen.update((), lease.counter, now),
                None => self.counters.insert(shard.clone(), Seen::first((), lease.counter, now)).is_none(),
            };
            // A look is no snapshot: it may have a row that a worker has just written beside its beat of long ago. What
            // has moved since a look of before that beat says nothing: the worker may have died after both.
            let owner = lease.owner.as_ref().and_then(|owner| self.workers.get_mut(owner));
            let is_news = |owner: &Seen<WorkerRow>| moved && owner.since < before;
            let silent = |owner: &Seen<WorkerRow>| now.saturating_sub(owner.since) >= self.patience.worker;
            if let Some(owner) = owner.filter(|owner| is_news(owner) && silent(owner)) {
                owner.since = now;
            }
            match (&lease.given_up_by, self.given_up.get(shard)) {
                (None, _) => drop(self.given_up.remove(shard)),
                (Some(by), Some((seen, _))) if seen == by => {}
                (Some(by), _) => drop(self.given_up.insert(shard.clone(), (by.clone(), now))),
            }
        }
        self.counters.retain(|shard, _| rows.contains_key(shard));
        self.given_up.retain(|shard, _| rows.contains_key(shard));
    }

    /// Whether a worker's beat has moved lately.
    pub(super) fn is_alive(&self, worker: &str) -> bool {
        worker == self.me
            || self.workers.get(worker).is_some_and(|seen| !seen.gone && self.age(seen.since) < self.patience.worker)
    }

    /// Every worker that has a row, with how long its beat has stood still.
    pub(super) fn workers(&self) -> impl Iterator<Item = (&WorkerRow, Duration)> {
        let present = self.workers.values().filter(|seen| !seen.gone);
        present.map(|seen| (&seen.value, self.age(seen.since)))
    }

    /// The workers that may be given shards. Who has not been seen to beat yet may be long dead.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &str> {
        let others = self.workers.iter().filter(|(id, seen)| **id != self.me && seen.moved && !seen.value.leaving);
        let alive = others.map(|(id, _)| id.as_str()).filter(|id| self.is_alive(id));
        alive.chain([self.me.as_str()])
    }

    /// The other workers that have a row.
    pub(super) fn others(&self) -> impl Iterator<Item = &str> {
        self.workers.iter().filter(|(id, seen)| **id != self.me && !seen.gone).map(|(id, _)| id.as_str())
    }

    /// What another worker says that it may be given.
    pub(super) fn standing(&self, worker: &str) -> Standing {
        self.workers.get(worker).map_or(Standing::Proven, |seen| seen.value.standing)
    }

    /// Whether another worker may live that takes shards.
    pub(super) fn anybody_else(&self) -> bool {
        let others = self.workers.iter().filter(|(id, seen)| **id != self.me && !seen.gone && !seen.value.leaving);
        others.map(|(id, _)| id).any(|id| self.is_alive(id))
    }

    /// Whether another worker lives that has proved itself.
    pub(super) fn any_proven(&self) -> bool {
        self.candidates().any(|id| id != self.me && self.standing(id) == Standing::Proven)
    }

    /// Whether whoever works on a lease may still do so.
    pub(super) fn owner_is_alive(&self, lease: &LeaseView) -> bool {
        // While KCL hands a lease over, the one before works on it.
        let Some(owner) = lease.checkpoint_owner.as_ref().or(lease.owner.as_ref()) else { return false };
        let patience = match self.workers.get(owner) {
            Some(worker) if !worker.gone => return self.is_alive(owner),
            None if *owner == self.me => return true,
            // Whoever said goodbye has given its leases back: this one may be its successor's, whose row is not seen yet.
            Some(_) => self.patience.worker,
            None => self.patience.foreign,
        };
        self.counters.get(&lease.shard).is_none_or(|seen| self.scanned.saturating_sub(seen.since) < patience)
    }

    /// For how long a lease's counter has stood still.
    pub(super) fn unmoved_for(&self, shard: &ShardId) -> Duration {
        self.counters.get(shard).map_or(Duration::ZERO, |seen| self.scanned.saturating_sub(seen.since))
    }

    /// For how long a lease has been marked as given up.
    pub(super) fn given_up_for(&self, shard: &ShardId) -> Duration {
        self.given_up.get(shard).map_or(Duration::MAX, |(_, since)| self.scanned.saturating_sub(*since))
    }

    /// Workers that have been silent for so long that their rows only cost money.
    pub(super) fn long_dead(&self) -> impl Iterator<Item = &WorkerRow> {
        let forget_after = self.patience.foreign * 10;
        let silent = self.workers.values().filter(move |seen| !seen.gone && self.age(seen.since) > forget_after);
        silent.map(|seen| &seen.value).filter(|row| row.id != self.me)
    }

    fn age(&self, since: Duration) -> Duration {
        self.now.saturating_sub(since)
    }
}
