//! What became of a reading, and why.

use serde::{Deserialize, Serialize};

use crate::{Alert, AlertKind, DimensionChange};

/// Why a reading or a whole record is in quarantine. The text forms are stored; they never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text is not JSON.
    NotJson,
    /// The JSON ends too early.
    Truncated,
    /// JSON, but not an object.
    NotAnObject,
    /// The record has no event in it: no bytes, or blank lines only.
    Empty,
    /// Nested deeper than the configured limit.
    TooDeep,
    /// Larger than the configured limit; it was not parsed.
    TooLarge,
    /// More events in one record than the configured limit.
    TooManyEvents,
    /// A record inside an aggregate whose hash key belongs to another shard.
    OutsideHashRange,
    /// A key that the schema reads stands twice in one object.
    DuplicateKey,
    /// A value has another type than the schema says.
    WrongType,
    /// A number does not fit its type (for example `1e400`).
    NumberOutOfRange,
    /// The sensor id is absent or null.
    MissingId,
    /// The sensor id is empty.
    EmptyId,
    /// The sensor id is longer than the configured limit.
    IdTooLong,
    /// The sensor id has a character that the schema does not allow.
    IdForbidden,
    /// The event time is absent or null.
    MissingTime,
    /// The event time cannot be read in the schema's format.
    BadTime,
    /// The event time is outside the schema's clock bounds.
    TimeOutOfBounds,
    /// A required field is absent or null.
    MissingField,
    /// A value lies outside the field's valid range.
    OutOfRange,
    /// The shard already knows as many sensors as configured.
    TooManySensors,
    /// Processing it failed again and again.
    Poison,
}

impl Reason {
    /// Every reason, for metrics and tests.
    pub const ALL: [Reason; 23] = [
        Self::NotUtf8,
        Self::NotJson,
        Self::Truncated,
        Self::NotAnObject,
        Self::Empty,
        Self::TooDeep,
        Self::TooLarge,
        Self::TooManyEvents,
        Self::OutsideHashRange,
        Self::DuplicateKey,
        Self::WrongType,
        Self::NumberOutOfRange,
        Self::MissingId,
        Self::EmptyId,
        Self::IdTooLong,
        Self::IdForbidden,
        Self::MissingTime,
        Self::BadTime,
        Self::TimeOutOfBounds,
        Self::MissingField,
        Self::OutOfRange,
        Self::TooManySensors,
        Self::Poison,
    ];

    /// The stored text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson => "not_json",
            Self::Truncated => "truncated",
            Self::NotAnObject => "not_an_object",
            Self::Empty => "empty",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::TooManyEvents => "too_many_events",
            Self::OutsideHashRange => "outside_hash_range",
            Self::DuplicateKey => "duplicate_key",
            Self::WrongType => "wrong_type",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::MissingId => "missing_id",
            Self::EmptyId => "empty_id",
            Self::IdTooLong => "id_too_long",
            Self::IdForbidden => "id_forbidden",
            Self::MissingTime => "missing_time",
            Self::BadTime => "bad_time",
            Self::TimeOutOfBounds => "time_out_of_bounds",
            Self::MissingField => "missing_field",
            Self::OutOfRange => "out_of_range",
            Self::TooManySensors => "too_many_sensors",
            Self::Poison => "poison",
        }
    }
}

/// Which detectors fired on a reading, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomalies(pub u8);

impl Anomalies {
    /// The mark of one detector. Stored, so that none ever gets another one; silence is no reading's.
    pub const fn of(kind: AlertKind) -> Self {
        Self(match kind {
            AlertKind::Range => 1,
            AlertKind::Rate => 2,
            AlertKind::Flat => 4,
            AlertKind::Score => 8,
            AlertKind::Heartbeat => 0,
        })
    }

    /// Adds the other set to this one.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The names of those that fired, as alerts have them.
    pub fn names(self) -> Vec<&'static str> {
        let fired = |kind: &AlertKind| self.0 & Self::of(*kind).0 != 0;
        AlertKind::ALL.into_iter().filter(fired).map(AlertKind::as_str).collect()
    }

    /// Whether nothing fired.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a sensor found out about a valid reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Assessment {
    /// The largest absolute robust score over the reading's fields; 0 while the baseline is still being learnt.
    pub score: f32,
    /// The detectors that fired on any field.
    pub anomalies: Anomalies,
    /// The version of the sensor's dimension attributes in force after this reading; starts at 1.
    pub sensor_version: u32,
}

/// What became of one reading.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Valid: it goes to the cleansed zone.
    Clean(Assessment),
    /// Its event id was seen before, within the horizon.
    Duplicate,
    /// Invalid: it goes to quarantine.
    Quarantined {
        /// Why.
        reason: Reason,
        /// The field and what was wrong with it, for a person.
        detail: String,
    },
}

/// What one sensor found out about its readings of one batch, in row order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupOutcome {
    /// One verdict per row of the group.
    pub verdicts: Vec<Verdict>,
    /// Alerts that the group raised.
    pub alerts: Vec<Alert>,
    /// Changes of dimension attributes.
    pub changes: Vec<DimensionChange>,
}

impl GroupOutcome {
    /// Bytes of what was found, beside the verdicts themselves: nobody knew of them when the rows were decoded.
    pub fn held_bytes(&self) -> u64 {
        const ALERT_BYTES: usize = 512;
        const CHANGE_BYTES: usize = 320;
        let details = self.verdicts.iter().map(|verdict| match verdict {
            Verdict::Quarantined { detail, .. } => detail.len(),
            Verdict::Clean(_) | Verdict::Duplicate => 0,
        });
        let found = self.alerts.len() * ALERT_BYTES + self.changes.len() * CHANGE_BYTES;
        (found + details.sum::<usize>()) as u64
    }
}
