//! GOAL    What data says about itself decides no cost: neither how many ids there are, nor how many events fit into a
//!         record, nor which times stand in them, may stop a shard, hold it up or fill the memory (BOUNDED, COMPLETE, LIVE).
//! METHOD  A worker with small limits, and many times what they allow.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mangrove_tests::lake::text;
use mangrove_tests::world::{Record, Setup, World, an_hour_ago, caught_up, finish};

fn event(sensor: &str, n: usize) -> String {
    let time = an_hour_ago(n as i64 % 3_000_000);
    format!(r#"{{"sensor_id":"{sensor}","event_id":"{sensor}-{n}","ts":"{time}","temperature":20.5}}"#)
}

/// Events that lack what the schema requires: each names a sensor, and none is valid.
fn junk(ids: std::ops::Range<usize>) -> Vec<Record> {
    let line = |n: usize| format!(r#"{{"sensor_id":"junk-{n}","ts":"{}"}}"#, an_hour_ago(0));
    let ids: Vec<usize> = ids.collect();
    ids.chunks(100).map(|ids| ("junk".to_owned(), lines(ids.iter().map(|n| line(*n))))).collect()
}

fn lines(events: impl Iterator<Item = String>) -> Vec<u8> {
    events.collect::<Vec<_>>().join("\n").into_bytes()
}

fn good(sensors: usize, n: usize) -> Vec<Record> {
    (0..sensors).map(|s| (format!("good-{s}"), event(&format!("good-{s}"), n).into_bytes())).collect()
}

fn clean_ids(world: &World) -> BTreeSet<String> {
    world.lake().rows("cleansed").iter().map(|row| text(row, "sensor_id")).collect()
}

fn reasons(world: &World) -> BTreeSet<String> {
    world.lake().rows("quarantine").iter().map(|row| text(row, "reason")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_times_as_many_sensors_as_may_live_pass_through_one_epoch() {
    const LIVE_MAX: usize = 200;
    const SENSORS: usize = 20 * LIVE_MAX;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let ids: Vec<usize> = (0..SENSORS).collect();
    let flood =
        ids.chunks(100).map(|ids| ("flood".to_owned(), lines(ids.iter().map(|n| event(&format!("s-{n}"), *n)))));
    let flood: Vec<Record> = flood.collect();
    // Twice: whoever has retired comes back.
    world.put(&flood).await;
    world.put(&flood).await;
    let mut setup = Setup { age_max: Duration::from_secs(5), ..Setup::default() };
    setup.sensors.live_max = LIVE_MAX;
    let worker = world.worker(&setup).await;
    caught_up(&worker).await;
    assert_eq!(worker.restarts(), 0);
    assert!(worker.shards()[0].context.figures.sensors().1 <= LIVE_MAX as u64);
    finish(worker).await;
    assert_eq!(clean_ids(&world).len(), SENSORS);
    assert_eq!(world.lake().promised("duplicates"), SENSORS as u64, "a sensor that has retired knows what it has seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_were_never_valid_take_nobodys_place() {
    const KNOWN_MAX: usize = 150;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut setup = Setup { age_max: Duration::from_millis(100), full_state_every: 2, ..Setup::default() };
    setup.sensors.known_max = KNOWN_MAX;
    setup.sensors.live_max = 40;
    let worker = world.worker(&setup).await;
    for wave in 0..6 {
        world.put(&junk(wave * 100..(wave + 1) * 100)).await;
        caught_up(&worker).await;
    }
    world.put(&good(KNOWN_MAX - 10, 0)).await;
    caught_up(&worker).await;
    assert_eq!(worker.shards()[0].context.figures.sensor_refused_ms(), None);
    assert_eq!(worker.restarts(), 0);
    finish(worker).await;
    assert_eq!(clean_ids(&world).len(), KNOWN_MAX - 10);
    assert_eq!(reasons(&world), BTreeSet::from(["missing_field".to_owned()]));
    let states = world.lake().full_states();
    let known: Vec<_> = states.iter().flat_map(|state| &state.entries).map(|entry| entry.sensor.as_str()).collect();
    assert!(!known.is_empty() && known.iter().all(|id| id.starts_with("good-")), "{known:?}");

    // Real ones beyond the limit are refused, and that is noticed. Those known are taken after a restart too.
    let worker = world.worker(&setup).await;
    world.put(&good(KNOWN_MAX + 50, 1)).await;
    caught_up(&worker).await;
    assert!(worker.shards()[0].context.figures.sensor_refused_ms().is_some());
    finish(worker).await;
    assert_eq!(clean_ids(&world).len(), KNOWN_MAX);
    assert_eq!(world.lake().rows("cleansed").len(), 2 * (KNOWN_MAX - 10) + 10);
}

/// Near the limit, who is refused must not depend on how far the cut before has come: the same stream is judged by a
/// worker that dies in the middle of every epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_at_the_limit_is_the_same_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    for wave in 0..10 {
        world.put(&junk(wave * 40..(wave + 1) * 40)).await;
        world.put(&good(10 * (wave + 1), wave)).await;
    }
    let mut setup =
        Setup { age_max: Duration::from_millis(50), records_max: 7, full_state_every: 2, ..Setup::default() };
    setup.sensors.known_max = 70;
    setup.sensors.live_max = 9;
    // A prepared epoch that came out differently would be refused for good.
    for point in ["committer.prepared=panic@2", "committer.uploaded=panic@3", "sinks.object=panic@9"] {
        let worker = world.worker(&Setup { faults: point.into(), ..setup.clone() }).await;
        caught_up(&worker).await;
        assert!(worker.restarts() > 0, "{point} was not reached");
        finish(worker).await;
        let wave = clean_ids(&world).len();
        world.put(&junk(wave * 1_000..wave * 1_000 + 65)).await;
        world.put(&good(100, 100 + wave)).await;
    }
    finish(world.worker(&setup).await).await;
    let known = clean_ids(&world).len();
    assert!((20..=70).contains(&known), "{known}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_two_bytes_are_held_as_what_they_are() {
    const RECORDS: usize = 200;
    const ROWS_MAX: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let flood: Vec<Record> = (0..RECORDS).map(|n| (format!("k{n}"), b"{}".repeat(1_000))).collect();
    world.put(&flood).await;
    let budget = 8 << 20;
    let setup =
        Setup { rows_max: ROWS_MAX, memory_budget: budget, age_max: Duration::from_secs(5), ..Setup::default() };
    let worker = world.worker(&setup).await;
    let (most, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let sampler = tokio::spawn({
        let (budget, most, done) = (worker.budget().clone(), most.clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(budget.taken(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    world.put(&good(20, 0)).await;
    caught_up(&worker).await;
    done.store(true, Ordering::Relaxed);
    sampler.await.unwrap();
    assert_eq!((worker.budget().taken(), worker.restarts()), (0, 0));
    finish(worker).await;

    let most = most.load(Ordering::Relaxed);
    // 400 kB came; an epoch of them is ten times as much, and one batch may come on top.
    assert!(most > 10 * 2 * ROWS_MAX && most < budget + (8 << 20) + (1 << 20), "{most} taken");
    let lake = world.lake();
    assert_eq!((lake.raw().len(), clean_ids(&world).len()), (RECORDS + 20, 20));
    assert_eq!(lake.promised("quarantined"), RECORDS as u64 * 1_000);
    for manifest in lake.manifests() {
        // The last record may come on top.
        assert!(manifest["readings"].as_u64().unwrap() < ROWS_MAX + 1_000, "{}", manifest["cut"]);
    }
    assert!(lake.manifests().iter().any(|manifest| manifest["cut"]["reason"] == "rows"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_that_cannot_be_valid_are_no_partitions() {
    const RECORDS: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let hour = |record: usize, n: usize| {
        let (year, hour) = (1000 + (record * 13 + n) % 900, n % 24);
        format!(r#"{{"sensor_id":"skew","ts":"{year}-01-02T{hour:02}:00:00Z","temperature":20}}"#)
    };
    let record = |record: usize| ("skew".to_owned(), lines((0..512).map(|n| hour(record, n))));
    let setup = Setup { partitions_max: 20, age_max: Duration::from_secs(1), ..Setup::default() };
    let worker = world.worker(&setup).await;
    world.put(&(0..RECORDS).map(record).collect::<Vec<_>>()).await;
    world.put(&good(20, 0)).await;
    caught_up(&worker).await;
    finish(worker).await;
    let manifests = world.lake().manifests();
    assert!(manifests.iter().all(|manifest| manifest["cut"]["reason"] != "partitions"), "{}", manifests.len());
    assert!(manifests.len() <= 8, "{} epochs", manifests.len());
    assert_eq!(world.lake().promised("quarantined"), RECORDS as u64 * 512);
    assert_eq!(clean_ids(&world).len(), 20);
}
