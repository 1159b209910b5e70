//! The worker's byte budget: taken before records are fetched, given back when nobody holds their bytes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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
    /// Shards that want to be alone.
    solitary: AtomicUsize,
    /// Whether one of them is.
    alone: AtomicBool,
}

/// The wish of one shard to have nothing in flight beside its own: then a death of the process says who caused it.
/// While it lasts nobody else has room. Dropped, it is withdrawn.
#[derive(Debug)]
pub struct Solitude(Budget);

impl Drop for Solitude {
    fn drop(&mut self) {
        self.0.0.solitary.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Solitude {
    /// The credit of what is then alone in flight; none as long as something else is. One gets it at a time.
    pub fn granted(&self) -> Option<Credit> {
        let inner = self.0.0.clone();
        let free = self.0.taken() == 0 && !inner.alone.swap(true, Ordering::AcqRel);
        free.then(|| Credit::new(move || inner.alone.store(false, Ordering::Release)))
    }
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Inner {
            bytes_max,
            taken: AtomicU64::new(0),
            solitary: AtomicUsize::new(0),
            alone: AtomicBool::new(false),
        }))
    }

    /// Whether a fetch may be made now. The size of a page is not known before it is there, so a budget can be
    /// overdrawn by one page per shard; nobody fetches while it is.
    pub fn has_room(&self) -> bool {
        let somebody_is_alone = self.0.solitary.load(Ordering::Acquire) > 0 || self.0.alone.load(Ordering::Acquire);
        self.taken() < self.0.bytes_max && !somebody_is_alone
    }

    /// Asks to be alone. Nobody else has room from now on, until what is returned is dropped.
    pub fn solitude(&self) -> Solitude {
        self.0.solitary.fetch_add(1, Ordering::AcqRel);
        Solitude(self.clone())
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

    #[test]
    fn whoever_wants_to_be_alone_waits_for_the_others_and_keeps_them_out() {
        let budget = Budget::new(100);
        let others = budget.take(1);
        let (first, second) = (budget.solitude(), budget.solitude());
        assert!(!budget.has_room() && first.granted().is_none());
        drop(others);
        let alone = first.granted().unwrap();
        assert!(second.granted().is_none());
        drop((first, alone));
        drop(second.granted().unwrap());
        assert!(!budget.has_room());
        let alone = second.granted().unwrap();
        drop(second);
        assert!(!budget.has_room());
        drop(alone);
        assert!(budget.has_room());
    }
}
