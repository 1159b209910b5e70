//! What a record is, as the ledger says it.
//!
//! **Owns** the closed list of kinds and their names.
//! **Promises** that a name read back is the kind it was written from.
//! **Fails** never; an unknown name is an error of whoever reads it.
//! **Not here**: the payloads (`climate::broken`).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The kind of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A plain reading.
    Reading,
    /// The same bytes as an earlier record of this sensor, under the same `n`.
    Duplicate,
    /// A plain reading whose event time lies in the past.
    Late,
    /// A plain reading, the first with a new firmware.
    Firmware,
    /// A plain reading, the first from a new place.
    Moved,
    /// A valid reading with an injected value.
    Anomaly(AnomalyKind),
    /// A payload that is not a valid reading, or is one only just.
    Broken(BrokenKind),
    /// A row of recorded data.
    Row,
}

/// What was done to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// One reading far off.
    Spike,
    /// The same value again and again.
    Stuck,
    /// A level shift that lasts for a while.
    Step,
    /// The first reading after a silence.
    Dropout,
}

/// How a payload is broken. The order is the order in which sensors rotate through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokenKind {
    /// Plain text.
    NotJson,
    /// Half an event.
    Truncated,
    /// The temperature as text.
    WrongType,
    /// Exactly as big as one record may be.
    BigRecord,
    /// No `sensor_id`.
    MissingId,
    /// `sensor_id` is `""`.
    EmptyId,
    /// `sensor_id` climbs directories.
    PathId,
    /// `sensor_id` has 64 KB.
    HugeId,
    /// `sensor_id` holds line breaks and another log line.
    NewlineId,
    /// `sensor_id` holds quotes, SQL and markup.
    QuoteId,
    /// A bare `NaN`, which is not JSON.
    Nan,
    /// An unknown field with 10,000 nested arrays in an otherwise valid event.
    Deep,
    /// A number no float can hold.
    HugeNumber,
    /// `ts` is the epoch.
    Year1970,
    /// `ts` is the last millisecond of year 9999.
    Year9999,
    /// `sensor_id` twice, with different values.
    DuplicateKey,
    /// Bytes that are not UTF-8.
    BadUtf8,
    /// No `temperature`.
    MissingTemperature,
    /// 4000 degrees.
    OutOfRange,
}

impl AnomalyKind {
    /// Every kind once.
    pub const ALL: [Self; 4] = [Self::Spike, Self::Stuck, Self::Step, Self::Dropout];
}

impl BrokenKind {
    /// Every kind once, in rotation order.
    pub const ALL: [Self; 19] = [
        Self::NotJson,
        Self::Truncated,
        Self::WrongType,
        Self::BigRecord,
        Self::MissingId,
        Self::EmptyId,
        Self::PathId,
        Self::HugeId,
        Self::NewlineId,
        Self::QuoteId,
        Self::Nan,
        Self::Deep,
        Self::HugeNumber,
        Self::Year1970,
        Self::Year9999,
        Self::DuplicateKey,
        Self::BadUtf8,
        Self::MissingTemperature,
        Self::OutOfRange,
    ];

    /// Kinds whose payload is tens of kilobytes or more: a fleet sends only a bounded number of them.
    pub fn is_heavy(self) -> bool {
        matches!(self, Self::BigRecord | Self::HugeId | Self::Deep)
    }
}

impl Kind {
    /// The name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Firmware => "firmware",
            Self::Moved => "moved",
            Self::Row => "row",
            Self::Anomaly(AnomalyKind::Spike) => "anomaly:spike",
            Self::Anomaly(AnomalyKind::Stuck) => "anomaly:stuck",
            Self::Anomaly(AnomalyKind::Step) => "anomaly:step",
            Self::Anomaly(AnomalyKind::Dropout) => "anomaly:dropout",
            Self::Broken(kind) => kind.ledger_name(),
        }
    }

    /// Every kind once.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Reading, Self::Duplicate, Self::Late, Self::Firmware, Self::Moved, Self::Row]
            .into_iter()
            .chain(AnomalyKind::ALL.into_iter().map(Self::Anomaly))
            .chain(BrokenKind::ALL.into_iter().map(Self::Broken))
    }
}

impl BrokenKind {
    fn ledger_name(self) -> &'static str {
        match self {
            Self::NotJson => "broken:not_json",
            Self::Truncated => "broken:truncated",
            Self::WrongType => "broken:wrong_type",
            Self::BigRecord => "broken:big_record",
            Self::MissingId => "broken:missing_id",
            Self::EmptyId => "broken:empty_id",
            Self::PathId => "broken:path_id",
            Self::HugeId => "broken:huge_id",
            Self::NewlineId => "broken:newline_id",
            Self::QuoteId => "broken:quote_id",
            Self::Nan => "broken:nan",
            Self::Deep => "broken:deep",
            Self::HugeNumber => "broken:huge_number",
            Self::Year1970 => "broken:year_1970",
            Self::Year9999 => "broken:year_9999",
            Self::DuplicateKey => "broken:duplicate_key",
            Self::BadUtf8 => "broken:bad_utf8",
            Self::MissingTemperature => "broken:missing_temperature",
            Self::OutOfRange => "broken:out_of_range",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::all()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| D::Error::custom(format_args!("unknown kind {name:?}")))
    }
}
