//! The detectors of a field: which there are, what a reading is to them, and what they have in common.
//!
//! **Owns** the list below, and the latest value of a field. Each detector has a file of its own in `detectors/`, with
//! its rule, its state, its text for people and its tests.
//!
//! **Promises**
//! - Constant memory per field.
//! - One alert per excursion, not one per reading: a detector that fired is silent until the field was in order again.
//!   The reading itself is marked every time.
//! - A late reading (older than the sensor's latest event time) teaches nothing, since it is not what the field does
//!   next. A reading with the same time as the latest is not late.
//! - A detector's state stands by itself: it is stored under its tag, so that a further detector breaks no state that is
//!   stored (`codec.rs`).
//!
//! **A further detector** is a file here, its `mod` line, and its line in the list; its key in the schema, and its name
//! and mark, are in `messages` (`schema/parse.rs`, `alert.rs`, `verdict.rs`). The file has
//!
//! ```text
//! Rule            what the schema asks: Rule::of(&FieldSpec) -> Option<Rule>
//! State           what is remembered: Default, Clone, PartialEq, Serialize, Deserialize; a large one is boxed
//!   observe(&mut self, &Rule, &Seen, &mut Findings)      finds, then learns
//!   is_sound(&self) -> bool                              whether every number in it is finite
//! ```
//!
//! **Not here**: what an alert looks like (`alerts.rs`), validity (`judge.rs`).

pub(super) mod band;
pub(super) mod flat;
pub(super) mod rate;
pub(super) mod score;
#[cfg(test)]
pub(super) mod tests;

use messages::schema::FieldSpec;
use messages::{AlertKind, Anomalies, Severity};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[cfg(test)]
use self::tests::trial;
use super::rules::Watch;

/// Values are cut off here, so that no difference, ratio or square of them can overflow.
const VALUE_MAX: f64 = 1e300;

/// Makes rules and states of the list. No detector costs a call through a pointer, or memory where it has no state.
macro_rules! detectors {
    ($($(#[$only:meta])? $name:ident = $tag:literal),+ $(,)?) => {
        /// What the schema asks of the detectors of one field.
        #[derive(Clone, Debug)]
        pub(super) struct DetectorRules {
            $($(#[$only])? $name: Option<$name::Rule>,)+
        }

        /// What the detectors of one field remember.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(super) struct DetectorStates {
            $($(#[$only])? pub(super) $name: $name::State,)+
        }

        impl DetectorRules {
            pub(super) fn of(field: &FieldSpec) -> Self {
                Self { $($(#[$only])? $name: $name::Rule::of(field),)+ }
            }
        }

        impl DetectorStates {
            fn observe(&mut self, rules: &DetectorRules, seen: &SeenReading<'_>, findings: &mut Findings) {
                $($(#[$only])? {
                    if let Some(rule) = &rules.$name {
                        self.$name.observe(rule, seen, findings);
                    }
                })+
            }

            fn is_sound(&self) -> bool {
                $($(#[$only])? {
                    if !self.$name.is_sound() {
                        return false;
                    }
                })+
                true
            }

            /// The states that differ from a beginning, by tag.
            pub(super) fn tagged(&self) -> Vec<(u32, Vec<u8>)> {
                let mut tagged = Vec::new();
                $($(#[$only])? {
                    tagged.extend(changed(&self.$name).map(|bytes| ($tag, bytes)));
                })+
                tagged
            }

            /// What is stored under tags. One that is not known is dropped; what is missing begins afresh. None if
            /// bytes are no state of the detector whose tag they have.
            pub(super) fn of_tagged(tagged: &[(u32, &[u8])]) -> Option<Self> {
                let mut states = Self::default();
                for (tag, bytes) in tagged {
                    match *tag {
                        $($(#[$only])? $tag => states.$name = whole(bytes)?,)+
                        _ => {}
                    }
                }
                Some(states)
            }

            /// Whether a detector beyond this tag has a state.
            pub(super) fn goes_beyond(&self, last: u32) -> bool {
                $($(#[$only])? {
                    if $tag > last && changed(&self.$name).is_some() {
                        return true;
                    }
                })+
                false
            }

            /// Forgets the states beyond this tag that the schema does not ask for.
            pub(super) fn forget_unasked(&mut self, rules: &DetectorRules, last: u32) {
                $($(#[$only])? {
                    if $tag > last && rules.$name.is_none() {
                        self.$name = Default::default();
                    }
                })+
            }
        }
    };
}

// In the order in which they look at a value, and in which their alerts leave. A tag is stored: it is never given again.
detectors! {
    band = 1,
    rate = 2,
    flat = 3,
    score = 4,
    // What a further one takes, for tests of states with it and without.
    #[cfg(test)]
    trial = 1000,
}

/// The bytes of a state that is not as it began.
fn changed<T: Serialize + Default>(state: &T) -> Option<Vec<u8>> {
    let bytes = |state: &T| postcard::to_stdvec(state).expect("a vector grows, and every part knows its length");
    // By bytes: 0 and -0 are equal, and go on differently.
    Some(bytes(state)).filter(|now| *now != bytes(&T::default()))
}

/// A state that takes all of the bytes.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (state, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(state)
}

/// The value of a field in a valid reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) value: f64,
    pub(super) time_us: i64,
    pub(super) late: bool,
}

/// What a detector sees of a reading.
struct SeenReading<'a> {
    now: Observation,
    /// The latest value before it, in event time.
    before: Option<Latest>,
    /// Index of the field in the schema.
    field: usize,
    /// For messages: a blank and the unit, or nothing.
    unit: &'a str,
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
    pub(super) severity: Severity,
    pub(super) value: f64,
    /// What the value did and what was expected, to follow the field's name.
    pub(super) what: String,
}

/// What is remembered of one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FieldState {
    /// The latest value in event time.
    pub(super) latest: Option<Latest>,
    pub(super) detectors: DetectorStates,
}

/// A value and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Latest {
    pub(super) time_us: i64,
    pub(super) value: f64,
}

impl FieldState {
    /// Holds a value against every detector of the field, then remembers it.
    pub(super) fn observe(&mut self, watch: &Watch, now: Observation, findings: &mut Findings) {
        let seen = SeenReading { now, before: self.latest, field: watch.field, unit: &watch.unit };
        self.detectors.observe(&watch.rules, &seen, findings);
        if !now.late {
            self.latest = Some(Latest { time_us: now.time_us, value: now.value });
        }
    }

    /// Whether every number in it is finite.
    pub(super) fn is_sound(&self) -> bool {
        self.latest.is_none_or(|latest| latest.value.is_finite()) && self.detectors.is_sound()
    }
}

impl Findings {
    fn mark(&mut self, kind: AlertKind, objects: bool) {
        if objects {
            self.anomalies.insert(Anomalies::of(kind));
        }
    }

    fn raise(&mut self, (kind, severity): (AlertKind, Severity), seen: &SeenReading<'_>, what: String) {
        self.raised.push(Raised { field: seen.field, kind, severity, value: seen.now.value, what });
    }
}
