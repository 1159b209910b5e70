//! What the loader has done: for metrics, the demo's report and readiness.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::{self, Latencies};
use crate::warehouse::batch::Batch;

/// Counted since the process began.
#[derive(Debug, Default)]
pub struct LoaderFigures {
    freshness: Latencies,
    active: AtomicBool,
    epochs: AtomicU64,
    batches: AtomicU64,
    readings: AtomicU64,
    put_aside: AtomicU64,
    waiting: AtomicU64,
}

impl LoaderFigures {
    /// Whether this process loads.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Epochs that it has loaded.
    pub fn epochs(&self) -> u64 {
        self.epochs.load(Ordering::Relaxed)
    }

    /// Transactions that have loaded them.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Readings in them.
    pub fn readings(&self) -> u64 {
        self.readings.load(Ordering::Relaxed)
    }

    /// Epochs that were put aside.
    pub fn epochs_put_aside(&self) -> u64 {
        self.put_aside.load(Ordering::Relaxed)
    }

    /// Epochs that waited when the loader last looked.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The time from arrival to visible in the warehouse, in milliseconds, that this share of the readings did not
    /// exceed; none without readings. Exact to 2 %.
    pub fn freshness_ms(&self, share: f64) -> Option<u64> {
        self.freshness.quantile_ms(share)
    }

    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
        metrics::warehouse_active(active);
    }

    pub(super) fn waits(&self, epochs: u64) {
        self.waiting.store(epochs, Ordering::Relaxed);
        metrics::warehouse_waiting(epochs);
    }

    pub(super) fn refused(&self) {
        metrics::warehouse_refused();
    }

    pub(super) fn put_aside(&self) {
        self.put_aside.fetch_add(1, Ordering::Relaxed);
        metrics::warehouse_put_aside();
    }

    /// A batch is visible. `ages` are milliseconds since arrival, and how many readings are so old.
    pub(super) fn loaded(&self, batch: &Batch, took: Duration, statement: Duration, ages: Vec<(f64, u64)>) {
        self.epochs.fetch_add(batch.epochs.len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.readings.fetch_add(batch.readings(), Ordering::Relaxed);
        for (ms, readings) in &ages {
            self.freshness.add(*ms as u64, *readings);
        }
        metrics::warehouse_loaded(batch, took, statement, &ages);
    }
}
