//! What the loader has done: for metrics, the demo's report and readiness.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::error;

use crate::metrics::{self, Latencies};
use crate::ports::warehouse::WarehouseFailure;
use crate::warehouse::batch::LoadBatch;

const ERROR_CHARS_MAX: usize = 300;
/// What stops a shard names both sides.
const STOP_CHARS_MAX: usize = 800;

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
    last: Mutex<Last>,
}

/// Shards whose stops are remembered.
const STOPPED_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
struct Last {
    stopped: BTreeMap<String, Stopped>,
    lag_ms: Option<u64>,
    put_aside: Option<(i64, String)>,
    failing: Option<FailingLoads>,
    metadata: Option<MetadataFailure>,
}

/// Metadata is not as its objects say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataFailure {
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// What is the matter, in words.
    pub what: String,
}

/// Loads fail, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingLoads {
    /// When the first of them did, milliseconds since 1970.
    pub since_ms: i64,
    /// How many.
    pub failures: u64,
    /// What the last one said.
    pub error: String,
}

/// A shard is not loaded any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Where its manifests are.
    pub prefix: String,
    /// Why.
    pub why: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

/// The loader as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoaderStatus {
    /// Whether this process loads. If not, it knows of what it has loaded before.
    pub active: bool,
    /// Readings that it has loaded.
    pub readings: u64,
    /// Epochs that waited when it last looked.
    pub waiting: u64,
    /// From arrival to visible, the slowest hundredth of the last batch.
    pub lag_ms: Option<u64>,
    /// When an epoch was put aside last, milliseconds since 1970.
    pub put_aside_ms: Option<i64>,
    /// What the warehouse said of it.
    pub put_aside_error: Option<String>,
    /// None while loads succeed.
    pub failing: Option<FailingLoads>,
    /// Shards that are not loaded any further, whatever becomes of the others.
    pub stopped: Vec<Stopped>,
    /// None while all objects of the metadata can be read.
    pub metadata: Option<MetadataFailure>,
}

impl LoaderFigures {
    /// All that an operator asks first.
    pub fn status(&self) -> LoaderStatus {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LoaderStatus {
            active: self.is_active(),
            readings: self.readings(),
            waiting: self.waiting(),
            lag_ms: last.lag_ms,
            put_aside_ms: last.put_aside.as_ref().map(|(at_ms, _)| *at_ms),
            put_aside_error: last.put_aside.map(|(_, error)| error),
            failing: last.failing,
            stopped: last.stopped.into_values().collect(),
            metadata: last.metadata,
        }
    }

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
        self.went_well();
        // Who loads now looks at them afresh.
        self.stopped(&BTreeMap::new(), 0);
        metrics::warehouse_active(active);
    }

    /// A load failed, or could not begin.
    pub(crate) fn failed(&self, failure: WarehouseFailure, error: &str, now_ms: i64) {
        metrics::warehouse_failed(failure);
        let error = error.chars().take(ERROR_CHARS_MAX).collect();
        self.note(|last| {
            let (since_ms, before) = last.failing.as_ref().map_or((now_ms, 0), |was| (was.since_ms, was.failures));
            last.failing = Some(FailingLoads { since_ms, failures: before + 1, error });
        });
    }

    /// Whatever failed before fails no more.
    pub(crate) fn went_well(&self) {
        self.note(|last| last.failing = None);
    }

    /// These shards are not loaded any further, and no others; each is said once.
    pub(super) fn stopped(&self, now: &BTreeMap<String, String>, now_ms: i64) {
        metrics::warehouse_stopped(now.len());
        self.note(|last| {
            last.stopped.retain(|prefix, _| now.contains_key(prefix));
            for (prefix, why) in now.iter().take(STOPPED_MAX) {
                let stopped = last.stopped.entry(prefix.clone()).or_insert_with(|| {
                    error!(error = why, "a shard cannot be loaded further");
                    Stopped { prefix: prefix.clone(), why: String::new(), since_ms: now_ms }
                });
                stopped.why = why.chars().take(STOP_CHARS_MAX).collect();
            }
        });
    }

    /// Metadata could not be taken over.
    pub(super) fn metadata_failed(&self, error: &str, now_ms: i64) {
        self.metadata(
            Some(format!("Metadata is not taken over, and all that was known stays in force: {error}")),
            now_ms,
        );
    }

    /// Metadata is in force, but for so many objects that cannot be read: the first, and why.
    pub(super) fn metadata_looked(&self, unreadable: usize, first: Option<(&str, &str)>, now_ms: i64) {
        metrics::warehouse_metadata_unreadable(unreadable as u64);
        let what = first.map(|(object, reason)| match unreadable {
            1 => format!("The metadata object {object} is not used: {reason}"),
            n => format!("{n} objects of the metadata are not used, the first is {object}: {reason}"),
        });
        self.metadata(what, now_ms);
    }

    fn metadata(&self, what: Option<String>, now_ms: i64) {
        let what = what.map(|what| what.chars().take(ERROR_CHARS_MAX).collect());
        self.note(|last| {
            let since_ms = last.metadata.as_ref().map_or(now_ms, |was| was.since_ms);
            last.metadata = what.map(|what| MetadataFailure { since_ms, what });
        });
    }

    pub(super) fn waits(&self, epochs: u64) {
        self.waiting.store(epochs, Ordering::Relaxed);
        metrics::warehouse_waiting(epochs);
    }

    pub(super) fn refused(&self) {
        metrics::warehouse_refused();
    }

    pub(super) fn put_aside(&self, error: &str, now_ms: i64) {
        self.put_aside.fetch_add(1, Ordering::Relaxed);
        let error = error.chars().take(ERROR_CHARS_MAX).collect();
        self.note(|last| last.put_aside = Some((now_ms, error)));
        metrics::warehouse_put_aside();
    }

    /// Epochs that had been put aside are loaded.
    pub(super) fn taken_back(&self, epochs: u64) {
        self.note(|last| last.put_aside = None);
        metrics::warehouse_taken_back(epochs);
    }

    /// A batch is visible. `ages` are milliseconds since arrival, and how many readings are so old.
    pub(super) fn loaded(&self, batch: &LoadBatch, took: Duration, statement: Duration, ages: Vec<(f64, u64)>) {
        self.epochs.fetch_add(batch.epochs.len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.readings.fetch_add(batch.readings(), Ordering::Relaxed);
        for (ms, readings) in &ages {
            self.freshness.add(*ms as u64, *readings);
        }
        let lag_ms = slowest_hundredth(&ages);
        self.note(|last| last.lag_ms = lag_ms.map(|ms| ms as u64).or(last.lag_ms));
        metrics::warehouse_batch(batch.epochs.len() as u64, batch.readings(), batch.bytes());
        metrics::warehouse_loaded(took, statement, &ages, lag_ms);
    }

    fn note(&self, change: impl FnOnce(&mut Last)) {
        // A panic while the lock was held leaves whole values behind.
        change(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The age that a hundredth of the readings reaches; none without readings.
fn slowest_hundredth(ages: &[(f64, u64)]) -> Option<f64> {
    let total: u64 = ages.iter().map(|(_, n)| n).sum();
    let mut ages = ages.to_vec();
    ages.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut slower = 0;
    ages.into_iter()
        .find(|(_, n)| {
            slower += n;
            slower * 100 >= total
        })
        .map(|(ms, _)| ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_is_stopped_is_so_since_it_was_and_until_it_is_not() {
        let figures = LoaderFigures::default();
        let stops = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        figures.stopped(&stops(&[("a", "gone")]), 1_000);
        figures.stopped(&stops(&[("a", "still gone"), ("b", "twice")]), 2_000);
        let look = figures.status().stopped;
        let seen: Vec<_> = look.iter().map(|stopped| (&*stopped.prefix, &*stopped.why, stopped.since_ms)).collect();
        assert_eq!(seen, [("a", "still gone", 1_000), ("b", "twice", 2_000)]);
        figures.stopped(&stops(&[]), 3_000);
        assert_eq!(figures.status().stopped, []);
    }

    #[test]
    fn the_slowest_hundredth_is_an_age_that_was_seen() {
        assert_eq!(slowest_hundredth(&[]), None);
        assert_eq!(slowest_hundredth(&[(10.0, 990), (500.0, 9), (900.0, 1)]), Some(500.0));
        assert_eq!(slowest_hundredth(&[(7.0, 1)]), Some(7.0));
    }

    #[test]
    fn failures_in_a_row_began_with_the_first() {
        let figures = LoaderFigures::default();
        figures.failed(WarehouseFailure::Unavailable, "paused", 1_000);
        figures.failed(WarehouseFailure::Unavailable, &"x".repeat(ERROR_CHARS_MAX + 1), 2_000);
        let failing = figures.status().failing.expect("it fails");
        assert_eq!((failing.since_ms, failing.failures), (1_000, 2));
        assert_eq!(failing.error.len(), ERROR_CHARS_MAX);
        figures.went_well();
        assert_eq!(figures.status(), LoaderStatus::default());
    }
}
