//! Files that the warehouse refuses, and warehouses that are away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use actors::loading::Loading;
use actors::ports::warehouse::Trouble;
use mangrove_tests::warehouse::until_loaded;
use mangrove_tests::world::{World, caught_up, finish, progress};
use serde_json::json;

use super::{PATIENCE, SHARDS, assert_whole, copy_of, history, loader, loading, restarts_of_loader, stock, until};

/// Shard and epoch as they stand in the name of a file.
fn place(file: &Path) -> (String, u64) {
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut parts = name.rsplitn(5, '-').skip(2);
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
    fs::write(&broken[0], vec![0; was[0].len()]).unwrap();
    fs::remove_file(&broken[1]).unwrap();
    fs::write(&broken[2], &was[2][..was[2].len() / 2]).unwrap();
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
        assert_eq!(error.trouble(), Trouble::Refused, "{error}");
    }
    assert_eq!(put_aside(&loading).await, at_fault);
    for (file, was) in broken.iter().zip(was) {
        fs::write(file, was).unwrap();
    }
    for epoch in loading.refusals().await.unwrap() {
        assert!(loading.load_again(&epoch.manifest).await.unwrap().fresh);
        assert!(!loading.load_again(&epoch.manifest).await.unwrap().fresh);
    }
    assert_whole(&world).await;
    finish(worker).await;
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
