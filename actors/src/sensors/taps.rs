//! The last readings of the few sensors that somebody looks at.
//!
//! **Owns** one ring of readings for each sensor that was asked for within the last minute.
//! **Promises** at most [`TAPS_MAX`] rings of [`READINGS_MAX`] readings; while nobody looks it costs one comparison a
//! batch, however many sensors there are.
//! **Not here**: history. The lake has every reading.

use std::collections::VecDeque;
use std::time::Duration;

use messages::{
    DimensionChange, EventSchema, GroupOutcome, InFlight, SensorChange, SensorId, SensorReading, SensorRecent, Verdict,
};
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

/// Sensors that can be looked at at a time, of one shard; the one asked for least lately makes room.
pub(super) const TAPS_MAX: usize = 16;
/// Readings kept of each.
pub(super) const READINGS_MAX: usize = 300;
const CHANGES_MAX: usize = 20;
/// A listener that has not asked for this long has gone.
const IDLE: Duration = Duration::from_secs(60);

/// The open taps.
#[derive(Debug, Default)]
pub(super) struct Taps(Vec<Tap>);

#[derive(Debug)]
struct Tap {
    sensor: SensorId,
    asked: Instant,
    readings: VecDeque<SensorReading>,
    changes: VecDeque<SensorChange>,
}

impl Taps {
    /// Keeps a sensor's readings from now on. True if they were not kept before.
    pub(super) fn open(&mut self, sensor: &SensorId, now: Instant) -> bool {
        if let Some(tap) = self.0.iter_mut().find(|tap| tap.sensor == *sensor) {
            tap.asked = now;
            return false;
        }
        if self.0.len() >= TAPS_MAX {
            let oldest = (0..self.0.len()).min_by_key(|at| self.0[*at].asked);
            oldest.map(|at| self.0.swap_remove(at));
        }
        let (readings, changes) = (VecDeque::new(), VecDeque::new());
        self.0.push(Tap { sensor: sensor.clone(), asked: now, readings, changes });
        true
    }

    /// Takes what a judged batch has of the sensors that somebody looks at.
    pub(super) fn take(&mut self, in_flight: &InFlight, schema: &EventSchema, now: Instant) {
        if self.0.is_empty() {
            return;
        }
        self.0.retain(|tap| now.duration_since(tap.asked) < IDLE);
        for group in 0..in_flight.batch.groups.len() {
            if self.0.iter().any(|tap| tap.sensor == in_flight.batch.groups[group].sensor) {
                self.take_group(in_flight, group, schema);
            }
        }
    }

    /// Takes the readings of one judged group.
    pub(super) fn take_group(&mut self, in_flight: &InFlight, group: usize, schema: &EventSchema) {
        let sensor = &in_flight.batch.groups[group].sensor;
        let Some(tap) = self.0.iter_mut().find(|tap| tap.sensor == *sensor) else { return };
        let Some(outcome) = in_flight.outcome(group) else { return };
        tap.add(in_flight, group, outcome, schema);
    }

    /// What is kept of a sensor.
    pub(super) fn recent(&self, sensor: &SensorId) -> Option<SensorRecent> {
        let tap = self.0.iter().find(|tap| tap.sensor == *sensor)?;
        let (readings, changes) = (tap.readings.iter().cloned().collect(), tap.changes.iter().cloned().collect());
        Some(SensorRecent { readings, changes })
    }
}

impl Tap {
    fn add(&mut self, in_flight: &InFlight, group: usize, outcome: &GroupOutcome, schema: &EventSchema) {
        for (row, verdict) in in_flight.batch.group_rows(group).iter().zip(&outcome.verdicts) {
            push(&mut self.readings, reading(in_flight, *row as usize, verdict, schema), READINGS_MAX);
        }
        for DimensionChange { version, valid_from_us, changed, .. } in &outcome.changes {
            let (version, valid_from_us, changed) = (*version, *valid_from_us, changed.clone());
            push(&mut self.changes, SensorChange { version, valid_from_us, changed }, CHANGES_MAX);
        }
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T, max: usize) {
    if ring.len() >= max {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn reading(in_flight: &InFlight, row: usize, verdict: &Verdict, schema: &EventSchema) -> SensorReading {
    let batch = &in_flight.batch;
    let (verdict, score, anomalies) = match verdict {
        Verdict::Clean(found) => ("clean", found.score, found.anomalies.names()),
        Verdict::Duplicate => ("duplicate", 0.0, Vec::new()),
        Verdict::Quarantined { reason, .. } => (reason.as_str(), 0.0, Vec::new()),
    };
    let numbers = schema.fields.iter().zip(&batch.rows.fields);
    let values: Map<String, Json> =
        numbers.filter_map(|(field, column)| Some((field.name.clone(), json!(column.number(row)?)))).collect();
    SensorReading {
        event_time_us: batch.rows.event_time_us[row],
        arrival_ms: batch.record_of(row).arrival_ms,
        verdict,
        score,
        anomalies,
        values: Json::Object(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_looked_at_and_only_for_a_while() {
        let (mut taps, now) = (Taps::default(), Instant::now());
        let id = |n: usize| SensorId::new(&format!("s{n}"));
        for n in 0..TAPS_MAX + 1 {
            assert!(taps.open(&id(n), now + Duration::from_millis(n as u64)));
        }
        assert!(taps.recent(&id(0)).is_none() && taps.recent(&id(1)).is_some());
        assert!(!taps.open(&id(1), now + IDLE));
        let empty = messages::Batch {
            records: Vec::new(),
            forms: Vec::new(),
            rows: messages::Rows::default(),
            rejects: Vec::new(),
            order: Vec::new(),
            groups: Vec::new(),
            credit: messages::Credit::none(),
            trace: None,
        };
        let schema = EventSchema::built_in("climate").unwrap();
        taps.take(&InFlight::new(1, empty), &schema, now + IDLE + Duration::from_secs(1));
        assert!(taps.recent(&id(1)).is_some() && taps.recent(&id(2)).is_none());
    }
}
