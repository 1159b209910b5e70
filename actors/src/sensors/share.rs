//! How many sensors of a worker may have an actor, over all its shards.
//!
//! **Promises** the shards of a worker share `sensors.live_max` evenly; one that comes makes the others' shares smaller,
//! one that goes gives its own back. Each shard may have one sensor at least, so that all of them go on (BOUNDED).
//! **Not here**: who gives its actor back (`idle.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The live sensors of a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LiveSensors(Arc<ShareState>);

#[derive(Debug)]
struct ShareState {
    max: usize,
    shards: AtomicUsize,
}

/// The part of one shard, until it is dropped.
#[derive(Debug)]
pub(super) struct Share(LiveSensors);

impl LiveSensors {
    /// So many in all.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(ShareState { max, shards: AtomicUsize::new(0) }))
    }

    /// One more shard wants its share.
    pub(super) fn join(&self) -> Share {
        self.0.shards.fetch_add(1, Ordering::AcqRel);
        Share(self.clone())
    }
}

impl Share {
    /// How many sensors of this shard may have an actor now.
    pub(super) fn max(&self) -> usize {
        let inner = &self.0.0;
        (inner.max / inner.shards.load(Ordering::Acquire).max(1)).max(1)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.0.shards.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_evenly_and_none_is_left_out() {
        let live = LiveSensors::new(10);
        let first = live.join();
        assert_eq!(first.max(), 10);
        let others: Vec<Share> = (0..3).map(|_| live.join()).collect();
        assert_eq!((first.max(), others[2].max()), (2, 2));
        let many: Vec<Share> = (0..20).map(|_| live.join()).collect();
        assert_eq!(first.max(), 1);
        drop((others, many));
        assert_eq!(first.max(), 10);
    }
}
