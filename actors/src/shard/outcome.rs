//! Whether what is read of a shard gets stored: the last word on it, remembered over restarts of actors and of the shard.
//!
//! **Promises** a failure that may not pass by itself counts at once, any other after [`HEALS_WITHIN_MS`]; what counts
//! once counts until the shard works again, which is a commit. Where nothing waits to be committed, a page that says so
//! is as good, but for a failure to store. Constant memory.
//! **Not here**: what becomes of it. Readiness and the page show it, the leases decide by it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::holds::{CAUSE_CHARS_MAX, Hold};

/// What a retry heals within this time is nobody's business.
pub const HEALS_WITHIN_MS: i64 = 3_000;

/// What does not work. The later ones stand for more: what fails to be stored was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failing {
    /// An actor ends again and again.
    Running,
    /// The lease, or the states of the checkpoint.
    Starting,
    /// The stream.
    Reading,
    /// An upload, a prepare or a commit.
    Storing,
}

/// What is wrong with a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureStreak {
    /// What does not work.
    pub failing: Failing,
    /// What happened last.
    pub cause: String,
    /// When it first failed since the shard last worked, milliseconds since 1970.
    pub since_ms: i64,
    /// Failures since then.
    pub failures: u32,
    /// Whether it may not pass by itself.
    pub lasting: bool,
}

impl FailureStreak {
    fn counts(&self, now_ms: i64) -> bool {
        // An actor that fails once comes back, and shows by its next epoch that it works.
        self.lasting || (self.failing != Failing::Running && now_ms.saturating_sub(self.since_ms) >= HEALS_WITHIN_MS)
    }
}

impl From<Hold> for Failing {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Starting => Self::Starting,
            Hold::Reading => Self::Reading,
            Hold::Uploading => Self::Storing,
        }
    }
}

/// The last word on one shard.
#[derive(Debug, Default)]
pub struct Outcome(Mutex<OutcomeMemory>);

#[derive(Debug, Default)]
struct OutcomeMemory {
    failure: Option<FailureStreak>,
    /// An actor of this incarnation has failed. Others fall with it: it is one failure.
    fell: bool,
    /// Since when records wait to be committed, or the last of them were.
    waits_since_ms: Option<i64>,
    /// It has committed here, or has shown that there is nothing to commit.
    works: bool,
    /// It has committed here.
    commits: bool,
}

impl Outcome {
    /// What is wrong; none while all is well, or may become so by itself.
    pub fn failure(&self, now_ms: i64) -> Option<FailureStreak> {
        self.lock().failure.clone().filter(|failure| failure.counts(now_ms))
    }

    /// Whether the shard has worked here since the process began, and nothing is wrong with it.
    pub fn works(&self) -> bool {
        let memory = self.lock();
        memory.works && memory.failure.is_none()
    }

    /// Whether an epoch of the shard was committed here since the process began.
    pub fn has_committed(&self) -> bool {
        self.lock().commits
    }

    /// Since when records wait for a commit: from the first that was read after the last commit, or from that.
    pub fn waits_since_ms(&self) -> Option<i64> {
        self.lock().waits_since_ms
    }

    /// A call has failed. `lasting`: the same call will fail again.
    pub fn failed(&self, failing: Failing, cause: &str, lasting: bool, now_ms: i64) {
        let memory = &mut *self.lock();
        let failure = memory.failure.get_or_insert_with(|| FailureStreak {
            failing,
            cause: String::new(),
            since_ms: now_ms,
            failures: 0,
            lasting: false,
        });
        failure.failures = failure.failures.saturating_add(1);
        // Once it has counted it is remembered, whatever fails next.
        failure.lasting = lasting || failure.counts(now_ms);
        if failing >= failure.failing {
            (failure.failing, failure.cause) = (failing, cause.chars().take(CAUSE_CHARS_MAX).collect());
        }
    }

    /// An actor has ended in disorder. Once may be chance; a second time without a commit in between is a loop.
    pub fn fell(&self, cause: &str, now_ms: i64) {
        let again = {
            let memory = &mut *self.lock();
            if std::mem::replace(&mut memory.fell, true) {
                return;
            }
            memory.failure.is_some()
        };
        self.failed(Failing::Running, cause, again, now_ms);
    }

    /// The shard begins again from its checkpoint.
    pub(super) fn rewound(&self) {
        self.lock().fell = false;
    }

    /// A page came. `rests`: it was empty, the tip is reached, and all that was read is committed.
    pub(super) fn paged(&self, records: u64, rests: bool, now_ms: i64) {
        let memory = &mut *self.lock();
        if records > 0 {
            memory.waits_since_ms.get_or_insert(now_ms);
        }
        let passes = |failure: &FailureStreak| match failure.failing {
            Failing::Storing => false,
            Failing::Running => rests,
            Failing::Starting | Failing::Reading => rests || !failure.lasting,
        };
        if memory.failure.as_ref().is_some_and(passes) {
            memory.failure = None;
        }
        if rests {
            memory.waits_since_ms = None;
            memory.works |= memory.failure.is_none();
        }
    }

    /// An epoch was committed. `all`: nothing that was read is left.
    pub(super) fn committed(&self, all: bool, now_ms: i64) {
        let memory = &mut *self.lock();
        *memory = OutcomeMemory {
            works: true,
            commits: true,
            waits_since_ms: (!all).then_some(now_ms),
            ..OutcomeMemory::default()
        };
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, OutcomeMemory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_heals_soon_is_no_illness() {
        let outcome = Outcome::default();
        outcome.failed(Failing::Storing, "slow down", false, 1_000);
        assert_eq!(outcome.failure(1_000 + HEALS_WITHIN_MS - 1), None);
        outcome.committed(true, 2_000);
        assert_eq!(outcome.failure(60_000), None);
        assert!(outcome.works());
    }

    #[test]
    fn what_has_counted_counts_until_a_commit_over_all_restarts() {
        let outcome = Outcome::default();
        outcome.failed(Failing::Storing, "internal error", false, 1_000);
        assert!(outcome.failure(1_000 + HEALS_WITHIN_MS).is_some());
        outcome.fell("upload epoch 3: internal error", 9_000);
        outcome.rewound();
        // The records are read again, and the stream is quiet.
        outcome.paged(0, true, 10_000);
        outcome.failed(Failing::Reading, "throttled", false, 11_000);
        let failure = outcome.failure(11_000).unwrap();
        assert_eq!(
            (failure.failing, failure.cause.as_str(), failure.since_ms),
            (Failing::Storing, "internal error", 1_000)
        );
        assert!(!outcome.works());
        outcome.committed(true, 12_000);
        assert_eq!(outcome.failure(12_000), None);
    }

    #[test]
    fn what_will_not_pass_counts_at_once_and_rest_ends_it_where_nothing_waits() {
        let outcome = Outcome::default();
        outcome.failed(Failing::Reading, "access denied", true, 1_000);
        assert!(outcome.failure(1_000).is_some());
        outcome.paged(5, false, 2_000);
        assert!(outcome.failure(2_000).is_some(), "what was read has to be committed first");
        outcome.paged(0, true, 3_000);
        assert_eq!(outcome.failure(3_000), None);
        assert!(outcome.works());
    }

    #[test]
    fn one_fall_is_chance_and_two_are_a_loop() {
        let outcome = Outcome::default();
        outcome.fell("a panic", 1_000);
        outcome.fell("its neighbour is gone", 1_001);
        assert_eq!(outcome.failure(60_000), None);
        outcome.rewound();
        outcome.fell("a panic", 2_000);
        let failure = outcome.failure(2_000).unwrap();
        assert_eq!((failure.failing, failure.since_ms), (Failing::Running, 1_000));
    }

    #[test]
    fn records_wait_from_the_first_of_them_or_from_the_last_commit() {
        let outcome = Outcome::default();
        outcome.paged(3, false, 1_000);
        outcome.paged(3, false, 2_000);
        assert_eq!(outcome.waits_since_ms(), Some(1_000));
        outcome.committed(false, 3_000);
        assert_eq!(outcome.waits_since_ms(), Some(3_000));
        outcome.committed(true, 4_000);
        assert_eq!(outcome.waits_since_ms(), None);
    }
}
