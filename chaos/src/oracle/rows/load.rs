//! From the columns of each zone to compact rows.
//!
//! **Owns** which columns of a zone are looked at. Names are those that consumers are told (`sinks/columns.rs`).
//! **Promises** as many rows as the object has.
//! **Fails** with a text that says what is wrong with the object.
//! **Not here**: the order of rows.

use actors::lake::columns;
use messages::{Reason, WindowKind, Zone};

use super::super::content::Content;
use super::super::lake::{Lake, Object};
use super::super::place::Place;
use super::super::table::{Cells, Read, Table};
use super::{Landed, NOBODY, Reading, Rows, Version, WindowRow};

/// Arrivals are milliseconds in the lake.
const US_PER_MS: i64 = 1_000;

/// An object to be read.
pub(super) struct Job<'a> {
    pub(super) lake: &'a Lake<'a>,
    pub(super) object: &'a Object<'a>,
    pub(super) zone: Zone,
}

pub(super) type Load = fn(&Job<'_>, Table, &mut Rows) -> Read<u64>;

/// Where the identity of a reading stands.
struct Origin {
    shard: usize,
    sequence: usize,
    sub_sequence: usize,
}

impl Origin {
    fn of(table: &Table) -> Read<Self> {
        Ok(Self {
            shard: table.column(columns::SHARD)?,
            sequence: table.column(columns::SEQUENCE)?,
            sub_sequence: table.column(columns::SUB_SEQUENCE)?,
        })
    }

    fn read(&self, job: &Job<'_>, cells: &Cells) -> Read<(u32, Place, u32)> {
        let shard = job.shard(cells.text(self.shard)?)?;
        let sequence = cells.text(self.sequence)?;
        let place = Place::parse(sequence).ok_or_else(|| format!("{sequence:?} is no sequence number"))?;
        let sub = cells.whole(self.sub_sequence)?;
        Ok((shard, place, u32::try_from(sub).map_err(|_| format!("{sub} is no sub-sequence"))?))
    }
}

impl Job<'_> {
    fn shard(&self, name: &str) -> Read<u32> {
        self.lake.shards.number(name).ok_or_else(|| format!("nobody knows a shard {name:?}"))
    }

    fn reading(&self, rows: &Rows, (shard, place, sub): (u32, Place, u32), zone: Landed) -> Reading {
        Reading {
            place,
            event_time_us: 0,
            device_sequence: None,
            content: 0,
            fact: 0,
            epoch: self.object.epoch.unwrap_or(0),
            object: rows.last_key(),
            shard,
            sub,
            sensor: NOBODY,
            version: 0,
            numbers: 0,
            zone,
            late: false,
            reason: None,
        }
    }
}

impl Rows {
    fn last_key(&self) -> u32 {
        self.keys.len() as u32 - 1
    }
}

pub(super) fn cleansed(job: &Job<'_>, table: Table, rows: &mut Rows) -> Read<u64> {
    let origin = Origin::of(&table)?;
    let [sensor, time, event_id, device] =
        [columns::SENSOR_ID, columns::EVENT_TIME, columns::EVENT_ID, columns::DEVICE_SEQUENCE].map(|n| table.column(n));
    let (sensor, time, event_id, device) = (sensor?, time?, event_id?, device?);
    let [score, anomalies, version, late] =
        [columns::ANOMALY_SCORE, columns::ANOMALIES, columns::SENSOR_VERSION, columns::LATE].map(|n| table.column(n));
    let (score, anomalies, version, late) = (score?, anomalies?, version?, late?);
    let arrival = table.column(columns::ARRIVAL_TIME)?;
    let fields = job.lake.schema.fields.iter().map(|field| Ok((field.kind, table.column(&field.name)?)));
    let fields = fields.collect::<Read<Vec<_>>>()?;
    let aggregated: Vec<usize> = job.lake.schema.aggregated().map(|(index, _)| fields[index].1).collect();
    let mut found = 0;
    for cells in table {
        let cells = cells?;
        let mut row = job.reading(rows, origin.read(job, &cells)?, Landed::Cleansed);
        let name = cells.text(sensor)?;
        row.event_time_us = cells.whole(time)?;
        row.device_sequence = cells.whole_or_null(device)?;
        let number = cells.whole(version)?;
        row.version = i32::try_from(number).map_err(|_| format!("{number} is no version"))?;
        row.late = cells.flag(late)?;
        let mut content = Content::of(name, row.event_time_us);
        for (kind, column) in &fields {
            content.stored(*kind, &cells, *column)?;
        }
        content.identity(cells.text_or_null(event_id)?, row.device_sequence);
        let (score, anomalies) = (cells.number(score)?, cells.whole(anomalies)?);
        row.fact = match job.lake.evidence.warehouse {
            None => 0,
            Some(_) => {
                let quality = quality(row.late, anomalies);
                content.clone().fact(score, anomalies, row.late, quality, cells.whole(arrival)? * US_PER_MS)
            }
        };
        row.content = content.assessment(score, anomalies, number);
        row.numbers = rows.numbers.len() as u32;
        for column in &aggregated {
            rows.numbers.push(cells.number_or_null(*column)?.unwrap_or(f64::NAN));
        }
        row.sensor = rows.sensors.number(name);
        rows.readings.push(row);
        found += 1;
    }
    Ok(found)
}

/// What analysts filter by.
fn quality(late: bool, anomalies: i64) -> &'static str {
    match (late, anomalies) {
        (true, _) => "late",
        (false, 0) => "good",
        (false, _) => "suspect",
    }
}

pub(super) fn quarantine(job: &Job<'_>, table: Table, rows: &mut Rows) -> Read<u64> {
    let origin = Origin::of(&table)?;
    let (sensor, reason) = (table.column(columns::SENSOR_ID)?, table.column(columns::REASON)?);
    let mut found = 0;
    for cells in table {
        let cells = cells?;
        let mut row = job.reading(rows, origin.read(job, &cells)?, Landed::Quarantine);
        row.sensor = cells.text_or_null(sensor)?.map_or(NOBODY, |name| rows.sensors.number(name));
        let reason = cells.text(reason)?;
        let known = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
        row.reason = Some(known.ok_or_else(|| format!("{reason:?} is no reason"))?);
        rows.readings.push(row);
        found += 1;
    }
    Ok(found)
}

pub(super) fn duplicates(job: &Job<'_>, table: Table, rows: &mut Rows) -> Read<u64> {
    let origin = Origin::of(&table)?;
    let sensor = table.column(columns::SENSOR_ID)?;
    let mut found = 0;
    for cells in table {
        let cells = cells?;
        let mut row = job.reading(rows, origin.read(job, &cells)?, Landed::Duplicates);
        row.sensor = rows.sensors.number(cells.text(sensor)?);
        rows.readings.push(row);
        found += 1;
    }
    Ok(found)
}

pub(super) fn dimensions(job: &Job<'_>, table: Table, rows: &mut Rows) -> Read<u64> {
    let origin = Origin::of(&table)?;
    let (sensor, version) = (table.column(columns::SENSOR_ID)?, table.column(columns::VERSION)?);
    let (valid_from, changed) = (table.column(columns::VALID_FROM)?, table.column(columns::CHANGED)?);
    let arrival = table.column(columns::ARRIVAL_TIME)?;
    let fields = job.lake.schema.tracked().map(|(_, field)| Ok((field.kind, table.column(&field.name)?)));
    let fields = fields.collect::<Read<Vec<_>>>()?;
    let mut found = 0;
    for cells in table {
        let cells = cells?;
        let (shard, place, sub) = origin.read(job, &cells)?;
        let (name, valid_from_us) = (cells.text(sensor)?, cells.whole(valid_from)?);
        let mut content = Content::of(name, valid_from_us);
        for (kind, column) in &fields {
            content.stored(*kind, &cells, *column)?;
        }
        let version = Version {
            sensor: rows.sensors.number(name),
            shard,
            place,
            sub,
            version: cells.whole(version)?,
            valid_from_us,
            content: content.version(cells.text(changed)?, cells.whole(arrival)? * US_PER_MS),
            epoch: job.object.epoch,
            object: rows.last_key(),
        };
        rows.versions.push(version);
        found += 1;
    }
    Ok(found)
}

pub(super) fn aggregates(job: &Job<'_>, table: Table, rows: &mut Rows) -> Read<u64> {
    let kind = match job.zone {
        Zone::AggregatesDaily => WindowKind::Daily,
        _ => WindowKind::Hourly,
    };
    let names: Vec<&str> = job.lake.schema.aggregated().map(|(_, field)| field.name.as_str()).collect();
    let at = |name| table.column(name);
    let (sensor, field, start) = (at(columns::SENSOR_ID)?, at(columns::FIELD)?, at(columns::WINDOW_START)?);
    let (revision, shard, epoch) = (at(columns::REVISION)?, at(columns::SHARD)?, at(columns::EPOCH)?);
    let (count, sum, min, max) = (at(columns::COUNT)?, at(columns::SUM)?, at(columns::MIN)?, at(columns::MAX)?);
    let (mean, stddev) = (at(columns::MEAN)?, at(columns::STDDEV)?);
    let (first, last) = (at(columns::FIRST)?, at(columns::LAST)?);
    let mut found = 0;
    for cells in table {
        let cells = cells?;
        let name = cells.text(field)?;
        let place = names.iter().position(|n| *n == name).ok_or_else(|| format!("{name:?} is not aggregated"))?;
        let epoch = cells.whole(epoch)?;
        let row = WindowRow {
            sensor: rows.sensors.number(cells.text(sensor)?),
            kind,
            start_us: cells.whole(start)?,
            field: place as u16,
            revision: cells.whole(revision)?,
            shard: job.shard(cells.text(shard)?)?,
            epoch: u64::try_from(epoch).map_err(|_| format!("{epoch} is no epoch"))?,
            object: rows.last_key(),
            count: cells.whole(count)?,
            sum: cells.number(sum)?,
            min: cells.number(min)?,
            max: cells.number(max)?,
            mean: cells.number(mean)?,
            stddev: cells.number_or_null(stddev)?,
            first: cells.number(first)?,
            last: cells.number(last)?,
        };
        rows.windows.push(row);
        found += 1;
    }
    Ok(found)
}
