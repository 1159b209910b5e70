//! From records to columns: one pass over the JSON, driven by the schema, straight into the batch's columns.
//!
//! **Owns** the rules of decoding: what is an event, which bytes are whose, what is refused here and why.
//! **Promises** whatever the bytes are, each event of a record ends as exactly one row or one reject; a record without
//! any event ends as one reject. Work is linear in the bytes, nesting and counts are bounded. What is true of a record
//! is true of a user record of an aggregate: its events are numbered on over the whole record.
//! **Not here**: ranges, clocks, required fields, duplicates. Those are the sensor's, who knows its state.

mod event;
mod kpl;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use messages::schema::{FieldKind, TimeLimits};
use messages::{Batch, Column, Credit, EventSchema, Group, HashRange, RawRecord, Reason, Reject, Rows, SensorId};

use self::event::{Event, Refusal, Scalar};
use self::paths::Paths;
use crate::budget::Held;
use crate::hash_key;

/// Limits on what one record may ask of the decoder.
#[derive(Clone, Debug)]
pub struct DecodeLimits {
    /// Larger records are quarantined unparsed, in bytes.
    pub record_bytes_max: usize,
    /// A record with more events is quarantined whole.
    pub events_per_record_max: usize,
    /// Deeper nesting is quarantined.
    pub depth_max: usize,
}

/// Decodes the records of one shard.
#[derive(Clone, Debug)]
pub struct Decoder {
    schema: Arc<EventSchema>,
    paths: Arc<Paths>,
    limits: DecodeLimits,
    /// Which times count as partitions.
    time: TimeLimits,
    /// What else is inside an aggregate belongs to other shards.
    hash_range: HashRange,
    /// Unless nothing is: where keys do not decide on the shard, a hash range has nothing to say.
    whole_aggregates: bool,
}

impl Decoder {
    /// A decoder of this schema, for the shard with this hash range.
    pub fn new(schema: Arc<EventSchema>, limits: DecodeLimits, hash_range: HashRange) -> Self {
        let paths = Arc::new(Paths::new(&schema));
        Self { time: schema.time.limits(), schema, paths, limits, hash_range, whole_aggregates: false }
    }

    /// Whether user records of other hash ranges are taken from now on.
    pub fn take_whole_aggregates(&mut self, whole: bool) {
        self.whole_aggregates = whole;
    }

    /// Starts a batch.
    pub fn batch(&self) -> BatchBuilder<'_> {
        let column = |kind| match kind {
            FieldKind::Float => Column::Float(Vec::new()),
            FieldKind::Integer => Column::Integer(Vec::new()),
            FieldKind::Boolean => Column::Boolean(Vec::new()),
            FieldKind::Text => Column::Text(Vec::new()),
        };
        let fields = self.schema.fields.iter().map(|field| column(field.kind)).collect();
        BatchBuilder {
            decoder: self,
            records: Vec::new(),
            rows: Rows { fields, ..Rows::default() },
            rejects: Vec::new(),
            sensors: HashMap::new(),
            groups: Vec::new(),
            bytes: 0,
            held: Held::of_fields(self.schema.fields.len()),
            partition: None,
            partitions: BTreeSet::new(),
        }
    }
}

/// What stands in a record, whole or among others: an event, or something in which none is looked for.
#[derive(Debug)]
struct Piece {
    /// Its bytes within the record.
    span: Range<usize>,
    /// Where on the stream it belongs, if it does not follow its record there.
    hash_key: Option<u128>,
    /// Why it is no event.
    refusal: Option<Refusal>,
}

impl Piece {
    fn plain(span: Range<usize>) -> Self {
        Self { span, hash_key: None, refusal: None }
    }
}

/// A sensor's rows, with the hash key of the first.
#[derive(Debug)]
struct Members {
    sensor: SensorId,
    hash_key: u128,
    rows: Vec<u32>,
}

/// A batch that grows record by record.
#[derive(Debug)]
pub struct BatchBuilder<'a> {
    decoder: &'a Decoder,
    records: Vec<RawRecord>,
    rows: Rows,
    rejects: Vec<Reject>,
    sensors: HashMap<SensorId, usize>,
    groups: Vec<Members>,
    bytes: u64,
    held: Held,
    /// The last of them.
    partition: Option<i64>,
    partitions: BTreeSet<i64>,
}

impl BatchBuilder<'_> {
    /// Decodes one more record.
    pub fn push(&mut self, record: RawRecord) {
        let index = self.records.len() as u32;
        let data = record.data.clone();
        self.bytes += data.len() as u64;
        self.held.record(data.len());
        self.records.push(record);
        if data.len() > self.decoder.limits.record_bytes_max {
            let limit = self.decoder.limits.record_bytes_max;
            let detail = format!("{} bytes, more than the {limit} allowed", data.len());
            self.reject(index, 0, 0..data.len(), Reason::TooLarge, detail);
            return;
        }
        let events_max = self.decoder.limits.events_per_record_max;
        let pieces = match kpl::has_magic(&data) {
            true => kpl::pieces(&data, self.decoder.aggregate_range(), events_max),
            false => event::split(&data, events_max).map(|spans| spans.into_iter().map(Piece::plain).collect()),
        };
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err((reason, detail)) => return self.reject(index, 0, 0..data.len(), reason, detail),
        };
        for (sub, Piece { span, hash_key, refusal }) in pieces.into_iter().enumerate() {
            let event = match refusal {
                Some(refusal) => Err(refusal),
                None => self.decoder.decode(&data[span.clone()]),
            };
            match event {
                Ok(event) => self.row(index, sub as u32, span, event, hash_key),
                Err((reason, detail)) => self.reject(index, sub as u32, span, reason, detail),
            }
        }
    }

    /// Takes one more record in without looking into it: processing it has failed again and again.
    pub fn push_poisoned(&mut self, record: RawRecord) {
        let (index, bytes) = (self.records.len() as u32, record.data.len());
        self.bytes += bytes as u64;
        self.held.record(bytes);
        self.records.push(record);
        let detail = "the process died with it again and again; it was not looked into".to_owned();
        self.reject(index, 0, 0..bytes, Reason::Poison, detail);
    }

    /// Bytes of the records so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows and rejects so far.
    pub fn readings(&self) -> u64 {
        (self.rows.len() + self.rejects.len()) as u64
    }

    /// Bytes that all of this takes until its epoch is committed: as it came, as rows, and encoded.
    pub fn held(&self) -> u64 {
        self.held.bytes()
    }

    /// Partitions of the cleansed zone, by their start, that the rows since the last call may fall into.
    /// A time that cannot become valid is in none.
    pub fn take_partitions(&mut self) -> BTreeSet<i64> {
        self.partition = None;
        std::mem::take(&mut self.partitions)
    }

    /// Closes the batch.
    pub fn finish(self, credit: Credit) -> Batch {
        let mut order = Vec::with_capacity(self.rows.len());
        let groups = self
            .groups
            .into_iter()
            .map(|Members { sensor, hash_key, rows }| {
                let start = order.len();
                order.extend(rows);
                Group { sensor, hash_key, rows: start..order.len() }
            })
            .collect();
        Batch { records: self.records, rows: self.rows, rejects: self.rejects, order, groups, credit, trace: None }
    }

    fn reject(&mut self, record: u32, sub: u32, span: Range<usize>, reason: Reason, detail: String) {
        self.held.reject(detail.len());
        self.rejects.push(Reject { record, sub_sequence: sub, span, reason, detail });
    }

    fn row(&mut self, record: u32, sub: u32, span: Range<usize>, event: Event, own_hash_key: Option<u128>) {
        let row = self.rows.len() as u32;
        self.held.row();
        self.touch(event.time_us, self.records[record as usize].arrival_ms);
        self.rows.record.push(record);
        self.rows.sub_sequence.push(sub);
        self.rows.span.push(span);
        self.rows.event_time_us.push(event.time_us);
        self.rows.event_id.push(event.event_id);
        self.rows.device_sequence.push(event.device_sequence);
        for (column, value) in self.rows.fields.iter_mut().zip(event.fields) {
            match (column, value) {
                (Column::Float(values), Some(Scalar::Float(x))) => values.push(Some(x)),
                (Column::Integer(values), Some(Scalar::Integer(n))) => values.push(Some(n)),
                (Column::Boolean(values), Some(Scalar::Boolean(b))) => values.push(Some(b)),
                (Column::Text(values), Some(Scalar::Text(t))) => values.push(Some(t)),
                // The event holds each field in its column's type or not at all.
                (Column::Float(values), _) => values.push(None),
                (Column::Integer(values), _) => values.push(None),
                (Column::Boolean(values), _) => values.push(None),
                (Column::Text(values), _) => values.push(None),
            }
        }
        let group = match self.sensors.get(event.sensor.as_ref() as &str) {
            Some(group) => *group,
            None => {
                self.held.group();
                let sensor = SensorId::new(&event.sensor);
                self.sensors.insert(sensor.clone(), self.groups.len());
                // Only here: of all the rows of a group, one is hashed.
                let of_record = || hash_key(&self.records[record as usize].partition_key);
                let hash_key = own_hash_key.unwrap_or_else(of_record);
                self.groups.push(Members { sensor, hash_key, rows: Vec::new() });
                self.groups.len() - 1
            }
        };
        self.groups[group].rows.push(row);
    }

    /// Notes the partition of a time, if it can become valid: what cannot goes where its record arrived.
    fn touch(&mut self, time_us: i64, arrival_ms: i64) {
        if self.decoder.time.believe(time_us, arrival_ms) {
            let start_us = self.decoder.schema.partition_by.start_of(time_us);
            if self.partition.replace(start_us) != Some(start_us) {
                self.partitions.insert(start_us);
            }
        }
    }
}

impl Decoder {
    /// Where the user records of an aggregate have to belong.
    fn aggregate_range(&self) -> HashRange {
        if self.whole_aggregates { HashRange::FULL } else { self.hash_range }
    }

    fn decode(&self, bytes: &[u8]) -> Result<Event, (Reason, String)> {
        event::decode(bytes, &self.schema, &self.paths, self.limits.depth_max)
    }
}
