//! The rows of all tables, in a form of which millions fit into memory.
//!
//! **Owns** the reading of the Parquet zones, and the orders in which the checks walk over the rows.
//! **Promises** rows of one object stand together, as in the object. A column that says something about the row's place
//! is taken from the row itself, never from the key.
//! **Fails** never: an object that cannot be read is a violation of MANIFEST.
//! **Not here**: judging what the rows say.

mod load;

use std::collections::{BTreeSet, HashMap};

use messages::{Reason, WindowKind, Zone};

use super::evidence::Places;
use super::lake::{Lake, Object};
use super::place::Place;
use super::table::Table;
use super::verdict::Findings;

/// The rows of the lake.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The objects that rows stand in.
    pub(super) keys: Vec<String>,
    pub(super) sensors: Names,
    /// Rows of cleansed, quarantine and duplicates.
    pub(super) readings: Vec<Reading>,
    /// Values of the aggregated fields, so many for each cleansed row; NaN for none.
    pub(super) numbers: Vec<f64>,
    pub(super) versions: Vec<Version>,
    pub(super) windows: Vec<WindowRow>,
    /// Readings by shard, place and sub-sequence.
    pub(super) by_place: Vec<u32>,
    /// Cleansed rows by sensor, shard, place and sub-sequence.
    pub(super) by_sensor: Vec<u32>,
    /// Sensors with cleansed rows on shards that do not descend from one another, or all where records lie anywhere.
    pub(super) unordered: BTreeSet<u32>,
}

/// A row of cleansed, quarantine or duplicates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) place: Place,
    pub(super) event_time_us: i64,
    pub(super) device_sequence: Option<i64>,
    pub(super) content: u64,
    /// The digest of all that a warehouse has of a cleansed row, but its version.
    pub(super) fact: u64,
    pub(super) epoch: u64,
    pub(super) object: u32,
    pub(super) shard: u32,
    pub(super) sub: u32,
    pub(super) sensor: u32,
    pub(super) version: i32,
    /// Where its values begin in [`Rows::numbers`].
    pub(super) numbers: u32,
    pub(super) zone: Landed,
    pub(super) late: bool,
    pub(super) reason: Option<Reason>,
}

/// Where a reading has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Landed {
    Cleansed,
    Quarantine,
    Duplicates,
}

/// A row of the dimensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) sensor: u32,
    pub(super) shard: u32,
    pub(super) place: Place,
    pub(super) sub: u32,
    pub(super) version: i64,
    pub(super) valid_from_us: i64,
    /// A digest of the attributes.
    pub(super) content: u64,
    pub(super) epoch: Option<u64>,
    pub(super) object: u32,
}

/// A row of the aggregates.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowRow {
    pub(super) sensor: u32,
    pub(super) kind: WindowKind,
    pub(super) start_us: i64,
    /// Place among the aggregated fields.
    pub(super) field: u16,
    pub(super) revision: i64,
    pub(super) shard: u32,
    pub(super) epoch: u64,
    pub(super) object: u32,
    pub(super) count: i64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    pub(super) stddev: Option<f64>,
    pub(super) first: f64,
    pub(super) last: f64,
}

/// Texts by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

/// The number of no sensor: of a refused reading whose sensor could not be read.
pub(super) const NOBODY: u32 = u32::MAX;

impl Names {
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// The number of a text, if it has one.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    pub(super) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("nobody", |text| text)
    }
}

impl Rows {
    pub(super) fn key(&self, object: u32) -> &str {
        &self.keys[object as usize]
    }

    pub(super) fn reading(&self, number: u32) -> &Reading {
        &self.readings[number as usize]
    }
}

/// Reads the tables.
pub(super) fn load(lake: &mut Lake<'_>, findings: &mut Findings) {
    let mut rows = Rows::default();
    let mut objects = std::mem::take(&mut lake.objects);
    for (key, object) in &mut objects {
        let Some(zone) = object.zone else { continue };
        rows.keys.push((*key).to_owned());
        match read(lake, &mut rows, zone, object) {
            Ok(found) => object.found = found.or(object.found),
            Err(problem) => findings.add("MANIFEST", || format!("{key} cannot be read: {problem}")),
        }
    }
    lake.objects = objects;
    rows.sort(lake, findings);
    lake.rows = rows;
}

/// Reads one object; gives its rows, if it is a table.
fn read(lake: &Lake<'_>, rows: &mut Rows, zone: Zone, object: &Object<'_>) -> Result<Option<u64>, String> {
    let load: load::Load = match zone {
        Zone::Cleansed => load::cleansed,
        Zone::Quarantine => load::quarantine,
        Zone::Duplicates => load::duplicates,
        Zone::Dimensions => load::dimensions,
        Zone::AggregatesHourly | Zone::AggregatesDaily => load::aggregates,
        Zone::Raw | Zone::RawEscaped | Zone::Alerts | Zone::State | Zone::Manifest => return Ok(None),
    };
    load(&load::Job { lake, object, zone }, Table::open(object.bytes)?, rows).map(Some)
}

impl Rows {
    fn sort(&mut self, lake: &Lake<'_>, findings: &mut Findings) {
        let readings = &self.readings;
        self.by_place = (0..readings.len() as u32).collect();
        self.by_place.sort_unstable_by_key(|n| {
            let row = &readings[*n as usize];
            (row.shard, row.place, row.sub, row.zone, *n)
        });
        let clean = |n: &u32| readings[*n as usize].zone == Landed::Cleansed;
        self.by_sensor = self.by_place.iter().copied().filter(clean).collect();
        // Stable: the order of places stays.
        self.by_sensor.sort_by_key(|n| readings[*n as usize].sensor);
        for pair in self.by_sensor.windows(2) {
            let (a, b) = (&readings[pair[0] as usize], &readings[pair[1] as usize]);
            if a.sensor == b.sensor && !lake.shards.follows(b.shard, a.shard) {
                self.unordered.insert(a.sensor);
            }
        }
        if lake.evidence.places != Places::Sensor {
            self.unordered.extend(readings.iter().map(|row| row.sensor).filter(|sensor| *sensor != NOBODY));
        }
        let sensors = self.by_sensor.chunk_by(|a, b| readings[*a as usize].sensor == readings[*b as usize].sensor);
        findings.verdict.sensors = sensors.count() as u64;
        findings.verdict.unordered_sensors = self.unordered.len() as u64;
        let landed = |zone| readings.iter().filter(|row| row.zone == zone).count() as u64;
        findings.verdict.cleansed = landed(Landed::Cleansed);
        findings.verdict.quarantined = landed(Landed::Quarantine);
        findings.verdict.duplicates = landed(Landed::Duplicates);
        findings.verdict.dimensions = self.versions.len() as u64;
        findings.verdict.aggregates = self.windows.len() as u64;
    }
}
