//! Every metric of the actors, one function per fact, so that nothing is counted twice under two names.
//!
//! Labels are bounded: shards by the stream, kinds and reasons by their enums. A sensor's id is never one.
//!
//! **Not here**: what is asked for at the scrape instead of being told as it happens (`supervisor/src/ops/metrics`).

mod families;
mod warehouse;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use messages::{AlertKind, EpochPlan, ShardId};
use metrics::{Histogram, counter, gauge, histogram};

pub use self::families::{Family, MetricKind, describe, families};
pub use self::warehouse::{
    warehouse_active, warehouse_batch, warehouse_begins, warehouse_failed, warehouse_loaded, warehouse_metadata_failed,
    warehouse_metadata_refused, warehouse_metadata_unreadable, warehouse_put_aside, warehouse_refused,
    warehouse_stopped, warehouse_taken_back, warehouse_waiting,
};
use crate::ports::aws::Failure;

/// A shard is worked on from now on. Of a counter that appears with its first event, `increase` sees nothing.
pub fn shard_begins(shard: &ShardId) {
    counter!("mangrove_reader_records_total", "shard" => shard.to_string()).increment(0);
    counter!("mangrove_epochs_total", "shard" => shard.to_string()).increment(0);
    counter!("mangrove_alerts_not_resent_total", "shard" => shard.to_string()).increment(0);
}

/// Alerts go to a transport from now on.
pub fn transport_begins(transport: &'static str) {
    counter!("mangrove_alert_retries_total", "transport" => transport).increment(0);
    gauge!("mangrove_alert_receivers_refusing", "transport" => transport).set(0.0);
    for kind in AlertKind::ALL {
        let kind = kind.as_str();
        counter!("mangrove_alerts_sent_total", "transport" => transport, "kind" => kind).increment(0);
        counter!("mangrove_alerts_undelivered_total", "transport" => transport, "kind" => kind).increment(0);
    }
}

/// A page came.
pub fn reader_page(shard: &ShardId, records: usize, took: Duration) {
    counter!("mangrove_reader_records_total", "shard" => shard.to_string()).increment(records as u64);
    histogram!("mangrove_reader_fetch_seconds").record(took);
}

/// A read failed.
pub fn reader_failed(failure: Failure) {
    counter!("mangrove_reader_failures_total", "failure" => failure_name(failure)).increment(1);
}

/// The stream no longer holds where a shard was read up to.
pub fn reader_position_trimmed() {
    counter!("mangrove_reader_positions_trimmed_total").increment(1);
}

/// A poll was skipped because the budget was used up.
pub fn reader_waits_for_budget() {
    counter!("mangrove_reader_budget_waits_total").increment(1);
}

/// One sensor was restarted.
pub fn sensor_restarted() {
    counter!("mangrove_sensor_restarts_total").increment(1);
}

/// Readings came too late for their windows.
pub fn late_readings(readings: usize) {
    counter!("mangrove_aggregator_late_total").increment(readings as u64);
}

/// An epoch was encoded.
pub fn epoch_encoded(took: Duration) {
    histogram!("mangrove_epoch_encode_seconds").record(took);
}

/// An epoch was prepared.
pub fn epoch_prepared(took: Duration) {
    histogram!("mangrove_epoch_prepare_seconds").record(took);
}

/// An epoch was uploaded.
pub fn epoch_uploaded(plan: &EpochPlan, took: Duration) {
    histogram!("mangrove_epoch_upload_seconds").record(took);
    counter!("mangrove_objects_total").increment(plan.objects.len() as u64 + 1);
}

/// An epoch was committed. `latency` is since its first record arrived; none if it has no records.
pub fn epoch_committed(shard: &ShardId, plan: &EpochPlan, took: Duration, latency: Option<Duration>) {
    histogram!("mangrove_epoch_commit_seconds").record(took);
    if let Some(latency) = latency {
        histogram!("mangrove_commit_latency_seconds").record(latency);
    }
    counter!("mangrove_epochs_total", "shard" => shard.to_string()).increment(1);
    let outcomes = [("clean", plan.clean), ("quarantined", plan.quarantined), ("duplicate", plan.duplicates)];
    for (outcome, n) in outcomes {
        counter!("mangrove_readings_total", "outcome" => outcome).increment(n);
    }
    for (reason, n) in &plan.reasons {
        counter!("mangrove_quarantined_total", "reason" => reason.clone()).increment(*n);
    }
}

/// An object had been stored already, with the same content.
pub fn object_was_there() {
    counter!("mangrove_object_repeats_total").increment(1);
}

/// An upload is tried again.
pub fn upload_retried(failure: Failure) {
    counter!("mangrove_upload_retries_total", "failure" => failure_name(failure)).increment(1);
}

/// An alert was handed to a transport.
pub fn alert_sent(transport: &'static str, kind: AlertKind, took: Duration) {
    counter!("mangrove_alerts_sent_total", "transport" => transport, "kind" => kind.as_str()).increment(1);
    histogram!("mangrove_alert_send_seconds", "transport" => transport).record(took);
}

/// An alert is tried again.
pub fn alert_retried(transport: &'static str) {
    counter!("mangrove_alert_retries_total", "transport" => transport).increment(1);
}

/// A receiver begins to refuse all alerts, or takes them again.
pub fn receiver_refuses(transport: &'static str, refuses: bool) {
    let receivers = gauge!("mangrove_alert_receivers_refusing", "transport" => transport);
    if refuses { receivers.increment(1.0) } else { receivers.decrement(1.0) }
}

/// An alert was given up.
pub fn alert_undelivered(transport: &'static str, kind: AlertKind) {
    counter!("mangrove_alerts_undelivered_total", "transport" => transport, "kind" => kind.as_str()).increment(1);
}

/// An alert found the queue full.
pub fn alert_shed(kind: AlertKind) {
    counter!("mangrove_alerts_shed_total", "kind" => kind.as_str()).increment(1);
}

/// Alerts of an earlier owner could not be sent again.
pub fn alerts_not_resent(shard: &ShardId) {
    counter!("mangrove_alerts_not_resent_total", "shard" => shard.to_string()).increment(1);
}

/// A lease row was moved on to where the manifests are.
pub fn lease_advanced() {
    counter!("mangrove_lease_rows_advanced_total").increment(1);
}

/// Alerts queued or under way for the receiver that is furthest behind.
pub fn alerts_waiting(n: usize) {
    gauge!("mangrove_alerts_waiting").set(n as f64);
}

/// Spans were sent to the collector.
pub fn spans_sent(n: u64) {
    counter!("mangrove_trace_spans_sent_total").increment(n);
}

/// Spans will never reach the collector.
pub fn spans_lost(cause: &'static str, n: u64) {
    counter!("mangrove_trace_spans_lost_total", "cause" => cause).increment(n);
}

/// Spans wait to be sent.
pub fn spans_waiting(n: usize) {
    gauge!("mangrove_trace_spans_waiting").set(n as f64);
}

/// The values of the label `cause` of spans that were lost.
pub const SPAN_LOSSES: [&str; 4] = ["queue_full", "unreachable", "refused", "shutdown"];

/// Where the time in the handlers of one kind of actor is told.
pub fn handle_seconds(kind: &'static str) -> Histogram {
    counter!("mangrove_actor_restarts_total", "kind" => kind).increment(0);
    histogram!("mangrove_actor_handle_seconds", "kind" => kind)
}

/// An actor is restarted.
pub fn actor_restarted(kind: &'static str) {
    counter!("mangrove_actor_restarts_total", "kind" => kind).increment(1);
}

/// The values of the label `failure`.
pub const FAILURES: [&str; 6] = ["throttled", "transient", "key", "not_found", "condition", "refused"];

/// The value of the label `failure`.
pub fn failure_name(failure: Failure) -> &'static str {
    let [throttled, transient, key, not_found, condition, refused] = FAILURES;
    match failure {
        Failure::Throttled => throttled,
        Failure::Transient => transient,
        Failure::Key => key,
        Failure::NotFound => not_found,
        Failure::Condition => condition,
        Failure::Refused => refused,
    }
}

/// Latencies up to this many milliseconds are counted exactly; above, in the last cell.
const LATENCY_MS_MAX: usize = 60_000;

/// Latencies, counted exactly to the millisecond.
#[derive(Debug)]
pub struct Latencies(Vec<AtomicU64>);

impl Default for Latencies {
    fn default() -> Self {
        Self((0..=LATENCY_MS_MAX).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Latencies {
    /// So many took this long.
    pub fn add(&self, ms: u64, n: u64) {
        let cell = usize::try_from(ms).unwrap_or(LATENCY_MS_MAX).min(LATENCY_MS_MAX);
        self.0[cell].fetch_add(n, Ordering::Relaxed);
    }

    /// The latency, in milliseconds, that this share did not exceed; none if nothing was counted.
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        let counts: Vec<u64> = self.0.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        let reached = |n: &u64| {
            seen += n;
            seen >= rank
        };
        counts.iter().position(reached).map(|ms| ms as u64)
    }
}

/// Alerts handed over, and how long after their record's arrival, exact to the millisecond. For the demo's report:
/// a scrape gets the histogram.
#[derive(Debug, Default)]
pub struct AlertFigures {
    handed_over: AtomicU64,
    latencies: Latencies,
}

impl AlertFigures {
    /// One alert was handed to its transports, this long after its record's arrival.
    pub fn handed_over(&self, kind: AlertKind, latency_ms: u64) {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
        counter!("mangrove_alerts_total", "kind" => kind.as_str()).increment(1);
        // A heartbeat has no record: its latency is the silence itself.
        if kind != AlertKind::Heartbeat {
            self.latencies.add(latency_ms, 1);
            histogram!("mangrove_alert_latency_seconds").record(latency_ms as f64 / 1000.0);
        }
    }

    /// Alerts handed over so far.
    pub fn count(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// The latency, in milliseconds, that this share of the alerts did not exceed; none without alerts.
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        self.latencies.quantile_ms(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_the_millisecond() {
        let figures = AlertFigures::default();
        assert_eq!(figures.quantile_ms(0.5), None);
        for ms in 1..=100 {
            figures.handed_over(AlertKind::Score, ms);
        }
        assert_eq!(figures.quantile_ms(0.5), Some(50));
        assert_eq!(figures.quantile_ms(0.99), Some(99));
        assert_eq!(figures.quantile_ms(1.0), Some(100));
    }
}
