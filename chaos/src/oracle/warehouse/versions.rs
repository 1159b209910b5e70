//! Versions of sensors in the warehouse: what was said, the intervals that follow, and which holds when.
//!
//! **Owns** the order of versions: by the time from which they hold, metadata before events, then by number.
//! **Promises** a version that is missing, there twice, of nothing, or that says something else is found, in
//! `sensor_versions` and in `dim_sensors`.
//! **Fails** never.
//! **Owns too** what may become of a version of a sensor that several shards count: it may be said by another already. Then
//! numbers are those of `dim_sensors`, without a hole.
//! **Not here**: attributes that others fill in. Where metadata says something of a sensor, attributes of its intervals are
//! not compared; nor for sensors in two shards at once, or with versions that came late, which fill in one another
//! (`tests/it/star` computes those).

use std::collections::{BTreeMap, BTreeSet};

use super::super::lake::Lake;
use super::super::place::Place;
use super::super::rows::{Reading, Version};
use super::tables::{Described, Interval, Reported, Tables};
use super::{Check, INTERVAL};

/// Where the reading stands that brought a version, and the version's number: one reading may bring several. Where several
/// shards count versions, and dimensions number them anew, the time from which it holds instead.
type At = (u32, Place, u32, i64);

/// Which version of a sensor holds when.
pub(super) struct Holding<'a> {
    /// By sensor: since when, 0 for metadata and 1 for an event, and the number.
    versions: BTreeMap<u32, Vec<(i64, u8, i64)>>,
    unordered: &'a BTreeSet<u32>,
}

impl<'a> Holding<'a> {
    /// The versions that are not put aside.
    pub(super) fn new(lake: &'a Lake<'_>, tables: &Tables, aside: &BTreeSet<(u32, u64)>) -> Self {
        let rows = &lake.rows;
        let mut versions: BTreeMap<u32, Vec<(i64, u8, i64)>> = BTreeMap::new();
        for version in rows.versions.iter().filter(|version| !is_aside(version, aside)) {
            versions.entry(version.sensor).or_default().push((version.valid_from_us, 1, version.version));
        }
        for Described { sensor, version, from_us } in &tables.described {
            // A sensor without rows has no readings either.
            if let Some(sensor) = rows.sensors.find(sensor) {
                // The first is -1.
                versions.entry(sensor).or_default().push((*from_us, 0, -version));
            }
        }
        // The numbers that several shards have given are nobody's.
        let several = several(lake);
        versions.retain(|sensor, _| !several.contains(sensor));
        for interval in &tables.intervals {
            if let Some(sensor) = rows.sensors.find(&interval.sensor).filter(|sensor| several.contains(sensor)) {
                let (source, number) = if interval.described { (0, -interval.version) } else { (1, interval.version) };
                versions.entry(sensor).or_default().push((interval.from_us, source, number));
            }
        }
        for versions in versions.values_mut() {
            versions.sort_unstable();
        }
        Self { versions, unordered: &rows.unordered }
    }

    /// Whether this version holds at the reading's event time; else the one that does, 0 for none.
    pub(super) fn check(&self, row: &Reading, version: i64) -> Result<(), i64> {
        let number = |(_, source, number): &(i64, u8, i64)| if *source == 0 { -number } else { *number };
        let Some(versions) = self.versions.get(&row.sensor) else {
            return if version == 0 { Ok(()) } else { Err(0) };
        };
        // What is older than all belongs to the first.
        let at = versions.partition_point(|(from_us, ..)| *from_us <= row.event_time_us).saturating_sub(1);
        let holds = number(&versions[at]);
        // Which of two versions that begin at once came first is nobody's promise.
        let one_of_them = || versions.iter().any(|other| other.0 == versions[at].0 && number(other) == version);
        if version == holds || (self.unordered.contains(&row.sensor) && one_of_them()) { Ok(()) } else { Err(holds) }
    }
}

impl<'t> Check<'t, '_> {
    /// `sensor_versions` has the versions of the lake.
    pub(super) fn reported(&mut self) {
        let (tables, lake) = (self.tables, self.lake);
        let rows = self.by_place(tables.reported.iter().map(|said| (&said.identity, said)));
        let several = several(lake);
        let rows = rows.into_iter().map(|((shard, place, sub), said)| {
            let is_several = lake.rows.sensors.find(&said.sensor).is_some_and(|sensor| several.contains(&sensor));
            ((shard, place, sub, if is_several { said.from_us } else { said.version }), said)
        });
        let named = |said: &Reported| format!("version {} of sensor {} in sensor_versions", said.version, said.sensor);
        let mut found: BTreeMap<At, &Reported> = BTreeMap::new();
        for (at, said) in rows {
            if found.insert(at, said).is_some() {
                self.doubled(INTERVAL, || named(said));
            }
        }
        for (at, version) in versions(lake, &several) {
            let sensor = lake.rows.sensors.text(version.sensor);
            match found.remove(&at) {
                Some(row) => {
                    let said = (row.sensor.as_str(), row.version, row.from_us, row.content);
                    if said != (sensor, version.version, version.valid_from_us, version.content) {
                        self.altered(INTERVAL, || format!("{} says something else than in the lake", named(row)));
                    }
                }
                None if is_aside(version, &self.aside) => {}
                None => {
                    let number = version.version;
                    self.missing(INTERVAL, || format!("version {number} of sensor {sensor} in sensor_versions"));
                }
            }
        }
        for said in found.into_values() {
            self.unexpected(INTERVAL, || named(said));
        }
    }

    /// `dim_sensors` is what a replay of the versions makes of them.
    pub(super) fn intervals(&mut self) {
        let (tables, lake) = (self.tables, self.lake);
        let of_events = tables.intervals.iter().filter(|interval| !interval.described);
        let rows = self.by_place(of_events.map(|interval| (&interval.identity, interval)));
        let several = several(lake);
        let rows = rows.into_iter().map(|((shard, place, sub), row)| {
            let is_several = lake.rows.sensors.find(&row.sensor).is_some_and(|sensor| several.contains(&sensor));
            ((shard, place, sub, if is_several { row.from_us } else { row.version }), row)
        });
        let mut found: BTreeMap<At, &Interval> = BTreeMap::new();
        for (at, interval) in rows {
            if found.insert(at, interval).is_some() {
                self.doubled(INTERVAL, || shown(interval));
            }
        }
        let described: BTreeSet<&str> = tables.described.iter().map(|row| row.sensor.as_str()).collect();
        let (versions, late) = (versions(lake, &several), with_late_versions(lake));
        for (at, version) in &versions {
            let sensor = lake.rows.sensors.text(version.sensor);
            let unordered = lake.rows.unordered.contains(&version.sensor) || late.contains(&version.sensor);
            let filled_in = unordered || described.contains(sensor);
            match found.get(at) {
                Some(row) => {
                    let number = if several.contains(&version.sensor) { row.version } else { version.version };
                    let said = (row.sensor.as_str(), row.version, row.from_us);
                    let same = said == (sensor, number, version.valid_from_us);
                    if !same || (row.content != version.content && !filled_in) {
                        self.altered(INTERVAL, || format!("{} says something else than in the lake", shown(row)));
                    }
                }
                None if is_aside(version, &self.aside) || several.contains(&version.sensor) => {}
                None => self.missing(INTERVAL, || format!("version {} of sensor {sensor}", version.version)),
            }
        }
        for (_, interval) in found.iter().filter(|(at, _)| !versions.contains_key(*at)) {
            self.unexpected(INTERVAL, || shown(interval));
        }
        let described = self.described();
        let mut sensors: BTreeMap<&str, Vec<&Interval>> = BTreeMap::new();
        for interval in found.into_values().chain(described) {
            sensors.entry(&interval.sensor).or_default().push(interval);
        }
        for (sensor, own) in sensors {
            if lake.rows.sensors.find(sensor).is_some_and(|number| several.contains(&number)) {
                self.numbered(sensor, &own);
            }
            self.chain(sensor, own);
        }
    }

    /// The numbers of events are 1, 2, 3, in the order of time.
    fn numbered(&mut self, sensor: &str, own: &[&Interval]) {
        let mut events: Vec<(i64, i64)> =
            own.iter().filter(|row| !row.described).map(|row| (row.version, row.from_us)).collect();
        events.sort_unstable();
        let numbers = events.iter().map(|(number, _)| *number);
        if !numbers.eq(1..=events.len() as i64) || !events.is_sorted_by_key(|(_, from_us)| *from_us) {
            self.altered(INTERVAL, || format!("the versions of sensor {sensor} are numbered {events:?}"));
        }
    }

    /// Those of metadata are those that `sensor_metadata` names.
    fn described(&mut self) -> Vec<&'t Interval> {
        let tables = self.tables;
        let mut found: BTreeMap<(&str, i64), &Interval> = BTreeMap::new();
        for interval in tables.intervals.iter().filter(|interval| interval.described) {
            if found.insert((&interval.sensor, interval.version), interval).is_some() {
                self.doubled(INTERVAL, || shown(interval));
            }
        }
        let intervals = found.values().copied().collect();
        for Described { sensor, version, from_us } in &tables.described {
            match found.remove(&(sensor.as_str(), *version)) {
                Some(row) if row.from_us == *from_us => {}
                Some(row) => self.altered(INTERVAL, || format!("{} but from {from_us} us by metadata", shown(row))),
                None => self.missing(INTERVAL, || format!("version {version} of sensor {sensor}, of metadata,")),
            }
        }
        for interval in found.into_values() {
            self.unexpected(INTERVAL, || format!("{} of metadata,", shown(interval)));
        }
        intervals
    }

    /// One behind the other, and the last is the current one.
    fn chain(&mut self, sensor: &str, mut own: Vec<&Interval>) {
        let rows = &self.lake.rows;
        match rows.sensors.find(sensor).is_some_and(|number| rows.unordered.contains(&number)) {
            true => own.sort_by_key(|row| (row.from_us, row.to_us.unwrap_or(i64::MAX))),
            false => own.sort_by_key(|row| (row.from_us, !row.described, row.version.abs(), row.identity.place)),
        }
        for (n, row) in own.iter().enumerate() {
            let next = own.get(n + 1).map(|next| next.from_us);
            if row.to_us != next || row.is_current != next.is_none() {
                self.altered(INTERVAL, || {
                    let (to_us, current) = (row.to_us, row.is_current);
                    format!("{} ends at {to_us:?}, current {current}; the next begins at {next:?}", shown(row))
                });
            }
        }
    }
}

/// The sensors of which several shards have counted versions, each for itself.
fn several(lake: &Lake<'_>) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let again = |version: &&Version| !numbers.insert((version.sensor, version.version));
    lake.rows.versions.iter().filter(again).map(|version| version.sensor).collect()
}

/// The versions of the lake, by the readings that brought them.
fn versions<'a>(lake: &'a Lake<'_>, several: &BTreeSet<u32>) -> BTreeMap<At, &'a Version> {
    let at = |version: &Version| {
        let number = if several.contains(&version.sensor) { version.valid_from_us } else { version.version };
        (version.shard, version.place, version.sub, number)
    };
    lake.rows.versions.iter().map(|version| (at(version), version)).collect()
}

/// Sensors of which a version came behind a later one.
fn with_late_versions(lake: &Lake<'_>) -> BTreeSet<u32> {
    let mut by_number: Vec<(u32, i64, i64)> =
        lake.rows.versions.iter().map(|row| (row.sensor, row.version, row.valid_from_us)).collect();
    by_number.sort_unstable();
    let late = by_number.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[1].2 < pair[0].2);
    late.map(|pair| pair[0].0).collect()
}

fn is_aside(version: &Version, aside: &BTreeSet<(u32, u64)>) -> bool {
    version.epoch.is_some_and(|epoch| aside.contains(&(version.shard, epoch)))
}

fn shown(interval: &Interval) -> String {
    format!("version {} of sensor {}, from {} us,", interval.version, interval.sensor, interval.from_us)
}
