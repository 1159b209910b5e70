//! The rate of change: a value that moves faster than its field can.
//!
//! **Owns** whether the step before was too fast.
//! **Promises** a step is from the latest value in event time to a later one. A late reading makes none, and neither does
//! one with the same time: there is no time to divide by.

use messages::schema::FieldSpec;
use messages::{AlertKind, Severity};
use serde::{Deserialize, Serialize};

use super::{Findings, SeenReading, VALUE_MAX};
use crate::sensor::words::{number, rounded, seconds};

const KIND: AlertKind = AlertKind::Rate;

/// The fastest plausible change.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    per_second_max: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) struct State {
    fast: bool,
}

impl Rule {
    pub(super) fn of(field: &FieldSpec) -> Option<Self> {
        field.detectors.rate_per_second_max.map(|per_second_max| Self { per_second_max })
    }

    fn text(&self, SeenReading { now, unit, .. }: &SeenReading<'_>, change: f64, step_us: i64) -> String {
        format!(
            "is {}{unit}, {}{unit} away from the value {} before; expected at most {}{unit} per second",
            number(now.value),
            rounded(change.abs()),
            seconds(step_us),
            number(self.per_second_max),
        )
    }
}

impl State {
    pub(super) fn observe(&mut self, rule: &Rule, seen: &SeenReading<'_>, findings: &mut Findings) {
        let Some(before) = seen.before.filter(|_| !seen.now.late) else { return };
        let step_us = seen.now.time_us.saturating_sub(before.time_us);
        if step_us <= 0 {
            return;
        }
        let change = seen.now.value.clamp(-VALUE_MAX, VALUE_MAX) - before.value.clamp(-VALUE_MAX, VALUE_MAX);
        let rate = change.abs() / (step_us as f64 / 1e6);
        let was = std::mem::replace(&mut self.fast, rate > rule.per_second_max);
        findings.mark(KIND, self.fast);
        if self.fast && !was {
            // It doubts the measurement rather than the thing measured.
            findings.raise((KIND, Severity::Warning), seen, rule.text(seen, change, step_us));
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use messages::Anomalies;

    use super::*;
    use crate::sensor::tests::*;

    #[test]
    fn a_jump_there_and_back_is_one_rate_excursion() {
        let (anomalies, alerts) = heats(&[20.0, 22.0, 50.0, 21.0, 22.0, 50.0]);
        let marked: Vec<bool> = anomalies.iter().map(|set| *set == Anomalies::of(KIND)).collect();
        assert_eq!(marked, [false, false, true, true, false, true]);
        assert_eq!(kinds(&alerts), [KIND; 2]);
        assert_eq!(
            alerts[0].message,
            "heat is 50 Cel, 28 Cel away from the value 1 s before; expected at most 20 Cel per second"
        );
    }

    #[test]
    fn rate_is_per_event_time_and_needs_a_step_forward() {
        // Two seconds for 30 degrees are enough; two readings at one time and a late one are no step.
        let rows = [at(0, 0.0), at(2, 30.0), at(2, -30.0), at(1, 50.0), at(4, -40.0)];
        assert_eq!(kinds(&assess(&mut sensor(), &rows).1), []);
        // The step is counted from the latest in event time, -40, not from the last in the stream.
        let mut core = sensor();
        assert_eq!(kinds(&assess(&mut core, &[at(4, -40.0), at(3, 20.0), at(5, 0.0)]).1), [KIND]);
    }
}
