//! The flat line: a value that stays put for too many readings.
//!
//! **Owns** the level that the field stands at, and for how many readings.
//! **Promises** a late reading neither makes nor breaks a flat line.

use messages::schema::{FieldSpec, Flat};
use messages::{AlertKind, Severity};
use serde::{Deserialize, Serialize};

use super::{Findings, SeenReading};
use crate::sensor::words::number;

const KIND: AlertKind = AlertKind::Flat;

#[derive(Clone, Debug)]
pub(super) struct Rule(Flat);

/// Values in a row that lie within the tolerance of the first of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) enum State {
    /// There was no value yet.
    #[default]
    New,
    Level {
        first: f64,
        readings: u32,
    },
}

impl Rule {
    pub(super) fn of(field: &FieldSpec) -> Option<Self> {
        field.detectors.flat.map(Self)
    }

    fn text(&self, unit: &str, first: f64) -> String {
        let Flat { readings, tolerance } = self.0;
        let (tolerance, first) = (number(tolerance), number(first));
        format!("has stayed within {tolerance}{unit} of {first}{unit} for {readings} readings; expected it to vary")
    }
}

impl State {
    pub(super) fn observe(&mut self, rule: &Rule, seen: &SeenReading<'_>, findings: &mut Findings) {
        if seen.now.late {
            return;
        }
        let Flat { readings: readings_max, tolerance } = rule.0;
        let (first, readings) = match *self {
            Self::Level { first, readings } if (seen.now.value - first).abs() <= tolerance => {
                (first, readings.saturating_add(1))
            }
            Self::Level { .. } | Self::New => (seen.now.value, 1),
        };
        *self = Self::Level { first, readings };
        findings.mark(KIND, readings >= readings_max);
        if readings == readings_max {
            // It doubts the measurement rather than the thing measured.
            findings.raise((KIND, Severity::Warning), seen, rule.text(seen.unit, first));
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Level { first, .. } => first.is_finite(),
            Self::New => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use messages::Anomalies;

    use super::*;
    use crate::sensor::tests::*;

    #[test]
    fn a_flat_line_raises_once_per_episode() {
        let (anomalies, alerts) = heats(&[20.0, 20.2, 19.8, 20.4, 20.0, 21.0, 21.1, 21.2]);
        let marked: Vec<bool> = anomalies.iter().map(|set| *set == Anomalies::of(KIND)).collect();
        assert_eq!(marked, [false, false, true, true, true, false, false, true]);
        assert_eq!(kinds(&alerts), [KIND; 2]);
        assert_eq!(alerts[0].message, "heat has stayed within 0.5 Cel of 20 Cel for 3 readings; expected it to vary");
    }

    #[test]
    fn late_readings_do_not_make_or_break_a_flat_line() {
        let rows = [at(5, 20.0), at(6, 20.0), at(1, 35.0), at(7, 20.0)];
        assert_eq!(kinds(&assess(&mut sensor(), &rows).1), [KIND]);
        let rows = [at(5, 20.0), at(4, 20.0), at(3, 20.0), at(6, 21.0)];
        assert_eq!(kinds(&assess(&mut sensor(), &rows).1), []);
    }
}
