//! What a demo reports at its end.

use std::time::Duration;

use actors::warehouse::ledger::RowCounts;
use comfy_table::{Table, presets};
use fleet::FleetReport;
use serde::Serialize;

use crate::lake::LakeTotals;

/// The figures of a demo. Counts of rows are sums over the manifests in the bucket: all runs in its folder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DemoReport {
    /// Records that the stream acknowledged.
    pub records_acked: u64,
    /// Records whose acknowledgement was lost, by this run: the stream may hold them.
    pub records_maybe: u64,
    /// Records in the raw zone.
    pub raw_records: u64,
    /// Rows in the cleansed zone.
    pub cleansed_rows: u64,
    /// Rows in quarantine.
    pub quarantined_rows: u64,
    /// Rows recognised as duplicates.
    pub duplicate_rows: u64,
    /// Alerts handed to the transports by this run.
    pub alerts_sent: u64,
    /// Alerts that the demo's own webhook got.
    pub alerts_received: u64,
    /// From the record's arrival in the stream to the alert handed over, by this run.
    pub alert_latency_ms: Latency,
    /// Records acknowledged by this run, per second of its sending.
    pub events_per_second: f64,
    /// The process's largest resident set, everything in it: cloud, fleet and worker.
    pub peak_rss_mb: u64,
    /// Restarts of actors and sensors, by this run.
    pub actor_restarts: u64,
    /// Epochs in the bucket.
    pub epochs_committed: u64,
    /// Objects in the bucket.
    pub objects: u64,
    /// How long it took, in seconds.
    pub elapsed_s: f64,
    /// A replay was complete before this run, which sent nothing.
    pub already_complete: bool,
    /// Rows of the replay that an earlier run had delivered.
    pub rows_skipped: u64,
    /// Rows of the warehouse's tables: all runs in the folder.
    pub warehouse_rows: RowCounts,
    /// From a reading's arrival in the stream to its being visible in the warehouse, by this run; to 2 %.
    pub warehouse_lag_ms: Lag,
    /// Transactions that have brought the warehouse's epochs.
    pub ledger_batches: u64,
    /// The bucket that holds the zones.
    pub bucket: String,
    /// What the fleet says of its own run.
    pub fleet: Option<FleetReport>,
}

/// Milliseconds; none if nothing was loaded.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Lag {
    /// Median.
    pub p50: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
}

/// Milliseconds; none without alerts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// The worst.
    pub max: Option<u64>,
}

impl DemoReport {
    /// The figures for people.
    pub fn table(&self) -> String {
        let ms = |latency: Option<u64>| latency.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let Latency { p50, p99, max } = self.alert_latency_ms;
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["what", "figure"]);
        let mut row = |what: &str, figure: String| {
            table.add_row([what.to_owned(), figure]);
        };
        if self.already_complete {
            row("replay", format!("was complete already: {} rows, nothing sent", self.rows_skipped));
        } else if self.rows_skipped > 0 {
            row("replay", format!("resumed: {} rows had been delivered before", self.rows_skipped));
        }
        row("records acknowledged by the stream", self.records_acked.to_string());
        row("records in the raw zone", self.raw_records.to_string());
        row("rows cleansed", self.cleansed_rows.to_string());
        row("rows quarantined", self.quarantined_rows.to_string());
        row("rows that were duplicates", self.duplicate_rows.to_string());
        row("epochs, objects", format!("{}, {}", self.epochs_committed, self.objects));
        row("alerts sent, received", format!("{}, {}", self.alerts_sent, self.alerts_received));
        row("arrival to alert, p50 / p99 / max", format!("{} / {} / {}", ms(p50), ms(p99), ms(max)));
        let (rows, Lag { p50, p99 }) = (&self.warehouse_rows, self.warehouse_lag_ms);
        row("rows in the warehouse: readings", rows.sensor_readings.to_string());
        row("sensors, locations", format!("{}, {}", rows.dim_sensors, rows.dim_locations));
        row("hours, days, alerts", format!("{}, {}, {}", rows.sensor_hourly, rows.sensor_daily, rows.alerts));
        row("loads", self.ledger_batches.to_string());
        row("arrival to warehouse, p50 / p99", format!("{} / {}", ms(p50), ms(p99)));
        row("events per second", format!("{:.0}", self.events_per_second));
        row("restarts of actors and sensors", self.actor_restarts.to_string());
        row("peak memory of the process", format!("{} MB", self.peak_rss_mb));
        row("time", format!("{:.1} s", self.elapsed_s));
        table.to_string()
    }

    pub(super) fn new(totals: &LakeTotals, fleet: &FleetReport, elapsed: Duration) -> Self {
        Self {
            records_maybe: fleet.maybe,
            raw_records: totals.records,
            cleansed_rows: totals.clean,
            quarantined_rows: totals.quarantined,
            duplicate_rows: totals.duplicates,
            epochs_committed: totals.epochs,
            objects: totals.objects,
            elapsed_s: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            already_complete: fleet.already_complete,
            rows_skipped: fleet.skipped,
            fleet: Some(fleet.clone()),
            ..Self::default()
        }
    }
}

/// The largest resident set of this process so far, in MiB; 0 where the system does not tell.
pub(super) fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
