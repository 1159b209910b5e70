//! The metrics of the warehouse's loader.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::Family;
use crate::ports::warehouse::WarehouseFailure;

/// Samples of one batch's freshness: the histogram keeps each until it is scraped.
const SAMPLES_MAX: u64 = 1_000;

pub(super) const FAMILIES: [Family; 18] = [
    Family::gauge("mangrove_warehouse_active", &[], "1 in the worker that loads the warehouse"),
    Family::gauge(
        "mangrove_warehouse_epochs_pending",
        &[],
        "epochs in the lake that are not in the warehouse; at most some 500 of each shard are counted",
    ),
    Family::gauge(
        "mangrove_warehouse_shards_stopped",
        &[],
        "shards that are not loaded any further: a manifest is missing, damaged or there twice, or is another history's",
    ),
    Family::gauge("mangrove_warehouse_lag_ms", &[], "from arrival to visible, the slowest hundredth of the last batch"),
    Family::counter("mangrove_warehouse_batches_total", &[], "transactions that have loaded epochs"),
    Family::counter("mangrove_warehouse_epochs_total", &[], "epochs loaded"),
    Family::counter("mangrove_warehouse_rows_total", &[], "rows loaded into sensor_readings"),
    Family::counter("mangrove_warehouse_bytes_total", &[], "bytes of the files loaded"),
    Family::histogram("mangrove_warehouse_load_seconds", &[], "time of one load, from its manifests to its end"),
    Family::histogram("mangrove_warehouse_statement_seconds", &[], "time that the warehouse itself took for one load"),
    Family::histogram(
        "mangrove_warehouse_freshness_seconds",
        &[],
        "from arrival to visible, a sample of at most 1,000 readings a batch, in proportion",
    ),
    Family::counter("mangrove_warehouse_refused_total", &[], "batches that the warehouse refused"),
    Family::counter("mangrove_warehouse_put_aside_total", &[], "epochs put aside in load_refused"),
    Family::counter(
        "mangrove_warehouse_taken_back_total",
        &[],
        "epochs put aside that were loaded after all, because what they were refused for had passed",
    ),
    Family::counter(
        "mangrove_warehouse_failures_total",
        &["trouble"],
        "turns of the loader that failed, by what can be said after it",
    ),
    Family::gauge(
        "mangrove_warehouse_metadata_refused",
        &[],
        "cells, rows and objects of the metadata put in force last that are not used",
    ),
    Family::gauge(
        "mangrove_warehouse_metadata_unreadable",
        &[],
        "objects of the metadata that cannot be read; what they said before stays in force",
    ),
    Family::counter("mangrove_warehouse_metadata_failures_total", &[], "looks at the metadata that failed"),
];

/// The loader is there from now on.
pub fn warehouse_begins() {
    for failure in WarehouseFailure::ALL {
        counter!("mangrove_warehouse_failures_total", "trouble" => failure.as_str()).increment(0);
    }
    warehouse_metadata_refused(0);
    warehouse_metadata_unreadable(0);
}

/// Whether this worker loads.
pub fn warehouse_active(active: bool) {
    gauge!("mangrove_warehouse_active").set(f64::from(u8::from(active)));
}

/// How much waits, as far as it was listed.
pub fn warehouse_waiting(epochs: u64) {
    gauge!("mangrove_warehouse_epochs_pending").set(epochs as f64);
}

/// So many shards are not loaded any further.
pub fn warehouse_stopped(shards: usize) {
    gauge!("mangrove_warehouse_shards_stopped").set(shards as f64);
}

/// The warehouse refused a batch.
pub fn warehouse_refused() {
    counter!("mangrove_warehouse_refused_total").increment(1);
}

/// An epoch was put aside.
pub fn warehouse_put_aside() {
    counter!("mangrove_warehouse_put_aside_total").increment(1);
}

/// Epochs that had been put aside are loaded.
pub fn warehouse_taken_back(epochs: u64) {
    counter!("mangrove_warehouse_taken_back_total").increment(epochs);
}

/// A turn failed.
pub fn warehouse_failed(failure: WarehouseFailure) {
    counter!("mangrove_warehouse_failures_total", "trouble" => failure.as_str()).increment(1);
}

/// Metadata was put in force, without these rows.
pub fn warehouse_metadata_refused(rows: u64) {
    gauge!("mangrove_warehouse_metadata_refused").set(rows as f64);
}

/// So many objects of the metadata cannot be read.
pub fn warehouse_metadata_unreadable(objects: u64) {
    gauge!("mangrove_warehouse_metadata_unreadable").set(objects as f64);
}

/// Metadata could not be looked at.
pub fn warehouse_metadata_failed() {
    counter!("mangrove_warehouse_metadata_failures_total").increment(1);
}

/// A batch of so many epochs, readings and bytes is visible.
pub fn warehouse_batch(epochs: u64, readings: u64, bytes: u64) {
    counter!("mangrove_warehouse_batches_total").increment(1);
    counter!("mangrove_warehouse_epochs_total").increment(epochs);
    counter!("mangrove_warehouse_rows_total").increment(readings);
    counter!("mangrove_warehouse_bytes_total").increment(bytes);
}

/// How long a load took, and how old the readings of its batch were. `ages` are milliseconds since arrival, and how many
/// readings are so old. `lag_ms` is what the slowest hundredth of them reaches.
pub fn warehouse_loaded(took: Duration, statement: Duration, ages: &[(f64, u64)], lag_ms: Option<f64>) {
    histogram!("mangrove_warehouse_load_seconds").record(took);
    histogram!("mangrove_warehouse_statement_seconds").record(statement);
    let total: u64 = ages.iter().map(|(_, n)| n).sum();
    let freshness = histogram!("mangrove_warehouse_freshness_seconds");
    for (ms, n) in ages {
        let samples = if total > SAMPLES_MAX { (n * SAMPLES_MAX).div_ceil(total) } else { *n };
        freshness.record_many(ms / 1_000.0, samples as usize);
    }
    if let Some(ms) = lag_ms {
        gauge!("mangrove_warehouse_lag_ms").set(ms);
    }
}
