//! How long to wait before the next try.
//!
//! **Owns** how many tries of one thing have failed in a row.
//! **Promises** pauses double from the least to the most, and are spread over their second half ("equal jitter"): what
//! failed together does not come back together. A server that says how long it wants to be left alone is, and the pause
//! comes on top; but no longer than its caller can wait, whose own time others watch.
//! **Not here**: whether to try again ([`CallError::may_pass`]); how many retries a service is given in all
//! (`ports/retries.rs`).

use std::time::Duration;

use super::aws::CallError;
use super::chance::Chance;

/// The pauses between tries of one thing.
#[derive(Clone, Debug)]
pub struct Backoff {
    chance: Chance,
    least: Duration,
    most: Duration,
    /// What a server may ask for: more is not believed.
    asked_max: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet. A server may ask for as much as `most`.
    pub fn new(chance: &Chance, least: Duration, most: Duration) -> Self {
        Self { chance: chance.clone(), least, most, asked_max: most, failures: 0 }
    }

    /// The same where nobody else waits, and a server may ask for more.
    pub fn heeding(self, asked_max: Duration) -> Self {
        Self { asked_max, ..self }
    }

    /// How many tries have failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A try went well.
    pub fn passed(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let full = doubled(self.failures, self.least, self.most);
        self.failures = self.failures.saturating_add(1);
        self.chance.spread(full)
    }

    /// The pause after a call that failed: on top of what the server asks for.
    pub fn after(&mut self, error: &CallError) -> Duration {
        self.pause() + self.asked(error)
    }

    /// The same where the service has no retries left: it is asked as rarely as can be.
    pub fn rarely(&mut self, error: &CallError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.chance.spread(self.most) + self.asked(error)
    }

    fn asked(&self, error: &CallError) -> Duration {
        error.retry_after.unwrap_or_default().min(self.asked_max)
    }
}

/// The whole pause after the n-th failure in a row, from 0.
pub fn doubled(n: u32, least: Duration, most: Duration) -> Duration {
    least.saturating_mul(1 << n.min(20)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::aws::Failure;

    const MS: Duration = Duration::from_millis(1);

    fn backoff() -> Backoff {
        // Chance that never takes anything away.
        Backoff::new(&Chance::from_fn(|| u64::MAX), MS * 100, MS * 1_000)
    }

    fn error(retry_after: Option<Duration>) -> CallError {
        CallError { retry_after, ..CallError::new("ask", Failure::Throttled, "slow down") }
    }

    fn about(pause: Duration) -> u128 {
        (pause + MS / 2).as_millis()
    }

    #[test]
    fn pauses_double_up_to_the_most_and_begin_over_once_it_has_passed() {
        let mut backoff = backoff();
        let pauses: Vec<u128> = (0..6).map(|_| about(backoff.pause())).collect();
        assert_eq!((pauses, backoff.failures()), (vec![100, 200, 400, 800, 1_000, 1_000], 6));
        backoff.passed();
        assert_eq!(about(backoff.pause()), 100);
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() {
        assert_eq!(about(backoff().after(&error(None))), 100);
        assert_eq!(
            about(backoff().after(&error(Some(MS * 500)))),
            600,
            "those that were told the same do not come as one"
        );
        assert_eq!(about(backoff().after(&error(Some(Duration::MAX)))), 1_100, "others watch the caller's own time");
        assert_eq!(about(backoff().heeding(MS * 60_000).after(&error(Some(Duration::MAX)))), 60_100);
        assert_eq!(about(backoff().rarely(&error(Some(MS * 500)))), 1_500);
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(doubled(u32::MAX, Duration::MAX, Duration::MAX), Duration::MAX);
    }
}
