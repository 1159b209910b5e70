//! A micro-batch of one shard: the records, their readings as columns, and what became of them.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::{BatchTrace, GroupOutcome, Reason, SensorId, SequenceNumber, Verdict};

/// One record as it came from the stream.
#[derive(Clone, Debug)]
pub struct RawRecord {
    /// The record's place in its shard.
    pub sequence: SequenceNumber,
    /// When the stream took it, milliseconds since 1970.
    pub arrival_ms: i64,
    /// The producer's partition key.
    pub partition_key: Box<str>,
    /// The bytes, unmodified.
    pub data: Bytes,
}

/// How a record can stand in a file of lines, each of which is an object of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As a line.
    Line,
    /// As a line whose end is the record's own.
    LineFeed,
    /// The same, with a carriage return before it.
    CarriageReturn,
    /// Not at all: it is not one object, or goes over several lines.
    Other,
}

impl Form {
    /// The form of a record that consists of one object of JSON, given where the object stands.
    pub fn of(data: &[u8], object: &Range<usize>) -> Self {
        let (line, form) = if let Some(line) = data.strip_suffix(b"\r\n") {
            (line, Self::CarriageReturn)
        } else if let Some(line) = data.strip_suffix(b"\n") {
            (line, Self::LineFeed)
        } else {
            (data, Self::Line)
        };
        let blank = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        let around = line.get(..object.start).is_some_and(blank) && line.get(object.end..).is_some_and(blank);
        // Readers of lines split at each of these.
        let one_line = !line.contains(&b'\n') && !line.contains(&b'\r');
        if around && one_line { form } else { Self::Other }
    }

    /// The end of the line that belongs to the record.
    pub fn end(self) -> &'static [u8] {
        match self {
            Self::Line | Self::Other => b"",
            Self::LineFeed => b"\n",
            Self::CarriageReturn => b"\r\n",
        }
    }
}

/// A reading (or a whole record) that could not be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// Index into [`Batch::records`].
    pub record: u32,
    /// Which event of the record, from 0.
    pub sub_sequence: u32,
    /// The bytes of this event within the record.
    pub span: Range<usize>,
    /// Why.
    pub reason: Reason,
    /// What exactly, for a person.
    pub detail: String,
}

/// The values of one schema field over the rows of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// A `float` field.
    Float(Vec<Option<f64>>),
    /// An `integer` field.
    Integer(Vec<Option<i64>>),
    /// A `boolean` field.
    Boolean(Vec<Option<bool>>),
    /// A `text` field.
    Text(Vec<Option<Box<str>>>),
}

impl Column {
    /// The value as a number, for detectors and aggregates; none for text and booleans.
    pub fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Float(values) => values[row],
            Self::Integer(values) => values[row].map(|v| v as f64),
            Self::Boolean(_) | Self::Text(_) => None,
        }
    }

    /// Whether the row has a value.
    pub fn is_present(&self, row: usize) -> bool {
        match self {
            Self::Float(values) => values[row].is_some(),
            Self::Integer(values) => values[row].is_some(),
            Self::Boolean(values) => values[row].is_some(),
            Self::Text(values) => values[row].is_some(),
        }
    }
}

/// The decoded readings of a batch, one column per attribute, in stream order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Index into [`Batch::records`].
    pub record: Vec<u32>,
    /// Which event of the record, from 0.
    pub sub_sequence: Vec<u32>,
    /// The event's bytes within its record.
    pub span: Vec<Range<usize>>,
    /// Event time, microseconds since 1970.
    pub event_time_us: Vec<i64>,
    /// The producer's id of the event.
    pub event_id: Vec<Option<Box<str>>>,
    /// The device's own counter.
    pub device_sequence: Vec<Option<i64>>,
    /// One column per schema field, in schema order.
    pub fields: Vec<Column>,
}

impl Rows {
    /// How many readings there are.
    pub fn len(&self) -> usize {
        self.record.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.record.is_empty()
    }
}

/// The rows of one sensor in a batch.
#[derive(Clone, Debug)]
pub struct Group {
    /// The sensor.
    pub sensor: SensorId,
    /// Where on the stream it belongs: the hash key that its first row came with.
    pub hash_key: u128,
    /// Where its rows stand in [`Batch::order`], oldest first.
    pub rows: Range<usize>,
}

/// Bytes of the worker's budget, given back when the last holder drops it.
#[derive(Default)]
pub struct Credit {
    give_back: Option<Box<dyn FnOnce() + Send + Sync>>,
    grow: Option<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Credit {
    /// A credit that runs `give_back` when dropped.
    pub fn new(give_back: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { give_back: Some(Box::new(give_back)), grow: None }
    }

    /// One that can become larger.
    pub fn growing(
        give_back: impl FnOnce() + Send + Sync + 'static,
        grow: impl Fn(u64) + Send + Sync + 'static,
    ) -> Self {
        Self { give_back: Some(Box::new(give_back)), grow: Some(Box::new(grow)) }
    }

    /// One that gives back both, and grows as the second.
    pub fn both(one: Credit, mut other: Credit) -> Self {
        let grow = other.grow.take();
        Self { give_back: Some(Box::new(move || drop((one, other)))), grow }
    }

    /// More is held than was known when it was taken.
    pub fn grow(&self, bytes: u64) {
        if let Some(grow) = &self.grow {
            grow(bytes);
        }
    }

    /// A credit over nothing, for tests of pure code.
    pub fn none() -> Self {
        Self::default()
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            give_back();
        }
    }
}

impl fmt::Debug for Credit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credit")
    }
}

/// Consecutive records of one shard, decoded once and grouped by sensor.
#[derive(Debug)]
pub struct Batch {
    /// The records, in stream order.
    pub records: Vec<RawRecord>,
    /// How each of them can stand in a file of lines.
    pub forms: Vec<Form>,
    /// The readings that decoded, in stream order.
    pub rows: Rows,
    /// What did not decode, in stream order.
    pub rejects: Vec<Reject>,
    /// Row numbers grouped by sensor; within a sensor in stream order.
    pub order: Vec<u32>,
    /// One entry per sensor, in order of first appearance.
    pub groups: Vec<Group>,
    /// Returned to the reader's budget once nobody needs the bytes any more.
    pub credit: Credit,
    /// Its span; none if its epoch is not traced.
    pub trace: Option<BatchTrace>,
}

impl Batch {
    /// The row numbers of one group, oldest first.
    pub fn group_rows(&self, group: usize) -> &[u32] {
        &self.order[self.groups[group].rows.clone()]
    }

    /// The record that a row came from.
    pub fn record_of(&self, row: usize) -> &RawRecord {
        &self.records[self.rows.record[row] as usize]
    }

    /// The event's own bytes.
    pub fn bytes_of(&self, row: usize) -> &[u8] {
        &self.record_of(row).data[self.rows.span[row].clone()]
    }
}

/// A batch that its sensors are working on. Every group has one slot; each is filled once.
#[derive(Debug)]
pub struct InFlight {
    /// Number of the batch within its shard's incarnation.
    pub number: u64,
    /// The batch.
    pub batch: Batch,
    outcomes: Vec<OnceLock<GroupOutcome>>,
    waiting: AtomicUsize,
}

impl InFlight {
    /// Opens one slot per group.
    pub fn new(number: u64, batch: Batch) -> Self {
        let n_groups = batch.groups.len();
        Self {
            number,
            batch,
            outcomes: (0..n_groups).map(|_| OnceLock::new()).collect(),
            waiting: AtomicUsize::new(n_groups),
        }
    }

    /// Fills a group's slot. A replay after a crash finds it filled and changes nothing.
    pub fn settle(&self, group: usize, outcome: GroupOutcome) -> Settled<'_> {
        if self.outcomes[group].set(outcome).is_err() {
            return Settled::Already;
        }
        let last = self.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
        let outcome = self.outcomes[group].get().expect("the slot was filled two lines above");
        Settled::Now { outcome, last }
    }

    /// Whether every group has its outcome.
    pub fn is_complete(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// A group's outcome, once there is one.
    pub fn outcome(&self, group: usize) -> Option<&GroupOutcome> {
        self.outcomes[group].get()
    }
}

/// What [`InFlight::settle`] did.
#[derive(Debug)]
pub enum Settled<'a> {
    /// The slot was empty; `last` is true when no other slot is empty any more.
    Now {
        /// The outcome as stored.
        outcome: &'a GroupOutcome,
        /// Whether the batch is complete.
        last: bool,
    },
    /// The slot had been filled by an earlier run over the same rows.
    Already,
}

/// A batch whose readings all have a verdict, in row order, with what the aggregator noticed.
#[derive(Debug)]
pub struct Assessed {
    /// The batch and its outcomes.
    pub in_flight: Arc<InFlight>,
    /// Per row: valid, but later than the allowed lateness, so no aggregate counts it.
    pub late: Vec<bool>,
}

impl Assessed {
    /// The verdicts in row order, with the row's sensor.
    ///
    /// # Panics
    /// If a group has no outcome: only complete batches are assessed.
    pub fn verdicts(&self) -> Vec<(&SensorId, &Verdict)> {
        verdicts_by_row(&self.in_flight)
    }
}

/// The verdicts of a complete batch in row order, with each row's sensor.
///
/// # Panics
/// If a group has no outcome yet.
pub fn verdicts_by_row(in_flight: &InFlight) -> Vec<(&SensorId, &Verdict)> {
    let batch = &in_flight.batch;
    let mut by_row: Vec<Option<(&SensorId, &Verdict)>> = vec![None; batch.rows.len()];
    for (index, group) in batch.groups.iter().enumerate() {
        let outcome = in_flight.outcome(index).expect("only complete batches leave the sensors");
        for (row, verdict) in batch.group_rows(index).iter().zip(&outcome.verdicts) {
            by_row[*row as usize] = Some((&group.sensor, verdict));
        }
    }
    by_row.into_iter().map(|v| v.expect("every row belongs to one group")).collect()
}
