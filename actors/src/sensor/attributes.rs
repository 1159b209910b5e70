//! The tracked attributes of a sensor (its firmware, its place), as numbered versions.
//!
//! **Owns** the count of versions, which of them is in force, and what is remembered of who said what when.
//!
//! **Promises**
//! - Version 1 begins with the first valid reading, also for a schema that tracks nothing: it says that the sensor
//!   exists. Versions have no gaps.
//! - Whoever lays the versions out by the time from which they hold, and takes of each what it says anew, finds at the
//!   event time of every reading what that reading said, in whatever order the readings came. Of two readings of the
//!   same time the later arrival holds.
//! - A late reading makes a version only if it says something else than what holds at its time; where the attributes of
//!   before are known to be confirmed again, another version says so.
//! - A reading that leaves an attribute out says nothing about it: the value stays.
//! - A number is compared with what holds at its time, not with the reading before, so that jitter never makes a
//!   version and slow drift makes one as soon as it adds up to more than the tolerance. A value within the tolerance
//!   is not taken over, even when another attribute makes a new version.
//! - Memory is bounded (`history.rs`). What is older than all that is remembered makes a version of its own, which holds
//!   until the next one that is known.
//!
//! **Not here**: intervals. A version ends where the next one begins.

mod history;

use messages::Column;
use messages::schema::{FieldKind, Value};
use serde::{Deserialize, Serialize};

pub(super) use self::history::Row;
use self::history::{History, Kept};
use super::rules::SensorRules;

/// The versions of a sensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Attributes {
    /// How many there are; 0 before the first valid reading.
    pub(super) versions: u32,
    /// The one in force: the latest by event time.
    pub(super) version: u32,
    /// Event time from which that one holds.
    pub(super) valid_from_us: i64,
    history: History,
}

/// What a reading says.
pub(super) struct ReadAttributes<'a> {
    pub(super) rules: &'a SensorRules,
    pub(super) fields: &'a [Column],
    pub(super) row: usize,
}

impl Attributes {
    pub(super) fn none(rules: &SensorRules) -> Self {
        Self { history: History::none(rules.tracked.len()), ..Self::default() }
    }

    /// As a state of format 1 has it: one version in force, and nothing of those before.
    pub(super) fn of_one(version: u32, valid_from_us: i64, until_us: i64, values: Vec<Option<Value>>) -> Self {
        let history = match version {
            0 => History::none(values.len()),
            _ => History::of_one(valid_from_us, until_us, values),
        };
        Self { versions: version, version, valid_from_us, history }
    }

    /// Takes a reading's attributes over: the versions that follow from it, by the time from which they hold, with
    /// their numbers. Mostly none.
    pub(super) fn observe(&mut self, told: &ReadAttributes<'_>, time_us: i64) -> Vec<(u32, Row)> {
        if self.history.repeats_last(told, time_us) || (self.versions > 0 && !told.says_anything()) {
            return Vec::new();
        }
        let rows = self.history.place(told, time_us, Kept::of(told.rules.history_max));
        rows.into_iter().map(|row| (self.number(row.from_us), row)).collect()
    }

    fn number(&mut self, from_us: i64) -> u32 {
        self.versions = self.versions.saturating_add(1);
        if self.versions == 1 || from_us >= self.valid_from_us {
            self.version = self.versions;
            self.valid_from_us = from_us;
        }
        self.versions
    }

    /// What is in force, in schema order of the tracked fields.
    pub(super) fn values(&self) -> Vec<Option<&Value>> {
        self.history.latest()
    }

    /// Whether something is out of memory.
    #[cfg(test)]
    pub(super) fn has_forgotten(&self) -> bool {
        self.history.has_forgotten()
    }

    /// Whether the parts fit together, for so many attributes.
    pub(super) fn is_sound(&self, width: usize) -> bool {
        self.version <= self.versions && self.history.is_sound(width)
    }

    /// Forgets what does not fit the rules: a state may have been written when a field had another type, or more was
    /// remembered.
    pub(super) fn conform(&mut self, rules: &SensorRules) {
        let kind = |attribute: usize| rules.schema.fields[rules.tracked[attribute]].kind;
        self.history.keep(|attribute, value| match value {
            Value::Float(x) => kind(attribute) == FieldKind::Float && x.is_finite(),
            Value::Integer(_) => kind(attribute) == FieldKind::Integer,
            Value::Boolean(_) => kind(attribute) == FieldKind::Boolean,
            Value::Text(_) => kind(attribute) == FieldKind::Text,
        });
        self.history.shorten(Kept::of(rules.history_max));
    }
}

impl ReadAttributes<'_> {
    fn width(&self) -> usize {
        self.rules.tracked.len()
    }

    fn column(&self, attribute: usize) -> &Column {
        &self.fields[self.rules.tracked[attribute]]
    }

    fn says(&self, attribute: usize) -> bool {
        self.column(attribute).is_present(self.row)
    }

    fn says_anything(&self) -> bool {
        (0..self.width()).any(|attribute| self.says(attribute))
    }

    /// Whether what it says of the attribute, if anything, is this. Compares in place: nearly every reading repeats
    /// them all.
    fn agrees(&self, attribute: usize, known: &Value) -> bool {
        let row = self.row;
        let tolerance = || {
            let spec = &self.rules.schema.fields[self.rules.tracked[attribute]];
            spec.tracked.map_or(0.0, |tracked| tracked.tolerance)
        };
        match (known, self.column(attribute)) {
            (Value::Float(old), Column::Float(new)) => new[row].is_none_or(|new| (new - old).abs() <= tolerance()),
            // Not as floats, in which large neighbours are equal.
            (Value::Integer(old), Column::Integer(new)) => {
                new[row].is_none_or(|new| new.abs_diff(*old) as f64 <= tolerance())
            }
            (Value::Boolean(old), Column::Boolean(new)) => new[row].is_none_or(|new| new == *old),
            (Value::Text(old), Column::Text(new)) => new[row].as_deref().is_none_or(|new| new == old),
            (_, column) => !column.is_present(row),
        }
    }

    fn value(&self, attribute: usize) -> Option<Value> {
        match self.column(attribute) {
            Column::Float(values) => values[self.row].map(Value::Float),
            Column::Integer(values) => values[self.row].map(Value::Integer),
            Column::Boolean(values) => values[self.row].map(Value::Boolean),
            Column::Text(values) => values[self.row].as_deref().map(|text| Value::Text(text.to_owned())),
        }
    }
}
