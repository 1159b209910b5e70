//! WAREHOUSE, INTERVAL and LEDGER: the tables say what the lake says.
//!
//! **Owns** the comparison, both ways: of `sensor_readings` with the cleansed rows by their identities, and of the
//! versions that they carry with those that hold at their event times; of the windows with the last revisions of their
//! shards and with what SQL computes from the readings; of `sensor_versions` and `dim_sensors` with the versions of the lake
//! (`warehouse/versions.rs`); of the alerts, and of the ledger with the epochs.
//!
//! **Promises**
//! - A row that is missing, there twice, of nothing, or that says something else is found, in whatever table.
//! - A reading that carries another version than the one that holds at its event time is found, whoever said that one:
//!   the sensor, or metadata.
//! - INTERVAL: those of a sensor lie one behind the other without a hole, and exactly the last is the current one.
//! - LEDGER: every committed epoch stands there once, as the manifest says it.
//! - What an epoch would have brought that the warehouse has put aside is not missed: that is counted.
//!
//! **Fails** never.
//! **Not here**: the objects that metadata came from. What `sensor_metadata` says is believed.

mod read;
mod tables;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use messages::WindowKind;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use self::read::{tables, tables_of};
use self::tables::VALUES;
pub use self::tables::{Described, Fact, Identity, Interval, Load, Reported, Tables, Window};
use self::versions::Holding;
use super::lake::Lake;
use super::rows::{Landed, WindowRow};
use super::verdict::Findings;
use super::windows::close;

const ID: &str = "WAREHOUSE";
const INTERVAL: &str = "INTERVAL";
const LEDGER: &str = "LEDGER";

/// What was found in the warehouse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Rows of `sensor_readings`.
    pub readings: u64,
    /// Rows of `dim_sensors`.
    pub versions: u64,
    /// Rows of `sensor_hourly` and `sensor_daily`.
    pub windows: u64,
    /// Those of them that were compared with what SQL computes from the readings: all but days with late ones.
    pub recomputed: u64,
    /// Rows of `alerts`.
    pub alerts: u64,
    /// Epochs in the ledger.
    pub epochs: u64,
    /// Transactions that brought them.
    pub loads: u64,
    /// Epochs that were put aside.
    pub put_aside: u64,
    /// Rows that should be there.
    pub missing: u64,
    /// Rows that are there a second time.
    pub doubled: u64,
    /// Rows of nothing.
    pub unexpected: u64,
    /// Rows that say something else.
    pub altered: u64,
}

/// A judgement of one warehouse.
struct Check<'a, 'b> {
    lake: &'a Lake<'b>,
    tables: &'a Tables,
    /// Shard and epoch of what was put aside.
    aside: BTreeSet<(u32, u64)>,
    figures: Figures,
    findings: &'a mut Findings,
}

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    let Some(tables) = &lake.evidence.warehouse else { return };
    for id in [ID, INTERVAL, LEDGER] {
        findings.checked(id);
    }
    let batches: BTreeSet<&str> = tables.ledger.iter().map(|load| load.batch.as_str()).collect();
    let figures = Figures {
        readings: tables.readings.len() as u64,
        versions: tables.intervals.len() as u64,
        windows: tables.windows.len() as u64,
        alerts: tables.alerts.len() as u64,
        epochs: tables.ledger.len() as u64,
        loads: batches.len() as u64,
        ..Figures::default()
    };
    let mut check = Check { lake, tables, aside: BTreeSet::new(), figures, findings };
    check.ledger();
    check.readings();
    check.alerts();
    check.reported();
    check.intervals();
    check.windows();
    let figures = check.figures;
    findings.verdict.warehouse = Some(figures);
}

impl Check<'_, '_> {
    fn missing(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        self.figures.missing += 1;
        self.findings.add(id, || format!("{} is not in the warehouse", what()));
    }

    fn doubled(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        self.figures.doubled += 1;
        self.findings.add(id, || format!("{} is in the warehouse twice", what()));
    }

    fn unexpected(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        self.figures.unexpected += 1;
        self.findings.add(id, || format!("{} is in the warehouse and not in the lake", what()));
    }

    fn altered(&mut self, id: &'static str, what: impl FnOnce() -> String) {
        self.figures.altered += 1;
        self.findings.add(id, what);
    }

    /// Every epoch of the lake stands in the ledger once.
    fn ledger(&mut self) {
        let (tables, lake) = (self.tables, self.lake);
        let mut known: BTreeMap<(u32, u64), &Load> = BTreeMap::new();
        for load in &tables.ledger {
            let shown = || format!("epoch {} of {} in load_ledger", load.epoch, load.shard);
            let Some(shard) = lake.shards.number(&load.shard).filter(|s| lake.epoch(*s, load.epoch).is_some()) else {
                self.unexpected(LEDGER, shown);
                continue;
            };
            if known.insert((shard, load.epoch), load).is_some() {
                self.doubled(LEDGER, shown);
            }
        }
        let refused: BTreeSet<(&str, u64)> = tables.refused.iter().map(|(shard, n)| (shard.as_str(), *n)).collect();
        if refused.len() < tables.refused.len() {
            self.doubled(LEDGER, || "an epoch of load_refused".to_owned());
        }
        for (shard, chain) in lake.chains.iter().enumerate() {
            let (shard, name) = (shard as u32, lake.shards.name(shard as u32));
            for epoch in chain {
                let Some(load) = known.get(&(shard, epoch.number)) else {
                    self.missing(LEDGER, || format!("epoch {} of {name} in load_ledger", epoch.number));
                    continue;
                };
                let told = refused.contains(&(name, epoch.number));
                match (load.state.as_str(), told) {
                    ("refused", true) => drop(self.aside.insert((shard, epoch.number))),
                    ("loaded", false) => {}
                    (state, _) => self.altered(LEDGER, || {
                        format!("epoch {} of {name} is {state:?}, and in load_refused: {told}", epoch.number)
                    }),
                }
                let (to, readings) = (epoch.plan.cut.to.to_string(), epoch.plan.clean);
                if (&load.to, load.readings) != (&to, readings) {
                    self.altered(LEDGER, || format!("{load:?}, but it has {readings} readings and ends at {to}"));
                }
                let digest =
                    lake.evidence.objects.get(epoch.key).map(|manifest| format!("{:x}", Sha256::digest(manifest)));
                if load.content.is_some() && load.content != digest {
                    self.altered(LEDGER, || format!("{load:?}, but the digest of its manifest is {digest:?}"));
                }
            }
        }
        self.figures.put_aside = self.aside.len() as u64;
    }

    /// `sensor_readings` has the cleansed rows.
    fn readings(&mut self) {
        let (tables, lake) = (self.tables, self.lake);
        let holding = Holding::new(lake, tables, &self.aside);
        let said = |fact: &'_ Fact| (fact.content, fact.version);
        let mut facts = self.by_place(tables.readings.iter().map(|fact| (&fact.identity, said(fact))));
        facts.sort_unstable();
        let mut facts = facts.into_iter().peekable();
        let rows = &lake.rows;
        let cleansed = rows.by_place.iter().map(|n| rows.reading(*n)).filter(|row| row.zone == Landed::Cleansed);
        for row in cleansed.filter(|row| !self.aside.contains(&(row.shard, row.epoch))).collect::<Vec<_>>() {
            let place = (row.shard, row.place, row.sub);
            let shown = || format!("{}.{} of {}", row.place, row.sub, lake.shards.name(row.shard));
            while let Some((other, _)) = facts.next_if(|(found, _)| *found < place) {
                self.unexpected(ID, || format!("reading {}.{} of {}", other.1, other.2, lake.shards.name(other.0)));
            }
            let Some((_, (content, version))) = facts.next_if(|(found, _)| *found == place) else {
                self.missing(ID, || format!("reading {}", shown()));
                continue;
            };
            if content != row.fact {
                self.altered(ID, || format!("reading {} says something else than in the lake", shown()));
            }
            if let Err(holds) = holding.check(row, version) {
                self.altered(ID, || format!("reading {} carries version {version}, but {holds} holds then", shown()));
            }
            while facts.next_if(|(found, _)| *found == place).is_some() {
                self.doubled(ID, || format!("reading {}", shown()));
            }
        }
        for (other, _) in facts {
            self.unexpected(ID, || format!("reading {}.{} of {}", other.1, other.2, lake.shards.name(other.0)));
        }
    }

    /// Identities by the numbers of their shards; those of no known shard are told here.
    fn by_place<'c, T>(
        &mut self,
        rows: impl Iterator<Item = (&'c Identity, T)>,
    ) -> Vec<((u32, super::place::Place, u32), T)> {
        let mut found = Vec::new();
        for (identity, value) in rows {
            match self.lake.shards.number(&identity.shard) {
                Some(shard) => found.push(((shard, identity.place, identity.sub), value)),
                None => self.unexpected(ID, || format!("{identity:?}")),
            }
        }
        found
    }

    fn alerts(&mut self) {
        let (tables, lake) = (self.tables, self.lake);
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for id in &tables.alerts {
            *found.entry(id).or_default() += 1;
        }
        for (id, n) in &found {
            if !lake.alerts.contains(*id) {
                self.unexpected(ID, || format!("alert {id}"));
            } else if *n > 1 {
                self.doubled(ID, || format!("alert {id}"));
            }
        }
        // Which epoch an alert is of is not in its line.
        if self.aside.is_empty() {
            for id in lake.alerts.iter().filter(|id| !found.contains_key(id.as_str())) {
                self.missing(ID, || format!("alert {id}"));
            }
        }
    }

    /// The windows are the last revisions of the lake, and what SQL computes from the readings.
    fn windows(&mut self) {
        let (tables, lake) = (self.tables, self.lake);
        let mut found: BTreeMap<Key<'_>, &Window> = BTreeMap::new();
        for window in &tables.windows {
            if found.insert(key(window), window).is_some() {
                self.doubled(ID, || told(window));
            }
        }
        // Windows of an epoch that was put aside may stand at an earlier revision.
        if !self.aside.is_empty() {
            return;
        }
        let names: Vec<&str> = lake.schema.aggregated().map(|(_, field)| field.name.as_str()).collect();
        let mut parts: BTreeMap<(Key<'_>, u32), &WindowRow> = BTreeMap::new();
        for row in &lake.rows.windows {
            let field = names.get(usize::from(row.field)).copied().unwrap_or_default();
            let key = (lake.rows.sensors.text(row.sensor), row.kind, row.start_us, field);
            let at = parts.entry((key, row.shard)).or_insert(row);
            if (row.revision, row.epoch) > (at.revision, at.epoch) {
                *at = row;
            }
        }
        let mut last: BTreeMap<Key<'_>, Vec<&WindowRow>> = BTreeMap::new();
        parts.into_iter().for_each(|((key, _), row)| last.entry(key).or_default().push(row));
        for (key, parts) in &last {
            match found.get(key) {
                None => self.missing(ID, || format!("the window {key:?}")),
                Some(window) if is_sum(window, parts) => {}
                Some(window) => self.altered(ID, || {
                    format!("{} is not the sum of the last revisions of {} shards", told(window), parts.len())
                }),
            }
        }
        for (key, window) in &found {
            if !last.contains_key(key) {
                self.unexpected(ID, || told(window));
            }
        }
        // A worker that did not give its shards up in good order leaves windows open.
        if !lake.evidence.drained {
            return;
        }
        // Which of the rows that are late for their hour were in time for their day, no column says.
        let day = |row: &super::rows::Reading| WindowKind::Daily.start_of(row.event_time_us);
        let late = lake.rows.readings.iter().filter(|row| row.late);
        let late: BTreeSet<(&str, i64)> = late.map(|row| (lake.rows.sensors.text(row.sensor), day(row))).collect();
        let is_told = |key: &Key<'_>| key.1 == WindowKind::Hourly || !late.contains(&(key.0, key.2));
        let mut computed: BTreeMap<Key<'_>, &Window> = BTreeMap::new();
        computed.extend(tables.computed.iter().map(|window| (key(window), window)));
        for (key, window) in found.iter().filter(|(key, _)| is_told(key)) {
            self.figures.recomputed += 1;
            match computed.remove(key).map(|computed| difference(window, computed)) {
                None => self.unexpected(ID, || format!("{}, by SQL over sensor_readings,", told(window))),
                Some(None) => {}
                Some(Some(difference)) => self.altered(ID, || format!("{}: {difference}", told(window))),
            }
        }
        for window in computed.into_values().filter(|window| is_told(&key(window))) {
            self.missing(ID, || format!("{}, by SQL over sensor_readings,", told(window)));
        }
    }
}

/// Sensor, kind, start and field.
type Key<'a> = (&'a str, WindowKind, i64, &'a str);

fn key(window: &Window) -> Key<'_> {
    (&window.sensor, window.kind, window.start_us, &window.field)
}

/// One shard's part bit by bit: nothing is computed on the way. The statistics of several are compared with what SQL
/// computes from the readings.
fn is_sum(window: &Window, parts: &[&WindowRow]) -> bool {
    let [one] = parts else {
        let count: i64 = parts.iter().map(|part| part.count).sum();
        let revision: i64 = parts.iter().map(|part| part.revision).sum();
        let min = parts.iter().map(|part| part.min).fold(f64::INFINITY, f64::min);
        let max = parts.iter().map(|part| part.max).fold(f64::NEG_INFINITY, f64::max);
        let [_, low, high, ..] = window.values;
        return (window.revision, window.count) == (revision, count) && (low, high) == (min, max);
    };
    same(window, one)
}

fn same(window: &Window, row: &WindowRow) -> bool {
    let stored = [row.sum, row.min, row.max, row.mean, row.first, row.last];
    (window.revision, window.count) == (row.revision, row.count)
        && window.values.map(f64::to_bits) == stored.map(f64::to_bits)
        && window.stddev.map(f64::to_bits) == row.stddev.map(f64::to_bits)
}

/// The first difference between a window and what was computed; sums may be rounded differently.
fn difference(window: &Window, computed: &Window) -> Option<String> {
    if window.count != computed.count {
        return Some(format!("it counts {} readings, SQL {}", window.count, computed.count));
    }
    let [_, min, max, ..] = computed.values;
    let scale = min.abs().max(max.abs());
    for (n, name) in VALUES.iter().enumerate() {
        let (said, is) = (window.values[n], computed.values[n]);
        let equal = match *name {
            "sum" => close(said, is, scale * computed.count as f64),
            "mean" => close(said, is, scale),
            _ => said == is,
        };
        if !equal {
            return Some(format!("its {name} is {said}, by SQL {is}"));
        }
    }
    let (said, is) = (window.stddev.unwrap_or(-1.0), computed.stddev.unwrap_or(-1.0));
    (!close(said, is, scale)).then(|| format!("its deviation is {said}, by SQL {is}"))
}

fn told(window: &Window) -> String {
    let Window { kind, sensor, field, start_us, revision, .. } = window;
    format!("{kind:?} window of {field} of {sensor} from {start_us} us, revision {revision},")
}
