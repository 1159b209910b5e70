//! GOAL    Before a shard is read, its lease row, the manifests in the bucket and the stream agree. A lease table that was
//!         restored as of some epochs ago costs nothing and doubles nothing; one of another stream or bucket, and manifests
//!         that are damaged or of another history, stop the shard by name (RAW-ONCE, CLEAN-ONCE, CHECKPOINT).
//! METHOD  Rows of the table are taken and put back, objects removed and cut, streams made again, under workers that run
//!         or are started afterwards; judged by what landed and by what the worker says is wrong.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actors::agreement::newest;
use actors::ports::chance::Chance;
use actors::ports::objects::Objects;
use actors::ports::provision;
use actors::recovery::Reads;
use mangrove_tests::history::reading;
use mangrove_tests::judge::{assert_device_order, assert_whole, chains};
use mangrove_tests::warehouse::{assert_loaded, loader_config, until_loaded};
use mangrove_tests::world::{BUCKET, Record, Setup, World, caught_up, finish, hour_start_ms};
use serde_json::json;
use supervisor::leases::LeaseFinding;
use supervisor::worker::{Worker, WorkerError};

const SHARD: &str = "shardId-000000000000";
const PATIENCE: Duration = Duration::from_secs(30);

fn quick() -> Setup {
    Setup { age_max: Duration::from_millis(200), ..Setup::default() }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Puts some, and waits until they are committed.
async fn feed(world: &World, worker: &Worker, put: &mut Vec<Record>, n: u64) {
    let (from, start_ms) = (put.len() as u64, hour_start_ms(3));
    put.extend((from..from + n).map(|n| reading(n % 7, n / 7, start_ms + n as i64 * 10)));
    world.put(&put[from as usize..]).await;
    // Of a shard that another worker still seems to have, this one would say that it has caught up.
    until("all is stored", || world.lake().promised("records") == put.len() as u64).await;
    caught_up(worker).await;
}

async fn epoch(world: &World) -> u64 {
    world.lease_row(SHARD).await["mangroveEpoch"].as_n().unwrap().parse().unwrap()
}

/// What the worker says of a shard that it does not read.
async fn refusal(worker: &Worker) -> String {
    let why = || {
        worker.leases().findings().into_iter().find_map(|(finding, why)| match finding {
            LeaseFinding::Disagrees(_) => Some(why),
            _ => None,
        })
    };
    until("the shard is refused", || why().is_some()).await;
    why().unwrap()
}

fn manifest(world: &World, epoch: u64, ending: &str) -> PathBuf {
    world.objects().join(format!("manifests/events/000000000000/{epoch:08}.{ending}"))
}

/// As somebody who may write to the bucket: the object is whole, and says something else.
async fn overwrite(world: &World, epoch: u64, bytes: &[u8]) {
    let s3 = aws_sdk_s3::config::Builder::from(world.sdk()).force_path_style(true).build();
    let put = aws_sdk_s3::Client::from_conf(s3).put_object().bucket(BUCKET);
    let key = format!("manifests/events/000000000000/{epoch:08}.json");
    put.key(key).body(bytes.to_vec().into()).send().await.unwrap();
}

async fn refused(world: &World, setup: &Setup) -> String {
    match world.try_worker(setup).await {
        Err(error @ WorkerError::Home(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_restored_as_of_some_epochs_ago_goes_on_from_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    feed(&world, &worker, &mut put, 50).await;
    let backup = world.lease_rows().await;
    let before = epoch(&world).await;
    for _ in 0..3 {
        feed(&world, &worker, &mut put, 30).await;
    }
    finish(worker).await;
    let newest = epoch(&world).await;
    assert!(newest >= before + 3);
    world.restore_leases(&backup).await;
    assert_eq!(epoch(&world).await, before);

    let worker = world.worker(&Setup { worker_id: "worker-b", ..quick() }).await;
    feed(&world, &worker, &mut put, 40).await;
    assert!(epoch(&world).await > newest, "new epochs go on behind those that are there");
    // And again while it runs: what it writes next fails, and it begins from the bucket.
    world.restore_leases(&backup).await;
    feed(&world, &worker, &mut put, 40).await;
    feed(&world, &worker, &mut put, 40).await;
    assert_eq!(worker.leases().findings(), []);
    finish(worker).await;
    assert_whole(&world.lake(), &put);
    assert_device_order(&world.lake());
}

/// The ledger knows epochs that the restored rows do not, and the row of who loads is restored with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_restored_under_a_loader_brings_the_warehouse_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let of = |worker_id| Setup { worker_id, loads: Some(loader_config()), ..quick() };
    let loading = world.loading(&quick().schema, "");
    loading.ensure_tables().await.unwrap();
    let worker = world.worker(&of("worker-a")).await;
    feed(&world, &worker, &mut put, 50).await;
    until_loaded(&loading).await;
    let (backup, before) = (world.lease_rows().await, epoch(&world).await);
    assert!(backup.iter().any(|row| row["leaseKey"].as_s().unwrap().starts_with("mangrove-loader:")), "{backup:?}");
    for _ in 0..3 {
        feed(&world, &worker, &mut put, 30).await;
    }
    until_loaded(&loading).await;
    assert!(epoch(&world).await >= before + 3);

    // While it runs and loads.
    world.restore_leases(&backup).await;
    feed(&world, &worker, &mut put, 40).await;
    feed(&world, &worker, &mut put, 40).await;
    assert_eq!(worker.leases().findings(), []);
    until_loaded(&loading).await;
    finish(worker).await;
    // The windows that a drain closes come last.
    loading.load_all(PATIENCE).await.unwrap();
    assert_loaded(&world.lake(), &world.analyst()).await;

    // And before another one starts.
    let newest = epoch(&world).await;
    world.restore_leases(&backup).await;
    assert_eq!(epoch(&world).await, before);
    let worker = world.worker(&of("worker-b")).await;
    feed(&world, &worker, &mut put, 40).await;
    assert!(epoch(&world).await > newest);
    until_loaded(&loading).await;
    finish(worker).await;
    loading.load_all(PATIENCE).await.unwrap();
    assert_whole(&world.lake(), &put);
    assert_loaded(&world.lake(), &world.analyst()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_was_claimed_is_finished_as_it_was_claimed_though_the_row_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    feed(&world, &worker, &mut put, 50).await;
    finish(worker).await;
    let (backup, before) = (world.lease_rows().await, epoch(&world).await);
    // All but the manifest can be stored, and the worker ends with that.
    let next = format!("{:08}.json", before + 1);
    let refused = json!({"service": "s3", "operation": "PutObject", "match": next, "kind": "error", "count": 1_000});
    world.faults().set(7, &[refused]).await;
    let worker = world.worker(&quick()).await;
    let claim = manifest(&world, before + 1, "claim");
    put.extend((0..80).map(|n| reading(n % 7, 100 + n / 7, hour_start_ms(2) + n as i64)));
    world.put(&put[50..]).await;
    until("the next epoch is claimed", || claim.exists()).await;
    let _ = worker.drain(Duration::from_millis(500)).await;
    assert!(world.faults().end().await[0] > 0 && !manifest(&world, before + 1, "json").exists());
    let claimed = fs::read(&claim).unwrap();
    world.restore_leases(&backup).await;

    // With more in the stream than was claimed.
    put.extend((0..80).map(|n| reading(n % 7, 200 + n / 7, hour_start_ms(1) + n as i64)));
    world.put(&put[130..]).await;
    let worker = world.worker(&Setup { worker_id: "worker-b", ..quick() }).await;
    caught_up(&worker).await;
    finish(worker).await;
    assert_eq!(fs::read(manifest(&world, before + 1, "json")).unwrap(), claimed);
    assert_whole(&world.lake(), &put);
    assert_device_order(&world.lake());
}

/// A broken promise is no failure that another try, or another worker, would mend: the shard stops at once, by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_says_something_else_stops_its_shard_and_goes_to_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    let other = world.worker(&Setup { worker_id: "worker-b", ..quick() }).await;
    feed(&world, &worker, &mut put, 50).await;
    let owner = world.lease_row(SHARD).await["leaseOwner"].clone();
    let (mine, others) = match owner.as_s().unwrap().as_str() {
        "worker-b" => (&other, &worker),
        _ => (&worker, &other),
    };
    let next = epoch(&world).await + 1;
    let key = format!("manifests/events/000000000000/{next:08}.json");
    let _ = Objects::new(world.sdk(), BUCKET).put_new(&key, "{}".into(), "other", 0).await.unwrap();
    world.put(&[reading(1, 999, hour_start_ms(1))]).await;
    let why = refusal(mine).await;
    assert!(why.contains(&key) && why.contains("exists with other content"), "{why}");
    let row = world.lease_row(SHARD).await;
    assert_eq!((&row["leaseOwner"], epoch(&world).await), (&owner, next - 1));
    let elsewhere: Vec<_> = others.leases().findings().into_iter().map(|(finding, _)| finding).collect();
    assert!(elsewhere.iter().all(|finding| *finding == LeaseFinding::Unproven), "{elsewhere:?}");
    let restarts = mine.restarts();
    assert_eq!(restarts, 0, "it was tried again");
    let _ = worker.drain(Duration::from_secs(10)).await;
    let _ = other.drain(Duration::from_secs(10)).await;
}

/// Whatever lets a second writer of one number through, it writes nothing that a reader of the lake looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_claimed_for_something_else_is_written_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    feed(&world, &worker, &mut put, 50).await;
    let (next, keys) = (epoch(&world).await + 1, world.lake().files("raw", ".jsonl.gz"));
    let mut other: serde_json::Value =
        serde_json::from_slice(&fs::read(manifest(&world, next - 1, "json")).unwrap()).unwrap();
    other["cut"]["epoch"] = next.into();
    let body = serde_json::to_vec(&other).unwrap();
    let key = format!("manifests/events/000000000000/{next:08}.claim");
    let _ = Objects::new(world.sdk(), BUCKET).put_new(&key, body.into(), "other", 0).await.unwrap();
    world.put(&[reading(1, 999, hour_start_ms(1))]).await;
    let why = refusal(&worker).await;
    assert!(why.contains(&key) && why.contains(&format!("epoch {}", next - 1)), "{why}");
    assert_eq!(world.lake().files("raw", ".jsonl.gz"), keys);
    let _ = worker.drain(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_of_one_stream_and_one_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    provision::stream(world.sdk(), "others", 2).await.unwrap();
    provision::bucket(world.sdk(), "lake2").await.unwrap();
    let others = Setup { worker_id: "worker-b", stream: "others", bucket: "lake2", ..quick() };
    // Whoever is faster has it, and the other one says whose it is.
    let mine = quick();
    let (mine, theirs) = tokio::join!(world.try_worker(&mine), world.try_worker(&others));
    let (started, error) = match (mine, theirs) {
        (Ok(worker), Err(error)) | (Err(error), Ok(worker)) => (worker, error.to_string()),
        (mine, theirs) => panic!("{mine:?} {theirs:?}"),
    };
    let is_refused = |finding: &LeaseFinding| {
        matches!(finding, LeaseFinding::Disagrees(_) | LeaseFinding::OtherStream | LeaseFinding::Orphan(_))
    };
    assert!(!started.leases().findings().iter().any(|(finding, _)| is_refused(finding)));
    assert!(error.contains("stream/events") && error.contains("stream/others"), "{error}");
    let _ = started.drain(Duration::from_secs(10)).await;

    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    feed(&world, &worker, &mut put, 20).await;
    finish(worker).await;
    provision::stream(world.sdk(), "others", 2).await.unwrap();
    provision::bucket(world.sdk(), "lake2").await.unwrap();
    let error = refused(&world, &Setup { bucket: "lake2", ..quick() }).await;
    assert!(error.contains("\"lake2\"") && error.contains(&format!("{BUCKET:?}")), "{error}");
    // A table of an earlier version does not say whose it is; its rows' states do.
    world.delete_row("mangrove-table").await;
    let error = refused(&world, &others).await;
    assert!(error.contains("state/events/") && error.contains("stream/others"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_made_again_is_another_stream() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    feed(&world, &worker, &mut put, 20).await;
    let keys = world.lake().keys();
    world.make_stream_again(1).await;
    world.put(&put).await;
    let other = || worker.leases().findings().iter().any(|(finding, _)| *finding == LeaseFinding::OtherStream);
    until("the worker sees it", other).await;
    until("it has ended its shards", || worker.shards().is_empty()).await;
    assert_eq!(world.lake().keys(), keys);
    let _ = worker.drain(Duration::from_secs(10)).await;
    let error = refused(&world, &Setup { worker_id: "worker-b", ..quick() }).await;
    assert!(error.contains("deleted and made again"), "{error}");
    assert_eq!(world.lake().keys(), keys);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_bucket_is_named_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let mut put = Vec::new();
    let worker = world.worker(&quick()).await;
    feed(&world, &worker, &mut put, 50).await;
    let (backup, before) = (world.lease_rows().await, epoch(&world).await);
    for _ in 0..2 {
        feed(&world, &worker, &mut put, 30).await;
    }
    finish(worker).await;
    let last = epoch(&world).await;

    // The newest manifest is gone: its claim says what it said.
    let json = manifest(&world, last, "json");
    let whole = fs::read(&json).unwrap();
    fs::remove_file(&json).unwrap();
    let worker = world.worker(&Setup { worker_id: "worker-b", ..quick() }).await;
    feed(&world, &worker, &mut put, 10).await;
    assert_eq!(fs::read(&json).unwrap(), whole);
    finish(worker).await;

    // The table is restored, and a manifest on the way is cut off; another one is gone.
    let on_the_way = manifest(&world, before + 1, "json");
    let good = fs::read(&on_the_way).unwrap();
    for cut in [Some(&good[..good.len() / 2]), Some(&b"{}"[..]), None] {
        match cut {
            Some(cut) => overwrite(&world, before + 1, cut).await,
            None => fs::remove_file(&on_the_way).unwrap(),
        }
        world.restore_leases(&backup).await;
        let keys = world.lake().keys();
        let worker = world.worker(&Setup { worker_id: "worker-c", ..quick() }).await;
        let why = refusal(&worker).await;
        let named = if cut.is_some() { format!("{:08}.json", before + 1) } else { format!("epoch {}", before + 1) };
        assert!(why.contains(&named), "{why}");
        assert_eq!(world.lake().keys(), keys);
        assert_eq!(epoch(&world).await, before, "nothing is written beside it");
        // Put back, the shard goes on by itself.
        overwrite(&world, before + 1, &good).await;
        until("the shard is read", || worker.leases().findings().is_empty()).await;
        feed(&world, &worker, &mut put, 10).await;
        finish(worker).await;
    }
    assert_whole(&world.lake(), &put);

    // Manifest and claim are gone: the row says more than the bucket.
    let last = epoch(&world).await;
    for ending in ["json", "claim"] {
        fs::remove_file(manifest(&world, last, ending)).unwrap();
    }
    let worker = world.worker(&Setup { worker_id: "worker-e", ..quick() }).await;
    let why = refusal(&worker).await;
    assert!(why.contains(&format!("epoch {last} is committed")) && why.contains(BUCKET), "{why}");
    assert!(!manifest(&world, last, "claim").exists());
    let _ = worker.drain(Duration::from_secs(10)).await;
    let reads = Reads::new(&Objects::new(world.sdk(), BUCKET), &Chance::system());
    assert!(newest(&reads, &home(&world).await, "events", "manifests/events/000000000000/").await.unwrap().is_some());
    assert_eq!(chains(&world.lake())[SHARD].len() as u64, last - 1);
    assert_device_order(&world.lake());
}

async fn home(world: &World) -> actors::ports::leases::Home {
    actors::ports::leases::LeaseTable::new(world.sdk(), "leases").home().await.unwrap().unwrap()
}
