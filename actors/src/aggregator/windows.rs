//! The hourly and daily windows of one shard.
//!
//! **Owns** the shard's event-time watermark, the windows of its sensors, and the decision which readings are late.
//! **Promises** a pure function of the readings in stream order (STATE): where batches end, where cuts fall and how
//! often it is restored changes revision numbers at most, never a value or a late flag. Each window judges by itself:
//! hours count exactly the valid readings that are not marked late, and days those as well that are late for their hour
//! only (CLEAN-ONCE). Memory is bounded (BOUNDED): between cuts a window takes at least one reading of the epoch; beyond
//! a cut there are at most `windows_per_sensor_max` per sensor.
//! **Fails** by a panic on an incomplete batch; a restart begins from the state of the last cut.
//! **Not here**: the clock. Only readings move the watermark.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use messages::{
    AggregateRow, Batch, Column, Cut, EventSchema, InFlight, SensorId, StateEntry, StateKind, Verdict, WindowKind,
};

pub use super::sensor_windows::WindowStateError;
use super::sensor_windows::{Closing, SensorWindows, is_forgotten};
use crate::hash_key;

/// How long windows wait, and how many may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowsConfig {
    /// How long after its end, by the watermark, a window still takes readings.
    pub allowed_lateness: Duration,
    /// Open windows of one sensor, hourly and daily together. A reading that would open one more is late for it, and the
    /// day comes first. Below the number that the allowed lateness spans (an hour each, and a day each) it shortens it;
    /// at least 2.
    pub windows_per_sensor_max: usize,
}

/// The windows of one shard.
#[derive(Debug)]
pub struct Windows {
    schema: Arc<EventSchema>,
    /// Numbers of the aggregated fields in the schema.
    fields: Vec<u16>,
    lateness_us: i64,
    windows_per_sensor_max: usize,
    /// The latest event time of a valid reading.
    watermark_us: i64,
    /// Never walked for output without sorting.
    /// Boxed, as a map has up to twice as many places as it holds.
    sensors: HashMap<SensorId, Box<SensorWindows>>,
}

/// What a cut adds to its epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowsCut {
    /// Windows that closed or were revised, ordered by window, sensor and field.
    pub aggregates: Vec<AggregateRow>,
    /// States of the sensors whose windows changed since the last cut (or of all), ordered by sensor. Empty bytes:
    /// no window is left.
    pub states: Vec<StateEntry>,
    /// The watermark.
    pub watermark_us: i64,
}

impl Windows {
    /// No windows, at the beginning of time.
    pub fn new(schema: Arc<EventSchema>, config: WindowsConfig) -> Self {
        // A schema has far fewer than 2^16 fields.
        let fields = schema.aggregated().map(|(index, _)| index as u16).collect();
        Self {
            schema,
            fields,
            lateness_us: i64::try_from(config.allowed_lateness.as_micros()).unwrap_or(i64::MAX),
            windows_per_sensor_max: config.windows_per_sensor_max,
            watermark_us: i64::MIN,
            sensors: HashMap::new(),
        }
    }

    /// Takes over stored windows of the same shard, of a schema with these fields: they are found by name. Those that
    /// this schema does not aggregate are dropped; new ones begin empty. A later entry of a sensor replaces an earlier
    /// one; the watermark never goes back.
    pub fn restore(
        &mut self,
        fields: &[String],
        watermark_us: i64,
        entries: impl IntoIterator<Item = (SensorId, u128, Arc<[u8]>)>,
    ) -> Result<(), WindowStateError> {
        let place = |name: &String| self.schema.aggregated().position(|(_, field)| field.name == *name);
        let places: Vec<Option<usize>> = fields.iter().map(place).collect();
        for (sensor, hash_key, bytes) in entries {
            if bytes.is_empty() {
                self.sensors.remove(&sensor);
                continue;
            }
            let windows = SensorWindows::decode(&sensor, hash_key, &bytes, &places)?;
            self.sensors.insert(sensor, Box::new(windows));
        }
        self.watermark_us = self.watermark_us.max(watermark_us);
        Ok(())
    }

    /// Counts the valid readings of a complete batch; tells per row whether it is valid but too late for its hour.
    ///
    /// # Panics
    /// If a group has no outcome yet.
    pub fn fold(&mut self, in_flight: &InFlight) -> Vec<bool> {
        let batch = &in_flight.batch;
        let watermarks = self.watermarks(in_flight);
        let columns = self.fields.iter().map(|field| &batch.rows.fields[usize::from(*field)]).collect();
        let mut fold = Fold { batch, watermarks, columns, late: vec![false; batch.rows.len()] };
        // Sensors do not touch each other, so that once the watermark of each row is known, they can go one by one.
        for group in 0..batch.groups.len() {
            self.fold_group(group, &mut fold);
        }
        fold.late
    }

    /// Ends the epoch: writes what is due, forgets what takes no more readings.
    pub fn cut(&mut self, cut: &Cut) -> WindowsCut {
        let closing = Closing {
            watermark_us: self.watermark_us,
            lateness_us: self.lateness_us,
            // Nobody may read on here for long, or ever.
            provisional: cut.reason.is_the_last(),
        };
        // When all that is open is written, a list that grows would hold its rows twice. Else it is not worth a walk.
        let n_due = match closing.provisional {
            true => self.sensors.values().map(|windows| windows.n_due(closing)).sum(),
            false => 0,
        };
        let (mut aggregates, mut states) = (Vec::with_capacity(n_due), Vec::new());
        for (sensor, windows) in &mut self.sensors {
            windows.write_due(sensor, &self.fields, closing, &mut aggregates);
            windows.forget(closing);
            if windows.touched || cut.full_state {
                windows.touched = false;
                states.push(StateEntry {
                    kind: StateKind::Windows,
                    sensor: sensor.clone(),
                    hash_key: windows.hash_key,
                    bytes: windows.encode(&self.fields).into(),
                });
            }
        }
        self.sensors.retain(|_, windows| !windows.is_empty());
        aggregates.sort_unstable_by(|a, b| {
            (a.window, a.start_us, &a.sensor, a.field).cmp(&(b.window, b.start_us, &b.sensor, b.field))
        });
        states.sort_unstable_by(|a, b| a.sensor.cmp(&b.sensor));
        WindowsCut { aggregates, states, watermark_us: self.watermark_us }
    }

    /// How many sensors have a window.
    pub fn sensors(&self) -> usize {
        self.sensors.len()
    }

    /// Whether a window holds readings that no revision counts yet.
    pub fn has_unwritten(&self) -> bool {
        self.sensors.values().any(|windows| windows.has_unwritten())
    }

    /// How many windows are held.
    pub fn open_windows(&self) -> usize {
        self.sensors.values().map(|windows| windows.len()).sum()
    }

    /// Per row the watermark as it stood before it; none if the row is not valid. Moves the shard's watermark.
    fn watermarks(&mut self, in_flight: &InFlight) -> Vec<Option<i64>> {
        let batch = &in_flight.batch;
        let mut watermarks = vec![None; batch.rows.len()];
        for group in 0..batch.groups.len() {
            let outcome = in_flight.outcome(group).expect("only complete batches are folded");
            for (row, verdict) in batch.group_rows(group).iter().zip(&outcome.verdicts) {
                if let Verdict::Clean(_) = verdict {
                    watermarks[*row as usize] = Some(i64::MIN);
                }
            }
        }
        for (watermark, event_time_us) in watermarks.iter_mut().zip(&batch.rows.event_time_us) {
            if let Some(watermark) = watermark {
                *watermark = self.watermark_us;
                self.watermark_us = self.watermark_us.max(*event_time_us);
            }
        }
        watermarks
    }

    fn fold_group(&mut self, group: usize, fold: &mut Fold<'_>) {
        let rows = fold.batch.group_rows(group);
        for &row in rows {
            let row = row as usize;
            fold.late[row] = fold.watermarks[row].is_some() && !fold.is_open(row, WindowKind::Hourly, self.lateness_us);
        }
        let counts = |row: &&u32| fold.counts(**row as usize, self.lateness_us);
        let Some(&first) = rows.iter().find(counts) else { return };
        let windows = self.sensors.entry(fold.batch.groups[group].sensor.clone()).or_insert_with(|| {
            Box::new(SensorWindows::new(hash_key(&fold.batch.record_of(first as usize).partition_key)))
        });
        for &row in rows {
            let row = row as usize;
            let Some(watermark_us) = fold.watermarks[row].filter(|_| fold.has_value(row)) else { continue };
            let event_time_us = fold.batch.rows.event_time_us[row];
            // The day first: where there is room for one more, it is worth more than an hour.
            for kind in [WindowKind::Daily, WindowKind::Hourly] {
                if !fold.is_open(row, kind, self.lateness_us) {
                    continue;
                }
                let has_room = windows.has(kind, event_time_us)
                    || windows.n_open(watermark_us, self.lateness_us) < self.windows_per_sensor_max;
                if has_room {
                    windows.add(kind, event_time_us, fold.columns.iter().map(|column| column.number(row)));
                } else if kind == WindowKind::Hourly {
                    fold.late[row] = true;
                }
            }
        }
    }
}

/// A batch while it is counted.
struct Fold<'a> {
    batch: &'a Batch,
    /// Per row the watermark as it stood before it; none if the row is not valid.
    watermarks: Vec<Option<i64>>,
    /// The aggregated fields.
    columns: Vec<&'a Column>,
    /// For its hour.
    late: Vec<bool>,
}

impl Fold<'_> {
    /// Whether the row's window of this kind still takes readings.
    fn is_open(&self, row: usize, kind: WindowKind, lateness_us: i64) -> bool {
        let start_us = kind.start_of(self.batch.rows.event_time_us[row]);
        self.watermarks[row].is_some_and(|watermark_us| !is_forgotten(kind, start_us, watermark_us, lateness_us))
    }

    fn has_value(&self, row: usize) -> bool {
        self.columns.iter().any(|column| column.number(row).is_some())
    }

    /// Whether a window may count the row. A day is open for longer than its hours.
    fn counts(&self, row: usize, lateness_us: i64) -> bool {
        self.is_open(row, WindowKind::Daily, lateness_us) && self.has_value(row)
    }
}
