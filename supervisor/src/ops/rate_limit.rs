//! How often something may be done: so many times at once, then once every so often.
//!
//! **Not here**: who waits and who is refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Turns, given out one after the other.
#[derive(Debug)]
pub(super) struct RateLimiter {
    burst: u32,
    every: Duration,
    /// When the next turn would be if all were given out evenly.
    next: Mutex<Option<Instant>>,
}

impl RateLimiter {
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, next: Mutex::default() }
    }

    /// Takes a turn, and says when it is: now, or later.
    pub(super) fn turn(&self) -> Instant {
        self.take(true).unwrap_or_else(Instant::now)
    }

    /// Takes a turn if there is one now.
    pub(super) fn try_turn(&self) -> bool {
        self.take(false).is_some()
    }

    fn take(&self, also_later: bool) -> Option<Instant> {
        let now = Instant::now();
        // A moment is written whole.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.unwrap_or(now).max(now);
        let turn = due.checked_sub(self.every * self.burst.saturating_sub(1)).unwrap_or(now).max(now);
        if turn > now && !also_later {
            return None;
        }
        *next = Some(due + self.every);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_then_one_at_a_time() {
        let (began, every) = (Instant::now(), Duration::from_millis(20));
        let limiter = RateLimiter::new(3, every);
        let turns: Vec<Duration> = (0..5).map(|_| limiter.turn() - began).collect();
        assert_eq!(turns, [0, 0, 0, 20, 40].map(Duration::from_millis));
        assert!(!limiter.try_turn(), "nobody is let in before those who wait");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            [limiter.try_turn(), limiter.try_turn(), limiter.try_turn(), limiter.try_turn()],
            [true, true, true, false]
        );
    }
}
