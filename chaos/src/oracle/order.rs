//! ORDER: per sensor, readings are stored in stream order.
//!
//! **Owns** the order within each object, and the device's own counter along the stream.
//! **Promises** the counter is held only to what the input had: where the producer's count of two records grows, the
//! device's counter grows. Without the producer's count nothing is demanded; the replay compares every row then.
//! **Fails** never.
//! **Not here**: sensors whose shards do not descend from one another.

use super::clean::shown;
use super::lake::Lake;
use super::rows::{Landed, Reading, Rows};
use super::verdict::Findings;

const ID: &str = "ORDER";

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    findings.checked(ID);
    let rows = &lake.rows;
    for readings in rows.readings.chunk_by(|a, b| a.object == b.object) {
        for pair in readings.windows(2).filter(|pair| !in_order(rows, &pair[0], &pair[1])) {
            findings.verdict.out_of_order += 1;
            findings.add(ID, || format!("{} stands behind a later one", shown(lake, &pair[1])));
        }
    }
    for pair in rows.versions.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.object == b.object && (a.place, a.sub) > (b.place, b.sub) {
            findings.add(ID, || format!("versions in {} are not in stream order", rows.key(b.object)));
        }
    }
    for pair in rows.windows.windows(2).filter(|pair| pair[0].object == pair[1].object) {
        let key = |n: usize| (pair[n].start_us, rows.sensors.text(pair[n].sensor), pair[n].field);
        if key(0) >= key(1) {
            findings.add(ID, || format!("windows in {} are not in order", rows.key(pair[1].object)));
        }
    }
    for pair in rows.by_sensor.windows(2) {
        let (a, b) = (rows.reading(pair[0]), rows.reading(pair[1]));
        if a.sensor == b.sensor && !rows.unordered.contains(&a.sensor) && overtaken(lake, a, b) {
            findings.verdict.out_of_order += 1;
            findings.add(ID, || format!("the device's counter does not grow at {}", shown(lake, b)));
        }
    }
}

fn in_order(rows: &Rows, a: &Reading, b: &Reading) -> bool {
    let stream = |row: &Reading| (row.place, row.sub);
    match a.zone {
        Landed::Cleansed if a.sensor != b.sensor => rows.sensors.text(a.sensor) < rows.sensors.text(b.sensor),
        Landed::Cleansed => (a.event_time_us, stream(a)) < (b.event_time_us, stream(b)),
        Landed::Quarantine | Landed::Duplicates => stream(a) < stream(b),
    }
}

/// Whether the input had `a` before `b`, and the rows say otherwise.
fn overtaken(lake: &Lake<'_>, a: &Reading, b: &Reading) -> bool {
    let n = |row: &Reading| lake.evidence.records[lake.stored_at(row.shard, row.place)? as usize].n;
    let grows = a.device_sequence.zip(b.device_sequence).is_none_or(|(a, b)| a < b);
    !grows && n(a).zip(n(b)).is_some_and(|(a, b)| a < b)
}
