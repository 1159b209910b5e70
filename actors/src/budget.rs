//! The worker's byte budget: taken before records are fetched, given back when nobody holds their bytes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use messages::Credit;

/// A record's bytes are held about three times: as they came, as columns, and as encoded objects.
const BYTES_HELD_PER_BYTE: u64 = 3;

/// Bytes that may be in flight in the worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: u64,
    taken: AtomicU64,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Inner { bytes_max, taken: AtomicU64::new(0) }))
    }

    /// Whether a fetch may be made now. The size of a page is not known before it is there, so a budget can be
    /// overdrawn by one page per shard; nobody fetches while it is.
    pub fn has_room(&self) -> bool {
        self.taken() < self.0.bytes_max
    }

    /// Takes what a page of records needs, until the credit is dropped.
    pub fn take(&self, record_bytes: u64) -> Credit {
        let bytes = record_bytes * BYTES_HELD_PER_BYTE;
        self.0.taken.fetch_add(bytes, Ordering::AcqRel);
        let inner = self.0.clone();
        Credit::new(move || {
            inner.taken.fetch_sub(bytes, Ordering::AcqRel);
        })
    }

    /// Bytes taken now.
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Acquire)
    }

    /// The limit, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_the_credit_is_dropped() {
        let budget = Budget::new(10);
        let credit = budget.take(4);
        assert!(!budget.has_room());
        drop(credit);
        assert!(budget.has_room());
        assert_eq!(budget.taken(), 0);
    }
}
