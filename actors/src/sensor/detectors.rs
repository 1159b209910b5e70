//! Watches one field of one sensor: band, rate of change, flat line, distance from its own baseline.
//!
//! **Owns** what the detectors of a field remember.
//!
//! **Promises**
//! - Constant memory per field.
//! - One alert per excursion, not one per reading: a detector that fired is silent until the field was in order again.
//!   The reading itself is marked every time. The score is armed again at half its threshold, because a value that
//!   hovers around the threshold would otherwise raise an alert at every crossing.
//! - A late reading (older than the sensor's latest event time) is held against the band and the baseline. It neither
//!   counts as a step nor as standing still nor teaches the baseline, since it is not what the field does next.
//!   A reading with the same time as the latest is not late, but makes no step either: there is no time to divide by.
//!
//! **Not here**: what an alert looks like (`alerts.rs`), validity (`judge.rs`).

use messages::schema::Flat;
use messages::{AlertKind, Anomalies};
use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, VALUE_MAX};
use super::rules::Watch;
use super::words::{number, rounded, seconds};

/// The value of a field in a valid reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) value: f64,
    pub(super) time_us: i64,
    pub(super) late: bool,
}

/// What the detectors of all fields found in one reading.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The largest absolute score.
    pub(super) score: f64,
    /// Every detector that objects.
    pub(super) anomalies: Anomalies,
    /// Those that did not object to the reading before.
    pub(super) raised: Vec<Raised>,
}

/// The beginning of an excursion.
#[derive(Debug)]
pub(super) struct Raised {
    /// Index of the field in the schema.
    pub(super) field: usize,
    pub(super) kind: AlertKind,
    pub(super) value: f64,
    /// What the value did and what was expected, to follow the field's name.
    pub(super) what: String,
}

/// What the detectors of one field remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FieldState {
    /// The latest value in event time.
    pub(super) latest: Option<Latest>,
    /// Whether the value before was outside the band.
    outside: bool,
    /// Whether the step before was too fast.
    fast: bool,
    /// Whether the score has not come back since it went over the threshold.
    far: bool,
    /// The level that the field stands at.
    level: Option<Level>,
    /// What is usual.
    pub(super) baseline: Baseline,
}

/// A value and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Latest {
    pub(super) time_us: i64,
    pub(super) value: f64,
}

/// Values in a row that lie within the flat line's tolerance of the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Level {
    first: f64,
    readings: u32,
}

impl FieldState {
    /// Holds a value against every detector of the field, then remembers it.
    pub(super) fn observe(&mut self, watch: &Watch, seen: Observation, findings: &mut Findings) {
        self.check_band(watch, seen, findings);
        if !seen.late {
            self.check_rate(watch, seen, findings);
            self.check_flat(watch, seen, findings);
        }
        self.check_score(watch, seen, findings);
        if !seen.late {
            self.latest = Some(Latest { time_us: seen.time_us, value: seen.value });
        }
    }

    fn check_band(&mut self, watch: &Watch, seen: Observation, findings: &mut Findings) {
        let Some((low, high)) = watch.band else { return };
        let was = std::mem::replace(&mut self.outside, !(low..=high).contains(&seen.value));
        findings.mark(Anomalies::RANGE, self.outside);
        if self.outside && !was {
            let unit = &watch.unit;
            let what = format!("is {}{unit}; expected {} to {}{unit}", number(seen.value), number(low), number(high));
            findings.raise(watch, AlertKind::Range, seen, what);
        }
    }

    fn check_rate(&mut self, watch: &Watch, seen: Observation, findings: &mut Findings) {
        let (Some(rate_max), Some(latest)) = (watch.rate_per_second_max, self.latest) else { return };
        let step_us = seen.time_us.saturating_sub(latest.time_us);
        if step_us <= 0 {
            return;
        }
        let change = seen.value.clamp(-VALUE_MAX, VALUE_MAX) - latest.value.clamp(-VALUE_MAX, VALUE_MAX);
        let rate = change.abs() / (step_us as f64 / 1e6);
        let was = std::mem::replace(&mut self.fast, rate > rate_max);
        findings.mark(Anomalies::RATE, self.fast);
        if self.fast && !was {
            let unit = &watch.unit;
            let what = format!(
                "is {}{unit}, {}{unit} away from the value {} before; expected at most {}{unit} per second",
                number(seen.value),
                rounded(change.abs()),
                seconds(step_us),
                number(rate_max),
            );
            findings.raise(watch, AlertKind::Rate, seen, what);
        }
    }

    fn check_flat(&mut self, watch: &Watch, seen: Observation, findings: &mut Findings) {
        let Some(Flat { readings: readings_max, tolerance }) = watch.flat else { return };
        let level = match self.level {
            Some(level) if (seen.value - level.first).abs() <= tolerance => {
                Level { readings: level.readings.saturating_add(1), ..level }
            }
            Some(_) | None => Level { first: seen.value, readings: 1 },
        };
        self.level = Some(level);
        findings.mark(Anomalies::FLAT, level.readings >= readings_max);
        if level.readings == readings_max {
            let unit = &watch.unit;
            let what = format!(
                "has stayed within {}{unit} of {}{unit} for {readings_max} readings; expected it to vary",
                number(tolerance),
                number(level.first),
            );
            findings.raise(watch, AlertKind::Flat, seen, what);
        }
    }

    fn check_score(&mut self, watch: &Watch, seen: Observation, findings: &mut Findings) {
        let Some(rule) = &watch.score else { return };
        let score = self.baseline.score(rule, seen.value);
        findings.score = findings.score.max(score.abs());
        findings.mark(Anomalies::SCORE, score.abs() > rule.threshold);
        let was = self.far;
        self.far = score.abs() > if was { rule.threshold / 2.0 } else { rule.threshold };
        if let (true, false, Baseline::Learnt(usual)) = (self.far, was, &self.baseline) {
            let unit = &watch.unit;
            let what = format!(
                "is {}{unit}, {} deviations from its usual {}{unit}; expected at most {} deviations of {}{unit}",
                number(seen.value),
                rounded(score.abs()),
                rounded(usual.location),
                number(rule.threshold),
                rounded(usual.scale),
            );
            findings.raise(watch, AlertKind::Score, seen, what);
        }
        if !seen.late {
            self.baseline.learn(rule, seen.value);
        }
    }

    /// Whether every number in it is finite.
    pub(super) fn is_sound(&self) -> bool {
        self.latest.is_none_or(|latest| latest.value.is_finite())
            && self.level.is_none_or(|level| level.first.is_finite())
            && self.baseline.is_sound()
    }
}

impl Findings {
    fn mark(&mut self, anomaly: Anomalies, objects: bool) {
        if objects {
            self.anomalies.insert(anomaly);
        }
    }

    fn raise(&mut self, watch: &Watch, kind: AlertKind, seen: Observation, what: String) {
        self.raised.push(Raised { field: watch.field, kind, value: seen.value, what });
    }
}
