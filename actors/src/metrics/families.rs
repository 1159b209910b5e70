//! What there is to measure: name, kind, labels and meaning of every metric. `docs/metrics.md` is made of it.
//!
//! **Promises** every label is bounded: by the stream's shards where it says `shard`, else by an enum. Histograms and
//! failures have no shard: one series of a thousand shards each is one that nobody looks at and everybody pays for.

use messages::{AlertKind, Reason};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};

use super::{FAILURES, SPAN_LOSSES};

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It says how things are.
    Gauge,
    /// It counts observations by size.
    Histogram,
}

impl MetricKind {
    /// As the text format calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric with all its labels.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name; its end tells the unit, and `_total` a counter.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

impl Family {
    /// A counter.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Counter, labels, help }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Gauge, labels, help }
    }

    /// A histogram.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Histogram, labels, help }
    }

    /// Gives the recorder the text. A counter without labels is there from the beginning: of one that appears with its
    /// first event, `increase` sees nothing.
    pub fn describe(&self) {
        match self.kind {
            MetricKind::Counter => {
                describe_counter!(self.name, self.help);
                if self.labels.is_empty() {
                    counter!(self.name).increment(0);
                }
            }
            MetricKind::Gauge => describe_gauge!(self.name, self.help),
            MetricKind::Histogram => describe_histogram!(self.name, self.help),
        }
    }
}

/// The metrics of the actors.
const FAMILIES: &[Family] = &[
    Family::counter("mangrove_reader_records_total", &["shard"], "records read from the stream"),
    Family::histogram("mangrove_reader_fetch_seconds", &[], "time of one GetRecords"),
    Family::counter("mangrove_reader_failures_total", &["failure"], "failed reads, by what can be done about them"),
    Family::counter("mangrove_reader_budget_waits_total", &[], "polls skipped because the byte budget was used up"),
    Family::counter("mangrove_sensor_restarts_total", &[], "restarts of single sensors"),
    Family::counter("mangrove_aggregator_late_total", &[], "readings too late for their hour"),
    Family::histogram("mangrove_epoch_encode_seconds", &[], "time to encode an epoch"),
    Family::histogram("mangrove_epoch_prepare_seconds", &[], "time of the conditional write that prepares an epoch"),
    Family::histogram("mangrove_epoch_upload_seconds", &[], "time to upload an epoch's objects"),
    Family::histogram("mangrove_epoch_commit_seconds", &[], "time from prepared to committed"),
    Family::histogram(
        "mangrove_commit_latency_seconds",
        &[],
        "from the arrival of an epoch's first record in the stream to the commit: how old the oldest reading is when it \
         becomes visible in S3",
    ),
    Family::counter("mangrove_epochs_total", &["shard"], "committed epochs"),
    Family::counter("mangrove_readings_total", &["outcome"], "readings in committed epochs, by what became of them"),
    Family::counter("mangrove_quarantined_total", &["reason"], "quarantined readings in committed epochs, by reason"),
    Family::counter("mangrove_objects_total", &[], "uploaded objects, manifests among them"),
    Family::counter("mangrove_object_repeats_total", &[], "objects that an earlier attempt had stored already"),
    Family::counter(
        "mangrove_upload_retries_total",
        &["failure"],
        "uploads tried again, by what can be done about the failure",
    ),
    Family::counter(
        "mangrove_reader_positions_trimmed_total",
        &[],
        "times that the stream no longer held where a shard was read up to: it is read from its oldest record",
    ),
    Family::counter("mangrove_alerts_total", &["kind"], "alerts raised and handed to the transports"),
    Family::counter("mangrove_alerts_sent_total", &["transport", "kind"], "alerts that a receiver took"),
    Family::counter("mangrove_alert_retries_total", &["transport"], "alerts tried again"),
    Family::counter(
        "mangrove_alerts_undelivered_total",
        &["transport", "kind"],
        "alerts given up; they are stored in the alerts zone",
    ),
    Family::counter(
        "mangrove_alerts_shed_total",
        &["kind"],
        "alerts that found the queue full; they are stored in the alerts zone",
    ),
    Family::counter(
        "mangrove_alerts_not_resent_total",
        &["shard"],
        "times that alerts of a shard's last owner could not be sent again; they are stored in the alerts zone",
    ),
    Family::counter(
        "mangrove_lease_rows_advanced_total",
        &[],
        "lease rows that were behind the bucket, as after a restore of the table, and were moved on to its newest epoch",
    ),
    Family::gauge(
        "mangrove_alerts_waiting",
        &[],
        "alerts queued or under way for the receiver that is furthest behind",
    ),
    Family::gauge(
        "mangrove_alert_receivers_refusing",
        &["transport"],
        "receivers that refuse all alerts, by a permission, a key or an address: one alert asks now and then",
    ),
    Family::histogram("mangrove_alert_send_seconds", &["transport"], "time to hand one alert to one transport"),
    Family::histogram("mangrove_alert_latency_seconds", &[], "from the record's arrival to the alert handed over"),
    Family::histogram(
        "mangrove_actor_handle_seconds",
        &["kind"],
        "time in one handler, by kind of actor: its count is the rate, its sum the share of time that actors are busy",
    ),
    Family::counter("mangrove_actor_restarts_total", &["kind"], "restarts of actors, by kind"),
    Family::counter("mangrove_trace_spans_sent_total", &[], "spans of traces that the collector took"),
    Family::counter(
        "mangrove_trace_spans_lost_total",
        &["cause"],
        "spans of traces that will never reach the collector; nothing else is lost with them",
    ),
    Family::gauge("mangrove_trace_spans_waiting", &[], "spans of traces that wait to be sent"),
];

/// All metrics of the actors.
pub fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(&super::warehouse::FAMILIES)
}

/// Says what each metric means, and begins those whose labels are known; call once per recorder.
pub fn describe() {
    families().for_each(Family::describe);
    for failure in FAILURES {
        counter!("mangrove_reader_failures_total", "failure" => failure).increment(0);
        counter!("mangrove_upload_retries_total", "failure" => failure).increment(0);
    }
    for kind in AlertKind::ALL {
        counter!("mangrove_alerts_total", "kind" => kind.as_str()).increment(0);
        counter!("mangrove_alerts_shed_total", "kind" => kind.as_str()).increment(0);
    }
    for cause in SPAN_LOSSES {
        counter!("mangrove_trace_spans_lost_total", "cause" => cause).increment(0);
    }
    gauge!("mangrove_trace_spans_waiting").set(0.0);
    for reason in Reason::ALL {
        counter!("mangrove_quarantined_total", "reason" => reason.as_str()).increment(0);
    }
}
