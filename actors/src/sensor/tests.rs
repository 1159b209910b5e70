//! A sensor of a small schema, and rows to feed it.

mod alerting;
mod attributes;
mod codec;
mod history;
mod judging;
mod replay;
pub(super) mod stored;

use std::sync::Arc;

use bytes::Bytes;
use messages::{
    Alert, AlertKind, Anomalies, Assessment, Batch, Column, Credit, EventSchema, Form, Group, GroupOutcome, RawRecord,
    Rows, SensorId, SequenceNumber, ShardId, Verdict,
};

use super::{SensorCore, SensorRules};

/// Short memories, so that a few rows take every detector through all it can do.
pub(super) const SCHEMA: &str = r#"
name = "small"
[sensor_id]
path = "id"
[time]
path = "ts"
format = "microseconds"
past_max = "1h"
future_max = "1m"
[event_id]
path = "event_id"

[[fields]]
name = "heat"
type = "float"
unit = "Cel"
range = [-90.0, 90.0]
required = true
[fields.detectors]
range = [-40.0, 60.0]
rate_per_second_max = 20.0
flat = { readings = 3, tolerance = 0.5 }
score = { threshold = 10.0, half_life = 4, warmup = 8, scale_min = 0.5 }

[[fields]]
name = "ticks"
type = "integer"
[fields.detectors]
score = { threshold = 10.0, half_life = 64, warmup = 32, scale_min = 0.05 }

[[fields]]
name = "firmware"
type = "text"
bytes_max = 8
[fields.tracked]

[[fields]]
name = "height"
type = "float"
[fields.tracked]
tolerance = 0.5

[[fields]]
name = "serial"
type = "integer"
[fields.tracked]

[[fields]]
name = "mains"
type = "boolean"
[fields.tracked]
"#;

/// 2026-01-01.
pub(super) const START_US: i64 = 1_767_225_600_000_000;
pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const SHARD: &str = "shardId-000000000000";

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) time_us: i64,
    pub(super) arrival_ms: i64,
    pub(super) event_id: Option<String>,
    pub(super) heat: Option<f64>,
    pub(super) ticks: Option<i64>,
    pub(super) firmware: Option<String>,
    pub(super) height: Option<f64>,
    pub(super) serial: Option<i64>,
    pub(super) mains: Option<bool>,
    pub(super) poison: bool,
}

/// A valid row, measured and arrived `second` seconds after the start.
pub(super) fn at(second: i64, heat: f64) -> Row {
    Row {
        time_us: START_US + second * SECOND_US,
        arrival_ms: START_US / 1000 + second * 1000,
        event_id: None,
        heat: Some(heat),
        ticks: None,
        firmware: None,
        height: None,
        serial: None,
        mains: None,
        poison: false,
    }
}

pub(super) fn rules() -> Arc<SensorRules> {
    let schema = EventSchema::parse(SCHEMA).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(SensorRules::new(Arc::new(schema), 4))
}

pub(super) fn sensor() -> SensorCore {
    SensorCore::new(id(), rules())
}

pub(super) fn id() -> SensorId {
    SensorId::new("s-1")
}

/// One record a row; sequence numbers begin at `first`.
pub(super) fn batch(rows: &[Row], first: usize) -> Batch {
    let records = rows.iter().enumerate().map(|(n, row)| RawRecord {
        sequence: SequenceNumber::parse(&(first + n).to_string()).unwrap(),
        arrival_ms: row.arrival_ms,
        partition_key: "s-1".into(),
        data: Bytes::from_static(b"{}"),
    });
    let numbers = 0..rows.len() as u32;
    Batch {
        records: records.collect(),
        forms: vec![Form::Line; rows.len()],
        rows: Rows {
            record: numbers.clone().collect(),
            sub_sequence: vec![0; rows.len()],
            span: vec![0..2; rows.len()],
            event_time_us: rows.iter().map(|row| row.time_us).collect(),
            event_id: rows.iter().map(|row| row.event_id.as_deref().map(Into::into)).collect(),
            device_sequence: vec![None; rows.len()],
            fields: vec![
                Column::Float(rows.iter().map(|row| row.heat).collect()),
                Column::Integer(rows.iter().map(|row| row.ticks).collect()),
                Column::Text(rows.iter().map(|row| row.firmware.as_deref().map(Into::into)).collect()),
                Column::Float(rows.iter().map(|row| row.height).collect()),
                Column::Integer(rows.iter().map(|row| row.serial).collect()),
                Column::Boolean(rows.iter().map(|row| row.mains).collect()),
            ],
        },
        rejects: Vec::new(),
        order: numbers.collect(),
        groups: vec![Group { sensor: id(), hash_key: 0, rows: 0..rows.len() }],
        credit: Credit::none(),
        trace: None,
    }
}

pub(super) fn poison_of(rows: &[Row]) -> Vec<u32> {
    (0u32..).zip(rows).filter(|(_, row)| row.poison).map(|(n, _)| n).collect()
}

/// Feeds rows as one batch.
pub(super) fn feed(core: &mut SensorCore, rows: &[Row]) -> GroupOutcome {
    core.apply(&ShardId::new(SHARD), &batch(rows, 0), 0, &poison_of(rows), &mut |_| {})
}

/// Feeds rows that must all be valid.
pub(super) fn assess(core: &mut SensorCore, rows: &[Row]) -> (Vec<Assessment>, Vec<Alert>) {
    let outcome = feed(core, rows);
    let assessments = outcome.verdicts.iter().map(|verdict| match verdict {
        Verdict::Clean(assessment) => *assessment,
        other => panic!("expected a valid row, not {other:?}"),
    });
    (assessments.collect(), outcome.alerts)
}

/// What was marked and raised at heats that come a second apart.
pub(super) fn heats(heats: &[f64]) -> (Vec<Anomalies>, Vec<Alert>) {
    let rows: Vec<Row> = (0i64..).zip(heats).map(|(n, heat)| at(n, *heat)).collect();
    let (assessments, alerts) = assess(&mut sensor(), &rows);
    (assessments.iter().map(|assessment| assessment.anomalies).collect(), alerts)
}

pub(super) fn kinds(alerts: &[Alert]) -> Vec<AlertKind> {
    alerts.iter().map(|alert| alert.kind).collect()
}

/// Values around 20, at most `width` away, that hardly ever stand still.
pub(super) fn noise(n: i64, width: f64) -> f64 {
    20.0 + width * ((n * 7 % 11) as f64 / 5.0 - 1.0)
}
