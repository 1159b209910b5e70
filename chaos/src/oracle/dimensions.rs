//! DIMENSION: the versions of a sensor are 1, 2, 3 and so on, each from the reading that brought it.
//!
//! **Owns** the walk along versions and cleansed rows of each sensor, parents before children.
//! **Promises** a hole, a repetition, a reading whose versions are not in order of time or none of which begins with it,
//! a version without its reading, and a cleansed row that names another version than the one in force are found. In
//! force is the latest by event time of those that came up to the row.
//! **Fails** never.
//! **Not here**: the attributes' values, which the replay compares by the sensors' states.

use super::clean::shown;
use super::lake::Lake;
use super::rows::{Reading, Version};
use super::verdict::Findings;

const ID: &str = "DIMENSION";

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    findings.checked(ID);
    let rows = &lake.rows;
    let mut versions: Vec<&Version> = rows.versions.iter().collect();
    versions.sort_by_key(|v| (v.sensor, v.shard, v.place, v.sub, v.version));
    let mut rest = versions.as_slice();
    for readings in rows.by_sensor.chunk_by(|a, b| rows.reading(*a).sensor == rows.reading(*b).sensor) {
        let sensor = rows.reading(readings[0]).sensor;
        let (before, after) = rest.split_at(rest.partition_point(|v| v.sensor < sensor));
        let (own, after) = after.split_at(after.partition_point(|v| v.sensor == sensor));
        rest = after;
        for version in before {
            alone(lake, version, findings);
        }
        if !rows.unordered.contains(&sensor) {
            chain(lake, own, findings);
            in_force(lake, own, readings, findings);
        }
    }
    for version in rest {
        alone(lake, version, findings);
    }
}

fn alone(lake: &Lake<'_>, version: &Version, findings: &mut Findings) {
    findings.add(ID, || format!("{} has no cleansed row", named(lake, version)));
}

fn chain(lake: &Lake<'_>, versions: &[&Version], findings: &mut Findings) {
    for (n, version) in versions.iter().enumerate() {
        if version.version != n as i64 + 1 {
            findings.add(ID, || format!("{} is number {} of its sensor", named(lake, version), n + 1));
            return;
        }
        let at = |version: &Version| (version.shard, version.place, version.sub);
        let before = n.checked_sub(1).map(|before| versions[before]).filter(|before| at(before) == at(version));
        if before.is_some_and(|before| before.valid_from_us >= version.valid_from_us) {
            findings.add(ID, || format!("{} begins before another of its reading", named(lake, version)));
        }
    }
}

/// Each cleansed row names the latest version of those that came up to it, and a reading's versions begin with it, or
/// say what holds again before or behind it.
fn in_force(lake: &Lake<'_>, versions: &[&Version], readings: &[u32], findings: &mut Findings) {
    let place = |row: &Reading| (row.shard, row.place, row.sub);
    let mut versions = versions.iter().peekable();
    let mut current = (i64::MIN, 0);
    for row in readings.iter().map(|n| lake.rows.reading(*n)) {
        let (mut brought, mut is_own) = (None, false);
        while let Some(version) = versions.next_if(|v| (v.shard, v.place, v.sub) <= place(row)) {
            current = current.max((version.valid_from_us, version.version));
            if (version.shard, version.place, version.sub) != place(row) {
                findings.add(ID, || format!("{} is not that of its reading", named(lake, version)));
            }
            is_own |= version.valid_from_us == row.event_time_us;
            brought = Some(version);
        }
        if let Some(version) = brought.filter(|_| !is_own) {
            findings.add(ID, || format!("{} is not that of its reading", named(lake, version)));
        }
        if i64::from(row.version) != current.1 {
            let holds = current.1;
            findings.add(ID, || format!("{} names version {}, {holds} holds", shown(lake, row), row.version));
        }
    }
    for version in versions {
        alone(lake, version, findings);
    }
}

fn named(lake: &Lake<'_>, version: &Version) -> String {
    let (sensor, key) = (lake.rows.sensors.text(version.sensor), lake.rows.key(version.object));
    format!("version {} of sensor {sensor} ({}) in {key}", version.version, version.place)
}
