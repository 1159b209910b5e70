//! Small epochs, and readers of their objects.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use flate2::read::GzDecoder;
use messages::schema::Value;
use messages::{
    Alert, AlertKind, Anomalies, Assessed, Assessment, Batch, Column, Credit, Cut, CutReason, DimensionChange,
    EpochContent, EpochNumber, EpochPlan, EventSchema, Form, Group, GroupOutcome, InFlight, Position, RawRecord,
    Reason, Reject, Rows, SensorId, SequenceNumber, Severity, ShardId, StreamId, Verdict, Zone,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use messages::EncodedEpoch;

use crate::sinks::{Encoding, EpochContext};

/// 2026-11-22T15:04:05Z.
pub(super) const NOW_MS: i64 = 1_795_359_845_000;
pub(super) const HOUR_MS: i64 = 3_600_000;

/// One event of a record.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// It decoded.
    Reading(Reading),
    /// It did not.
    Reject(Reason, String),
}

#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) sensor: String,
    pub(super) event_time_us: i64,
    pub(super) event_id: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) firmware: Option<String>,
    pub(super) verdict: Verdict,
    pub(super) late: bool,
    pub(super) alerts: usize,
    pub(super) change: bool,
}

/// One record.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) arrival_ms: i64,
    pub(super) data: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

pub(super) fn clean(sensor: &str, event_time_us: i64, temperature: f64) -> Reading {
    Reading {
        sensor: sensor.to_owned(),
        event_time_us,
        event_id: Some(format!("{sensor}/{event_time_us}")),
        temperature: Some(temperature),
        firmware: Some("1.2.3".to_owned()),
        verdict: Verdict::Clean(Assessment { score: 1.5, anomalies: Anomalies(9), sensor_version: 1 }),
        late: false,
        alerts: 0,
        change: false,
    }
}

pub(super) fn event(sequence: u64, parts: Vec<Part>) -> Event {
    Event { sequence, arrival_ms: NOW_MS, data: format!("{{\"n\":{sequence}}}").into_bytes(), parts }
}

pub(super) fn schema() -> Arc<EventSchema> {
    Arc::new(EventSchema::built_in("climate").unwrap())
}

pub(super) fn context() -> EpochContext {
    EpochContext {
        stream: "climate".to_owned(),
        origin: origin(),
        format: EpochPlan::FORMAT,
        shard: ShardId::new("shardId-000000000003"),
        schema: schema(),
        encoding: Encoding::RECOMMENDED,
        previous_state: Some("state/climate/000000000003/00000006-10.state".to_owned()),
    }
}

pub(super) fn origin() -> StreamId {
    StreamId { arn: "arn:aws:kinesis:eu-west-1:000000000000:stream/climate".to_owned(), created_ms: NOW_MS }
}

pub(super) fn cut(to: Position) -> Cut {
    Cut {
        epoch: EpochNumber(7),
        from: Position::At(sequence(10)),
        to,
        reason: CutReason::Age,
        full_state: false,
        whole_aggregates: false,
        spread: false,
    }
}

pub(super) fn content() -> EpochContent {
    EpochContent {
        cut: cut(Position::At(sequence(99))),
        states: Vec::new(),
        aggregates: Vec::new(),
        watermark_us: NOW_MS * 1000,
        silences: Vec::new(),
        receipts: Default::default(),
        turn: None,
    }
}

pub(super) fn sequence(n: u64) -> SequenceNumber {
    SequenceNumber::parse(&n.to_string()).unwrap()
}

/// The events as batches of at most `batch_len` records.
pub(super) fn batches(events: &[Event], batch_len: usize) -> Vec<Assessed> {
    events.chunks(batch_len).map(assess).collect()
}

fn assess(events: &[Event]) -> Assessed {
    let mut records = Vec::new();
    let mut rejects = Vec::new();
    let mut readings: Vec<(u32, u32, Range<usize>, &Reading)> = Vec::new();
    for (record, event) in events.iter().enumerate() {
        records.push(RawRecord {
            sequence: sequence(event.sequence),
            arrival_ms: event.arrival_ms,
            partition_key: "key \"of\" <it>".into(),
            data: Bytes::from(event.data.clone()),
        });
        let share = event.data.len() / event.parts.len().max(1);
        for (sub_sequence, part) in event.parts.iter().enumerate() {
            let (record, span) = (record as u32, sub_sequence * share..(sub_sequence + 1) * share);
            let sub_sequence = sub_sequence as u32;
            match part {
                Part::Reading(reading) => readings.push((record, sub_sequence, span, reading)),
                Part::Reject(reason, detail) => {
                    rejects.push(Reject { record, sub_sequence, span, reason: *reason, detail: detail.clone() });
                }
            }
        }
    }
    let in_flight = InFlight::new(0, batch(records, rejects, &readings));
    settle(&in_flight, &readings);
    let late = readings.iter().map(|(.., reading)| reading.late).collect();
    Assessed { in_flight: Arc::new(in_flight), late }
}

fn batch(records: Vec<RawRecord>, rejects: Vec<Reject>, readings: &[(u32, u32, Range<usize>, &Reading)]) -> Batch {
    let n = readings.len();
    let floats = |value: fn(&Reading) -> Option<f64>| Column::Float(readings.iter().map(|r| value(r.3)).collect());
    let firmware = readings.iter().map(|r| r.3.firmware.as_deref().map(Into::into)).collect();
    let rows = Rows {
        record: readings.iter().map(|r| r.0).collect(),
        sub_sequence: readings.iter().map(|r| r.1).collect(),
        span: readings.iter().map(|r| r.2.clone()).collect(),
        event_time_us: readings.iter().map(|r| r.3.event_time_us).collect(),
        event_id: readings.iter().map(|r| r.3.event_id.as_deref().map(Into::into)).collect(),
        device_sequence: vec![Some(5); n],
        fields: vec![
            floats(|r| r.temperature),
            floats(|_| None),
            floats(|_| Some(88.0)),
            Column::Text(firmware),
            Column::Text(vec![None; n]),
            floats(|_| Some(-0.0)),
            floats(|_| None),
        ],
    };
    let mut order: Vec<u32> = Vec::new();
    let mut groups = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (.., reading) in readings {
        if seen.contains(&reading.sensor.as_str()) {
            continue;
        }
        seen.push(&reading.sensor);
        let start = order.len();
        order.extend((0..n as u32).filter(|&row| readings[row as usize].3.sensor == reading.sensor));
        groups.push(Group { sensor: SensorId::new(&reading.sensor), hash_key: 0, rows: start..order.len() });
    }
    let form = |data: &Bytes| match serde_json::from_slice::<serde_json::Value>(data) {
        Ok(value) if value.is_object() => {
            let blanks = data.len() - data.trim_ascii_start().len();
            Form::of(data, &(blanks..blanks + data.trim_ascii().len()))
        }
        _ => Form::Other,
    };
    let forms = records.iter().map(|record| form(&record.data)).collect();
    Batch { records, forms, rows, rejects, order, groups, credit: Credit::none(), trace: None }
}

fn settle(in_flight: &InFlight, readings: &[(u32, u32, Range<usize>, &Reading)]) {
    let batch = &in_flight.batch;
    for group in 0..batch.groups.len() {
        let mut outcome = GroupOutcome::default();
        for &row in batch.group_rows(group) {
            let reading = readings[row as usize].3;
            outcome.verdicts.push(reading.verdict.clone());
            outcome.alerts.extend((0..reading.alerts).map(|n| alert(batch.record_of(row as usize), reading, n)));
            outcome.changes.extend(reading.change.then(|| change(row, reading)));
        }
        in_flight.settle(group, outcome);
    }
}

fn alert(record: &RawRecord, reading: &Reading, n: usize) -> Alert {
    Alert {
        id: format!("{}-{}-{n}", record.sequence, reading.sensor),
        kind: AlertKind::Range,
        severity: Severity::Warning,
        sensor_id: SensorId::new(&reading.sensor),
        field: Some("temperature".to_owned()),
        value: reading.temperature,
        message: "too \"hot\"\n".to_owned(),
        event_time_us: reading.event_time_us,
        arrival_ms: record.arrival_ms,
        shard: "shardId-000000000003".to_owned(),
        sequence: Some(record.sequence.to_string()),
    }
}

fn change(row: u32, reading: &Reading) -> DimensionChange {
    DimensionChange {
        sensor: SensorId::new(&reading.sensor),
        version: 2,
        valid_from_us: reading.event_time_us,
        row,
        attributes: vec![reading.firmware.clone().map(Value::Text), None, Some(Value::Float(-0.0)), None],
        changed: vec!["firmware".to_owned(), "latitude".to_owned()],
    }
}

/// The bytes of each object of a zone, in the order of their keys.
pub(super) fn objects(epoch: &EncodedEpoch, zone: Zone) -> Vec<Bytes> {
    epoch.objects.iter().filter(|o| o.planned.zone == zone).map(|o| o.bytes.clone()).collect()
}

pub(super) fn keys(epoch: &EncodedEpoch, zone: Zone) -> Vec<String> {
    epoch.objects.iter().filter(|o| o.planned.zone == zone).map(|o| o.planned.key.clone()).collect()
}

pub(super) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// All rows of a Parquet object as one batch.
pub(super) fn read_table(bytes: Bytes) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let schema = builder.schema().clone();
    let chunks: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &chunks).unwrap()
}
