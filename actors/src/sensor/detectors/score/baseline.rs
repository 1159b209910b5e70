//! Learns what is usual for one field of one sensor, and says how unusual a value is.
//!
//! **Owns** a location and a scale, both robust: one wild value moves them hardly at all.
//!
//! **Promises**
//! - Constant memory, a bounded cost per value, and numbers that stay finite whatever comes in.
//! - A spike moves the location by at most two deviations times the learning rate, however high it is.
//! - A permanent shift is learnt again. If values stay beyond the threshold on one side, the baseline is dropped
//!   after [`ScoreRule::relearn`] of them, `max(half_life, warmup)`, and the next `warmup` make a new one. A shift
//!   that stays within the threshold, or falls back within it because the scale grows, is followed by the recursion:
//!   the location arrives after about `1.9 * half_life * ln(2 + 0.64 * threshold)` values (four half-lives at a
//!   threshold of 10).
//!
//! **Method.** Robust exponential smoothing after Gelper, Fried and Croux, "Robust forecasting with exponential and
//! Holt-Winters smoothing", Journal of Forecasting 29(3), 2010, pages 285-300, without trend and season. With the
//! value `y`, location `m`, scale `s` and learning rate `w`:
//!
//! ```text
//! z  = (y - m) / s                                     the score, before the value has any influence
//! s' = s * sqrt(1 + w * (rho(z) - 1))                  rho: Tukey's biweight, bounded
//! m' = m + w * s' * psi((y - m) / s')                  psi: Huber's, cut off at k = 2
//! rho(x) = 2.52 * (1 - (1 - (x/k)^2)^3) for |x| <= k, else 2.52;    psi(x) = max(-k, min(k, x))
//! ```
//!
//! Huber's psi is from "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35(1), 1964.
//! 2.52 makes the expectation of rho 1 for normal values, so that `s` is then their standard deviation.
//! As in the paper the start is a median and a scaled median absolute deviation, of the first 15 values here: they
//! withstand 7 wild ones. `w` begins at the reciprocal of the number of values, so that all early ones weigh the
//! same, and falls to the rate of the half-life. Dropping a baseline after a long run on one side is our addition:
//! the recursion alone would learn a shift of `D` deviations in `1.9 * half_life * ln(1 + 0.38 * D)` values, and
//! would be left with a scale grown far too wide.
//!
//! **Not here**: when a score is an alert (`score.rs`).

use messages::schema::Score;
use serde::{Deserialize, Serialize};

use super::super::VALUE_MAX;

/// Values that the first estimate is made of; odd, so that the median is one of them.
const START_VALUES: u32 = 15;
/// Scores are cut off here: beyond, they say nothing more.
const SCORE_MAX: f64 = 1e6;
/// Where psi and rho level off, in deviations.
const K: f64 = 2.0;
/// The height of rho: the reciprocal of its expectation over standard normal values at unit height.
const RHO_MAX: f64 = 2.52;
/// Turns a median absolute deviation of normal values into their standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// A field's score settings, ready for use.
#[derive(Clone, Debug)]
pub(in crate::sensor::detectors) struct ScoreRule {
    pub(super) threshold: f64,
    scale_min: f64,
    warmup: u32,
    start: u32,
    rate: f64,
    relearn: u32,
}

impl ScoreRule {
    pub(super) fn new(score: &Score) -> Self {
        Self {
            threshold: score.threshold,
            scale_min: score.scale_min.min(VALUE_MAX),
            warmup: score.warmup,
            start: score.warmup.clamp(1, START_VALUES),
            rate: learning_rate(score.half_life),
            // The cast saturates, which is what "never" needs.
            relearn: score.warmup.max(score.half_life.ceil() as u32),
        }
    }
}

/// The weight of the newest value, `1 - 2^(-1 / half_life)`.
///
/// Written out in basic operations, which IEEE 754 fixes to the last bit: `exp` differs between C libraries, and
/// workers on different machines must agree on every state.
fn learning_rate(half_life: f64) -> f64 {
    let mut x = std::f64::consts::LN_2 / half_life;
    if x > 64.0 {
        return 1.0;
    }
    let mut doublings = 0;
    while x > 0.25 {
        x /= 2.0;
        doublings += 1;
    }
    // 1 - e^-x by Horner's rule; the first term left out is below 2^-64.
    let mut rate = (1..=14).rev().fold(0.0, |tail, n| x / f64::from(n) * (1.0 - tail));
    for _ in 0..doublings {
        rate *= 2.0 - rate;
    }
    rate
}

/// What is usual for a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) enum Baseline {
    /// Too few values for an estimate: they are kept.
    Starting(Vec<f64>),
    /// An estimate that every value improves.
    Learnt(Estimate),
}

impl Default for Baseline {
    fn default() -> Self {
        Self::Starting(Vec::new())
    }
}

/// The estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) struct Estimate {
    pub(super) location: f64,
    pub(super) scale: f64,
    /// Values that it was made of.
    pub(super) values: u32,
    /// Values in a row beyond the threshold; negative below the location.
    run: i64,
}

impl Baseline {
    /// How many deviations the value lies from what is usual; 0 while that is still being learnt.
    pub(super) fn score(&self, rule: &ScoreRule, value: f64) -> f64 {
        match self {
            Self::Learnt(estimate) if estimate.values >= rule.warmup => {
                estimate.deviations(rule, value).clamp(-SCORE_MAX, SCORE_MAX)
            }
            Self::Learnt(_) | Self::Starting(_) => 0.0,
        }
    }

    /// Lets the value have its influence.
    pub(super) fn learn(&mut self, rule: &ScoreRule, value: f64) {
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        match self {
            Self::Starting(values) => {
                values.push(value);
                if values.len() >= rule.start as usize {
                    *self = Self::Learnt(Estimate::of(values, rule));
                }
            }
            Self::Learnt(estimate) => {
                estimate.learn(rule, value);
                if estimate.run.unsigned_abs() >= u64::from(rule.relearn) {
                    *self = Self::default();
                }
            }
        }
    }

    /// Whether every number in it is finite and every deviation above zero.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Starting(values) => values.iter().all(|v| v.is_finite()),
            Self::Learnt(estimate) => {
                estimate.location.is_finite() && estimate.scale.is_finite() && estimate.scale > 0.0
            }
        }
    }
}

impl Estimate {
    fn of(values: &mut [f64], rule: &ScoreRule) -> Self {
        let location = median(values);
        for value in values.iter_mut() {
            *value = (*value - location).abs();
        }
        let scale = (MAD_TO_DEVIATION * median(values)).max(rule.scale_min);
        Self { location, scale, values: values.len() as u32, run: 0 }
    }

    fn deviations(&self, rule: &ScoreRule, value: f64) -> f64 {
        // The schema may ask for a larger deviation than it did when this was learnt.
        (value.clamp(-VALUE_MAX, VALUE_MAX) - self.location) / self.scale.max(rule.scale_min)
    }

    fn learn(&mut self, rule: &ScoreRule, value: f64) {
        let z = self.deviations(rule, value);
        self.values = self.values.saturating_add(1);
        self.run = match z {
            z if z > rule.threshold => self.run.max(0) + 1,
            z if z < -rule.threshold => self.run.min(0) - 1,
            _ => 0,
        };
        let rate = rule.rate.max(1.0 / f64::from(self.values));
        let scale = self.scale.max(rule.scale_min);
        self.scale = (scale * (1.0 + rate * (rho(z) - 1.0)).max(0.0).sqrt()).max(rule.scale_min);
        self.location += rate * (value - self.location).clamp(-K * self.scale, K * self.scale);
    }
}

fn rho(x: f64) -> f64 {
    if x.abs() >= K {
        return RHO_MAX;
    }
    let inside = 1.0 - (x / K) * (x / K);
    RHO_MAX * (1.0 - inside * inside * inside)
}

/// The middle value, the lower one of two; sorts the values on the way.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_is_that_of_the_half_life() {
        for half_life in [0.02, 0.5, 1.0, 7.3, 64.0, 168.0, 1e6] {
            let expected = -(-std::f64::consts::LN_2 / half_life).exp_m1();
            let rate = learning_rate(half_life);
            assert!((rate / expected - 1.0).abs() < 1e-14, "{half_life}: {rate} for {expected}");
        }
        assert_eq!(learning_rate(1e-300), 1.0);
    }

    #[test]
    fn rho_has_expectation_one_for_normal_values() {
        let step = 1e-3;
        let mean: f64 = (-8000..8000)
            .map(|n| (f64::from(n) + 0.5) * step)
            .map(|x| rho(x) * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * step)
            .sum();
        // The paper rounds 2.5153 to 2.52.
        assert!((mean - 1.0).abs() < 3e-3, "{mean}");
    }
}
