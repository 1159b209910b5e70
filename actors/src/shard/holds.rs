//! What keeps a shard from going on right now, in the words of whatever refuses: for the operator who asks why.
//!
//! **Promises** constant memory; what has passed is forgotten at once.
//! **Not here**: what becomes of it. The actors try again or end by themselves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ports::aws::Failure;

/// Errors are shown as long as they last: bounded.
pub(super) const CAUSE_CHARS_MAX: usize = 400;
/// Restarts of single sensors that are remembered.
pub(super) const FAILURES_MAX: usize = 32;

/// Something that is tried again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// What happened last.
    pub cause: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Tries since then.
    pub attempts: u32,
    /// What can be done about it.
    pub failure: Failure,
}

/// All that can hold a shard up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Its start: the lease, the states of the checkpoint.
    pub starting: Option<HeldUp>,
    /// Reading the stream.
    pub reading: Option<HeldUp>,
    /// Storing an epoch.
    pub uploading: Option<HeldUp>,
    /// The byte budget, since then, in milliseconds since 1970.
    pub budget_since_ms: Option<i64>,
    /// The stream no longer holds where the shard was read up to, and no record has come since then, in milliseconds since
    /// 1970.
    pub trimmed_since_ms: Option<i64>,
    /// The manifest of the last epoch, which cannot be read: the shard goes on, nothing of it is loaded behind it.
    pub damaged_manifest: Option<String>,
}

/// One sensor's actor failed and was started again.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SensorFailureRecord {
    /// The sensor.
    pub sensor: String,
    /// Why.
    pub cause: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// How often it has died on what it had in hand.
    pub crashes: u32,
}

/// Which of the holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The shard's start.
    Starting,
    /// Reading the stream.
    Reading,
    /// Storing an epoch.
    Uploading,
}

#[derive(Debug, Default)]
pub(super) struct HoldsNow(Mutex<Holds>);

impl HoldsNow {
    pub(super) fn get(&self) -> Holds {
        self.lock().clone()
    }

    pub(super) fn failed(&self, hold: Hold, cause: &str, failure: Failure, now_ms: i64) {
        let mut holds = self.lock();
        let place = holds.place(hold);
        let (since_ms, attempts) = place.as_ref().map_or((now_ms, 0), |held| (held.since_ms, held.attempts));
        let cause = cause.chars().take(CAUSE_CHARS_MAX).collect();
        *place = Some(HeldUp { cause, since_ms, attempts: attempts.saturating_add(1), failure });
    }

    pub(super) fn passed(&self, hold: Hold) {
        *self.lock().place(hold) = None;
    }

    pub(super) fn manifest_damaged(&self, key: Option<String>) {
        self.lock().damaged_manifest = key;
    }

    /// A page of so many records came.
    pub(super) fn read(&self, records: u64) {
        let mut holds = self.lock();
        (holds.reading, holds.budget_since_ms) = (None, None);
        if records > 0 {
            holds.trimmed_since_ms = None;
        }
    }

    pub(super) fn trimmed(&self, now_ms: i64) {
        self.lock().trimmed_since_ms = Some(now_ms);
    }

    pub(super) fn budget(&self, waits_since_ms: Option<i64>) {
        let mut holds = self.lock();
        holds.budget_since_ms = waits_since_ms.map(|now_ms| holds.budget_since_ms.unwrap_or(now_ms));
    }

    pub(super) fn clear(&self) {
        *self.lock() = Holds::default();
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, Holds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holds {
    fn place(&mut self, hold: Hold) -> &mut Option<HeldUp> {
        match hold {
            Hold::Starting => &mut self.starting,
            Hold::Reading => &mut self.reading,
            Hold::Uploading => &mut self.uploading,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_counts_from_its_first_failure_and_passes_at_once() {
        let holds = HoldsNow::default();
        holds.failed(Hold::Reading, "no", Failure::Transient, 10);
        holds.failed(Hold::Reading, "slow down", Failure::Throttled, 20);
        let held = HeldUp { cause: "slow down".into(), since_ms: 10, attempts: 2, failure: Failure::Throttled };
        assert_eq!(holds.get().reading, Some(held));
        holds.passed(Hold::Reading);
        holds.budget(Some(5));
        holds.budget(Some(9));
        assert_eq!(holds.get(), Holds { budget_since_ms: Some(5), ..Holds::default() });
        holds.trimmed(7);
        holds.failed(Hold::Reading, "no", Failure::Transient, 8);
        holds.read(0);
        assert_eq!(holds.get(), Holds { trimmed_since_ms: Some(7), ..Holds::default() });
        holds.read(1);
        assert_eq!(holds.get(), Holds::default());
    }
}
