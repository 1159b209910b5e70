//! The tracked attributes of a sensor (its firmware, its place), as numbered versions.
//!
//! **Owns** the version in force: its number, since when, and every attribute's value.
//!
//! **Promises**
//! - Version 1 begins with the first valid reading, also for a schema that tracks nothing: it says that the sensor
//!   exists. Versions have no gaps.
//! - A reading that leaves an attribute out says nothing about it: the value stays.
//! - A number is compared with the version in force, not with the reading before, so that jitter never makes a
//!   version and slow drift makes one as soon as it adds up to more than the tolerance. A value within the tolerance
//!   is not taken over, even when another attribute makes a new version.
//! - A reading older than the beginning of the version in force changes nothing. It belongs into an interval that is
//!   written already; splitting intervals is for the dimension's merge in the warehouse, not for a stream.
//!
//! **Not here**: intervals. A version ends where the next one begins.

use messages::Column;
use messages::schema::{FieldKind, Value};
use serde::{Deserialize, Serialize};

use super::rules::SensorRules;

/// The version in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Attributes {
    /// 0 before the first valid reading.
    pub(super) version: u32,
    /// Event time from which it holds.
    pub(super) valid_from_us: i64,
    /// In schema order of the tracked fields.
    pub(super) values: Vec<Option<Value>>,
}

impl Attributes {
    pub(super) fn none(rules: &SensorRules) -> Self {
        Self { values: vec![None; rules.tracked.len()], ..Self::default() }
    }

    /// Takes a reading's attributes over. The names of those that changed, if that made a new version.
    pub(super) fn observe(
        &mut self,
        rules: &SensorRules,
        fields: &[Column],
        row: usize,
        time_us: i64,
    ) -> Option<Vec<String>> {
        if self.version > 0 && time_us < self.valid_from_us {
            return None;
        }
        let mut changed = Vec::new();
        for (value, &field) in self.values.iter_mut().zip(&rules.tracked) {
            let spec = &rules.schema.fields[field];
            let tolerance = spec.tracked.map_or(0.0, |tracked| tracked.tolerance);
            if differs(value.as_ref(), &fields[field], row, tolerance) {
                *value = value_of(&fields[field], row);
                changed.push(spec.name.clone());
            }
        }
        if changed.is_empty() && self.version > 0 {
            return None;
        }
        self.version = self.version.saturating_add(1);
        self.valid_from_us = time_us;
        Some(changed)
    }

    /// Forgets what does not fit the rules: a state may have been written when a field had another type.
    pub(super) fn conform(&mut self, rules: &SensorRules) {
        for (value, &field) in self.values.iter_mut().zip(&rules.tracked) {
            let fits = match value {
                Some(Value::Float(x)) => rules.schema.fields[field].kind == FieldKind::Float && x.is_finite(),
                Some(Value::Integer(_)) => rules.schema.fields[field].kind == FieldKind::Integer,
                Some(Value::Boolean(_)) => rules.schema.fields[field].kind == FieldKind::Boolean,
                Some(Value::Text(_)) => rules.schema.fields[field].kind == FieldKind::Text,
                None => true,
            };
            if !fits {
                *value = None;
            }
        }
    }
}

/// Whether the row has a value that is not the known one. Compares in place: nearly every reading repeats them all.
fn differs(known: Option<&Value>, column: &Column, row: usize, tolerance: f64) -> bool {
    match (known, column) {
        (Some(Value::Float(old)), Column::Float(new)) => new[row].is_some_and(|new| (new - old).abs() > tolerance),
        // Not as floats, in which large neighbours are equal.
        (Some(Value::Integer(old)), Column::Integer(new)) => {
            new[row].is_some_and(|new| new.abs_diff(*old) as f64 > tolerance)
        }
        (Some(Value::Boolean(old)), Column::Boolean(new)) => new[row].is_some_and(|new| new != *old),
        (Some(Value::Text(old)), Column::Text(new)) => new[row].as_deref().is_some_and(|new| new != old),
        (_, column) => column.is_present(row),
    }
}

fn value_of(column: &Column, row: usize) -> Option<Value> {
    match column {
        Column::Float(values) => values[row].map(Value::Float),
        Column::Integer(values) => values[row].map(Value::Integer),
        Column::Boolean(values) => values[row].map(Value::Boolean),
        Column::Text(values) => values[row].as_deref().map(|text| Value::Text(text.to_owned())),
    }
}
