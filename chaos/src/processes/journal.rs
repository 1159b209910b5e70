//! What the workers say: who reads which shard, and what happened to them.
//!
//! **Owns** the map that their logs draw, and the stalls.
//! **Promises** times are those of this process, as lines arrive; memory is bounded by shards and workers, and
//! [`ERRORS_MAX`] lines.
//! **Fails** never: a line that is not understood says nothing.
//! **Not here**: the logs themselves, which are files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::stalls::{Cause, Stalls, Times};

const ERRORS_MAX: usize = 200;
const ERROR_CHARS_MAX: usize = 400;

/// A handle. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The incarnation that was last heard to read a shard.
    readers: BTreeMap<String, String>,
    /// Ops endpoints by incarnation.
    ops: BTreeMap<String, String>,
    stalls: Stalls,
    counts: Counts,
    errors: Vec<String>,
}

/// What the workers counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Shards taken from others.
    pub(super) takeovers: u64,
    /// Shards handed over to even out the load.
    pub(super) handovers: u64,
    /// Leases that were lost.
    pub(super) losses: u64,
    /// Times that a worker stopped because it could not write its heartbeat.
    pub(super) fences: u64,
    /// Shards given up.
    pub(super) given_up: u64,
    /// Lines of level ERROR.
    pub(super) errors: u64,
}

impl Journal {
    /// Takes in a line of a worker.
    pub(super) fn line(&self, incarnation: &str, line: &str) {
        let now = Instant::now();
        if let Some(url) = line.strip_prefix("ops endpoint: ") {
            self.lock().ops.insert(incarnation.to_owned(), url.trim().to_owned());
        } else if let Ok(value) = serde_json::from_str::<Value>(line) {
            self.lock().fact(incarnation, &value, now);
        }
    }

    /// The ops endpoint of an incarnation, once it is open.
    pub(super) fn ops(&self, incarnation: &str) -> Option<String> {
        self.lock().ops.get(incarnation).cloned()
    }

    /// The shards that an incarnation reads.
    pub(super) fn shards_of(&self, incarnation: &str) -> BTreeSet<String> {
        let inner = self.lock();
        inner.readers.iter().filter(|(_, by)| *by == incarnation).map(|(shard, _)| shard.clone()).collect()
    }

    /// All shards that are read by somebody.
    pub(super) fn read_shards(&self) -> BTreeSet<String> {
        self.lock().readers.keys().cloned().collect()
    }

    /// Shards stand still from now on.
    pub(super) fn stall(&self, cause: Cause, began: Instant, shards: BTreeSet<String>, dead: Option<&str>) {
        let mut inner = self.lock();
        if let Some(dead) = dead {
            inner.readers.retain(|_, by| by != dead);
        }
        inner.stalls.begin(cause, began, shards, dead.map(str::to_owned));
    }

    /// Something is broken now: what stands still may do so for it.
    pub(super) fn broken(&self) {
        self.lock().stalls.broken(Instant::now());
    }

    /// A shard was found to have ended; perhaps nobody has said so.
    pub(super) fn shard_ended(&self, shard: &str) {
        let mut inner = self.lock();
        inner.readers.remove(shard);
        inner.stalls.read(shard, None, Instant::now());
    }

    /// Whether anything stands still that was not told to.
    pub(super) fn any_stall(&self) -> bool {
        self.lock().stalls.any()
    }

    /// What has stood still for longer.
    pub(super) fn overdue(&self, limit: Duration) -> Vec<(Cause, String)> {
        self.lock().stalls.overdue(limit, Instant::now())
    }

    /// Waiting is over for what is overdue.
    pub(super) fn forget_overdue(&self, limit: Duration) {
        self.lock().stalls.forget_overdue(limit, Instant::now());
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn times(&self) -> BTreeMap<Cause, Times> {
        self.lock().stalls.times()
    }

    /// The first lines of level ERROR.
    pub(super) fn errors(&self) -> Vec<String> {
        self.lock().errors.clone()
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fact(&mut self, incarnation: &str, value: &Value, now: Instant) {
        let fields = &value["fields"];
        let (message, shard) = (fields["message"].as_str().unwrap_or(""), fields["shard"].as_str().unwrap_or(""));
        match message {
            "shard is read" => {
                self.readers.insert(shard.to_owned(), incarnation.to_owned());
                self.stalls.read(shard, Some(incarnation), now);
            }
            "shard finished" => {
                self.no_longer_read(shard, incarnation);
                self.stalls.read(shard, Some(incarnation), now);
            }
            "shard released" => self.no_longer_read(shard, incarnation),
            "taking a shard" => {
                let from = fields["from"].as_str().unwrap_or("nobody");
                let own = incarnation.split('#').next().unwrap_or("");
                self.counts.takeovers += u64::from(from != "nobody" && from != own);
            }
            "handing a shard over" => {
                self.counts.handovers += 1;
                self.stalls.begin(Cause::HandOver, now, BTreeSet::from([shard.to_owned()]), None);
            }
            "the lease was lost: another worker has the shard" => {
                self.counts.losses += 1;
                self.no_longer_read(shard, incarnation);
            }
            "the heartbeat is not written: ending all shards before others take them" => self.counts.fences += 1,
            "shard given up" => self.counts.given_up += 1,
            _ => {}
        }
        if value["level"] == "ERROR" {
            self.counts.errors += 1;
            if self.errors.len() < ERRORS_MAX {
                let text: String = fields.to_string().chars().take(ERROR_CHARS_MAX).collect();
                self.errors.push(format!("{incarnation}: {text}"));
            }
        }
    }

    fn no_longer_read(&mut self, shard: &str, by: &str) {
        if self.readers.get(shard).is_some_and(|reader| reader == by) {
            self.readers.remove(shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, shard: &str) -> String {
        serde_json::json!({"level": "INFO", "fields": {"message": message, "shard": shard, "from": "w-2"}}).to_string()
    }

    #[test]
    fn the_logs_draw_a_picture() {
        let journal = Journal::default();
        journal.line("w-1#1", "ops endpoint: http://127.0.0.1:4711");
        journal.line("w-1#1", &line("taking a shard", "shardId-000000000000"));
        journal.line("w-1#1", &line("shard is read", "shardId-000000000000"));
        assert_eq!(journal.ops("w-1#1").as_deref(), Some("http://127.0.0.1:4711"));
        assert_eq!(journal.counts().takeovers, 1);
        let shards = journal.shards_of("w-1#1");
        assert_eq!(shards.len(), 1);
        journal.stall(Cause::Kill, Instant::now(), shards, Some("w-1#1"));
        assert!(journal.any_stall() && journal.shards_of("w-1#1").is_empty());
        journal.line("w-2#1", &line("shard is read", "shardId-000000000000"));
        assert!(!journal.any_stall());
        journal.line("w-2#1", &line("shard released", "shardId-000000000000"));
        assert!(journal.read_shards().is_empty());
    }
}
