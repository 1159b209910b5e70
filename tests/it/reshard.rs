//! GOAL    Sensor state, windows and order follow a shard through splits and merges, while it is read and by any worker
//!         (LINEAGE, STATE, ORDER): duplicates are still recognised, versions go on counting, windows add up.
//! METHOD  A wave of readings between every two reshards, with repeats of the wave before; one worker, then a new one for
//!         every step. What is compared was computed from what was put.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mangrove_tests::judge::{assert_device_order, assert_whole};
use mangrove_tests::lake::{Lake, integer, text};
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms, rfc3339};

const SENSORS: u64 = 30;
const WAVES: u64 = 5;

fn reading(sensor: u64, n: u64, start_ms: i64) -> Record {
    let (id, time) = (format!("s-{sensor:03}"), rfc3339(start_ms + n as i64 * 60_000));
    let json = format!(
        r#"{{"sensor_id":"{id}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":{}.5,"firmware":"1.{n}"}}"#,
        20 + (n + sensor) % 5
    );
    (id, json.into_bytes())
}

/// Two readings of every sensor, and before them the last one of the wave before once more.
fn wave(number: u64, start_ms: i64) -> Vec<Record> {
    let of = |sensor: u64| {
        let repeat = (number > 0).then(|| reading(sensor, 2 * number - 1, start_ms));
        repeat.into_iter().chain((0..2).map(move |n| reading(sensor, 2 * number + n, start_ms)))
    };
    (0..SENSORS).flat_map(of).collect()
}

async fn run(restart: bool, wait: bool) -> (Lake, Vec<Record>) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    let setup = Setup { age_max: Duration::from_millis(100), ..Setup::default() };
    let start_ms = hour_start_ms(3);
    let mut worker = world.worker(&setup).await;
    let mut put = Vec::new();
    for number in 0..WAVES {
        let wave = wave(number, start_ms);
        world.put(&wave).await;
        put.extend(wave);
        if wait {
            caught_up(&worker).await;
        }
        match number {
            0 | 2 => world.split_first_shard().await,
            1 | 3 => world.merge_last_shards().await,
            _ => {}
        }
        if restart {
            assert_eq!(worker.drain(Duration::from_secs(30)).await.unwrap(), Vec::<String>::new());
            worker = world.worker(&setup).await;
        }
    }
    finish(worker).await;
    (world.lake().keeping(dir), put)
}

fn assert_followed(lake: &Lake, put: &[Record]) {
    assert_whole(lake, put);
    assert_device_order(lake);
    let rows = lake.rows("cleansed");
    let shards: BTreeSet<String> = rows.iter().map(|row| text(row, "shard")).collect();
    assert!(shards.len() > 4, "only {shards:?} were read");
    let readings = (SENSORS * WAVES * 2) as usize;
    assert_eq!(rows.len(), readings);
    // STATE: a sensor that had forgotten its last event id would take the repeat for a reading.
    assert_eq!(lake.rows("duplicates").len(), (SENSORS * (WAVES - 1)) as usize);
    // Every reading brings a new firmware, so a version: one that had forgotten would begin again at 1.
    let mut versions: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in lake.rows("dimensions") {
        versions.entry(text(&row, "sensor_id")).or_default().push(integer(&row, "version"));
    }
    for (sensor, mut found) in versions {
        found.sort_unstable();
        assert_eq!(found, (1..=2 * WAVES as i64).collect::<Vec<_>>(), "versions of {sensor}");
    }
    // All readings lie within one hour: each shard has counted its own of them.
    let latest = latest_counts(lake);
    assert_eq!(latest.len() as u64, SENSORS);
    assert!(latest.values().all(|count| *count == 2 * WAVES as i64), "{latest:?}");
}

/// What all shards have counted of the hourly window of the temperature, each at its highest revision, by sensor.
fn latest_counts(lake: &Lake) -> BTreeMap<String, i64> {
    let mut latest: BTreeMap<(String, String), (i64, i64)> = BTreeMap::new();
    for row in lake.rows("aggregates/hourly") {
        if text(&row, "field") == "temperature" {
            let entry = latest.entry((text(&row, "sensor_id"), text(&row, "shard"))).or_default();
            let (revision, count) = (integer(&row, "revision"), integer(&row, "count"));
            assert_ne!(entry.0, revision, "two rows of one part have one revision");
            *entry = (*entry).max((revision, count));
        }
    }
    let mut counts = BTreeMap::new();
    latest.into_iter().for_each(|((sensor, _), (_, count))| *counts.entry(sensor).or_default() += count);
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_follows_its_shard_through_splits_and_merges() {
    let (lake, put) = run(false, true).await;
    assert_followed(&lake, &put);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reshards_that_come_faster_than_reading_change_nothing() {
    let (lake, put) = run(false, false).await;
    assert_followed(&lake, &put);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_worker_at_every_step_changes_nothing() {
    let (lake, put) = run(true, false).await;
    assert_followed(&lake, &put);
}
