//! The last alerts with what became of them, for people.
//!
//! **Promises** at most [`RECENT_MAX`] alerts, whatever is raised.
//! **Not here**: delivery. The zone `alerts/` has all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use messages::{Alert, TraceId};
use serde::Serialize;

use crate::ring::Ring;

/// Alerts that are remembered.
pub const RECENT_MAX: usize = 200;

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertOutcome {
    /// On its way, or waiting for its turn.
    Waiting,
    /// A receiver refuses; it is tried again.
    Retrying,
    /// Every receiver has it.
    Sent,
    /// At least one receiver did not take it in time. It is in the alerts zone.
    GivenUp,
    /// It found the queue full. It is in the alerts zone.
    Shed,
}

/// One alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertLine {
    /// As receivers get it.
    pub alert: Alert,
    /// What became of it.
    pub outcome: AlertOutcome,
    /// When the alerts actor got it, milliseconds since 1970.
    pub raised_ms: i64,
    /// When it was done with, milliseconds since 1970.
    pub done_ms: Option<i64>,
    /// What a receiver last said against it.
    pub error: Option<String>,
    /// Its trace, from the page that its reading came with to the receivers; none if it has none.
    pub trace_id: Option<TraceId>,
}

/// The last alerts.
#[derive(Debug)]
pub struct RecentAlerts {
    lines: Ring<AlertLine>,
    raised: AtomicU64,
}

impl Default for RecentAlerts {
    fn default() -> Self {
        Self { lines: Ring::new(RECENT_MAX), raised: AtomicU64::new(0) }
    }
}

impl RecentAlerts {
    /// Newest first.
    pub fn all(&self) -> Vec<AlertLine> {
        self.lines.all()
    }

    /// Alerts raised since the worker began.
    pub fn raised(&self) -> u64 {
        self.raised.load(Ordering::Relaxed)
    }

    pub(super) fn raise(&self, alert: &Alert, outcome: AlertOutcome, now_ms: i64, trace_id: Option<TraceId>) {
        self.raised.fetch_add(1, Ordering::Relaxed);
        let alert = alert.clone();
        self.lines.push(AlertLine { alert, outcome, raised_ms: now_ms, done_ms: None, error: None, trace_id });
    }

    pub(super) fn retrying(&self, id: &str, error: &str) {
        self.change(id, |line| {
            line.outcome = AlertOutcome::Retrying;
            line.error = Some(shortened(error));
        });
    }

    /// `error` is the last word of a receiver that did not take it.
    pub(super) fn done(&self, id: &str, error: Option<&str>, now_ms: i64) {
        self.change(id, |line| {
            line.outcome = if error.is_some() { AlertOutcome::GivenUp } else { AlertOutcome::Sent };
            line.done_ms = Some(now_ms);
            line.error = error.map(shortened).or(line.error.take());
        });
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut AlertLine)) {
        // One that has fallen out is of no interest any more.
        self.lines.change(|line| line.alert.id == id, change);
    }
}

fn shortened(error: &str) -> String {
    const CHARS_MAX: usize = 300;
    error.chars().take(CHARS_MAX).collect()
}
