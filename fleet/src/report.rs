//! What a run amounts to, once it has ended.
//!
//! **Owns** the final counts and the latency histogram.
//! **Promises** that `acked + failed + unsent` is all that was handed to the sender.
//! **Fails** never.
//! **Not here**: live counts (`progress`), single records (`ledger`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// The result of [`run_fleet`](crate::run_fleet) and [`run_replay`](crate::run_replay).
#[derive(Clone, Debug, Default, Serialize)]
pub struct FleetReport {
    /// Records stored by this run.
    pub acked: u64,
    /// Records whose outcome was unknown at least once: the stream may hold them more than once.
    pub maybe: u64,
    /// Records given up. One that was also `maybe` can be in the stream nevertheless.
    pub failed: u64,
    /// Records never sent, because the run was stopped and its time to drain had passed.
    pub unsent: u64,
    /// Record sends that were repeats.
    pub retried: u64,
    /// Record sends that the stream throttled.
    pub throttled: u64,
    /// Events that were due while the backlog was full, and so were never made.
    pub shed: u64,
    /// Records that a later one of the same sensor overtook; 0 when order is strict.
    pub overtaken: u64,
    /// Rows that an earlier run had already delivered.
    pub skipped: u64,
    /// Rows sent again although an earlier run may have delivered them.
    pub maybe_resent: u64,
    /// Rows that did not parse.
    pub bad_rows: u64,
    /// The first of them, as `file:line: problem`.
    pub bad_row_samples: Vec<String>,
    /// The replay was complete before this run, which sent nothing.
    pub already_complete: bool,
    /// Payload bytes acknowledged.
    pub bytes: u64,
    /// From start to the last answer.
    pub elapsed_ms: u64,
    /// From the moment a record was due to its acknowledgement.
    pub latency: LatencyReport,
    /// Acknowledged records by kind.
    pub acked_by_kind: BTreeMap<&'static str, u64>,
}

/// Percentiles in milliseconds, exact to about 6 %; the maximum is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LatencyReport {
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The worst.
    pub max_ms: f64,
}

/// Sixteen buckets per power of two of microseconds.
const SUB_BITS: u32 = 4;

/// A histogram of fixed size, whatever the run's length.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    buckets: Vec<u64>,
    max: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: vec![0; (64 << SUB_BITS) as usize], max: Duration::ZERO }
    }
}

impl Latency {
    pub(crate) fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(micros)] += 1;
        self.max = self.max.max(took);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.max = self.max.max(other.max);
    }

    pub(crate) fn report(&self) -> LatencyReport {
        LatencyReport {
            p50_ms: self.percentile_ms(0.50),
            p99_ms: self.percentile_ms(0.99),
            max_ms: self.max.as_secs_f64() * 1e3,
        }
    }

    /// The upper end of the bucket that holds the percentile, so that it is never flattering.
    fn percentile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.buckets.iter().sum();
        let rank = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= rank {
                return (upper_end(bucket) as f64 / 1e3).min(self.max.as_secs_f64() * 1e3);
            }
        }
        0.0
    }
}

fn bucket_of(micros: u64) -> usize {
    if micros < 1 << SUB_BITS {
        return micros as usize;
    }
    let power = micros.ilog2();
    let sub = (micros >> (power - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    (((power - SUB_BITS + 1) as u64) << SUB_BITS | sub) as usize
}

fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (group, sub) = (bucket >> SUB_BITS, bucket & ((1 << SUB_BITS) - 1));
    if group == 0 {
        return sub;
    }
    let next = u128::from((1 << SUB_BITS) + sub + 1) << (group - 1);
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_bucket_that_is_at_most_a_sixteenth_wide() {
        for micros in (0..100_000).chain([u64::MAX / 2, u64::MAX]) {
            let end = upper_end(bucket_of(micros));
            assert!(end >= micros && end - micros <= micros / 16, "{micros} -> {end}");
        }
    }

    #[test]
    fn percentiles_come_from_all_lanes() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        (0..98).for_each(|_| one.record(Duration::from_millis(10)));
        (0..2).for_each(|_| other.record(Duration::from_millis(500)));
        one.merge(&other);
        let report = one.report();
        assert!((10.0..10.7).contains(&report.p50_ms), "{report:?}");
        assert!((490.0..=500.0).contains(&report.p99_ms), "{report:?}");
        assert_eq!(report.max_ms, 500.0);
    }
}
