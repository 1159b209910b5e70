//! Loaders beside each other, and a cloud that does everything wrong now and then.

use std::time::Duration;

use actors::loading::{LoadError, Loading};
use actors::ports::warehouse::WarehouseFailure;
use actors::warehouse::Mode;
use mangrove_tests::world::{World, caught_up, finish};
use serde_json::{Value, json};

use super::{
    POLL, SHARDS, assert_whole, copy_of, history, is_active, loader, loading, restarts_of_loader, stock, until,
};

/// A little of everything, at every service that a load needs.
fn noise() -> Vec<Value> {
    let rule = |service: &str, matching: &str, kind: &str, probability: f64| json!({ "service": service, "match": matching, "kind": kind, "probability": probability });
    let mut rules = Vec::new();
    for kind in ["lose_reply", "error", "throttle", "reset"] {
        rules.push(rule("redshift", "Id", kind, 0.03));
        rules.push(rule("redshift", "Sql", kind, 0.1));
        rules.push(rule("s3", "warehouse/", kind, 0.1));
        rules.push(rule("dynamodb", "mangrove-loader:", kind, 0.1));
    }
    rules
}

/// Loads batches of this size until nothing waits, whatever happens.
async fn loads(loading: Loading, epochs: usize) -> (u64, u64) {
    let (mut fresh, mut failed) = (0, 0);
    loop {
        let step = async {
            let Some((batch, _)) = loading.next_batch(epochs).await? else { return Ok(None) };
            Ok::<_, LoadError>(Some(loading.load(&batch, Mode::New).await?.fresh))
        };
        match step.await {
            Ok(None) => return (fresh, failed),
            Ok(Some(new)) => fresh += u64::from(new),
            Err(error) => {
                assert!(
                    [WarehouseFailure::Unknown, WarehouseFailure::Unavailable].contains(&error.failure()),
                    "{error}"
                );
                failed += 1;
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loaders_of_different_sizes_beside_each_other_load_all_once() {
    let dir = tempfile::tempdir().unwrap();
    let stock = stock(dir.path()).await;
    for seed in 0..4 {
        let world = copy_of(&stock, &format!("beside-{seed}")).await;
        loading(&world).ensure_tables().await.unwrap();
        // The first seed is calm: nothing but the others comes in between.
        let faults = world.faults();
        faults.set(seed, &if seed == 0 { Vec::new() } else { noise() }).await;
        let (a, b, c) = tokio::join!(loads(loading(&world), 1), loads(loading(&world), 2), loads(loading(&world), 3));
        let struck = faults.end().await.iter().sum::<u64>();
        assert_eq!(struck > 0, seed > 0);
        assert!(a.0 + b.0 + c.0 > 0 || struck > 0, "{a:?} {b:?} {c:?}");
        assert_whole(&world).await;
    }
}

/// Two workers, one of which loads; everything fails now and then, and their loaders are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_load_all_once_while_everything_fails_now_and_then() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), SHARDS).await;
    let (one, other) = (world.worker(&loader("worker-a", "")).await, world.worker(&loader("worker-b", "")).await);
    let faults = world.faults();
    faults.set(7, &noise()).await;
    let put = history(6, 4);
    let mut kills = 0;
    for records in put.chunks(put.len().div_ceil(8)) {
        world.put(records).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        if kills < 4 {
            kills += u64::from([&one, &other][kills as usize % 2].tree().kill("loader", "killed by a test"));
        }
    }
    let hits = faults.end().await;
    assert!(hits.iter().sum::<u64>() > 10 && hits.iter().filter(|hits| **hits > 0).count() > 4, "{hits:?}");
    assert!(restarts_of_loader(&one) + restarts_of_loader(&other) >= kills && kills > 2);
    for worker in [one, other] {
        caught_up(&worker).await;
        finish(worker).await;
    }
    let last = world.worker(&loader("worker-c", "")).await;
    assert_whole(&world).await;
    finish(last).await;
    assert_whole(&world).await;
}

/// The row of the loader cannot be written for longer than others wait; whoever comes first then goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_cannot_renew_its_row_loads_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "row").await;
    let faults = world.faults();
    let row = |kind: &str, count: u64| json!({ "service": "dynamodb", "operation": "UpdateItem", "match": "mangrove-loader:", "kind": kind, "count": count });
    // The taking is applied, and its answer lost: it is its own.
    faults.set(0, &[row("lose_reply", 1)]).await;
    let one = world.worker(&loader("worker-a", "")).await;
    until("a loader", || async { is_active(&one) }).await;
    assert_eq!(faults.end().await, [1]);
    // So is a renewal.
    faults.set(0, &[row("lose_reply", 1)]).await;
    until("a renewal that is lost", || async { faults.hits().await == [1] }).await;
    faults.end().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(is_active(&one), "its own write was taken for another's");

    faults.set(0, &[row("error", 1_000)]).await;
    let other = world.worker(&loader("worker-b", "")).await;
    until("the end of its loads", || async { !is_active(&one) }).await;
    assert!(!is_active(&other), "nobody can take it");
    faults.end().await;
    until("a loader", || async { is_active(&one) || is_active(&other) }).await;
    assert_whole(&world).await;
    assert!(!(is_active(&one) && is_active(&other)));
    assert_eq!(restarts_of_loader(&one) + restarts_of_loader(&other), 0);
    finish(one).await;
    finish(other).await;
    assert_whole(&world).await;
}
