//! The last failures in the tree, and how much of each restart budget is spent: what outlives the actors that failed.
//!
//! **Promises** at most [`FAILURES_MAX`] failures, whatever fails; nothing here decides anything.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::RestartPolicy;

/// Failures that are remembered.
pub const FAILURES_MAX: usize = 256;
/// Causes are kept for as long as the failure: bounded.
const CAUSE_CHARS_MAX: usize = 400;

/// What became of a failed actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureOutcome {
    /// It was started again, after the delay.
    Restarted,
    /// It failed too often: the level above decides.
    GivenUp,
    /// It failed while it was to end anyway.
    Ended,
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailureRecord {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// The actor's path.
    pub path: String,
    /// The actor's name in the map.
    pub kind: &'static str,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Why.
    pub cause: String,
    /// What became of it.
    pub outcome: FailureOutcome,
    /// Failures within the window, this one included.
    pub attempt: u32,
    /// Restarts allowed within the window.
    pub restarts_max: u32,
    /// The window.
    pub within_s: u64,
    /// The pause before the restart.
    pub delay_ms: Option<u64>,
}

impl FailureRecord {
    pub(super) fn cause(text: &str) -> String {
        text.chars().take(CAUSE_CHARS_MAX).collect()
    }
}

/// How much of a supervisor's restart budget is spent. All its children share it.
#[derive(Debug)]
pub struct Intensity {
    restarts_max: u32,
    within: Duration,
    failures: Mutex<VecDeque<Instant>>,
}

impl Intensity {
    pub(super) fn new(policy: &RestartPolicy) -> Self {
        Self { restarts_max: policy.restarts_max, within: policy.within, failures: Mutex::default() }
    }

    /// Counts a failure; answers how many there were within the window.
    pub(super) fn failed(&self) -> u32 {
        let mut failures = self.pruned();
        failures.push_back(Instant::now());
        // Beyond the budget the supervisor ends.
        if failures.len() > self.restarts_max as usize + 1 {
            failures.pop_front();
        }
        failures.len() as u32
    }

    /// Failures within the window.
    pub fn spent(&self) -> u32 {
        self.pruned().len() as u32
    }

    /// Restarts allowed within the window.
    pub fn restarts_max(&self) -> u32 {
        self.restarts_max
    }

    /// The window.
    pub fn within(&self) -> Duration {
        self.within
    }

    // A panic while the lock was held leaves whole values behind.
    fn pruned(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while failures.front().is_some_and(|at| now.duration_since(*at) >= self.within) {
            failures.pop_front();
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_comes_back_with_time() {
        let second = Duration::from_secs(1);
        let policy = RestartPolicy { restarts_max: 2, within: second * 10, backoff_min: second, backoff_max: second };
        let intensity = Intensity::new(&policy);
        assert_eq!((intensity.failed(), intensity.failed(), intensity.spent()), (1, 2, 2));
        tokio::time::advance(second * 11).await;
        assert_eq!((intensity.spent(), intensity.failed()), (0, 1));
        assert!((0..10).all(|_| intensity.failed() > 1));
        assert_eq!(intensity.spent(), 3);
    }
}
