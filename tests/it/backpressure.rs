//! GOAL    What is in flight is bounded by configuration, not by the backlog: bytes by the budget, open files by the
//!         partitions of an epoch. Everything lands once all the same (BOUNDED, RAW-ONCE, CLEAN-ONCE).
//! METHOD  A backlog many times the budget; the budget is sampled while a worker eats it up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actors::budget::Held;
use mangrove_tests::history::reading;
use mangrove_tests::judge::{assert_device_order, assert_whole, chains};
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms};

const SHARDS: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_the_budget_lands_within_the_budget() {
    const RECORDS_PER_PAGE: u64 = 150;
    let start_ms = hour_start_ms(3);
    let put: Vec<Record> = (0..6_000).map(|n| reading(n % 40, n / 40, start_ms + n as i64 * 100)).collect();
    let bytes: u64 = put.iter().map(|(_, data)| data.len() as u64).sum();
    let record_bytes_max = put.iter().map(|(_, data)| data.len() as u64).max().unwrap();
    // What a page holds: each record is one reading of a sensor.
    let fields = Setup::default().schema.fields.len();
    let mut held = Held::of_fields(fields);
    for _ in 0..RECORDS_PER_PAGE {
        held.record(record_bytes_max as usize);
        held.row();
        held.group();
    }
    let page = held.bytes();
    let budget = 2 * page;
    assert!(2 * bytes > 3 * budget, "the backlog is many times the budget");

    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), SHARDS).await;
    world.put(&put).await;
    let setup = Setup { memory_budget: budget, records_max: RECORDS_PER_PAGE as i32, ..Setup::default() };
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
    caught_up(&worker).await;
    done.store(true, Ordering::Relaxed);
    sampler.await.unwrap();
    assert_eq!(worker.budget().taken(), 0, "what is committed is given back");
    assert_eq!(worker.restarts(), 0);
    finish(worker).await;

    let most = most.load(Ordering::Relaxed);
    assert!(most >= budget, "the budget was never used up ({most} of {budget}): nothing was tested");
    assert!(most <= budget + u64::from(SHARDS) * page, "{most} taken of {budget}, pages of {page}");
    let lake = world.lake();
    assert_whole(&lake, &put);
    assert_device_order(&lake);
    let by_bytes = lake.manifests().iter().filter(|manifest| manifest["cut"]["reason"] == "bytes").count();
    assert!(by_bytes > 0, "a full budget cuts epochs early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_touches_no_more_partitions_than_allowed() {
    const PARTITIONS_MAX: usize = 3;
    // From hour to hour and back: every record of a sensor lies in another partition than the one before.
    let start_ms = hour_start_ms(40);
    let put: Vec<Record> =
        (0..360).map(|n| reading(n % 6, n / 6, start_ms + (n as i64 / 12 % 30) * 3_600_000 + n as i64)).collect();
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), SHARDS).await;
    world.put(&put).await;
    let worker = world.worker(&Setup { partitions_max: PARTITIONS_MAX, ..Setup::default() }).await;
    finish(worker).await;

    let lake = world.lake();
    assert_whole(&lake, &put);
    assert_device_order(&lake);
    for (shard, chain) in chains(&lake) {
        let reasons: BTreeSet<&str> =
            chain.iter().map(|manifest| manifest["cut"]["reason"].as_str().unwrap()).collect();
        assert!(reasons.contains("partitions"), "epochs of {shard} were cut by {reasons:?}");
        for manifest in &chain {
            let objects = manifest["objects"].as_array().unwrap();
            let touched = objects.iter().filter(|object| object["zone"] == "cleansed").count();
            assert!(touched <= PARTITIONS_MAX, "epoch {} of {shard}: {touched} partitions", manifest["cut"]["epoch"]);
        }
    }
}
