//! A further detector, for tests: it watches for a value above all before it. It looks at fields of the unit `trial`.

use messages::schema::FieldSpec;
use messages::{AlertKind, Severity};
use serde::{Deserialize, Serialize};

use crate::sensor::detectors::{Findings, SeenReading};

#[derive(Clone, Debug)]
pub(in crate::sensor::detectors) struct Rule;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::sensor) struct State {
    /// A large state would be boxed, and so is this one: a sensor without the detector does not pay for it.
    learnt: Option<Box<Learnt>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Learnt {
    highest: f64,
    readings: u32,
}

impl Rule {
    pub(in crate::sensor::detectors) fn of(field: &FieldSpec) -> Option<Self> {
        (field.unit.as_deref() == Some("trial")).then_some(Self)
    }
}

impl State {
    pub(in crate::sensor::detectors) fn observe(&mut self, _: &Rule, seen: &SeenReading<'_>, findings: &mut Findings) {
        let now = seen.now.value;
        let learnt = self.learnt.get_or_insert_with(|| Box::new(Learnt { highest: now, readings: 0 }));
        if now > learnt.highest {
            findings.raise((AlertKind::Score, Severity::Warning), seen, format!("is above {}", learnt.highest));
        }
        learnt.highest = learnt.highest.max(now);
        learnt.readings += 1;
    }

    pub(in crate::sensor::detectors) fn is_sound(&self) -> bool {
        self.learnt.as_ref().is_none_or(|learnt| learnt.highest.is_finite())
    }
}
