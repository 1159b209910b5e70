//! AGGREGATE: hourly windows count exactly the cleansed rows that are not marked late, daily ones those that were not too
//! late for their day.
//!
//! **Owns** the comparison of what each shard has counted of a window, in its highest revision, with the shard's rows up to
//! that epoch. So all of them together count every row once, wherever a sensor's records lay.
//!
//! **Promises** a revision that contradicts its rows is found whenever it was written. That every window is there, and
//! has its last readings, is demanded only of lakes whose workers gave their shards up in good order.
//!
//! **Fails** never.
//! **Not here**: when a window has to be written; rows that are marked late are believed to be late for their hour. What
//! is late for its day follows from the watermark, if the allowed lateness is known; else days with late rows are left out.

use std::collections::BTreeSet;

use messages::WindowKind;

use super::lake::Lake;
use super::rows::{Landed, Reading, Rows, WindowRow};
use super::verdict::Findings;
use super::windows::difference;

const ID: &str = "AGGREGATE";

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    findings.checked(ID);
    let mut stored: Vec<&WindowRow> = lake.rows.windows.iter().collect();
    stored.sort_by_key(|w| (w.sensor, w.kind, w.start_us, w.field, w.revision));
    origins(lake, findings);
    let rows = &lake.rows;
    let late_for_day = late_for_day(lake);
    let mut explained = 0;
    for readings in rows.by_sensor.chunk_by(|a, b| rows.reading(*a).sensor == rows.reading(*b).sensor) {
        let sensor = rows.reading(readings[0]).sensor;
        let own = of(&stored, |w| w.sensor.cmp(&sensor));
        let mut by_time = readings.to_vec();
        // Stable: among equal times the order of the stream stays.
        by_time.sort_by_key(|n| rows.reading(*n).event_time_us);
        for kind in WindowKind::ALL {
            let start = |n: &u32| kind.start_of(rows.reading(*n).event_time_us);
            for inside in by_time.chunk_by(|a, b| start(a) == start(b)) {
                let start_us = start(&inside[0]);
                let window = of(own, |w| (w.kind, w.start_us).cmp(&(kind, start_us)));
                let counted: Vec<&Reading> = match (kind, &late_for_day) {
                    (WindowKind::Daily, Some(late)) => in_time(rows, inside, |n| late[n as usize]),
                    _ => in_time(rows, inside, |n| rows.reading(n).late),
                };
                let is_known = kind == WindowKind::Hourly || late_for_day.is_some() || counted.len() == inside.len();
                if !is_known {
                    explained += window.len();
                    continue;
                }
                let shards: BTreeSet<u32> = counted.iter().map(|row| row.shard).collect();
                for shard in shards {
                    let part: Vec<&WindowRow> = window.iter().copied().filter(|row| row.shard == shard).collect();
                    let inside: Vec<&Reading> = counted.iter().copied().filter(|row| row.shard == shard).collect();
                    explained += part.len();
                    check_part(lake, &part, &inside, findings);
                }
            }
        }
    }
    if explained < stored.len() {
        let n = stored.len() - explained;
        findings.add(ID, || format!("{n} rows are of windows that no cleansed row of their shard falls into"));
    }
}

fn in_time<'a>(rows: &'a Rows, inside: &[u32], is_late: impl Fn(u32) -> bool) -> Vec<&'a Reading> {
    inside.iter().filter(|n| !is_late(**n)).map(|n| rows.reading(*n)).collect()
}

/// Per reading whether its day took no more readings when it came: a replay of the watermark of each shard, which goes
/// on from the latest of its parents'.
fn late_for_day(lake: &Lake<'_>) -> Option<Vec<bool>> {
    let lateness_us = i64::try_from(lake.evidence.limits.as_ref()?.lateness.as_micros()).ok()?;
    let rows = &lake.rows;
    let mut late = vec![false; rows.readings.len()];
    let mut watermarks = vec![i64::MIN; lake.shards.len()];
    let mut of_shards: Vec<Vec<u32>> = vec![Vec::new(); lake.shards.len()];
    let cleansed = rows.by_place.iter().filter(|n| rows.reading(**n).zone == Landed::Cleansed);
    cleansed.for_each(|n| of_shards[rows.reading(*n).shard as usize].push(*n));
    // Parents have lower numbers.
    for (shard, readings) in of_shards.into_iter().enumerate() {
        let parents = lake.shards.parents(shard as u32).iter();
        let mut watermark_us = parents.map(|parent| watermarks[*parent as usize]).max().unwrap_or(i64::MIN);
        for n in readings {
            let time_us = rows.reading(n).event_time_us;
            let end_us = WindowKind::Daily.start_of(time_us).saturating_add(WindowKind::Daily.length_us());
            late[n as usize] = watermark_us >= end_us.saturating_add(lateness_us);
            watermark_us = watermark_us.max(time_us);
        }
        watermarks[shard] = watermark_us;
    }
    Some(late)
}

/// The part of an ordered list that compares as equal.
fn of<'a, 'b>(rows: &'a [&'b WindowRow], order: impl Fn(&WindowRow) -> std::cmp::Ordering) -> &'a [&'b WindowRow] {
    let from = rows.partition_point(|row| order(row).is_lt());
    let to = rows.partition_point(|row| order(row).is_le());
    &rows[from..to]
}

/// Rows say the shard and epoch that wrote them.
fn origins(lake: &Lake<'_>, findings: &mut Findings) {
    for row in &lake.rows.windows {
        let object = &lake.objects[lake.rows.key(row.object)];
        if object.named > 0 && (object.shard, object.epoch) != (Some(row.shard), Some(row.epoch)) {
            findings.add(ID, || format!("{} says that another epoch wrote it", shown(lake, row)));
        }
    }
}

/// What one shard has counted of a window.
fn check_part(lake: &Lake<'_>, window: &[&WindowRow], inside: &[&Reading], findings: &mut Findings) {
    revisions(lake, window, findings);
    for field in 0..lake.schema.aggregated().count() {
        let value = |row: &Reading| lake.rows.numbers[row.numbers as usize + field];
        let with_value = || inside.iter().filter(|row| !value(row).is_nan());
        let Some(top) = of(window, |w| usize::from(w.field).cmp(&field)).last() else {
            if lake.evidence.drained && with_value().next().is_some() {
                let sensor = lake.rows.sensors.text(inside[0].sensor);
                let start = inside[0].event_time_us;
                findings.add(ID, || format!("field {field} of {sensor} around {start} us has no window"));
            }
            continue;
        };
        let seen = |row: &&&Reading| row.epoch <= top.epoch;
        let values: Vec<f64> = with_value().filter(seen).map(|row| value(row)).collect();
        if values.is_empty() {
            findings.add(ID, || format!("{}: no reading of its epoch falls into it", shown(lake, top)));
        }
        if let Some(difference) = difference(top, &values) {
            findings.add(ID, || format!("{}: {difference}", shown(lake, top)));
        }
        let unseen = with_value().count() - values.len();
        if lake.evidence.drained && unseen > 0 {
            findings.add(ID, || format!("{} lacks {unseen} readings, and is the last", shown(lake, top)));
        }
    }
}

/// The revisions of a part are 1, 2, 3; a field has each once at most.
fn revisions(lake: &Lake<'_>, window: &[&WindowRow], findings: &mut Findings) {
    for pair in window.windows(2).filter(|p| (p[0].field, p[0].revision) == (p[1].field, p[1].revision)) {
        findings.add(ID, || format!("{} is there twice", shown(lake, pair[1])));
    }
    let mut numbers: Vec<i64> = window.iter().map(|row| row.revision).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if !numbers.iter().copied().eq(1..=numbers.len() as i64) {
        findings.add(ID, || format!("{} has the revisions {numbers:?}", shown(lake, window[0])));
    }
}

fn shown(lake: &Lake<'_>, row: &WindowRow) -> String {
    let (sensor, key) = (lake.rows.sensors.text(row.sensor), lake.rows.key(row.object));
    let WindowRow { kind, start_us, field, revision, .. } = row;
    format!("revision {revision} of field {field} of {sensor}, {kind:?} from {start_us} us, in {key}")
}
