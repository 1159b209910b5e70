//! What every sensor of a schema is judged by, worked out once and shared by all of them.
//!
//! **Owns** the lists of fields that each check walks over, so that a reading is not asked about checks it has none of.
//! **Not here**: anything that belongs to one sensor.

use std::sync::Arc;

use messages::schema::{Detectors, EventSchema, FieldKind, FieldSpec, TimeLimits};

use super::detectors::DetectorRules;
use super::layout::{self, Layout};
use super::words;

/// What the sensors of a schema are judged by.
#[derive(Clone, Debug)]
pub struct SensorRules {
    /// The schema.
    pub schema: Arc<EventSchema>,
    /// How many event ids each sensor remembers to recognise duplicates.
    pub event_ids_max: usize,
    /// How many stretches of its attributes each sensor remembers to place late readings.
    pub history_max: usize,
    pub(super) time: TimeLimits,
    /// Fields without which a reading is invalid.
    pub(super) required: Vec<usize>,
    /// Fields whose values must be finite and in their range.
    pub(super) numbers: Vec<usize>,
    /// Fields whose values must not be too long.
    pub(super) texts: Vec<usize>,
    /// Fields that detectors or people look at.
    pub(super) watched: Vec<Watch>,
    /// Fields whose changes make a new version of the sensor.
    pub(super) tracked: Vec<usize>,
    /// Which field stands where in a state: the layout of this schema, then others that a state may have.
    pub(super) layouts: Vec<Layout>,
}

/// The detectors of one field.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Index of the field in the schema.
    pub(super) field: usize,
    /// For messages: a blank and the unit, or nothing.
    pub(super) unit: String,
    pub(super) rules: DetectorRules,
}

impl SensorRules {
    /// Event ids remembered unless the configuration says otherwise: some minutes of a device that repeats what it
    /// got no answer for, in 256 bytes.
    pub const EVENT_IDS: usize = 32;

    /// Stretches of attributes remembered unless the configuration says otherwise.
    pub const HISTORY: usize = 16;

    /// Works the rules of a schema out.
    pub fn new(schema: Arc<EventSchema>, event_ids_max: usize) -> Self {
        let fields = || schema.fields.iter().enumerate();
        let indexes = |wanted: fn(&FieldSpec) -> bool| fields().filter(|(_, f)| wanted(f)).map(|(n, _)| n).collect();
        Self {
            event_ids_max,
            history_max: Self::HISTORY,
            time: schema.time.limits(),
            required: indexes(|field| field.required),
            numbers: indexes(|field| field.kind.is_number()),
            texts: indexes(|field| field.kind == FieldKind::Text),
            watched: fields().filter(|(_, field)| is_watched(field)).map(|(n, field)| Watch::new(n, field)).collect(),
            tracked: schema.tracked().map(|(n, _)| n).collect(),
            layouts: layout::of(&schema),
            schema,
        }
    }

    /// The same with another length of memory for attributes.
    pub fn remembering(self, history_max: usize) -> Self {
        Self { history_max, ..self }
    }
}

/// Numbers are watched even without a detector: people ask for their latest value. Tracked ones only with a detector,
/// since their current value is kept already.
pub(super) fn is_watched(field: &FieldSpec) -> bool {
    field.kind.is_number() && (field.tracked.is_none() || field.detectors != Detectors::default())
}

impl Watch {
    fn new(field: usize, spec: &FieldSpec) -> Self {
        Self { field, unit: words::unit(spec), rules: DetectorRules::of(spec) }
    }
}
