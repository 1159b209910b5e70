//! GOAL    A stream that nobody has read is begun where `stream.start` says: what arrives from there on is stored once,
//!         nothing before it, and nothing is lost by restarts before the first commit; children of reshards are read
//!         whole (RAW-ONCE, LINEAGE). A stream that is named by its ARN is the same stream.
//! METHOD  Records before and after a moment; a worker that is killed before it has committed anything; reshards.

use std::time::Duration;

use actors::ports::clock::Clock;
use mangrove_tests::apart::Apart;
use mangrove_tests::history::reading;
use mangrove_tests::judge::assert_whole;
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms};
use supervisor::shard::StreamStart;

/// Arrival times are milliseconds, and two clocks are one here.
const APART: Duration = Duration::from_millis(50);

fn records(from: u64, n: u64) -> Vec<Record> {
    let start_ms = hour_start_ms(3);
    (from..from + n).map(|n| reading(n % 40, n / 40, start_ms + n as i64 * 100)).collect()
}

fn starting(start: StreamStart) -> Setup {
    Setup { start, ..Setup::default() }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_time_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    world.put(&records(0, 200)).await;
    // Shards that are closed before the moment, and their children, which have records of both sides of it.
    world.split_first_shard().await;
    world.put(&records(200, 200)).await;
    tokio::time::sleep(APART).await;
    let at_ms = Clock::system().now_ms();
    tokio::time::sleep(APART).await;
    world.put(&records(400, 200)).await;
    let worker = world.worker(&starting(StreamStart::At(at_ms))).await;
    caught_up(&worker).await;
    world.merge_last_shards().await;
    world.put(&records(600, 200)).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(400, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_now_on_is_a_moment_that_no_restart_moves() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&records(0, 200)).await;
    tokio::time::sleep(APART).await;
    // It commits nothing before it is killed.
    let latest = Setup { age_max: Duration::from_secs(600), ..starting(StreamStart::Latest) };
    let first = Apart::start(&world, &latest).await;
    until("the row has a beginning", async || {
        let row = world.find_row("shardId-000000000000").await;
        row.is_some_and(|row| row.contains_key("mangroveStartAt"))
    })
    .await;
    tokio::time::sleep(APART).await;
    world.put(&records(200, 100)).await;
    first.kill().await;
    world.put(&records(300, 100)).await;

    let second = world.worker(&Setup { worker_id: "worker-b", ..starting(StreamStart::Latest) }).await;
    // The dead one's lease is taken after the failover time.
    until("it reads", async || second.shards().iter().any(|shard| shard.context.figures.read_at_ms() > 0)).await;
    caught_up(&second).await;
    world.split_first_shard().await;
    world.put(&records(400, 100)).await;
    caught_up(&second).await;
    finish(second).await;
    assert_whole(&world.lake(), &records(200, 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_by_its_arn() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    world.put(&records(0, 200)).await;
    let worker = world.worker(&Setup { by_arn: true, ..Setup::default() }).await;
    caught_up(&worker).await;
    world.split_first_shard().await;
    world.put(&records(200, 200)).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, 400));
    assert!(world.lake().keys().iter().all(|key| !key.contains("arn")), "names of objects have the stream's name");
}
