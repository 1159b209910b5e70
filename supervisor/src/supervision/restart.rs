//! How often and how fast a failed child comes back. Plain Rust: time and chance are arguments.
//!
//! **Owns** the failures of one supervisor within its window.
//! **Promises** at most `restarts_max` restarts within `within`; memory bounded by `restarts_max`.
//! **Not here**: defaults. They live in the configuration, where operators can see them.

use std::collections::VecDeque;
use std::time::Duration;

use actors::ports::backoff::doubled;

/// How many restarts are allowed, and how long each waits.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartPolicy {
    /// Restarts allowed within the window; the next failure after them is one too many.
    pub restarts_max: u32,
    /// The window.
    pub within: Duration,
    /// The first back-off; it doubles with every failure in the window.
    pub backoff_min: Duration,
    /// The longest back-off.
    pub backoff_max: Duration,
}

/// What to do about a failure.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start again after this delay.
    RestartAfter(Duration),
    /// The window is full.
    GiveUp,
}

/// The restarts that one supervisor has left.
#[derive(Debug)]
pub struct RestartBudget {
    policy: RestartPolicy,
    failures: VecDeque<Duration>,
}

impl RestartBudget {
    /// A budget with nothing spent.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, failures: VecDeque::new() }
    }

    /// Records a failure at `at` (since any fixed moment, never going back). `jitter` lies in `[0, 1)`.
    pub fn failed(&mut self, at: Duration, jitter: f64) -> Decision {
        while self.failures.front().is_some_and(|oldest| at.saturating_sub(*oldest) >= self.policy.within) {
            self.failures.pop_front();
        }
        if self.failures.len() >= self.policy.restarts_max as usize {
            return Decision::GiveUp;
        }
        let delay = self.backoff(jitter);
        self.failures.push_back(at);
        Decision::RestartAfter(delay)
    }

    /// The policy.
    pub fn policy(&self) -> &RestartPolicy {
        &self.policy
    }

    // Between half and all of the full back-off: workers that failed together must not come back together.
    fn backoff(&self, jitter: f64) -> Duration {
        let full = doubled(self.failures.len() as u32, self.policy.backoff_min, self.policy.backoff_max);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
        full.mul_f64(0.5 + jitter / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALMOST_ONE: f64 = 0.999_999_999;

    fn budget(restarts_max: u32) -> RestartBudget {
        RestartBudget::new(RestartPolicy {
            restarts_max,
            within: Duration::from_secs(60),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
        })
    }

    fn delay_ms(decision: Decision) -> u128 {
        match decision {
            // Rounded: the largest jitter is not quite one.
            Decision::RestartAfter(delay) => (delay + Duration::from_micros(500)).as_millis(),
            Decision::GiveUp => panic!("gave up"),
        }
    }

    #[test]
    fn back_off_doubles_up_to_its_maximum() {
        let mut budget = budget(10);
        let delays: Vec<u128> = (0..6).map(|s| delay_ms(budget.failed(Duration::from_secs(s), ALMOST_ONE))).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_takes_away_at_most_half() {
        assert_eq!(delay_ms(budget(1).failed(Duration::ZERO, 0.0)), 50);
        assert_eq!(delay_ms(budget(1).failed(Duration::ZERO, 0.5)), 75);
        assert_eq!(delay_ms(budget(1).failed(Duration::ZERO, f64::NAN)), 50);
    }

    #[test]
    fn one_failure_too_many_gives_up() {
        let mut budget = budget(2);
        assert!(matches!(budget.failed(Duration::from_secs(1), 0.0), Decision::RestartAfter(_)));
        assert!(matches!(budget.failed(Duration::from_secs(2), 0.0), Decision::RestartAfter(_)));
        assert_eq!(budget.failed(Duration::from_secs(3), 0.0), Decision::GiveUp);
    }

    #[test]
    fn old_failures_are_forgiven_and_the_back_off_starts_over() {
        let mut budget = budget(2);
        assert_eq!(delay_ms(budget.failed(Duration::from_secs(0), ALMOST_ONE)), 100);
        assert_eq!(delay_ms(budget.failed(Duration::from_secs(30), ALMOST_ONE)), 200);
        assert_eq!(delay_ms(budget.failed(Duration::from_secs(60), ALMOST_ONE)), 200);
        assert_eq!(delay_ms(budget.failed(Duration::from_secs(200), ALMOST_ONE)), 100);
    }

    #[test]
    fn no_restarts_allowed_means_none() {
        assert_eq!(budget(0).failed(Duration::ZERO, 0.0), Decision::GiveUp);
    }

    #[test]
    fn a_huge_budget_does_not_overflow() {
        let mut budget = budget(100);
        for _ in 0..100 {
            assert!(delay_ms(budget.failed(Duration::ZERO, ALMOST_ONE)) <= 1000);
        }
    }
}
