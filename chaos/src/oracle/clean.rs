//! CLEAN-ONCE and COMPLETE: every reading has gone to one place, and is there once.
//!
//! **Owns** the identities: shard, sequence, sub-sequence.
//! **Promises** a record without any row is found, as are a reading with two, a row of nothing that was stored, a hole
//! in the readings of a record, and a row in an object of another shard or epoch than its own.
//! **Fails** never.
//! **Not here**: what the rows say (`replay.rs`).

use std::collections::BTreeMap;

use messages::{Reason, WindowKind};

use super::evidence::Places;
use super::lake::Lake;
use super::place::Place;
use super::rows::{Landed, Reading};
use super::verdict::Findings;

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    findings.checked("CLEAN-ONCE");
    within_epochs(lake, findings);
    poison_is_known(lake, findings);
    aggregates_are_whole(lake, findings);
    let rows = &lake.rows;
    let same_place = |a: &u32, b: &u32| {
        let (a, b) = (rows.reading(*a), rows.reading(*b));
        (a.shard, a.place) == (b.shard, b.place)
    };
    let mut stored = lake.stored.iter().peekable();
    let mut unheard = 0;
    let mut places: BTreeMap<(u32, u64), u64> = BTreeMap::new();
    for readings in rows.by_place.chunk_by(same_place) {
        let first = rows.reading(readings[0]);
        readings_of_one_record(lake, readings, findings);
        *places.entry((first.shard, first.epoch)).or_default() += 1;
        while let Some(record) = stored.next_if(|record| (record.shard, record.place) < (first.shard, first.place)) {
            missing(lake, record.shard, &record.place, findings);
        }
        let mut heard = false;
        while stored.next_if(|record| (record.shard, record.place) == (first.shard, first.place)).is_some() {
            heard = true;
        }
        unheard += u64::from(!heard);
        if !heard && unheard > lake.unheard() {
            findings.verdict.unexpected += 1;
            findings.add("CLEAN-ONCE", || format!("{}: no such record was stored", shown(lake, first)));
        }
    }
    for record in stored {
        missing(lake, record.shard, &record.place, findings);
    }
    records_of_epochs(lake, &places, findings);
}

fn missing(lake: &Lake<'_>, shard: u32, place: &Place, findings: &mut Findings) {
    findings.verdict.missing += 1;
    findings.add("COMPLETE", || format!("{place} of {} has no row in any zone", lake.shards.name(shard)));
}

/// Sub-sequences are 0, 1, 2, each once.
fn readings_of_one_record(lake: &Lake<'_>, readings: &[u32], findings: &mut Findings) {
    let mut next = 0;
    for number in readings {
        let row = lake.rows.reading(*number);
        if row.sub < next {
            findings.verdict.doubled += 1;
            findings.add("CLEAN-ONCE", || format!("{} is there a second time", shown(lake, row)));
            continue;
        }
        if row.sub > next {
            findings.verdict.missing += u64::from(row.sub - next);
            findings.add("COMPLETE", || format!("before {} readings of its record are missing", shown(lake, row)));
        }
        next = row.sub + 1;
    }
}

/// Rows stand in objects of their own shard and epoch, cleansed ones under the hour of their event time.
fn within_epochs(lake: &Lake<'_>, findings: &mut Findings) {
    for rows in lake.rows.readings.chunk_by(|a, b| a.object == b.object) {
        let object = &lake.objects[lake.rows.key(rows[0].object)];
        let Some((shard, number)) = object.shard.zip(object.epoch) else { continue };
        let epoch = lake.epoch(shard, number);
        for row in rows {
            let inside = epoch.is_none_or(|epoch| epoch.to.covers(epoch.from, row.place));
            if row.shard != shard || !inside {
                findings.verdict.out_of_order += 1;
                findings.add("COMPLETE", || format!("{} belongs to another epoch", shown(lake, row)));
            }
            let hour = WindowKind::Hourly.start_of(row.event_time_us) / WindowKind::Hourly.length_us();
            if row.zone == Landed::Cleansed && object.hour.is_some_and(|named| named != hour) {
                findings.verdict.out_of_order += 1;
                findings.add("COMPLETE", || format!("{} does not lie under its hour", shown(lake, row)));
            }
        }
    }
}

/// What workers put aside because they died on it is what kills workers.
fn poison_is_known(lake: &Lake<'_>, findings: &mut Findings) {
    let known = |row: &&Reading| lake.evidence.deadly.contains(&row.place.to_string());
    for row in lake.rows.readings.iter().filter(|row| row.reason == Some(Reason::Poison) && !known(row)) {
        findings.add("CLEAN-ONCE", || format!("{} is put aside as poison, and is not known to be", shown(lake, row)));
    }
}

/// Where the service says that keys decide nothing, no user record belongs elsewhere.
fn aggregates_are_whole(lake: &Lake<'_>, findings: &mut Findings) {
    let outside = |row: &&Reading| row.reason == Some(Reason::OutsideHashRange);
    if lake.evidence.places != Places::Anywhere {
        return;
    }
    for row in lake.rows.readings.iter().filter(outside) {
        findings.add("CLEAN-ONCE", || format!("{} is said to belong to another shard", shown(lake, row)));
    }
}

/// As many records have rows as their epoch's manifest counts.
fn records_of_epochs(lake: &Lake<'_>, places: &BTreeMap<(u32, u64), u64>, findings: &mut Findings) {
    for (shard, chain) in lake.chains.iter().enumerate() {
        for epoch in chain {
            let found = places.get(&(shard as u32, epoch.number)).copied().unwrap_or(0);
            let said = epoch.plan.records;
            if found != said {
                findings.add("COMPLETE", || format!("{} counts {said} records, {found} have rows", epoch.key));
            }
        }
    }
}

/// A reading for a person.
pub(super) fn shown(lake: &Lake<'_>, row: &Reading) -> String {
    let zone = match row.zone {
        Landed::Cleansed => "cleansed",
        Landed::Quarantine => "quarantined",
        Landed::Duplicates => "duplicate",
    };
    let (shard, key) = (lake.shards.name(row.shard), lake.rows.key(row.object));
    format!("{zone} row {}.{} of {shard} (sensor {}) in {key}", row.place, row.sub, lake.rows.sensors.text(row.sensor))
}
