//! An epoch: the interval `(from, to]` of one shard that becomes visible as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::schema::Value;
use crate::{Alert, Credit, EpochNumber, Position, SensorId, SequenceNumber, ShardId};

/// Why an epoch ends where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutReason {
    /// It is old enough.
    Age,
    /// It holds enough bytes.
    Bytes,
    /// It touches enough partitions.
    Partitions,
    /// It holds enough readings.
    Rows,
    /// The shard was closed and all of it has been read.
    ShardEnd,
    /// The worker gives the shard up in good order. Open windows are written as provisional revisions.
    Shutdown,
}

impl CutReason {
    /// Whether nobody may read on here for long, or ever: then open windows are written too.
    pub fn is_the_last(self) -> bool {
        match self {
            Self::ShardEnd | Self::Shutdown => true,
            Self::Age | Self::Bytes | Self::Partitions | Self::Rows => false,
        }
    }
}

/// A place in the stream of batches where one epoch ends and the next begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The epoch that ends here.
    pub epoch: EpochNumber,
    /// The end of the epoch before.
    pub from: Position,
    /// The last record of this epoch.
    pub to: Position,
    /// Why it ends here.
    pub reason: CutReason,
    /// Whether the state object holds every sensor, not only the touched ones.
    pub full_state: bool,
    /// Whether its aggregates were taken whole, whatever hash range their user records belong to. It can change while a
    /// stream runs, so that whoever writes the epoch again must be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_aggregates: bool,
    /// Whether sensors were known to be on several shards at once: then nobody's silence here is told. The same holds of
    /// it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spread: bool,
}

/// The kind of actor whose state an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// A sensor's own state.
    Sensor,
    /// A sensor's open windows.
    Windows,
}

/// State of one sensor as of the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The kind of actor whose state it is.
    pub kind: StateKind,
    /// The sensor.
    pub sensor: SensorId,
    /// Where the sensor's partition key lies in the stream's hash range: a split filters by it.
    pub hash_key: u128,
    /// The state, encoded by its owner. Empty means that the owner has forgotten it.
    pub bytes: Arc<[u8]>,
}

/// Counts alerts of an epoch that have not been handed to a transport yet.
#[derive(Clone, Debug, Default)]
pub struct Receipts(Arc<AtomicUsize>);

impl Receipts {
    /// One more alert is on its way.
    pub fn issue(&self) -> Receipt {
        self.0.fetch_add(1, Ordering::AcqRel);
        Receipt(self.0.clone())
    }

    /// How many have not been settled.
    pub fn outstanding(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Travels with an alert. Dropping it says nothing: only [`Receipt::settle`] counts as sent.
#[derive(Debug)]
pub struct Receipt(Arc<AtomicUsize>);

impl Receipt {
    /// The alert was handed to its transports.
    pub fn settle(self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A cut with the state of every sensor it needs.
#[derive(Debug)]
pub struct CutState {
    /// The cut.
    pub cut: Cut,
    /// Sensor states, ordered by sensor id.
    pub sensors: Vec<StateEntry>,
    /// Alerts for sensors whose silence this epoch has passed, ordered by last arrival and sensor id.
    pub silences: Vec<Alert>,
    /// Alerts of this epoch that are still on their way.
    pub receipts: Receipts,
}

/// All that an epoch adds to its readings: states and aggregates.
#[derive(Debug)]
pub struct EpochContent {
    /// The cut.
    pub cut: Cut,
    /// States of sensors and of their windows, ordered by kind and sensor id.
    pub states: Vec<StateEntry>,
    /// Closed and revised windows, ordered by window, sensor and field.
    pub aggregates: Vec<AggregateRow>,
    /// The shard's event-time watermark at the cut, microseconds since 1970.
    pub watermark_us: i64,
    /// Alerts for sensors whose silence this epoch has passed, ordered by last arrival and sensor id.
    pub silences: Vec<Alert>,
    /// Alerts of this epoch that are still on their way.
    pub receipts: Receipts,
    /// Held until it is encoded, if it is one of those that only one shard at a time may have in hand.
    pub turn: Option<Credit>,
}

/// A change of a sensor's tracked attributes: one version of the slowly changing dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct DimensionChange {
    /// The sensor.
    pub sensor: SensorId,
    /// 1 for the first version.
    pub version: u32,
    /// Event time from which it holds, microseconds since 1970.
    pub valid_from_us: i64,
    /// Row of the batch that brought it.
    pub row: u32,
    /// All tracked attributes from then on, as far as they are known, in schema order of the tracked fields.
    pub attributes: Vec<Option<Value>>,
    /// Names of the attributes that it says anew; the others go on as they were, also if that is learnt later.
    pub changed: Vec<String>,
}

/// The two window lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// One hour, aligned to UTC.
    Hourly,
    /// One day, aligned to UTC.
    Daily,
}

impl WindowKind {
    /// Both, in the order in which they are stored.
    pub const ALL: [WindowKind; 2] = [Self::Hourly, Self::Daily];

    /// The window's length in microseconds.
    pub fn length_us(self) -> i64 {
        match self {
            Self::Hourly => 3_600_000_000,
            Self::Daily => 86_400_000_000,
        }
    }

    /// The start of the window that an event time falls into.
    pub fn start_of(self, event_time_us: i64) -> i64 {
        event_time_us.div_euclid(self.length_us()) * self.length_us()
    }
}

/// What one shard has counted of one window of one field of one sensor, at one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateRow {
    /// Which length.
    pub window: WindowKind,
    /// The window's start, microseconds since 1970.
    pub start_us: i64,
    /// The sensor.
    pub sensor: SensorId,
    /// Index of the field in the schema.
    pub field: u16,
    /// 1 when first written; a later revision of the same window replaces the earlier one.
    pub revision: u32,
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation; none below two values.
    pub stddev: Option<f64>,
    /// Value with the earliest event time; the first in stream order among equals.
    pub first: f64,
    /// Value with the latest event time; the last in stream order among equals.
    pub last: f64,
    /// The earliest event time, microseconds since 1970: what several shards have counted is put in order by it.
    pub first_us: i64,
    /// The latest event time.
    pub last_us: i64,
}

/// The parts of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// Records as lines.
    Raw,
    /// Records that cannot be lines.
    RawEscaped,
    /// Valid readings.
    Cleansed,
    /// What was refused, with the reason.
    Quarantine,
    /// What the dedup horizon recognised.
    Duplicates,
    /// Versions of sensor attributes.
    Dimensions,
    /// Hourly windows.
    AggregatesHourly,
    /// Daily windows.
    AggregatesDaily,
    /// Alerts that readings raised.
    Alerts,
    /// Sensor states and windows.
    State,
    /// The list of the epoch's objects, uploaded last.
    Manifest,
}

impl Zone {
    /// The folder in the bucket.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Raw | Self::RawEscaped => "raw",
            Self::Cleansed => "cleansed",
            Self::Quarantine => "quarantine",
            Self::Duplicates => "duplicates",
            Self::Dimensions => "dimensions",
            Self::AggregatesHourly => "aggregates/hourly",
            Self::AggregatesDaily => "aggregates/daily",
            Self::Alerts => "alerts",
            Self::State => "state",
            Self::Manifest => "manifests",
        }
    }

    /// The file ending.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw | Self::Alerts => "jsonl.gz",
            Self::RawEscaped => "ndjson.gz",
            Self::Cleansed
            | Self::Quarantine
            | Self::Duplicates
            | Self::Dimensions
            | Self::AggregatesHourly
            | Self::AggregatesDaily => "parquet",
            Self::State => "state",
            Self::Manifest => "json",
        }
    }
}

/// An object as it is promised before it is uploaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedObject {
    /// Where it goes.
    pub key: String,
    /// Which part of the lake it belongs to.
    pub zone: Zone,
    /// Rows (or lines, or entries).
    pub rows: u64,
    /// SHA-256 over the ordered row keys and payloads, in hex: what the object says, not how it is encoded.
    pub digest: String,
}

/// A stream in one of its incarnations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamId {
    /// Account, region and name.
    pub arn: String,
    /// When it was created, milliseconds since 1970: one that was deleted and made again under its name has another.
    pub created_ms: i64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.created_ms) {
            Some(created) => write!(f, "{} of {}", self.arn, created.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} of {} ms", self.arn, self.created_ms),
        }
    }
}

/// What an epoch will have written. Pinned on the lease row by prepare; uploaded first, as the claim on the epoch's
/// number, and last, as the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPlan {
    /// Version of this format.
    pub format: u32,
    /// Where its records come from; none in plans of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamId>,
    /// The shard.
    pub shard: ShardId,
    /// The cut.
    pub cut: Cut,
    /// Fingerprint of the event schema, and of the limits, that decided what became of the readings.
    pub schema: String,
    /// Records read.
    pub records: u64,
    /// Readings found in them, decodable or not.
    pub readings: u64,
    /// Readings in the cleansed zone.
    pub clean: u64,
    /// Readings (or whole records) in quarantine.
    pub quarantined: u64,
    /// Readings that were duplicates.
    pub duplicates: u64,
    /// Quarantined, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Alerts that readings, or their absence, raised.
    pub alerts: u64,
    /// Readings (and whole records, without number) that are in quarantine because processing them failed again and
    /// again. Nothing in them says so: whoever writes the epoch again must treat them the same.
    #[serde(default)]
    pub poisoned: Vec<(SequenceNumber, Option<u32>)>,
    /// The state object of the epoch before; none at the start of a chain.
    pub previous_state: Option<String>,
    /// Every object of the epoch but the manifest itself.
    pub objects: Vec<PlannedObject>,
}

impl EpochPlan {
    /// The format that this build writes.
    pub const FORMAT: u32 = 2;
    /// The format whose objects have the epoch's end in their names. One that was pinned so is finished so.
    pub const NAMED_BY_END: u32 = 1;

    /// The epoch's state object.
    pub fn state_key(&self) -> Option<&str> {
        self.objects.iter().find(|o| o.zone == Zone::State).map(|o| o.key.as_str())
    }
}

/// An object as it will be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedObject {
    /// What was promised.
    pub planned: PlannedObject,
    /// The bytes.
    pub bytes: Bytes,
}

impl EncodedObject {
    /// An object of these bytes.
    pub fn new(key: String, zone: Zone, rows: u64, digest: String, bytes: Vec<u8>) -> Self {
        Self { planned: PlannedObject { key, zone, rows, digest }, bytes: bytes.into() }
    }
}

/// All of an epoch, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEpoch {
    /// What it is.
    pub plan: EpochPlan,
    /// What the manifest says, under a name that nothing but shard and number decide: uploaded first, so that a second
    /// epoch of the same number is refused before a reader of the lake can see any of it.
    pub claim: EncodedObject,
    /// Every object but the manifest.
    pub objects: Vec<EncodedObject>,
    /// The manifest: uploaded last, so that a manifest that exists means an epoch that is whole.
    pub manifest: EncodedObject,
}
