//! What a cleansed row says, as one number.
//!
//! **Owns** the digest by which a row of a table is compared with a reading of the replay.
//! **Promises** equal values have equal digests, whichever side they come from; floats are compared by their bits.
//! **Fails** never.
//! **Not here**: who is right.

use std::hash::{DefaultHasher, Hash, Hasher};

use messages::Column;
use messages::schema::FieldKind;

use super::table::{Cells, Read};

/// A digest in the making. The hasher's keys are fixed: the same in every process.
#[derive(Clone)]
pub(super) struct Content(DefaultHasher);

impl Content {
    pub(super) fn of(sensor: &str, event_time_us: i64) -> Self {
        let mut hasher = DefaultHasher::new();
        (sensor, event_time_us).hash(&mut hasher);
        Self(hasher)
    }

    /// A field's value as the decoder gives it.
    pub(super) fn decoded(&mut self, column: &Column, row: usize) {
        match column {
            Column::Float(values) => self.add(values[row].map(f64::to_bits)),
            Column::Integer(values) => self.add(values[row]),
            Column::Boolean(values) => self.add(values[row]),
            Column::Text(values) => self.add(values[row].as_deref()),
        }
    }

    /// A field's value as the table gives it.
    pub(super) fn stored(&mut self, kind: FieldKind, cells: &Cells, column: usize) -> Read<()> {
        match kind {
            FieldKind::Float => self.add(cells.number_or_null(column)?.map(f64::to_bits)),
            FieldKind::Integer => self.add(cells.whole_or_null(column)?),
            FieldKind::Boolean => self.add(cells.flag_or_null(column)?),
            FieldKind::Text => self.add(cells.text_or_null(column)?),
        }
        Ok(())
    }

    pub(super) fn identity(&mut self, event_id: Option<&str>, device_sequence: Option<i64>) {
        self.add((event_id, device_sequence));
    }

    pub(super) fn assessment(mut self, score: f64, anomalies: i64, version: i64) -> u64 {
        self.add((score.to_bits(), anomalies, version));
        self.0.finish()
    }

    /// All that a warehouse has of a cleansed row, but its version.
    pub(super) fn fact(mut self, score: f64, anomalies: i64, late: bool, quality: &str, arrival_us: i64) -> u64 {
        self.add((score.to_bits(), anomalies, late, quality, arrival_us));
        self.0.finish()
    }

    /// The rest of a version of a sensor.
    pub(super) fn version(mut self, changed: &str, arrival_us: i64) -> u64 {
        self.add((changed, arrival_us));
        self.0.finish()
    }

    pub(super) fn add(&mut self, value: impl Hash) {
        value.hash(&mut self.0);
    }
}
