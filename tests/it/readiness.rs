//! GOAL    A worker that cannot store is not ready, whatever restarts meanwhile, until it stores again; one that has
//!         stored nothing yet takes nothing from those that do well; a drain does not wait for receivers for ever (LIVE).
//! METHOD  Workers in this process on one local cloud, whose bucket refuses, is another one, or has lost an object;
//!         readiness asked all the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use mangrove_tests::history::reading;
use mangrove_tests::judge::assert_whole;
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms};
use serde_json::json;
use supervisor::ops::Check;
use supervisor::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);
const EPOCH: Duration = Duration::from_millis(200);

fn named(worker_id: &'static str) -> Setup {
    Setup { worker_id, age_max: EPOCH, ..Setup::default() }
}

fn records(from: u64, n: u64) -> Vec<Record> {
    let start_ms = hour_start_ms(3);
    (from..from + n).map(|n| reading(n % 40, n / 40, start_ms + n as i64 * 100)).collect()
}

/// What does not hold now.
fn failing(worker: &Worker) -> Vec<Check> {
    let checks = worker.readiness()().now_or_never().expect("nobody is asked");
    checks.into_iter().filter(|check| !check.ok).collect()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
    began.elapsed()
}

async fn until_ready(worker: &Worker) -> Duration {
    let mut last = Vec::new();
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        last = failing(worker);
        if last.is_empty() {
            return began.elapsed();
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("not ready within {PATIENCE:?}: {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_uploads_fail_is_not_ready_until_it_commits_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    world.put(&records(0, 200)).await;
    let worker = world.worker(&named("worker-a")).await;
    caught_up(&worker).await;
    until_ready(&worker).await;

    let refuse = json!({"service": "s3", "operation": "PutObject", "kind": "error"});
    world.faults().set(7, &[refuse]).await;
    world.put(&records(200, 200)).await;
    until("it says so", || failing(&worker).iter().any(|check| check.name.ends_with("is stored"))).await;
    // The actors restart meanwhile, again and again; what is said does not change.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        let failing = failing(&worker);
        // While the shard is given up it is that what is said.
        let said = |check: &&Check| check.name.ends_with("is stored") || check.name.ends_with("works here");
        let said = failing.iter().find(said);
        assert!(said.is_some_and(|check| check.since_ms.is_some()), "after {:?}: {failing:?}", began.elapsed());
        tokio::time::sleep(POLL).await;
    }
    assert!(worker.restarts() > 0, "nothing has restarted: the time was too short to tell anything");
    world.faults().end().await;
    until_ready(&worker).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, 400));
}

/// Every state object, moved somewhere else or back.
fn hide_states(bucket: &Path, hidden: &Path, back: bool) {
    let (from, to): (PathBuf, PathBuf) = (bucket.join("state"), hidden.to_owned());
    if back { fs::rename(to, from).unwrap() } else { fs::rename(from, to).unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_given_up_and_works_again_makes_the_worker_ready_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    world.put(&records(0, 100)).await;
    let worker = world.worker(&named("worker-a")).await;
    caught_up(&worker).await;
    until_ready(&worker).await;

    let (bucket, hidden) = (dir.path().join("s3").join("mangrove"), dir.path().join("hidden"));
    hide_states(&bucket, &hidden, false);
    assert!(worker.tree().kill("shards/000000000000/reader", "the test killed it"));
    until("it is given up", || worker.leases().findings().iter().any(|(finding, _)| finding.kind() == "given_up"))
        .await;
    let works = |check: &Check| check.name == "shard 000000000000 works here";
    until("it says so", || failing(&worker).iter().any(works)).await;
    hide_states(&bucket, &hidden, true);
    world.put(&records(100, 100)).await;
    until_ready(&worker).await;
    until("nothing is said of it any more", || worker.leases().findings().is_empty()).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, 200));
}

/// As when a lifecycle rule was quicker than whoever reads them: the rows that a new worker looks at first are such.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_worker_reads_what_it_can_where_the_states_of_other_shards_are_gone() {
    const SHARDS: u32 = 6;
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), SHARDS).await;
    world.put(&records(0, 400)).await;
    let worker = world.worker(&named("worker-a")).await;
    caught_up(&worker).await;
    finish(worker).await;
    let hidden = dir.path().join("hidden");
    fs::create_dir(&hidden).unwrap();
    let [stream] = fs::read_dir(dir.path().join("s3/mangrove/state")).unwrap().collect::<Vec<_>>().try_into().unwrap();
    let stream = stream.unwrap().path();
    let states = |n: u32| (stream.join(format!("{n:012}")), hidden.join(n.to_string()));
    for (from, to) in (0..SHARDS - 1).map(states) {
        fs::rename(from, to).unwrap();
    }
    let worker = world.worker(&named("worker-b")).await;
    world.put(&records(400, 100)).await;
    until("the last shard is read", || mangrove_tests::world::progress(&worker).1 > 0).await;
    for (to, from) in (0..SHARDS - 1).map(states) {
        fs::rename(from, to).unwrap();
    }
    until_ready(&worker).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, 500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_another_bucket_never_starts_and_takes_no_shard() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 4).await;
    world.bucket("elsewhere").await;
    world.put(&records(0, 400)).await;
    let good = world.worker(&named("good")).await;
    caught_up(&good).await;
    until_ready(&good).await;
    assert_eq!(good.shards().len(), 4);

    let bad = world.try_worker(&Setup { bucket: "elsewhere", ..named("bad") }).await;
    let Err(refused) = bad else { panic!("it has started") };
    assert!(refused.to_string().contains("elsewhere"), "{refused}");
    let began = Instant::now();
    let mut put = 400;
    while began.elapsed() < Duration::from_secs(8) {
        world.put(&records(put, 40)).await;
        put += 40;
        assert_eq!(good.shards().len(), 4, "a shard has moved");
        assert_eq!(failing(&good).iter().map(|check| &check.why).collect::<Vec<_>>(), Vec::<&String>::new());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    caught_up(&good).await;
    finish(good).await;
    assert_whole(&world.lake(), &records(0, put));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_refuses_writes_costs_the_good_worker_no_shard() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    world.put(&records(0, 200)).await;
    let good = world.worker(&named("good")).await;
    caught_up(&good).await;
    // It keeps nothing to store while the new one tries.
    world.faults().set(7, &[json!({"service": "s3", "operation": "PutObject", "kind": "error"})]).await;
    let new = world.worker(&named("new")).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((good.shards().len(), new.shards().len()), (2, 0));
    assert!(failing(&new).iter().any(|check| check.name.contains("has shown that it can commit")));
    world.faults().end().await;
    until("the new one is given its share", || new.shards().len() == 1 && good.shards().len() == 1).await;
    until_ready(&new).await;
    finish(good).await;
    finish(new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_alone_takes_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 6).await;
    world.put(&records(0, 600)).await;
    // No epoch is due for ten minutes: nobody waits for that.
    let setup = Setup { age_max: Duration::from_secs(600), ..named("worker-a") };
    let worker = world.worker(&setup).await;
    let is_read = |n: &usize| worker.shards().iter().filter(|s| s.context.figures.read_at_ms() > 0).count() == *n;
    let took = until("it reads all", || is_read(&6)).await;
    assert!(took < Duration::from_secs(5), "after {took:?}");
    assert_eq!(worker.drain(Duration::from_secs(20)).await.unwrap(), Vec::<String>::new());
    assert_whole(&world.lake(), &records(0, 600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_receivers_for_so_long_and_no_longer_and_the_next_owner_sends_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    // Nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut transports = world.transports(&format!("http://{closed}")).await;
    transports.truncate(1);
    let alerts_drain = Duration::from_millis(700);
    let worker = world.worker(&Setup { transports: transports.clone(), alerts_drain, ..named("worker-a") }).await;
    // One of them is far from the others.
    world.put(&(0..40).map(|n| reading(0, n, hour_start_ms(3) + n as i64 * 1_000)).collect::<Vec<_>>()).await;
    caught_up(&worker).await;
    until("an alert waits", || worker.alert_figures().count() > 0).await;
    let began = Instant::now();
    assert_eq!(worker.drain(Duration::from_secs(30)).await.unwrap(), Vec::<String>::new());
    let took = began.elapsed();
    assert!(took >= alerts_drain && took < alerts_drain + Duration::from_secs(4), "drained after {took:?}");
    // The row says that not every alert has left: whoever has the shard next sends the rest.
    let row = world.lease_row("shardId-000000000000").await;
    let number = |name: &str| row[name].as_n().unwrap().parse::<u64>().unwrap();
    assert!(number("mangroveAlertsThrough") < number("mangroveEpoch"), "{row:?}");
}

/// A clock that is wrong is no permission that is missing: the client measures it and signs by the service's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_differs_from_the_services_is_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    let worker = world.worker(&named("worker-a")).await;
    world.put(&records(0, 200)).await;
    caught_up(&worker).await;
    let faults = world.faults();
    let rule = |(service, operation)| json!({ "service": service, "operation": operation, "kind": "skew", "count": 4 });
    let calls = [("kinesis", "GetRecords"), ("dynamodb", "UpdateItem"), ("s3", "PutObject")];
    faults.set(0, &calls.map(rule)).await;
    let (mut put, deadline) = (200, Instant::now() + PATIENCE);
    while faults.hits().await.iter().any(|hits| *hits < 4) {
        assert!(Instant::now() < deadline, "{:?}", faults.hits().await);
        world.put(&records(put, 1)).await;
        put += 1;
        tokio::time::sleep(POLL).await;
    }
    faults.end().await;
    caught_up(&worker).await;
    let restarted: Vec<_> = worker.tree().nodes().into_iter().filter(|node| node.restarts() > 0).collect();
    assert!(restarted.is_empty(), "{:?}", restarted.iter().map(|node| &node.path).collect::<Vec<_>>());
    until_ready(&worker).await;
    finish(worker).await;
    assert_whole(&world.lake(), &records(0, put));
    world.stop().await;
}
