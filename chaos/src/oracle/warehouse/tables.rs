//! The tables of a warehouse, as rows.
//!
//! **Owns** their compact forms: a run loads millions of readings.
//! **Promises** nothing: rows are taken as they are.
//! **Fails** never.
//! **Not here**: reading them (`read.rs`), judging them.

use std::sync::Arc;

use messages::WindowKind;

use super::super::place::Place;

/// What a warehouse holds of one stream.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// `sensor_readings`.
    pub readings: Vec<Fact>,
    /// `dim_sensors`.
    pub intervals: Vec<Interval>,
    /// `sensor_versions`.
    pub reported: Vec<Reported>,
    /// `sensor_metadata`.
    pub described: Vec<Described>,
    /// `sensor_hourly` and `sensor_daily`.
    pub windows: Vec<Window>,
    /// The windows that SQL computes from the rows of `sensor_readings` that are not late.
    pub computed: Vec<Window>,
    /// The ids of `alerts`.
    pub alerts: Vec<String>,
    /// `load_ledger`.
    pub ledger: Vec<Load>,
    /// Shard and epoch of `load_refused`.
    pub refused: Vec<(String, u64)>,
}

/// What tells a row apart, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub(in crate::oracle) shard: Arc<str>,
    pub(in crate::oracle) place: Place,
    pub(in crate::oracle) sub: u32,
}

/// A row of `sensor_readings`.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The identity of the reading.
    pub identity: Identity,
    /// `sensor_version`: the lake has another one, which held at the arrival.
    pub version: i64,
    /// A digest of all other columns.
    pub content: u64,
}

/// A row of `sensor_versions`.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The identity of the reading that brought it.
    pub identity: Identity,
    /// The sensor.
    pub sensor: String,
    /// Its number.
    pub version: i64,
    /// From when it holds, microseconds since 1970.
    pub from_us: i64,
    /// A digest of the attributes.
    pub content: u64,
}

/// A row of `sensor_metadata`.
#[derive(Clone, Debug)]
pub struct Described {
    /// The sensor.
    pub sensor: String,
    /// Its number.
    pub version: i64,
    /// From when it holds, microseconds since 1970.
    pub from_us: i64,
}

/// A row of `dim_sensors`.
#[derive(Clone, Debug)]
pub struct Interval {
    /// The identity of the reading that brought it; no identity if metadata did.
    pub identity: Identity,
    /// Whether metadata brought it.
    pub described: bool,
    /// The sensor.
    pub sensor: String,
    /// Its number.
    pub version: i64,
    /// Where it begins, microseconds since 1970.
    pub from_us: i64,
    /// Where it ends; none if it does not.
    pub to_us: Option<i64>,
    /// Whether it is said to be the current one.
    pub is_current: bool,
    /// A digest of the attributes.
    pub content: u64,
}

/// A row of `sensor_hourly` or `sensor_daily`, or what SQL computes of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Hourly or daily.
    pub kind: WindowKind,
    /// The sensor.
    pub sensor: String,
    /// The field.
    pub field: String,
    /// Where it begins, microseconds since 1970.
    pub start_us: i64,
    /// 0 for what was computed.
    pub revision: i64,
    /// Number of values.
    pub count: i64,
    /// Sum, least, largest, mean, earliest and latest value.
    pub values: [f64; 6],
    /// The sample standard deviation; none below two values.
    pub stddev: Option<f64>,
}

/// A row of `load_ledger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The shard.
    pub shard: String,
    /// The epoch.
    pub epoch: u64,
    /// Where the epoch ends.
    pub to: String,
    /// The transaction that brought it.
    pub batch: String,
    /// `loaded` or `refused`.
    pub state: String,
    /// Readings in it.
    pub readings: u64,
    /// SHA-256 of its manifest, in hex; none where an earlier version loaded it.
    pub content: Option<String>,
}

/// The names of [`Window::values`].
pub(in crate::oracle) const VALUES: [&str; 6] = ["sum", "min", "max", "mean", "first", "last"];
