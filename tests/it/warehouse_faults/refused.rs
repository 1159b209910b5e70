//! Files that the warehouse refuses, and warehouses that are away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use actors::loading::LoadError;
use actors::loading::Loading;
use actors::ports::warehouse::WarehouseFailure;
use mangrove_tests::warehouse::until_loaded;
use mangrove_tests::world::{World, caught_up, finish, progress};
use serde_json::json;

use super::{PATIENCE, SHARDS, assert_whole, copy_of, history, loader, loading, restarts_of_loader, stock, until};

/// Shard and epoch as they stand in the name of a file.
fn place(file: &Path) -> (String, u64) {
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut parts = name.rsplitn(4, '-').skip(1);
    let (epoch, shard) = (parts.next().unwrap(), parts.next().unwrap());
    (format!("shardId-{shard}"), epoch.parse().unwrap())
}

async fn put_aside(loading: &Loading) -> BTreeSet<(String, u64)> {
    let refusals = loading.refusals().await.unwrap();
    assert!(refusals.iter().all(|epoch| !epoch.error.is_empty()), "{refusals:?}");
    refusals.into_iter().map(|epoch| (epoch.shard.to_string(), epoch.epoch.0)).collect()
}

/// The first file with garbage in it, the last one gone, and one of an hourly window cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_epochs_with_a_file_that_is_refused_are_put_aside_and_they_are_loaded_when_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "refused").await;
    let (readings, windows) =
        (world.lake().files("cleansed", ".parquet"), world.lake().files("aggregates/hourly", ".parquet"));
    let broken = [readings[0].clone(), readings.last().unwrap().clone(), windows[windows.len() / 2].clone()];
    let was = broken.clone().map(|file| fs::read(file).unwrap());
    world.replace(&broken[0], vec![0; was[0].len()]).await;
    fs::remove_file(&broken[1]).unwrap();
    world.replace(&broken[2], was[2][..was[2].len() / 2].to_vec()).await;
    let at_fault: BTreeSet<_> = broken.iter().map(|file| place(file)).collect();

    // It dies when it puts the first one aside, and in the first load after that.
    let worker = world.worker(&loader("worker-a", "loader.refusing=panic@1;loader.sent=panic@1")).await;
    let loading = loading(&world);
    until("two deaths", || async { restarts_of_loader(&worker) == 2 }).await;
    until_loaded(&loading).await;
    assert_eq!(put_aside(&loading).await, at_fault);
    let known = "SELECT COUNT(*) FROM mangrove.load_ledger";
    let (analyst, epochs) = (world.analyst(), world.lake().manifests().len() as i64);
    assert_eq!(analyst.count(known).await, epochs);
    assert_eq!(analyst.count(&format!("{known} WHERE state = 'refused'")).await, at_fault.len() as i64);
    // Nothing of an epoch that was put aside is there.
    let rows = "SELECT COUNT(*) FROM mangrove.sensor_readings";
    let loaded = "SELECT SUM(readings) FROM mangrove.load_ledger WHERE state = 'loaded'";
    assert_eq!(analyst.count(rows).await, analyst.count(loaded).await);

    // Tried again before it is mended, it stays where it is.
    for epoch in loading.refusals().await.unwrap() {
        let error = loading.load_again(&epoch.manifest).await.unwrap_err();
        assert_eq!(error.failure(), WarehouseFailure::Refused, "{error}");
    }
    assert_eq!(put_aside(&loading).await, at_fault);
    // Its loader would try again by itself, and might be first.
    finish(worker).await;
    for (file, was) in broken.iter().zip(was) {
        world.replace(file, was).await;
    }
    for epoch in loading.refusals().await.unwrap() {
        assert!(loading.load_again(&epoch.manifest).await.unwrap().fresh);
        assert!(!loading.load_again(&epoch.manifest).await.unwrap().fresh);
    }
    assert_whole(&world).await;
}

/// Waits until the warehouse has been asked in vain some times.
async fn asked_in_vain(world: &World) {
    let asked = json!({ "service": "redshift", "kind": "delay", "delay_ms": 0 });
    let faults = world.faults();
    faults.set(0, &[asked]).await;
    until("calls of the loader", || async { faults.hits().await[0] >= 3 }).await;
    faults.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warehouse_that_is_away_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), SHARDS).await;
    let put = history(6, 4);
    let thirds = put.chunks(put.len().div_ceil(3));
    world.faults().pause_warehouse(true).await;
    // Away before there are tables.
    let worker = world.worker(&loader("worker-a", "")).await;
    let figures = || worker.loader_figures().unwrap();
    for records in thirds {
        world.faults().pause_warehouse(true).await;
        // A load that was under way may still be answered.
        asked_in_vain(&world).await;
        let before = figures().epochs();
        world.put(records).await;
        until("records that are read", || async {
            let (read, committed) = progress(&worker);
            read > 0 && committed > 0
        })
        .await;
        asked_in_vain(&world).await;
        assert_eq!(figures().epochs(), before);
        world.faults().pause_warehouse(false).await;
        until("a load", || async { figures().epochs() > before }).await;
    }
    caught_up(&worker).await;
    assert_eq!(restarts_of_loader(&worker), 0);
    finish(worker).await;
    loading(&world).load_all(PATIENCE).await.unwrap();
    assert_whole(&world).await;
}

/// What a warehouse says when it is not the data: some of it known, some never heard before.
const OF_ITSELF: [&str; 8] = [
    "FATAL: connection limit \"500\" exceeded for non-bootstrap users",
    "could not complete because of conflict with concurrent transaction",
    "1023",
    "Disk Full Detail: code: 1016 context: node: 0",
    "permission denied for relation sensor_readings",
    "Query (1) cancelled by WLM abort action of Query Monitoring Rule",
    "Spectrum Scan Error: S3 internal error, retries exceeded",
    "words that nobody has heard before",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_warehouse_says_of_itself_puts_no_epoch_aside() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "of-itself").await;
    let (loading, faults) = (loading(&world), world.faults());
    // The file of known rows is copied as well, and is not what this is about.
    loading.ensure_tables().await.unwrap();
    faults.fail_statements("COPY", Some(OF_ITSELF[0])).await;
    let worker = world.worker(&loader("worker-a", "")).await;
    let failing = || worker.loader_figures().unwrap().status().failing;
    for words in OF_ITSELF {
        faults.fail_statements("COPY", Some(words)).await;
        // More tries than would have been enough to put it aside.
        until(words, || async { failing().is_some_and(|failing| failing.error.contains(words)) }).await;
        let before = failing().unwrap().failures;
        until(words, || async { failing().is_some_and(|failing| failing.failures > before + 2) }).await;
        assert!(failing().unwrap().error.contains(words), "{words}: {:?}", failing());
        assert_eq!(put_aside(&loading).await, BTreeSet::new(), "{words}");
    }
    faults.fail_statements("COPY", None).await;
    assert_whole(&world).await;
    assert_eq!((restarts_of_loader(&worker), failing()), (0, None));
    finish(worker).await;
    assert_whole(&world).await;
}

/// Even what speaks of data: what every epoch is refused for is no epoch's fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_refusal_of_every_epoch_is_nobodys_fault_and_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "all-alike").await;
    let (loading, faults) = (loading(&world), world.faults());
    let words = "Load into table 'stg_readings' failed. Check 'stl_load_errors' system table for details.";
    loading.ensure_tables().await.unwrap();
    faults.fail_statements("COPY", Some(words)).await;
    let worker = world.worker(&loader("worker-a", "")).await;
    let look = || worker.loader_figures().unwrap().status();
    let told = || look().failing.is_some_and(|failing| failing.error.starts_with("3 epochs in a row are refused"));
    until("the third epoch", || async { told() }).await;
    let aside = put_aside(&loading).await;
    assert_eq!(aside.len(), 2, "{aside:?}");
    assert!(look().put_aside_error.unwrap().contains("stl_load_errors"));
    let before = look().failing.unwrap().failures;
    until("further tries", || async { look().failing.is_some_and(|failing| failing.failures > before + 2) }).await;
    assert_eq!(put_aside(&loading).await, aside, "no more are put aside");

    faults.fail_statements("COPY", None).await;
    until_loaded(&loading).await;
    until("what was put aside", || async { put_aside(&loading).await.is_empty() }).await;
    assert_whole(&world).await;
    assert_eq!(look().put_aside_error, None);
    assert_eq!((worker.loader_figures().unwrap().epochs_put_aside(), restarts_of_loader(&worker)), (2, 0));
    finish(worker).await;
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_waits_is_named_and_can_be_put_aside_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "by-hand").await;
    let (loading, faults) = (loading(&world), world.faults());
    loading.ensure_tables().await.unwrap();
    faults.fail_statements("COPY", Some("never heard before")).await;
    let mut policy = loading.policy();
    let (shard, epoch) = loop {
        match loading.turn(&mut policy).await.unwrap_err() {
            LoadError::Waits { shard, epoch, error } => {
                assert!(error.to_string().contains("never heard before"), "{error}");
                break (shard, epoch);
            }
            // Fewer are tried until it is one.
            error => assert_eq!(error.failure(), WarehouseFailure::Unavailable, "{error}"),
        }
    };
    let other = loading.put_aside_by_hand(&shard, epoch.next()).await.unwrap_err();
    assert!(other.to_string().ends_with(&format!("that is {epoch}")), "{other}");
    loading.put_aside_by_hand(&shard, epoch).await.unwrap();
    assert_eq!(put_aside(&loading).await, BTreeSet::from([(shard.to_string(), epoch.0)]));
    faults.fail_statements("COPY", None).await;
    loading.load_all(PATIENCE).await.unwrap();
    let [refused] = loading.refusals().await.unwrap().try_into().unwrap();
    assert!(loading.load_again(&refused.manifest).await.unwrap().fresh);
    assert_whole(&world).await;
}
