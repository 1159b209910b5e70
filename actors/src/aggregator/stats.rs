//! Statistics of the values of one field in one window, in constant memory.
//!
//! **Owns** the arithmetic.
//! **Promises** what two passes over the values would give, to nine digits and more; the same bits for the same
//! values in the same order, also when the state was stored and read back in between (STATE).
//! **Fails** never: values are finite numbers, and so is what is made of them. A sum beyond the range of floats stands at
//! its end; a deviation whose squares are beyond it is none.
//! **Not here**: windows.

use serde::{Deserialize, Serialize};

/// A value and when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct TimedValue {
    event_time_us: i64,
    value: f64,
}

/// Statistics of at least one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stats {
    count: u64,
    sum: f64,
    /// What rounding took from `sum` so far (Neumaier 1974).
    sum_lost: f64,
    min: f64,
    max: f64,
    /// Running mean and sum of squared deviations from it (Welford 1962): squares of the values themselves would
    /// cancel each other out when the values are large and close together.
    mean: f64,
    squares: f64,
    first: TimedValue,
    last: TimedValue,
}

impl Stats {
    /// Statistics of one value.
    pub(super) fn of(event_time_us: i64, value: f64) -> Self {
        let sample = TimedValue { event_time_us, value };
        Self {
            count: 1,
            sum: value,
            sum_lost: 0.0,
            min: value,
            max: value,
            mean: value,
            squares: 0.0,
            first: sample,
            last: sample,
        }
    }

    /// Adds the next value in stream order.
    pub(super) fn add(&mut self, event_time_us: i64, value: f64) {
        self.count += 1;
        self.add_to_sum(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let distance = value - self.mean;
        let n = self.count as f64;
        if distance.is_finite() {
            self.mean += distance / n;
        } else {
            // They lie farther apart than the largest float.
            self.mean += value / n - self.mean / n;
        }
        if !self.mean.is_finite() {
            self.mean = self.mean.clamp(self.min, self.max);
        }
        self.squares += distance * (value - self.mean);
        // Among equal times the first in stream order stays the first, and the last becomes the last.
        let sample = TimedValue { event_time_us, value };
        if event_time_us < self.first.event_time_us {
            self.first = sample;
        }
        if event_time_us >= self.last.event_time_us {
            self.last = sample;
        }
    }

    fn add_to_sum(&mut self, value: f64) {
        let sum = self.sum + value;
        self.sum_lost +=
            if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn sum(&self) -> f64 {
        let sum = self.sum + self.sum_lost;
        // On the way the sum was beyond the range of floats. That of all values need not be.
        if sum.is_finite() { sum } else { (self.mean * self.count as f64).clamp(f64::MIN, f64::MAX) }
    }

    pub(super) fn min(&self) -> f64 {
        self.min
    }

    pub(super) fn max(&self) -> f64 {
        self.max
    }

    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// The sample standard deviation; none below two values, and none once its squares have left the range of floats.
    pub(super) fn stddev(&self) -> Option<f64> {
        (self.count > 1 && self.squares.is_finite()).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }

    /// The value with the earliest event time.
    pub(super) fn first(&self) -> f64 {
        self.first.value
    }

    /// The value with the latest event time.
    pub(super) fn last(&self) -> f64 {
        self.last.value
    }

    /// The earliest event time.
    pub(super) fn first_us(&self) -> i64 {
        self.first.event_time_us
    }

    /// The latest event time.
    pub(super) fn last_us(&self) -> i64 {
        self.last.event_time_us
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stats(samples: &[(i64, f64)]) -> Stats {
        let mut stats = Stats::of(samples[0].0, samples[0].1);
        samples[1..].iter().for_each(|&(time, value)| stats.add(time, value));
        stats
    }

    /// Values around a level that may be a million times their spread, as pressures and counters are.
    fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
        (-1e6..1e6_f64, -3..4_i32).prop_flat_map(|(level, magnitude)| {
            let spread = 10f64.powi(magnitude);
            prop::collection::vec((0..50_i64, -1.0..1.0_f64), 1..300)
                .prop_map(move |v| v.into_iter().map(|(time, x)| (time, level + spread * x)).collect())
        })
    }

    proptest! {
        #[test]
        fn one_pass_gives_what_two_passes_give(samples in samples()) {
            let stats = stats(&samples);
            let n = samples.len() as f64;
            let scale = samples.iter().map(|s| s.1.abs()).fold(0.0, f64::max);
            let mean = samples.iter().map(|s| s.1).sum::<f64>() / n;
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * scale.max(b.abs());
            prop_assert_eq!(stats.count(), samples.len() as u64);
            prop_assert!(close(stats.mean(), mean), "{} {}", stats.mean(), mean);
            prop_assert!(close(stats.sum() / n, mean), "{} {}", stats.sum() / n, mean);
            let squares: f64 = samples.iter().map(|s| (s.1 - mean).powi(2)).sum();
            match stats.stddev() {
                Some(stddev) => prop_assert!(close(stddev, (squares / (n - 1.0)).sqrt()), "{} {}", stddev, squares),
                None => prop_assert_eq!(samples.len(), 1),
            }
            // Ties: min_by keeps the first of equals, max_by the last.
            prop_assert_eq!(stats.first(), samples.iter().min_by_key(|s| s.0).unwrap().1);
            prop_assert_eq!(stats.last(), samples.iter().max_by_key(|s| s.0).unwrap().1);
            prop_assert_eq!(stats.min(), samples.iter().map(|s| s.1).fold(f64::INFINITY, f64::min));
            prop_assert_eq!(stats.max(), samples.iter().map(|s| s.1).fold(f64::NEG_INFINITY, f64::max));
        }
    }

    #[test]
    fn large_values_close_together_keep_their_spread() {
        let stats = stats(&[(0, 1e9 + 4.0), (1, 1e9 + 7.0), (2, 1e9 + 13.0), (3, 1e9 + 16.0)]);
        assert!((stats.stddev().unwrap() - 30f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn a_sum_keeps_what_rounding_would_take() {
        assert_eq!(stats(&[(0, 1.0), (1, 1e100), (2, 1.0), (3, -1e100)]).sum(), 2.0);
        assert_eq!(stats(&[(0, f64::MAX), (1, f64::MAX)]).sum(), f64::MAX);
        assert!(stats(&[(0, f64::MAX), (1, f64::MAX), (2, f64::MIN), (3, f64::MIN)]).sum().abs() < 1e300);
    }

    proptest! {
        #[test]
        fn no_values_make_a_statistic_that_is_no_number(values in prop::collection::vec(huge(), 1..50)) {
            let samples: Vec<(i64, f64)> = values.iter().map(|value| (0, *value)).collect();
            let stats = stats(&samples);
            let shown = [Some(stats.mean()), Some(stats.sum()), stats.stddev()];
            prop_assert!(shown.iter().flatten().all(|x| x.is_finite()), "{shown:?}");
            let slack = stats.mean().abs() * 1e-9;
            prop_assert!(stats.min() - stats.mean() <= slack && stats.mean() - stats.max() <= slack, "{shown:?}");
            // Values well below the root of the largest float have a deviation.
            if values.iter().all(|value| value.abs() < 1e150) {
                prop_assert_eq!(stats.stddev().is_some(), values.len() > 1);
            }
        }
    }

    fn huge() -> impl Strategy<Value = f64> {
        prop_oneof![Just(f64::MAX), Just(f64::MIN), -1e308..1e308_f64, -1e155..1e155_f64, -1e149..1e149_f64, Just(0.0),]
    }

    #[test]
    fn the_mean_of_opposite_extremes_lies_between_them() {
        let stats = stats(&[(0, f64::MAX), (1, f64::MIN)]);
        assert_eq!((stats.mean(), stats.sum(), stats.stddev()), (0.0, 0.0, None));
    }
}
