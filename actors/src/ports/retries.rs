//! A client's budget of retries: what keeps a failing service from being asked more often than a healthy one.
//!
//! **Promises** in steady failure, retries are at most a tenth of what succeeds (BOUNDED); one client's trouble costs
//! another nothing, unlike the SDK's own budget, which is one per process and service.
//! Source: the retry token bucket of the AWS SDKs, and "retry budgets" in the Google SRE book, chapter 22.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Retries that a client has at its start.
const RETRIES_MAX: u32 = 100;
/// A call that succeeds earns the tenth part of a retry.
const PARTS: u32 = 10;

/// One client's budget. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct RetryBudget(Arc<AtomicU32>);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(RETRIES_MAX * PARTS)))
    }
}

impl RetryBudget {
    /// Takes a retry. False if there is none left: then only what would have been asked anyway may be asked.
    pub fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |parts| parts.checked_sub(PARTS)).is_ok()
    }

    /// A call succeeded.
    pub fn earn(&self) {
        let more = |parts: u32| (parts < RETRIES_MAX * PARTS).then_some(parts + 1);
        // Full is full.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Retries that are left.
    pub fn left(&self) -> u32 {
        self.0.load(Ordering::Relaxed) / PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_run_out_and_come_back_with_success() {
        let budget = RetryBudget::default();
        assert_eq!((0..1_000).filter(|_| budget.take()).count(), RETRIES_MAX as usize);
        (0..PARTS).for_each(|_| budget.earn());
        assert!(budget.take() && !budget.take());
        (0..10 * RETRIES_MAX * PARTS).for_each(|_| budget.earn());
        assert_eq!(budget.left(), RETRIES_MAX);
    }
}
