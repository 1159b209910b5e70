//! Every metric, one function per fact, so that nothing is counted twice under two names.
//!
//! Labels are bounded: shards by the stream, kinds and reasons by their enums. A sensor's id is never one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use messages::{AlertKind, EpochPlan, ShardId};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::ports::aws::Failure;

/// Says what each metric means; call once per recorder.
pub fn describe() {
    describe_counter!("mangrove_reader_records_total", "records read from the stream");
    describe_gauge!("mangrove_reader_behind_seconds", "how far the last page ended from the tip of the shard");
    describe_histogram!("mangrove_reader_fetch_seconds", "time of one GetRecords");
    describe_counter!("mangrove_reader_failures_total", "failed reads, by what can be done about them");
    describe_counter!("mangrove_reader_budget_waits_total", "polls skipped because the byte budget was used up");
    describe_gauge!("mangrove_sensors_known", "sensors that the shard knows");
    describe_gauge!("mangrove_sensors_live", "sensors of the shard that have an actor");
    describe_counter!("mangrove_sensor_restarts_total", "restarts of single sensors");
    describe_counter!("mangrove_aggregator_late_total", "readings later than the allowed lateness");
    describe_gauge!("mangrove_aggregator_windows", "open windows");
    describe_histogram!("mangrove_epoch_encode_seconds", "time to encode an epoch");
    describe_histogram!("mangrove_epoch_prepare_seconds", "time of the conditional write that prepares an epoch");
    describe_histogram!("mangrove_epoch_upload_seconds", "time to upload an epoch's objects");
    describe_histogram!("mangrove_epoch_commit_seconds", "time from prepared to committed");
    describe_counter!("mangrove_epochs_total", "committed epochs");
    describe_counter!("mangrove_readings_total", "readings in committed epochs, by what became of them");
    describe_counter!("mangrove_quarantined_total", "quarantined readings in committed epochs, by reason");
    describe_counter!("mangrove_objects_total", "uploaded objects");
    describe_counter!("mangrove_object_repeats_total", "objects that an earlier attempt had stored already");
    describe_counter!("mangrove_upload_retries_total", "uploads tried again");
    describe_counter!("mangrove_alerts_sent_total", "alerts handed to a transport");
    describe_counter!("mangrove_alert_retries_total", "alerts tried again");
    describe_counter!("mangrove_alerts_undelivered_total", "alerts given up; they are stored in the alerts zone");
    describe_counter!(
        "mangrove_alerts_shed_total",
        "alerts that found the queue full; they are stored in the alerts zone"
    );
    describe_gauge!("mangrove_alerts_waiting", "alerts queued or under way");
    describe_histogram!("mangrove_alert_send_seconds", "time to hand one alert to one transport");
    describe_histogram!("mangrove_alert_latency_seconds", "from the record's arrival to the alert handed over");
    describe_gauge!("mangrove_budget_bytes", "bytes of the worker's budget in use");
}

/// A page came.
pub fn reader_page(shard: &ShardId, records: usize, millis_behind: i64, took: Duration) {
    counter!("mangrove_reader_records_total", "shard" => shard.to_string()).increment(records as u64);
    gauge!("mangrove_reader_behind_seconds", "shard" => shard.to_string()).set(millis_behind as f64 / 1000.0);
    histogram!("mangrove_reader_fetch_seconds").record(took);
}

/// A read failed.
pub fn reader_failed(shard: &ShardId, failure: Failure) {
    counter!("mangrove_reader_failures_total", "shard" => shard.to_string(), "failure" => name(failure)).increment(1);
}

/// A poll was skipped because the budget was used up.
pub fn reader_waits_for_budget(shard: &ShardId) {
    counter!("mangrove_reader_budget_waits_total", "shard" => shard.to_string()).increment(1);
}

/// How many sensors a shard has.
pub fn sensors(shard: &ShardId, known: usize, live: usize) {
    gauge!("mangrove_sensors_known", "shard" => shard.to_string()).set(known as f64);
    gauge!("mangrove_sensors_live", "shard" => shard.to_string()).set(live as f64);
}

/// One sensor was restarted.
pub fn sensor_restarted(shard: &ShardId) {
    counter!("mangrove_sensor_restarts_total", "shard" => shard.to_string()).increment(1);
}

/// Readings came too late for their windows.
pub fn late_readings(shard: &ShardId, readings: usize) {
    counter!("mangrove_aggregator_late_total", "shard" => shard.to_string()).increment(readings as u64);
}

/// How many windows are open.
pub fn windows(shard: &ShardId, open: usize) {
    gauge!("mangrove_aggregator_windows", "shard" => shard.to_string()).set(open as f64);
}

/// An epoch was encoded.
pub fn epoch_encoded(shard: &ShardId, took: Duration) {
    histogram!("mangrove_epoch_encode_seconds", "shard" => shard.to_string()).record(took);
}

/// An epoch was prepared.
pub fn epoch_prepared(shard: &ShardId, took: Duration) {
    histogram!("mangrove_epoch_prepare_seconds", "shard" => shard.to_string()).record(took);
}

/// An epoch was uploaded.
pub fn epoch_uploaded(shard: &ShardId, plan: &EpochPlan, took: Duration) {
    histogram!("mangrove_epoch_upload_seconds", "shard" => shard.to_string()).record(took);
    counter!("mangrove_objects_total", "shard" => shard.to_string()).increment(plan.objects.len() as u64 + 1);
}

/// An epoch was committed.
pub fn epoch_committed(shard: &ShardId, plan: &EpochPlan, took: Duration) {
    histogram!("mangrove_epoch_commit_seconds", "shard" => shard.to_string()).record(took);
    counter!("mangrove_epochs_total", "shard" => shard.to_string()).increment(1);
    let outcomes = [("clean", plan.clean), ("quarantined", plan.quarantined), ("duplicate", plan.duplicates)];
    for (outcome, n) in outcomes {
        counter!("mangrove_readings_total", "shard" => shard.to_string(), "outcome" => outcome).increment(n);
    }
    for (reason, n) in &plan.reasons {
        counter!("mangrove_quarantined_total", "reason" => reason.clone()).increment(*n);
    }
}

/// An object had been stored already, with the same content.
pub fn object_was_there(shard: &ShardId) {
    counter!("mangrove_object_repeats_total", "shard" => shard.to_string()).increment(1);
}

/// An upload is tried again.
pub fn upload_retried(shard: &ShardId, failure: Failure) {
    counter!("mangrove_upload_retries_total", "shard" => shard.to_string(), "failure" => name(failure)).increment(1);
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

/// Alerts queued or under way.
pub fn alerts_waiting(n: usize) {
    gauge!("mangrove_alerts_waiting").set(n as f64);
}

/// The byte budget in use.
pub fn budget(taken: u64) {
    gauge!("mangrove_budget_bytes").set(taken as f64);
}

fn name(failure: Failure) -> &'static str {
    match failure {
        Failure::Throttled => "throttled",
        Failure::Transient => "transient",
        Failure::NotFound => "not_found",
        Failure::Condition => "condition",
        Failure::Refused => "refused",
    }
}

/// Latencies up to this many milliseconds are counted exactly; above, in the last cell.
const LATENCY_MS_MAX: usize = 60_000;

/// Alerts handed over, and how long after their record's arrival, exact to the millisecond. For the demo's report:
/// a scrape gets the histogram.
#[derive(Debug)]
pub struct AlertFigures {
    handed_over: AtomicU64,
    by_ms: Vec<AtomicU64>,
}

impl Default for AlertFigures {
    fn default() -> Self {
        Self { handed_over: AtomicU64::new(0), by_ms: (0..=LATENCY_MS_MAX).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl AlertFigures {
    /// One alert was handed to its transports, this long after its record's arrival.
    pub fn handed_over(&self, kind: AlertKind, latency_ms: u64) {
        self.handed_over.fetch_add(1, Ordering::Relaxed);
        // A heartbeat has no record: its latency is the silence itself.
        if kind != AlertKind::Heartbeat {
            let cell = usize::try_from(latency_ms).unwrap_or(LATENCY_MS_MAX).min(LATENCY_MS_MAX);
            self.by_ms[cell].fetch_add(1, Ordering::Relaxed);
            histogram!("mangrove_alert_latency_seconds").record(latency_ms as f64 / 1000.0);
        }
    }

    /// Alerts handed over so far.
    pub fn count(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// The latency, in milliseconds, that this share of the alerts did not exceed; none without alerts.
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        let counts: Vec<u64> = self.by_ms.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = ((share * total as f64).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        counts
            .iter()
            .position(|n| {
                seen += n;
                seen >= rank
            })
            .map(|ms| ms as u64)
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
