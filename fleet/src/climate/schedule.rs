//! When events are due. Plain arithmetic: no clock.

use std::time::Duration;

/// Event `i` is due `i / rate` after the start.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    rate: f64,
    n_events: Option<u64>,
}

impl Schedule {
    pub(super) fn new(rate: f64, duration: Option<Duration>) -> Self {
        let n_events = duration.map(|duration| (duration.as_secs_f64() * rate).round() as u64);
        Self { rate, n_events }
    }

    /// `None` if it never ends.
    pub(super) fn n_events(&self) -> Option<u64> {
        self.n_events
    }

    /// Computed from `i`, never summed up, so that errors do not grow with the run.
    pub(super) fn offset(&self, i: u64) -> Duration {
        Duration::from_secs_f64(i as f64 / self.rate)
    }

    /// How many events are due once `elapsed` has passed.
    pub(super) fn n_due(&self, elapsed: Duration) -> u64 {
        let due = (elapsed.as_secs_f64() * self.rate) as u64 + 1;
        self.n_events.map_or(due, |n_events| due.min(n_events))
    }
}
