//! GOAL    Several workers share the shards evenly; one that leaves, dies or loses the lease table costs nothing but a
//!         moment (OWNER, LIVE); a row that KCL wrote is taken over and keeps what is not ours.
//! METHOD  Workers in this process on one local cloud, under a producer; the table read as any DynamoDB client reads it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actors::ports::leases::Standing;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use mangrove_tests::history::reading;
use mangrove_tests::judge::{assert_device_order, assert_whole};
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms};
use supervisor::worker::{Worker, WorkerError};

const PATIENCE: Duration = Duration::from_secs(20);

fn named(worker_id: &'static str) -> Setup {
    Setup { worker_id, age_max: Duration::from_millis(200), ..Setup::default() }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

fn read_shards(worker: &Worker) -> usize {
    worker.shards().iter().filter(|shard| shard.context.figures.read_at_ms() > 0).count()
}

fn records(from: u64, n: u64) -> Vec<Record> {
    let start_ms = hour_start_ms(3);
    (from..from + n).map(|n| reading(n % 40, n / 40, start_ms + n as i64 * 100)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_are_shared_evenly_and_handed_over_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 4).await;
    let first = world.worker(&named("worker-a")).await;
    until("the first reads all", || read_shards(&first) == 4).await;
    world.put(&records(0, 800)).await;

    let second = world.worker(&named("worker-b")).await;
    until("two read two each", || read_shards(&first) == 2 && read_shards(&second) == 2).await;
    world.put(&records(800, 800)).await;
    let third = world.worker(&named("worker-c")).await;
    until("the third reads one", || read_shards(&third) == 1).await;
    // Who is on trial is given one shard and no more.
    let proven = |by: &Worker| {
        let seen = by.leases().seen();
        seen.workers.iter().any(|worker| worker.id == "worker-c" && worker.standing == Standing::Proven)
    };
    until("the others see that it can commit", || [&first, &second, &third].into_iter().all(proven)).await;
    // What is even stays as it is.
    let moves = |workers: &[&Worker]| workers.iter().map(|w| w.leases().counts()[1].1).sum::<u64>();
    assert_eq!(moves(&[&first, &second, &third]), 3, "hand-overs that it takes to share 4 shards by 3 workers");

    let before = moves(&[&first, &third]);
    assert_eq!(second.drain(Duration::from_secs(20)).await.unwrap(), Vec::<String>::new());
    world.put(&records(1_600, 800)).await;
    let took = until("the others read what the second left", || read_shards(&first) + read_shards(&third) == 4).await;
    assert!(took < Duration::from_secs(1), "they began after {took:?}");
    caught_up(&first).await;
    caught_up(&third).await;
    assert_eq!(moves(&[&first, &third]), before, "two shards each need no hand-over");
    finish(first).await;
    finish(third).await;
    assert_whole(&world.lake(), &records(0, 2_400));
    assert_device_order(&world.lake());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_belongs_to_one_living_process() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let first = world.worker(&named("worker-a")).await;
    match world.try_worker(&named("worker-a")).await {
        Err(WorkerError::Name(error)) => assert!(error.to_string().contains("--worker-id"), "{error}"),
        other => panic!("a second process has the name: {other:?}"),
    }
    until("the first reads on", || read_shards(&first) == 1).await;
    finish(first).await;
    // Whoever has left is not waited for.
    let began = Instant::now();
    finish(world.worker(&named("worker-a")).await).await;
    assert!(began.elapsed() < Duration::from_secs(2));
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: &str) -> AttributeValue {
    AttributeValue::N(number.to_owned())
}

fn row<const N: usize>(attributes: [(&str, AttributeValue); N]) -> BTreeMap<String, AttributeValue> {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// As KCL 3.5 leaves a table behind: a lease in the middle of a hand-over with a prepared checkpoint of the
/// application's own, one whose state has the wrong type, and rows that are no leases.
fn kcl_rows() -> Vec<BTreeMap<String, AttributeValue>> {
    let max = u128::MAX.to_string();
    vec![
        row([
            ("leaseKey", text("shardId-000000000000")),
            ("entityType", text("LEASE")),
            ("leaseOwner", text("kcl-next")),
            ("checkpointOwner", text("kcl-before")),
            ("leaseCounter", number("41")),
            ("checkpoint", text("TRIM_HORIZON")),
            ("checkpointSubSequenceNumber", number("0")),
            ("pendingCheckpoint", text("49590338271490256608559692538361571095921575989136588898")),
            ("pendingCheckpointSubSequenceNumber", number("0")),
            ("pendingCheckpointState", AttributeValue::B(Blob::new(b"the application's own".to_vec()))),
            ("ownerSwitchesSinceCheckpoint", number("2")),
            ("startingHashKey", text("0")),
            ("endingHashKey", text(&(u128::MAX / 2).to_string())),
            ("throughputKBps", number("12.5")),
            ("somethingElse", AttributeValue::Ss(vec!["kept".to_owned()])),
        ]),
        // Written before 3.5, without a type; the state as a number, as KCL's create path can leave it.
        row([
            ("leaseKey", text("shardId-000000000001")),
            ("leaseCounter", number("7")),
            ("checkpoint", text("AT_TIMESTAMP")),
            ("pendingCheckpoint", text("TRIM_HORIZON")),
            ("pendingCheckpointState", number("0")),
            ("ownerSwitchesSinceCheckpoint", number("0")),
            ("startingHashKey", text(&(u128::MAX / 2 + 1).to_string())),
            ("endingHashKey", text(&max)),
            ("childShardIds", AttributeValue::Ss(vec!["shardId-000000000009".to_owned()])),
        ]),
        row([
            ("leaseKey", text("Leader")),
            ("entityType", text("LEADER")),
            ("ownerName", text("kcl-next")),
            ("leaseDuration", text("120000")),
        ]),
        row([("leaseKey", text("Migration3.0")), ("entityType", text("CLIENT_VERSION_MIGRATION")), ("cv", text("3"))]),
        row([("leaseKey", text("kcl-next")), ("entityType", text("WORKER_METRIC_STATS")), ("lut", number("1"))]),
        row([("leaseKey", text("junk")), ("entityType", text("LEASE")), ("leaseCounter", text("not a number"))]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_kcl_is_taken_over_and_keeps_what_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    for row in kcl_rows() {
        world.plant_row(row).await;
    }
    world.put(&records(0, 400)).await;
    let worker = world.worker(&named("worker-a")).await;
    // Its owners have no heartbeat of ours: their counters stand still for the foreign failover time.
    until("both shards are read", || read_shards(&worker) == 2).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, 400));

    let ours = ["leaseOwner", "checkpointOwner", "leaseCounter", "checkpoint", "checkpointSubSequenceNumber"];
    let moved = |name: &str| {
        ours.contains(&name) || name.starts_with("pendingCheckpoint") || name == "ownerSwitchesSinceCheckpoint"
    };
    for before in kcl_rows() {
        let AttributeValue::S(key) = &before["leaseKey"] else { unreachable!() };
        let after = world.lease_row(key).await;
        let is_shard = key.starts_with("shardId-");
        for (name, value) in before.iter().filter(|(name, _)| !is_shard || !moved(name)) {
            assert_eq!(after.get(name), Some(value), "{key}: {name}");
        }
        if is_shard {
            assert!(!after.contains_key("checkpointOwner") && !after.contains_key("pendingCheckpoint"), "{after:?}");
            let counter = |row: &AttributeValue| row.as_n().unwrap().parse::<u64>().unwrap();
            assert!(counter(&after["leaseCounter"]) > counter(&before["leaseCounter"]));
            assert!(after["checkpoint"].as_s().unwrap().len() > 40, "{after:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_lost_does_not_make_everything_be_stored_twice() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&records(0, 200)).await;
    let worker = world.worker(&named("worker-a")).await;
    caught_up(&worker).await;
    finish(worker).await;
    let keys = world.lake().keys();
    world.delete_row("shardId-000000000000").await;

    let worker = world.worker(&named("worker-a")).await;
    let readiness = worker.readiness();
    until("it says so", || {
        futures_util::FutureExt::now_or_never(readiness())
            .unwrap()
            .iter()
            .any(|check| check.name == "shard 000000000000 has a lease" && !check.ok)
    })
    .await;
    assert_eq!(read_shards(&worker), 0);
    worker.drain(Duration::from_secs(10)).await.unwrap();
    assert_eq!(world.lake().keys(), keys);
}
