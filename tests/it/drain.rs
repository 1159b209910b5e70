//! GOAL    A worker that is told to stop commits what it has read, gives its leases back and leaves nothing half done; the
//!         next one goes on at once. A start without new input writes nothing.
//! METHOD  A worker is drained while a producer puts; another worker takes over; then one starts for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mangrove_tests::history::reading;
use mangrove_tests::judge::{assert_device_order, assert_whole, chains};
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms, progress};
use serde_json::json;
use supervisor::shard::Shard;

const SHARDS: [&str; 2] = ["shardId-000000000000", "shardId-000000000001"];
const TAKE_OVER_MAX: Duration = Duration::from_secs(5);

/// Waits for what the worker does by itself.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_commits_what_was_read_and_releases_the_leases() {
    let dir = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(dir.path(), SHARDS.len() as u32).await);
    let drained = Arc::new(AtomicBool::new(false));
    let worker = world.worker(&Setup::default()).await;
    // Puts until the drain is over, so that the worker is never at the end of the stream.
    let producer = tokio::spawn({
        let (world, drained, start_ms) = (world.clone(), drained.clone(), hour_start_ms(3));
        async move {
            let mut put: Vec<Record> = Vec::new();
            while !drained.load(Ordering::Relaxed) && put.len() < 100_000 {
                let from = put.len() as u64;
                put.extend((from..from + 100).map(|n| reading(n % 20, n / 20, start_ms + n as i64)));
                world.put(&put[from as usize..]).await;
            }
            put
        }
    });
    let reads = |shard: &Shard| shard.context.figures.progress().0 > 200;
    until("the worker reads all shards", || {
        worker.shards().iter().filter(|shard| reads(shard)).count() == SHARDS.len()
    })
    .await;
    let late = worker.drain(Duration::from_secs(30)).await.unwrap();
    drained.store(true, Ordering::Relaxed);
    let put = producer.await.unwrap();

    assert_eq!(late, Vec::<String>::new());
    let (read, committed) = progress(&worker);
    assert_eq!(read, committed, "what was read is committed");
    assert_eq!(world.lake().promised("records"), committed);
    assert!((committed as usize) < put.len(), "the drain came under load");
    assert!(chains(&world.lake()).values().any(|chain| chain.last().unwrap()["cut"]["reason"] == "shutdown"));
    for shard in SHARDS {
        let row = world.lease_row(shard).await;
        assert!(!row.contains_key("leaseOwner"), "{shard} is still owned: {row:?}");
        assert!(!row.contains_key("pendingCheckpoint"), "{shard} is half committed: {row:?}");
        let chain = &chains(&world.lake())[shard];
        assert_eq!(row["checkpoint"].as_s().unwrap(), chain.last().unwrap()["cut"]["to"]["At"].as_str().unwrap());
    }

    let began = Instant::now();
    let next = world.worker(&Setup { worker_id: "worker-b", ..Setup::default() }).await;
    let is_read = |shard: &Shard| shard.context.figures.read_at_ms() > 0;
    let n_read = || next.shards().iter().filter(|shard| is_read(shard)).count();
    until("the next worker reads", || n_read() == SHARDS.len()).await;
    assert!(began.elapsed() < TAKE_OVER_MAX, "the next worker began after {:?}", began.elapsed());
    assert_eq!(world.lease_row(SHARDS[0]).await["leaseOwner"].as_s().unwrap(), "worker-b");
    caught_up(&next).await;
    assert_eq!(next.restarts(), 0);
    finish(next).await;
    assert_whole(&world.lake(), &put);
    assert_device_order(&world.lake());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_new_input_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), SHARDS.len() as u32).await;
    let start_ms = hour_start_ms(4);
    let put: Vec<Record> = (0..600).map(|n| reading(n % 20, n / 20, start_ms + n as i64 * 10_000)).collect();
    world.put(&put).await;
    finish(world.worker(&Setup::default()).await).await;
    let keys = world.lake().keys();
    assert_whole(&world.lake(), &put);

    for _ in 0..2 {
        finish(world.worker(&Setup::default()).await).await;
        assert_eq!(world.lake().keys(), keys);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_wait_for_a_stream_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&(0..50).map(|n| reading(n % 5, n / 5, hour_start_ms(3) + n as i64)).collect::<Vec<_>>()).await;
    let worker = world.worker(&Setup { age_max: Duration::from_secs(600), ..Setup::default() }).await;
    until("all is read", || progress(&worker).0 == 50).await;
    let hang = json!({"service": "kinesis", "operation": "GetRecords", "kind": "delay", "delay_ms": 20_000});
    world.faults().set(7, &[hang]).await;
    while world.faults().hits().await[0] == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    let late = worker.drain(Duration::from_secs(30)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "drained after {:?}", began.elapsed());
    assert_eq!((late, progress(&worker).1), (Vec::new(), 50), "what was read is committed");
}
