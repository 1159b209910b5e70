//! GOAL    What happens rarely in a sensor's or a shard's life changes nothing that landed (RAW-ONCE, CLEAN-ONCE, STATE,
//!         CHECKPOINT, BOUNDED): retirement, more sensors than actors, the end of a shard, an epoch without records.
//! METHOD  A worker in this process on the local cloud, with limits small enough for the rare to be the rule.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mangrove_tests::lake::text;
use mangrove_tests::world::{STREAM, Setup, World, an_hour_ago, caught_up, finish, progress};
use serde_json::json;

const FIRST: &str = "shardId-000000000000";

fn wave(sensors: u32, n: u64) -> Vec<(String, Vec<u8>)> {
    let event = |sensor: u32| {
        let id = format!("s-{sensor:03}");
        let time = an_hour_ago(n as i64 * 1000);
        let json = format!(
            r#"{{"sensor_id":"{id}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":{}.5,"firmware":"1.{n}"}}"#,
            20 + n % 3
        );
        (id, json.into_bytes())
    };
    (0..sensors).map(event).collect()
}

fn assert_versions(world: &World, sensors: usize, waves: usize) {
    let rows = world.lake().rows("cleansed");
    let ids: BTreeSet<String> = rows.iter().map(|row| text(row, "event_id")).collect();
    assert_eq!((rows.len(), ids.len()), (sensors * waves, sensors * waves));
    // Every wave brings a new firmware: a sensor that forgot its state would begin again at version 1.
    let versions = world.lake().rows("dimensions");
    assert_eq!(versions.len(), sensors * waves);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sensors_that_retire_and_come_back_keep_their_state_and_restart_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut setup = Setup { age_max: Duration::from_millis(150), ..Setup::default() };
    setup.sensors.idle_timeout = Duration::from_millis(1);
    setup.sensors.scan_interval = Duration::from_millis(10);
    let worker = world.worker(&setup).await;
    for n in 0..5 {
        world.put(&wave(40, n)).await;
        caught_up(&worker).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while worker.shards()[0].context.figures.sensors() != (40, 0) {
            assert!(Instant::now() < deadline, "not retired: {:?}", worker.shards()[0].context.figures.sensors());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert_eq!(worker.restarts(), 0);
    finish(worker).await;
    assert_versions(&world, 40, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_sensors_than_actors_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut setup = Setup::default();
    setup.sensors.live_max = 7;
    for n in 0..4 {
        world.put(&wave(60, n)).await;
    }
    let worker = world.worker(&setup).await;
    let mut most_live = 0;
    let began = Instant::now();
    while progress(&worker).1 < 240 {
        assert!(began.elapsed() < Duration::from_secs(30), "stalled");
        let live = worker.shards().iter().map(|shard| shard.context.figures.sensors().1).sum();
        most_live = most_live.max(live);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(most_live <= 7, "{most_live} live");
    assert_eq!(worker.restarts(), 0);
    finish(worker).await;
    assert_versions(&world, 60, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_has_ended_is_never_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&wave(20, 0)).await;
    let worker = world.worker(&Setup::default()).await;
    world.split_first_shard().await;
    caught_up(&worker).await;
    assert_eq!(world.lease_row(FIRST).await["checkpoint"].as_s().unwrap(), "SHARD_END");
    assert_eq!(worker.shards().len(), 2, "the two children of {STREAM}'s first shard");
    finish(worker).await;
    let before = world.lake().keys();

    let worker = world.worker(&Setup::default()).await;
    caught_up(&worker).await;
    assert!(worker.shards().iter().all(|shard| shard.context.shard.as_str() != FIRST), "the parent is read again");
    finish(worker).await;
    assert_eq!(world.lake().keys(), before);
    assert_eq!(world.lake().raw().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_without_records_that_was_only_prepared_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&wave(20, 0)).await;
    // The first epoch holds the records; the drain cuts a second one for the open windows, and dies within it.
    let broken = Setup { faults: "committer.prepared=panic@2".into(), ..Setup::default() };
    let worker = world.worker(&broken).await;
    caught_up(&worker).await;
    let late = worker.drain(Duration::from_secs(3)).await.unwrap();
    assert_eq!(late, ["shards/000000000000"], "a shard that died while it was given up is named");
    assert_eq!(world.lake().manifests().len(), 1, "the second epoch is prepared, not written");

    finish(world.worker(&Setup::default()).await).await;
    assert_eq!(world.lake().manifests().len(), 2);
    assert_eq!(world.lake().raw().len(), 20);
    assert!(!world.lake().rows("aggregates").is_empty(), "open windows are written when a shard is given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_chain_of_states_is_read_from_a_bucket_that_often_fails() {
    const WAVES: u64 = 24;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let setup = Setup { age_max: Duration::from_millis(20), full_state_every: 1_000, ..Setup::default() };
    let worker = world.worker(&setup).await;
    for n in 0..WAVES {
        world.put(&wave(3, n)).await;
        caught_up(&worker).await;
    }
    finish(worker).await;
    // If one read that fails meant to begin again, one beginning in five thousand would get through.
    let rule = json!({"service": "s3", "operation": "GetObject", "kind": "error", "probability": 0.3});
    world.faults().set(7, &[rule]).await;
    world.put(&wave(3, WAVES)).await;
    let began = Instant::now();
    let worker = world.worker(&setup).await;
    caught_up(&worker).await;
    assert!(world.faults().end().await[0] > 0, "no read has failed");
    assert!(began.elapsed() < Duration::from_secs(15), "recovered after {:?}", began.elapsed());
    assert_eq!(worker.restarts(), 0);
    finish(worker).await;
    assert_versions(&world, 3, WAVES as usize + 1);
}
