//! The score: how far a value lies from what is usual for this sensor, in robust deviations.
//!
//! **Owns** the baseline, and whether the score is away from it.
//!
//! **Promises**
//! - The score is armed again at half its threshold, because a value that hovers around the threshold would otherwise
//!   raise an alert at every crossing.
//! - A late reading is scored, and teaches the baseline nothing.
//!
//! **Not here**: how the baseline learns (`score/baseline.rs`).

mod baseline;
#[cfg(test)]
mod tests;

use messages::schema::FieldSpec;
use messages::{AlertKind, Severity};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

pub(in crate::sensor) use self::baseline::Baseline;
use self::baseline::Estimate;
pub(super) use self::baseline::ScoreRule as Rule;
use super::{Findings, SeenReading};
use crate::sensor::words::{number, rounded};

const KIND: AlertKind = AlertKind::Score;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) struct State {
    /// Whether the score has not come back since it went over the threshold.
    pub(in crate::sensor) far: bool,
    /// What is usual.
    pub(in crate::sensor) baseline: Baseline,
}

impl Rule {
    pub(super) fn of(field: &FieldSpec) -> Option<Self> {
        field.detectors.score.as_ref().map(Self::new)
    }

    fn text(&self, SeenReading { now, unit, .. }: &SeenReading<'_>, score: f64, usual: &Estimate) -> String {
        format!(
            "is {}{unit}, {} deviations from its usual {}{unit}; expected at most {} deviations of {}{unit}",
            number(now.value),
            rounded(score.abs()),
            rounded(usual.location),
            number(self.threshold),
            rounded(usual.scale),
        )
    }
}

impl State {
    pub(super) fn observe(&mut self, rule: &Rule, seen: &SeenReading<'_>, findings: &mut Findings) {
        let score = self.baseline.score(rule, seen.now.value);
        findings.score = findings.score.max(score.abs());
        findings.mark(KIND, score.abs() > rule.threshold);
        let was = self.far;
        self.far = score.abs() > if was { rule.threshold / 2.0 } else { rule.threshold };
        if let (true, false, Baseline::Learnt(usual)) = (self.far, was, &self.baseline) {
            // It only knows that something is unusual.
            findings.raise((KIND, Severity::Warning), seen, rule.text(seen, score, usual));
        }
        if !seen.now.late {
            self.baseline.learn(rule, seen.now.value);
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        self.baseline.is_sound()
    }

    /// What is usual, for people.
    pub(in crate::sensor) fn shown(&self) -> Option<Json> {
        match &self.baseline {
            Baseline::Learnt(usual) => {
                Some(json!({ "location": usual.location, "deviation": usual.scale, "readings": usual.values }))
            }
            Baseline::Starting(values) if !values.is_empty() => Some(json!({ "readings": values.len() })),
            Baseline::Starting(_) => None,
        }
    }
}
