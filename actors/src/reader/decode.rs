//! From records to columns: one pass over the JSON, driven by the schema, straight into the batch's columns.
//!
//! **Owns** the rules of decoding: what is an event, which bytes are whose, what is refused here and why.
//! **Promises** whatever the bytes are, each event of a record ends as exactly one row or one reject, and so does each
//! stretch in which none can be read; a record without any event ends as one reject. Their place in the record is their
//! number. Work is linear in the bytes, nesting and counts are bounded. What is true of a record is true of a user
//! record of an aggregate: its events are numbered on over the whole record.
//! **Not here**: ranges, clocks, required fields, duplicates. Those are the sensor's, who knows its state.

mod event;
mod framing;
mod kpl;
mod number;
mod paths;
mod sightings;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use messages::schema::{FieldKind, TimeLimits};
use messages::{Batch, Column, Credit, EventSchema, Form, Group, HashRange, RawRecord, Reason, Reject, Rows, SensorId};
use serde::de::IgnoredAny;

use self::event::{DecodedEvent, EventRefusal, FoundFields, Scalar};
use self::framing::{Framed, Framing, ReadValue};
use self::paths::Paths;
pub use self::sightings::{PathWatch, Sightings};
use self::walk::Walk;
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
            forms: Vec::new(),
            pieces: Vec::new(),
            sightings: Sightings::default(),
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

/// What stands in a record, whole or among others: an event, or something in which none can be read.
#[derive(Debug)]
struct Piece {
    /// Its bytes within the record.
    span: Range<usize>,
    /// Where on the stream it belongs, if it does not follow its record there.
    hash_key: Option<u128>,
    /// The event, or why it is none.
    event: Result<DecodedEvent, EventRefusal>,
    /// Whether it is an object that every reader of JSON takes.
    is_line: bool,
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
    forms: Vec<Form>,
    /// Those of the record in hand.
    pieces: Vec<Piece>,
    sightings: Sightings,
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
        self.forms.push(Form::Other);
        if data.len() > self.decoder.limits.record_bytes_max {
            let limit = self.decoder.limits.record_bytes_max;
            let detail = format!("{} bytes, more than the {limit} allowed", data.len());
            self.reject(index, 0, 0..data.len(), Reason::TooLarge, detail);
            return;
        }
        let taken = match kpl::has_magic(&data) {
            true => self.take_aggregate(&data),
            false => self.take_values(&data, 0..data.len(), None),
        };
        let mut pieces = std::mem::take(&mut self.pieces);
        if let Err((reason, detail)) = taken {
            self.reject(index, 0, 0..data.len(), reason, detail);
            pieces.clear();
        }
        if let [Piece { span, is_line: true, hash_key: None, .. }] = pieces.as_slice() {
            *self.forms.last_mut().expect("it was pushed above") = Form::of(&data, span);
        }
        for (sub, Piece { span, hash_key, event, .. }) in pieces.drain(..).enumerate() {
            match event {
                Ok(event) => self.row(index, sub as u32, span, event, hash_key),
                Err((reason, detail)) => self.reject(index, sub as u32, span, reason, detail),
            }
        }
        self.pieces = pieces;
    }

    /// Takes the events of all user records of an aggregate.
    fn take_aggregate(&mut self, data: &Bytes) -> Result<(), EventRefusal> {
        let events_max = self.decoder.limits.events_per_record_max;
        for (span, hash_key, refusal) in kpl::user_records(data, self.decoder.aggregate_range(), events_max)? {
            let taken = match refusal {
                Some(refusal) => Err(refusal),
                None => self.take_values(data, span.clone(), Some(hash_key)),
            };
            match taken {
                Ok(()) => {}
                Err((Reason::TooManyEvents, _)) => return Err(too_many(events_max)),
                Err(refusal) => self.piece(span, Some(hash_key), Err(refusal), false)?,
            }
        }
        Ok(())
    }

    /// Takes the events of a record, or of one user record.
    fn take_values(&mut self, data: &Bytes, within: Range<usize>, hash_key: Option<u128>) -> Result<(), EventRefusal> {
        let decoder = self.decoder;
        let whole = &data[within.clone()];
        let mut framing = Framing::new(whole);
        let mut any = false;
        while let Some(framed) = framing.next(|text| decoder.read(text, &mut self.sightings)) {
            any = true;
            let (span, event, is_line) = match framed {
                Framed::Value(span, JsonValue { event, odd }) => {
                    let bytes = &whole[span.clone()];
                    let is_object = bytes[0] == b'{';
                    if is_object {
                        self.sightings.event(|| data.slice(within.start + span.start..within.start + span.end));
                    }
                    let stumbles = matches!(event, Err((Reason::TooDeep | Reason::DuplicateKey, _)));
                    let is_line = is_object && !stumbles && (!odd || is_read_by_others(bytes));
                    (span, event, is_line)
                }
                Framed::Unreadable(span) => {
                    let refusal = decoder.refusal_of(&whole[span.clone()]);
                    (span, refusal, false)
                }
            };
            let span = within.start + span.start..within.start + span.end;
            self.piece(span, hash_key, event, is_line)?;
        }
        if any { Ok(()) } else { Err((Reason::Empty, "the record has no event in it".to_owned())) }
    }

    fn piece(
        &mut self,
        span: Range<usize>,
        hash_key: Option<u128>,
        event: Result<DecodedEvent, EventRefusal>,
        is_line: bool,
    ) -> Result<(), EventRefusal> {
        let events_max = self.decoder.limits.events_per_record_max;
        if self.pieces.len() == events_max {
            return Err(too_many(events_max));
        }
        self.pieces.push(Piece { span, hash_key, event, is_line });
        Ok(())
    }

    /// Which paths the events had since the last call.
    pub fn take_sightings(&mut self) -> Sightings {
        std::mem::take(&mut self.sightings)
    }

    /// Takes one more record in without looking into it: processing it has failed again and again.
    pub fn push_poisoned(&mut self, record: RawRecord) {
        let (index, bytes) = (self.records.len() as u32, record.data.len());
        self.bytes += bytes as u64;
        self.held.record(bytes);
        self.records.push(record);
        self.forms.push(Form::Other);
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
        let Self { records, forms, rows, rejects, .. } = self;
        Batch { records, forms, rows, rejects, order, groups, credit, trace: None }
    }

    fn reject(&mut self, record: u32, sub: u32, span: Range<usize>, reason: Reason, detail: String) {
        self.held.reject(detail.len());
        self.rejects.push(Reject { record, sub_sequence: sub, span, reason, detail });
    }

    fn row(&mut self, record: u32, sub: u32, span: Range<usize>, event: DecodedEvent, own_hash_key: Option<u128>) {
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

    /// Reads the value that the text begins with.
    fn read(&self, text: &str, sightings: &mut Sightings) -> ReadValue<JsonValue> {
        let mut found = FoundFields::new(&self.schema);
        let walk = Walk { found: &mut found, sightings };
        let bytes = walk::walk(text, &self.paths, self.limits.depth_max, walk)?;
        let odd = found.odd;
        let event = found.into_event();
        let odd = odd || matches!(event, Err((Reason::NumberOutOfRange, _)));
        Ok((bytes, JsonValue { event, odd }))
    }

    /// What is to be said of something that is not a value, or not one alone.
    fn refusal_of(&self, bytes: &[u8]) -> Result<DecodedEvent, EventRefusal> {
        if let Some(refusal) = framing::refusal_of(bytes, self.limits.depth_max) {
            return Err(refusal);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| (Reason::NotUtf8, error.to_string()))?;
        let parsed = serde_json::from_str::<IgnoredAny>(text);
        match parsed.and_then(|_| self.read(text, &mut Sightings::default())) {
            Ok((_, value)) => value.event,
            Err(error) => Err(json_refusal(&error, text)),
        }
    }
}

/// A value of JSON that was read.
struct JsonValue {
    /// The event that it is, or why it is none.
    event: Result<DecodedEvent, EventRefusal>,
    /// Whether readers of JSON may stumble over it.
    odd: bool,
}

/// Whether others than us take an odd object: not one with halves of surrogate pairs, or numbers beyond all doubles.
fn is_read_by_others(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

fn json_refusal(error: &serde_json::Error, text: &str) -> EventRefusal {
    let shown = error.to_string();
    // A number that is cut off behind its point, sign or exponent is to the parser a wrong one.
    let cut_off = shown.starts_with("invalid number")
        && text.ends_with(['.', '-', '+', 'e', 'E'])
        && framing::offset_of(error, text) >= text.len();
    let reason = if error.is_eof() || cut_off {
        Reason::Truncated
    } else if shown.starts_with("number out of range") {
        Reason::NumberOutOfRange
    } else if shown.starts_with("recursion limit exceeded") {
        Reason::TooDeep
    } else {
        Reason::NotJson
    };
    (reason, shown)
}

/// A record holds more events than it may.
fn too_many(events_max: usize) -> EventRefusal {
    (Reason::TooManyEvents, format!("more than the {events_max} events allowed in a record"))
}
