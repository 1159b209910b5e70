//! The event schema: what a reading looks like, declared in TOML.
//!
//! **Owns** the shape of events: where the sensor id, the time and each field are found, and what is valid.
//! **Promises** a schema that parses is complete and consistent; one that does not parse is refused with every
//! problem in it, each naming its key.
//! **Not here**: decoding (`actors/src/reader/decode.rs`) and judging (`actors/src/sensor/`).

mod parse;
mod path;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::parse::{FIELDS_MAX, SchemaProblems};
pub use self::path::FieldPath;

/// The schemas that ship with the binary, by name.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("climate", include_str!("../../schemas/climate.toml")),
    ("air-quality", include_str!("../../schemas/air-quality.toml")),
];

/// What a reading looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSchema {
    /// A name for people.
    pub name: String,
    /// First 16 hex digits of the SHA-256 of the TOML text (and of limits, see [`Self::with_limits`]): pinned by every
    /// epoch.
    pub fingerprint: String,
    /// Where the sensor id is found and what it may look like.
    pub sensor_id: IdSpec,
    /// Where the event time is found and what it may be.
    pub time: TimeSpec,
    /// Where the producer's event id is found.
    pub event_id: Option<FieldPath>,
    /// Where the device's own counter is found.
    pub sequence: Option<FieldPath>,
    /// How long a sensor may be silent before an alert.
    pub heartbeat: Option<Duration>,
    /// How fine the cleansed zone is partitioned.
    pub partition_by: PartitionBy,
    /// The fields, in the order of the file.
    pub fields: Vec<FieldSpec>,
}

impl EventSchema {
    /// Parses a schema file. All problems are reported at once.
    pub fn parse(text: &str) -> Result<Self, SchemaProblems> {
        parse::parse(text, fingerprint(text))
    }

    /// The names of the keys that the parser looks for in this text, such as `time.format` or `fields[humidity].unit`:
    /// all that there are, if the text leaves out no section.
    pub fn keys(text: &str) -> std::collections::BTreeSet<String> {
        parse::keys(text)
    }

    /// The same schema under another fingerprint, which depends on these limits too. Limits decide what becomes of a
    /// reading: an epoch that was prepared under some must not be finished under others.
    pub fn with_limits(mut self, limits: &str) -> Self {
        self.fingerprint = fingerprint(&format!("{} {limits}", self.fingerprint));
        self
    }

    /// A built-in schema; none if there is no such name.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
        Some(Self::parse(text).expect("a test parses every built-in schema"))
    }

    /// The fields whose changes make a new version of the sensor, in schema order.
    pub fn tracked(&self) -> impl Iterator<Item = (usize, &FieldSpec)> {
        self.fields.iter().enumerate().filter(|(_, field)| field.tracked.is_some())
    }

    /// The fields that windows aggregate: numbers that are not tracked attributes.
    pub fn aggregated(&self) -> impl Iterator<Item = (usize, &FieldSpec)> {
        self.fields.iter().enumerate().filter(|(_, field)| field.kind.is_number() && field.tracked.is_none())
    }
}

fn fingerprint(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The longest that `sensor_id.bytes_max` can be set to.
pub const SENSOR_ID_BYTES_MAX: usize = 1_024;

/// Where the sensor id is found and what it may look like.
#[derive(Clone, Debug, PartialEq)]
pub struct IdSpec {
    /// Where it is found.
    pub path: FieldPath,
    /// Longer ids are quarantined.
    pub bytes_max: usize,
    /// Characters allowed besides ASCII letters, digits and `. _ : @ -`.
    pub extra_characters: String,
}

impl IdSpec {
    /// Whether an id may contain this character.
    pub fn allows(&self, c: char) -> bool {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '@' | '-') || self.extra_characters.contains(c)
    }
}

/// How the event time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-22T15:04:05.123Z`, any offset.
    Rfc3339,
    /// Seconds since 1970, integer or decimal.
    Seconds,
    /// Milliseconds since 1970, integer.
    Milliseconds,
    /// Microseconds since 1970, integer.
    Microseconds,
}

/// Where the event time is found and what it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSpec {
    /// Where it is found.
    pub path: FieldPath,
    /// How it is written.
    pub format: TimeFormat,
    /// How far it may lie before the record's arrival.
    pub past_max: Option<Duration>,
    /// How far it may lie after the record's arrival (device clocks drift).
    pub future_max: Duration,
    /// The earliest time that is believed, microseconds since 1970.
    pub not_before_us: i64,
}

impl TimeSpec {
    /// The bounds in numbers.
    pub fn limits(&self) -> TimeLimits {
        TimeLimits {
            not_before_us: self.not_before_us,
            past_us_max: self.past_max.map(microseconds),
            future_us_max: microseconds(self.future_max),
        }
    }

    /// How many partitions the times span that can be valid at one moment; none if there is no end to it.
    pub fn partitions(&self, partition_by: PartitionBy) -> Option<u64> {
        let span_us = microseconds(self.past_max?).saturating_add(microseconds(self.future_max));
        // One more at each end: a span seldom begins with a partition.
        Some(span_us.unsigned_abs().div_ceil(partition_by.length_us().unsigned_abs()) + 1)
    }
}

/// Which event times can be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// The earliest time that is believed.
    pub not_before_us: i64,
    /// How far a time may lie before its record's arrival.
    pub past_us_max: Option<i64>,
    /// How far it may lie after it.
    pub future_us_max: i64,
}

impl TimeLimits {
    /// Whether an event time can be valid in a record that arrived then.
    pub fn believe(&self, time_us: i64, arrival_ms: i64) -> bool {
        let age_us = arrival_ms.saturating_mul(1000).saturating_sub(time_us);
        time_us >= self.not_before_us
            && self.past_us_max.is_none_or(|max| age_us <= max)
            && age_us.saturating_neg() <= self.future_us_max
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// How fine the cleansed zone is partitioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBy {
    /// `year=/month=/day=/hour=`: for sensors that report every few minutes or more often.
    Hour,
    /// `year=/month=/day=`: for sensors that report about hourly, where hours would be files of a few rows.
    Day,
}

impl PartitionBy {
    /// The partition that a time falls into, as its start in microseconds since 1970.
    pub fn start_of(self, time_us: i64) -> i64 {
        let length = self.length_us();
        time_us.div_euclid(length).saturating_mul(length)
    }

    fn length_us(self) -> i64 {
        match self {
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A finite 64-bit floating-point number; JSON integers are accepted.
    Float,
    /// A 64-bit integer; a decimal without a fraction is accepted.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A string.
    Text,
}

impl FieldKind {
    /// The name in the schema file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Text => "text",
        }
    }

    /// Whether detectors and aggregates apply.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Float | Self::Integer)
    }
}

/// One field of a reading.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    /// The column's name in every zone.
    pub name: String,
    /// Where it is found.
    pub path: FieldPath,
    /// Its type.
    pub kind: FieldKind,
    /// Its unit, for people and column metadata.
    pub unit: Option<String>,
    /// Valid values; a reading outside is quarantined.
    pub range: Option<(f64, f64)>,
    /// Longest text in bytes; a reading with a longer one is quarantined.
    pub text_bytes_max: usize,
    /// Whether a reading without it is quarantined.
    pub required: bool,
    /// Set for attributes of the sensor itself.
    pub tracked: Option<Tracked>,
    /// What is watched for.
    pub detectors: Detectors,
}

/// An attribute of the sensor whose changes make a new version.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tracked {
    /// Numbers that moved by no more than this did not change (position jitter).
    pub tolerance: f64,
}

/// The detectors of one field. All work in constant memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detectors {
    /// The expected band.
    pub range: Option<(f64, f64)>,
    /// The fastest plausible change, per second.
    pub rate_per_second_max: Option<f64>,
    /// A value that stays put.
    pub flat: Option<Flat>,
    /// Distance from the sensor's own recent distribution.
    pub score: Option<Score>,
}

/// When a value that stays put is suspicious.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flat {
    /// After this many readings in a row.
    pub readings: u32,
    /// Within this distance of the first of them.
    pub tolerance: f64,
}

/// When a value is far from its recent distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Robust standard deviations that raise an alert.
    pub threshold: f64,
    /// Readings after which an old value's weight has halved.
    pub half_life: f64,
    /// Readings to learn from before anything is raised.
    pub warmup: u32,
    /// The smallest deviation believed, in the field's unit: quantised sensors would else alarm on one step.
    pub scale_min: f64,
}

/// A value of any type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// The value of a `float` field.
    Float(f64),
    /// The value of an `integer` field.
    Integer(i64),
    /// The value of a `boolean` field.
    Boolean(bool),
    /// The value of a `text` field.
    Text(String),
}
