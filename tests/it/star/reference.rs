//! The star in plain Rust: sorted lists and loops, nothing of the product's.

use std::collections::{BTreeMap, BTreeSet};

/// A version, as a sensor said it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) sensor: u8,
    pub(super) from: i64,
    pub(super) firmware: Option<u8>,
    pub(super) site: Option<u8>,
}

/// A reading.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) sensor: u8,
    pub(super) at: i64,
}

/// An epoch of a shard.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    pub(super) shard: usize,
    pub(super) number: u64,
    pub(super) versions: Vec<Version>,
    pub(super) readings: Vec<Reading>,
}

/// A row of metadata about a sensor; without a beginning it always held.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) sensor: u8,
    pub(super) from: Option<i64>,
    pub(super) firmware: Option<u8>,
    pub(super) site: Option<u8>,
    pub(super) owner: Option<u8>,
}

/// All metadata: of sensors, and the regions of sites. Of rows about the same, the first holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) sensors: Vec<Described>,
    pub(super) sites: Vec<(u8, Option<u8>)>,
}

/// A row of the dimension.
#[derive(Clone, Debug)]
struct Interval {
    from: i64,
    to: Option<i64>,
    number: i64,
    firmware: Option<u8>,
    site: Option<u8>,
    owner: Option<u8>,
    source: &'static str,
}

/// Beginning, metadata before events, then as they came.
type Order = (i64, u8, i64, i64, usize, u64);

/// A source that said something, and what.
#[derive(Clone, Debug)]
struct Saying {
    source: &'static str,
    firmware: Option<u8>,
    site: Option<u8>,
    owner: Option<u8>,
}

/// What the one and the other last said of an attribute.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    event: Option<u8>,
    metadata: Option<u8>,
}

/// What must be in the tables.
#[derive(Debug)]
pub(super) struct Star {
    intervals: BTreeMap<u8, Vec<Interval>>,
    regions: BTreeMap<u8, Option<u8>>,
    readings: Vec<(Reading, String, i64)>,
}

impl Epoch {
    pub(super) fn shard(&self) -> String {
        format!("shardId-{}", self.shard)
    }

    /// The sequence number of its n-th row; some are longer than others.
    pub(super) fn sequence(&self, n: usize) -> u64 {
        self.number * 50 + n as u64
    }

    /// Milliseconds; both shards take one row at a time.
    pub(super) fn arrival_ms(&self, n: usize) -> i64 {
        1_767_225_600_000 + self.sequence(n) as i64
    }

    /// What stands in the zone: the version of the arrival, which is somebody's guess here.
    pub(super) fn version_at_arrival(&self, n: usize) -> i64 {
        1 + n as i64 % 3
    }
}

/// The numbers that the sensors give their versions: one row of numbers per sensor and shard.
pub(super) fn number_of(epoch: &Epoch, n: usize) -> i64 {
    // Grows with arrival, as the sensor's own does, and needs no epoch before this one.
    (epoch.number * 10) as i64 + n as i64
}

impl Star {
    pub(super) fn of(epochs: &[Epoch], known: &Known) -> Self {
        let mut said: BTreeMap<u8, Vec<(Order, Saying)>> = BTreeMap::new();
        for epoch in epochs {
            for (n, Version { sensor, from, firmware, site }) in epoch.versions.iter().enumerate() {
                let order = (*from, 1, number_of(epoch, n), epoch.arrival_ms(n), epoch.shard, epoch.sequence(n));
                let saying = Saying { source: "event", firmware: *firmware, site: *site, owner: None };
                said.entry(*sensor).or_default().push((order, saying));
            }
        }
        let mut described: BTreeMap<(u8, i64), &Described> = BTreeMap::new();
        for row in &known.sensors {
            described.entry((row.sensor, row.from.unwrap_or(BEGINNING))).or_insert(row);
        }
        let mut numbers: BTreeMap<u8, i64> = BTreeMap::new();
        for ((sensor, from), Described { firmware, site, owner, .. }) in described {
            let number = numbers.entry(sensor).or_default();
            *number -= 1;
            let saying = Saying { source: "metadata", firmware: *firmware, site: *site, owner: *owner };
            said.entry(sensor).or_default().push(((from, 0, *number, 0, 0, 0), saying));
        }
        let mut intervals: BTreeMap<u8, Vec<Interval>> = BTreeMap::new();
        for (sensor, mut said) in said {
            said.sort_by_key(|(order, _)| *order);
            over_shards(&mut said);
            let (mut firmware, mut site, mut owner) = (Last::default(), Last::default(), Last::default());
            for (n, ((from, _, number, ..), saying)) in said.iter().enumerate() {
                firmware.hear(saying.source, saying.firmware);
                site.hear(saying.source, saying.site);
                owner.hear(saying.source, saying.owner);
                let interval = Interval {
                    from: *from,
                    to: said.get(n + 1).map(|((from, ..), _)| *from),
                    number: *number,
                    firmware: firmware.holds(),
                    site: site.holds(),
                    owner: owner.holds(),
                    source: saying.source,
                };
                intervals.entry(sensor).or_default().push(interval);
            }
        }
        let mut regions = BTreeMap::new();
        for (site, region) in &known.sites {
            regions.entry(*site).or_insert(*region);
        }
        let mut readings = Vec::new();
        for epoch in epochs {
            for (n, reading) in epoch.readings.iter().enumerate() {
                let version = match intervals.get(&reading.sensor) {
                    None => 0,
                    Some(intervals) => {
                        let holds = |i: &&Interval| i.from <= reading.at && i.to.is_none_or(|to| reading.at < to);
                        intervals.iter().find(holds).unwrap_or(&intervals[0]).number
                    }
                };
                readings.push((reading.clone(), format!("{}/{}", epoch.shard(), epoch.sequence(n)), version));
            }
        }
        Self { intervals, regions, readings }
    }

    /// Every table: its name, a query of one text per row, and the texts, in order.
    pub(super) fn tables(&self, namespace: &str) -> Vec<(String, String, Vec<String>)> {
        let seconds = |name: &str| format!("NVL(CAST(DATEDIFF(second, TIMESTAMP '{EPOCH}', {name}) AS VARCHAR), '-')");
        let sensors = format!(
            "SELECT sensor_id || ' ' || {} || ' ' || {} || ' ' || version || ' ' || NVL(firmware, '-') || ' ' || \
             NVL(site, '-') || ' ' || NVL(owner, '-') || ' ' || source || ' ' || \
             CASE WHEN is_current THEN 'now' ELSE 'then' END FROM {namespace}.dim_sensors",
            seconds("valid_from"),
            seconds("valid_to"),
        );
        let readings = format!(
            "SELECT shard || '/' || sequence || ' ' || sensor_id || ' ' || sensor_version FROM {namespace}.sensor_readings"
        );
        let places = format!(
            "SELECT site || ' ' || {} || ' ' || NVL(region, '-') FROM {namespace}.dim_locations",
            seconds("first_seen")
        );
        vec![
            ("dim_sensors".into(), sensors, sorted(self.sensor_rows())),
            ("sensor_readings".into(), readings, sorted(self.reading_rows())),
            ("dim_locations".into(), places, sorted(self.place_rows())),
        ]
    }

    fn sensor_rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for (sensor, intervals) in &self.intervals {
            for Interval { from, to, number, firmware, site, owner, source } in intervals {
                let to_shown = to.map_or("-".to_owned(), |to| to.to_string());
                let current = if to.is_none() { "now" } else { "then" };
                let (firmware, site, owner) = (shown("f", *firmware), shown("p", *site), shown("o", *owner));
                rows.push(format!("s{sensor} {from} {to_shown} {number} {firmware} {site} {owner} {source} {current}"));
            }
        }
        rows
    }

    fn reading_rows(&self) -> Vec<String> {
        self.readings.iter().map(|(reading, at, version)| format!("{at} s{} {version}", reading.sensor)).collect()
    }

    fn place_rows(&self) -> Vec<String> {
        let mut first: BTreeMap<u8, i64> = BTreeMap::new();
        for interval in self.intervals.values().flatten() {
            if let Some(site) = interval.site {
                let seen = first.entry(site).or_insert(interval.from);
                *seen = (*seen).min(interval.from);
            }
        }
        let region = |site: &u8| shown("r", self.regions.get(site).copied().flatten());
        first.into_iter().map(|(site, from)| format!("p{site} {from} {}", region(&site))).collect()
    }
}

/// Two versions of one number were counted by two shards. Then what has been said is not said again, and the numbers
/// follow the order.
fn over_shards(said: &mut Vec<(Order, Saying)>) {
    let mut numbers = BTreeSet::new();
    let several = said.iter().filter(|(_, saying)| saying.source == "event").any(|(order, _)| !numbers.insert(order.2));
    if !several {
        return;
    }
    let (mut known, mut number) = (None, 0);
    said.retain_mut(|(order, saying)| {
        if saying.source != "event" {
            return true;
        }
        let (firmware, site) = known.unwrap_or((None, None));
        let now = (saying.firmware.or(firmware), saying.site.or(site));
        let is_news = known != Some(now);
        known = Some(now);
        number += i64::from(is_news);
        order.2 = number;
        is_news
    });
}

impl Last {
    fn hear(&mut self, source: &str, said: Option<u8>) {
        let last = if source == "event" { &mut self.event } else { &mut self.metadata };
        *last = said.or(*last);
    }

    /// Events know better, once they have said something.
    fn holds(self) -> Option<u8> {
        self.event.or(self.metadata)
    }
}

/// From second 0 back to the year 1.
const BEGINNING: i64 = -63_902_822_400;

/// Second 0 of all times here.
pub(super) const EPOCH: &str = "2026-01-01 00:00:00";

pub(super) fn shown(kind: &str, value: Option<u8>) -> String {
    value.map_or("-".to_owned(), |value| format!("{kind}{value}"))
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}
