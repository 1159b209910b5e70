//! DIMENSION: the versions of a sensor are 1, 2, 3 and so on, each from the reading that brought it.
//!
//! **Owns** the walk along versions and cleansed rows of each sensor, parents before children.
//! **Promises** a hole, a repetition, a version that begins before the one before it, a version without its reading, and
//! a cleansed row that names another version than the one in force are found.
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
    versions.sort_by_key(|v| (v.sensor, v.shard, v.place, v.sub));
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
        if n > 0 && version.valid_from_us < versions[n - 1].valid_from_us {
            findings.add(ID, || format!("{} begins before the one before it", named(lake, version)));
        }
    }
}

/// Each cleansed row names the last version that was brought up to it, and each version has the time of its reading.
fn in_force(lake: &Lake<'_>, versions: &[&Version], readings: &[u32], findings: &mut Findings) {
    let place = |row: &Reading| (row.shard, row.place, row.sub);
    let mut versions = versions.iter().peekable();
    let mut current = 0;
    for row in readings.iter().map(|n| lake.rows.reading(*n)) {
        while let Some(version) = versions.next_if(|v| (v.shard, v.place, v.sub) <= place(row)) {
            current = version.version;
            let own = (version.shard, version.place, version.sub) == place(row);
            if !own || version.valid_from_us != row.event_time_us {
                findings.add(ID, || format!("{} is not that of its reading", named(lake, version)));
            }
        }
        if i64::from(row.version) != current {
            findings.add(ID, || format!("{} names version {}, {current} holds", shown(lake, row), row.version));
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
