//! GOAL    A lifecycle rule that takes every state older than twice `epoch.refresh_after` takes nothing that a start needs
//!         (STATE, LINEAGE, BOUNDED): not of an idle shard, not of a child that has no records, and however often workers
//!         restart. An epoch that is cut for that is an epoch like any other (CHECKPOINT).
//! METHOD  A rule of some seconds on the local cloud, over several of its lives; and a worker that dies at each step of
//!         such an epoch, beside one that does not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actors::ports::clock::Clock;
use mangrove_tests::judge::{assert_whole, chains};
use mangrove_tests::lake::{integer, text};
use mangrove_tests::warehouse::loader_config;
use mangrove_tests::world::{Record, Setup, World, caught_up, copy_folder, finish, hour_start_ms, rfc3339, stocked};
use serde_json::Value;
use supervisor::shard::StreamStart;
use supervisor::worker::Worker;
use tokio::task::JoinSet;

const REFRESH_AFTER: Duration = Duration::from_secs(2);
/// What the documentation says of the rule.
const EXPIRES: Duration = Duration::from_secs(4);
const SENSORS: u64 = 30;
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

fn setup() -> Setup {
    let age_max = Duration::from_millis(150);
    Setup { age_max, refresh_after: REFRESH_AFTER, full_state_every: 1_000, ..Setup::default() }
}

/// A reading of every sensor, each with a firmware of its own; before it the one of the wave before, once more.
fn wave(start_ms: i64, n: u64) -> Vec<Record> {
    let reading = |sensor: u64, n: u64| {
        let (id, time) = (format!("s-{sensor:03}"), rfc3339(start_ms + n as i64 * 1_000));
        let json = format!(
            r#"{{"sensor_id":"{id}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":21.5,"firmware":"1.{n}"}}"#
        );
        (id, json.into_bytes())
    };
    (0..SENSORS).flat_map(|sensor| (n.saturating_sub(1)..=n).map(move |n| reading(sensor, n))).collect()
}

/// Each shard's manifests, by its short id.
fn epochs(world: &World) -> BTreeMap<String, Vec<Value>> {
    let short = |shard: String| shard.trim_start_matches("shardId-").to_owned();
    chains(&world.lake()).into_iter().map(|(shard, chain)| (short(shard), chain)).collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// The age of the oldest state that a start of one of the worker's shards would read, as the worker knows it.
fn oldest(worker: &Worker) -> Duration {
    let since = worker.shards().into_iter().filter_map(|shard| shard.context.figures.states_since_ms());
    let now_ms = Clock::system().now_ms();
    Duration::from_millis(since.map(|at_ms| now_ms - at_ms).max().unwrap_or(0).max(0) as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lifecycle_rule_takes_nobody_needs() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let setup = setup();
    let start_ms = hour_start_ms(2);
    let mut put = wave(start_ms, 0);
    world.put(&put).await;
    let mut worker = world.worker(&setup).await;
    caught_up(&worker).await;
    world.split_first_shard().await;
    // Nothing comes, and each child has what its parent has left all the same.
    until("each child has an epoch", || epochs(&world).len() == 3).await;

    // Shorter than states may get old, so that no incarnation sees them do so.
    let (mut expired, mut peak) = (Vec::new(), 0);
    for _ in 0..12 {
        let began = Instant::now();
        while began.elapsed() < REFRESH_AFTER / 2 {
            expired.extend(world.expire("state/", EXPIRES).await);
            peak = peak.max(world.lake().files("state", ".state").len());
            assert!(oldest(&worker) < EXPIRES, "{:?}", oldest(&worker));
            tokio::time::sleep(POLL).await;
        }
        assert_eq!(worker.drain(Duration::from_secs(30)).await.unwrap(), Vec::<String>::new());
        worker = world.worker(&setup).await;
        until("both children are read", || {
            worker.shards().iter().filter(|shard| shard.context.figures.read_at_ms() > 0).count() == 2
        })
        .await;
    }
    let taken = |shard: &str| expired.iter().filter(|key| key.contains(shard)).count();
    let chains = epochs(&world);
    println!("{} states taken, {peak} at most in the bucket; epochs: {:?}", expired.len(), lengths(&chains));
    assert_eq!(taken("000000000000"), chains["000000000000"].len(), "all of the parent's");
    for child in ["000000000001", "000000000002"] {
        assert!(taken(child) > 2, "{expired:?}");
        assert!(chains[child].iter().all(|manifest| manifest["records"] == 0 && manifest["cut"]["full_state"] == true));
        let reasons: Vec<&Value> = chains[child].iter().map(|manifest| &manifest["cut"]["reason"]).collect();
        assert!(reasons.iter().all(|reason| **reason == "age"), "a reason that every release knows: {reasons:?}");
    }

    // STATE: who had forgotten would take the repeat for a reading, and count versions from 1.
    let again = wave(start_ms, 1);
    world.put(&again).await;
    put.extend(again);
    finish(worker).await;
    let lake = world.lake();
    assert_whole(&lake, &put);
    assert_eq!(lake.rows("duplicates").len() as u64, SENSORS);
    let mut versions: Vec<(String, i64)> =
        lake.rows("dimensions").iter().map(|row| (text(row, "sensor_id"), integer(row, "version"))).collect();
    versions.sort();
    let expected = (0..SENSORS).flat_map(|sensor| [1, 2].map(|version| (format!("s-{sensor:03}"), version)));
    assert_eq!(versions, expected.collect::<Vec<_>>());
}

fn lengths(chains: &BTreeMap<String, Vec<Value>>) -> BTreeMap<&str, usize> {
    chains.iter().map(|(shard, chain)| (shard.as_str(), chain.len())).collect()
}

const ONLY: &str = "000000000000";

/// An idle shard until it has some epochs, and what they say.
async fn refreshed(world: World, put: &[Record], faults: &str) -> Vec<Value> {
    const EPOCHS: usize = 3;
    let refresh_after = Duration::from_secs(1);
    let worker = world.worker(&Setup { faults: faults.into(), refresh_after, ..setup() }).await;
    until("epochs without records", || epochs(&world).get(ONLY).is_some_and(|chain| chain.len() >= EPOCHS)).await;
    assert_eq!(worker.restarts() > 0, !faults.is_empty(), "{faults}");
    finish(worker).await;
    assert_whole(&world.lake(), put);
    epochs(&world).remove(ONLY).unwrap().into_iter().take(EPOCHS).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_without_records_that_dies_at_any_step_is_finished_word_for_word() {
    let dir = tempfile::tempdir().unwrap();
    let (stock, put) = (dir.path().join("stock"), wave(hour_start_ms(2), 0));
    stocked(&stock, 1, &put).await;
    let copy = async |name: &str| {
        let to = dir.path().join(name);
        copy_folder(&stock, &to);
        World::new(&to, 1).await
    };
    let calm = refreshed(copy("calm").await, &put, "").await;
    assert_eq!([&calm[1]["records"], &calm[2]["records"]], [0, 0]);
    // The state of the second epoch is the object behind the first epoch's objects and manifest.
    let state = calm[0]["objects"].as_array().unwrap().len() + 2;
    let mut points =
        ["planned", "prepared", "uploaded", "committed"].map(|step| format!("committer.{step}=panic@2")).to_vec();
    points.extend(["sinks.sealed=panic@2", "sinks.claimed=panic@2", "sinks.manifest=panic@2"].map(str::to_owned));
    points.push(format!("sinks.object=panic@{state}"));
    for few in points.chunks(4) {
        let mut runs = JoinSet::new();
        for faults in few.iter().cloned() {
            let (world, put) = (copy(&faults).await, put.clone());
            runs.spawn(async move { (refreshed(world, &put, &faults).await, faults) });
        }
        while let Some(ended) = runs.join_next().await {
            let (chain, faults) = ended.unwrap();
            assert_eq!(chain, calm, "{faults}");
        }
    }
}

/// LATEST: the moment at which a shard begins stays in its row, also over an epoch that has no record to tell how far it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_without_records_keeps_its_beginning_and_dies_with_its_epoch_prepared() {
    const CHILD: &str = "shardId-000000000001";
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let start_ms = hour_start_ms(2);
    let latest = Setup { start: StreamStart::Latest, ..setup() };
    let setup = Setup { faults: "committer.prepared[000000000001]=panic@1".into(), ..latest.clone() };
    let worker = world.worker(&setup).await;
    until("the shard is read", || worker.shards().iter().any(|shard| shard.context.figures.read_at_ms() > 0)).await;
    world.put(&wave(start_ms, 0)).await;
    caught_up(&worker).await;
    world.split_first_shard().await;
    until("each child has an epoch", || epochs(&world).len() == 3).await;
    assert!(worker.restarts() > 0);
    assert_eq!(worker.drain(Duration::from_secs(30)).await.unwrap(), Vec::<String>::new());

    let row = world.lease_row(CHILD).await;
    assert_eq!(row["checkpoint"].as_s().unwrap(), "AT_TIMESTAMP");
    assert!(row.contains_key("mangroveStartAt") && row["mangroveEpoch"].as_n().unwrap() != "0", "{row:?}");
    let worker = world.worker(&latest).await;
    world.put(&wave(start_ms, 1)).await;
    finish(worker).await;
    assert_whole(&world.lake(), &[wave(start_ms, 0), wave(start_ms, 1)].concat());
    assert_eq!(world.lake().rows("duplicates").len() as u64, SENSORS);
}

/// The loader takes epochs without records, and its ledger has each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warehouse_takes_epochs_without_records() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&wave(hour_start_ms(2), 0)).await;
    let refresh_after = Duration::from_secs(1);
    let worker = world.worker(&Setup { refresh_after, loads: Some(loader_config()), ..setup() }).await;
    until("epochs without records", || epochs(&world).get(ONLY).is_some_and(|chain| chain.len() >= 4)).await;
    finish(worker).await;
    let loading = world.loading(&setup().schema, "");
    loading.load_all(PATIENCE).await.unwrap();
    let loaded = "SELECT COUNT(*) FROM mangrove.load_ledger WHERE state = 'loaded'";
    assert_eq!(world.analyst().count(loaded).await, epochs(&world)[ONLY].len() as i64);
    assert_eq!(world.analyst().count("SELECT COUNT(*) FROM mangrove.sensor_readings").await, SENSORS as i64);
}
