//! The band: a value outside the range that its operator expects.
//!
//! **Owns** whether the value before was outside.
//! **Promises** late readings are held against it as well: it asks for nothing but the value.

use messages::schema::FieldSpec;
use messages::{AlertKind, Severity};
use serde::{Deserialize, Serialize};

use super::{Findings, SeenReading};
use crate::sensor::words::number;

const KIND: AlertKind = AlertKind::Range;

/// The lowest and the highest value expected.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    low: f64,
    high: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) struct State {
    outside: bool,
}

impl Rule {
    pub(super) fn of(field: &FieldSpec) -> Option<Self> {
        field.detectors.range.map(|(low, high)| Self { low, high })
    }

    fn text(&self, SeenReading { now, unit, .. }: &SeenReading<'_>) -> String {
        format!("is {}{unit}; expected {} to {}{unit}", number(now.value), number(self.low), number(self.high))
    }
}

impl State {
    pub(super) fn observe(&mut self, rule: &Rule, seen: &SeenReading<'_>, findings: &mut Findings) {
        let was = std::mem::replace(&mut self.outside, !(rule.low..=rule.high).contains(&seen.now.value));
        findings.mark(KIND, self.outside);
        if self.outside && !was {
            // It may mean damage right now.
            findings.raise((KIND, Severity::Critical), seen, rule.text(seen));
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
    fn the_band_raises_once_per_excursion() {
        let (anomalies, alerts) = heats(&[59.0, 61.0, 63.0, 58.0, 62.0]);
        let marked: Vec<bool> = anomalies.iter().map(|set| set.0 & Anomalies::of(KIND).0 != 0).collect();
        assert_eq!(marked, [false, true, true, false, true]);
        assert_eq!(kinds(&alerts), [KIND; 2]);
        assert_eq!(alerts[0].message, "heat is 61 Cel; expected -40 to 60 Cel");
        assert_eq!((alerts[0].value, alerts[0].severity), (Some(61.0), Severity::Critical));
    }

    #[test]
    fn a_late_reading_is_held_against_the_band() {
        assert_eq!(kinds(&assess(&mut sensor(), &[at(5, 20.0), at(1, 70.0)]).1), [KIND]);
    }
}
