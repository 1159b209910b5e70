//! The shards that this worker works on, for everybody who only wants to look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors::shard::Outcome;
use messages::ShardId;

use crate::shard::Shard;

/// A handle on the list. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Owned(Arc<Mutex<OwnedShards>>);

#[derive(Debug, Default)]
struct OwnedShards {
    shards: BTreeMap<ShardId, Shard>,
    past: Totals,
    unreleased: Vec<String>,
    settled_at_ms: i64,
    /// The last word on each shard, kept while it is in this worker's hands, over all its starts.
    outcomes: BTreeMap<ShardId, Arc<Outcome>>,
}

/// Sums over all shards that this worker has ever worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records read.
    pub read: u64,
    /// Those of them that are committed.
    pub committed: u64,
    /// Restarts of single sensors.
    pub sensor_restarts: u64,
    /// Writes of lease rows that found the row written by somebody else.
    pub lost_writes: u64,
}

impl Totals {
    fn add(&mut self, shard: &Shard) {
        let figures = &shard.context.figures;
        let (read, committed) = figures.progress();
        self.read += read;
        self.committed += committed;
        self.sensor_restarts += figures.sensor_restarts();
        self.lost_writes += figures.lost_writes();
    }
}

impl Owned {
    /// All of them, by id.
    pub fn all(&self) -> Vec<Shard> {
        self.lock().shards.values().cloned().collect()
    }

    /// The sums, of past and present shards.
    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        let mut totals = inner.past;
        inner.shards.values().for_each(|shard| totals.add(shard));
        totals
    }

    /// Whether every shard has a living owner, and these are at their tips with all of it committed, for all that was put
    /// into the stream before then.
    pub fn has_caught_up(&self, since_ms: i64) -> bool {
        let inner = self.lock();
        let caught_up = |shard: &Shard| shard.context.progress.has_caught_up(since_ms);
        inner.settled_at_ms > since_ms && inner.shards.values().all(caught_up)
    }

    /// When a look last showed that every readable shard has a living owner, milliseconds since 1970; 0 if the last
    /// one did not.
    pub fn settled_at_ms(&self) -> i64 {
        self.lock().settled_at_ms
    }

    /// A look that began then shows that every readable shard has a living owner; 0 if it does not.
    pub(super) fn settle(&self, at_ms: i64) {
        self.lock().settled_at_ms = at_ms;
    }

    /// Paths of shards that could not be handed over in time.
    pub fn unreleased(&self) -> Vec<String> {
        self.lock().unreleased.clone()
    }

    /// The last word on a shard that this worker works on, or is about to.
    pub fn outcome(&self, id: &ShardId) -> Arc<Outcome> {
        self.lock().outcomes.entry(id.clone()).or_default().clone()
    }

    /// The same, if the shard is in this worker's hands.
    pub fn outcome_if_any(&self, id: &ShardId) -> Option<Arc<Outcome>> {
        self.lock().outcomes.get(id).cloned()
    }

    /// Forgets what became of shards that are no longer in this worker's hands.
    pub fn retain_outcomes(&self, in_hand: impl Fn(&ShardId) -> bool) {
        self.lock().outcomes.retain(|id, _| in_hand(id));
    }

    pub(super) fn insert(&self, shard: Shard, path: &str) {
        let mut inner = self.lock();
        // It was not given up for good then.
        inner.unreleased.retain(|noted| noted != path);
        inner.shards.insert(shard.context.shard.clone(), shard);
    }

    pub(super) fn remove(&self, id: &ShardId) {
        let mut inner = self.lock();
        // Its children may have no owner yet, and others may not know that it is theirs.
        inner.settled_at_ms = 0;
        if let Some(shard) = inner.shards.remove(id) {
            inner.past.add(&shard);
        }
    }

    pub(super) fn clear(&self) {
        let ids: Vec<ShardId> = self.lock().shards.keys().cloned().collect();
        ids.iter().for_each(|id| self.remove(id));
    }

    /// At most one for each shard of the last moment.
    pub(super) fn note_unreleased(&self, path: String) {
        let mut inner = self.lock();
        inner.unreleased.retain(|noted| *noted != path);
        inner.unreleased.push(path);
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, OwnedShards> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
