//! Loaders that die or hang at every step, and workers that are killed or stopped in the middle of a call.

use std::path::Path;

use actors::loader::LoaderConfig;
use mangrove_tests::apart::Apart;
use mangrove_tests::faults::CloudFaults;
use mangrove_tests::warehouse::loader_config;
use mangrove_tests::world::{Setup, finish};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{AT_ONCE, assert_whole, copy_of, is_active, loader, loading, restarts_of_loader, stock, until};

/// The steps of a load that a loader can die in, by panic; it can hang in all but the first.
const STEPS: [&str; 5] = ["taken", "listed", "manifest", "sending", "sent"];
/// Longer than others wait for a loader (`loader_config`), and than it takes to be noticed.
const LONG_MS: u64 = 3_000;

/// One worker whose loader dies this often, and goes on by itself.
async fn dies(stock: &Path, name: &str, faults: &str, deaths: u64) {
    let world = copy_of(stock, name).await;
    // Where nothing hangs, nothing may look as if it did, however long a load takes on a busy machine.
    let hangs = faults.contains("hang");
    let config = if hangs { loader_config() } else { LoaderConfig { turn_max: super::PATIENCE, ..loader_config() } };
    let worker = world.worker(&Setup { loads: Some(config), ..loader("worker-a", faults) }).await;
    until(&format!("{deaths} restarts under {faults}"), || async { restarts_of_loader(&worker) == deaths }).await;
    let error = worker.tree().find("loader").unwrap().last_error().unwrap().message;
    let expected = if hangs { "has not ended within" } else { "injected fault at loader." };
    assert!(error.contains(expected), "{faults}: {error}");
    assert_whole(&world).await;
    assert_eq!(restarts_of_loader(&worker), deaths, "{faults}");
    finish(worker).await;
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_dies_at_any_step_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let stock = stock(dir.path()).await;
    let mut cases = Vec::new();
    for (action, steps) in [("panic", &STEPS[..]), ("hang", &STEPS[1..])] {
        for step in steps {
            let point = format!("loader.{step}");
            cases.push((format!("{point}={action}@1"), 1));
            // The later turn stands first, so that each counts every pass: the load after the first crash dies as well.
            cases.push((format!("{point}={action}@2;{point}={action}@1"), 2));
        }
    }
    // Manifests of a load, one after the other; and a death in another step after each first one.
    cases.push(("loader.manifest[daily]=panic@1".to_owned(), 1));
    cases.push(("loader.sent=panic@1;loader.listed=panic@2".to_owned(), 2));
    cases.push(("loader.sending=panic@1;loader.sent=hang@1".to_owned(), 2));
    let cases: Vec<_> = cases.into_iter().enumerate().collect();
    for few in cases.chunks(AT_ONCE) {
        let mut runs = JoinSet::new();
        for (n, (faults, deaths)) in few.iter().cloned() {
            let stock = stock.clone();
            runs.spawn(async move { dies(&stock, &format!("dies-{n}"), &faults, deaths).await });
        }
        runs.join_all().await;
    }
}

/// A call that a worker is ended in: the service does what it is asked, and holds its answer back for long enough.
fn held(service: &str, operation: &str, matching: &str) -> Value {
    json!({
        "service": service, "operation": operation, "match": matching, "kind": "delay", "delay_ms": LONG_MS, "count": 1,
    })
}

/// What a loader asks when its load stands: the results of parts of its batch, whose ids end with a number.
fn results() -> Vec<Value> {
    [":1", ":2", ":3"].map(|part| held("redshift", "GetStatementResult", part)).to_vec()
}

async fn has_struck(faults: &CloudFaults) -> bool {
    faults.hits().await.iter().any(|hits| *hits > 0)
}

/// One worker after the other is killed in this call, as by SIGKILL; the last one is left alone.
async fn is_killed(stock: &Path, name: &str, call: Vec<Value>) {
    let world = copy_of(stock, name).await;
    let faults = world.faults();
    // Tables are there, so that it is the load that is hit.
    loading(&world).ensure_tables().await.unwrap();
    for (n, worker_id) in ["worker-a", "worker-b"].into_iter().enumerate() {
        faults.set(n as u64, &call).await;
        let worker = Apart::start(&world, &loader(worker_id, "")).await;
        until(&format!("{worker_id} in {call:?}"), || async { has_struck(&faults).await }).await;
        worker.kill().await;
        faults.end().await;
    }
    let last = world.worker(&loader("worker-c", "")).await;
    assert_whole(&world).await;
    finish(last).await;
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_in_any_call_of_a_load_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let stock = stock(dir.path()).await;
    let calls = [
        vec![held("dynamodb", "UpdateItem", "mangrove-loader:")],
        vec![held("redshift", "ExecuteStatement", "load_ledger")],
        vec![held("s3", "PutObject", "warehouse/")],
        vec![held("redshift", "BatchExecuteStatement", "sensor_readings")],
        vec![held("redshift", "DescribeStatement", "Id")],
        vec![held("redshift", "GetStatementResult", "Id")],
        results(),
    ];
    for (few, calls) in calls.chunks(AT_ONCE).enumerate() {
        let mut runs = JoinSet::new();
        for (n, call) in calls.iter().cloned().enumerate() {
            let stock = stock.clone();
            runs.spawn(async move { is_killed(&stock, &format!("killed-{few}-{n}"), call).await });
        }
        runs.join_all().await;
    }
}

/// Stops a worker in this call for longer than the others wait, lets another one load all, and lets the first go on;
/// `next` is what it then does, and nobody else.
async fn is_stopped(stock: &Path, name: &str, call: Vec<Value>, next: Vec<Value>) {
    let world = copy_of(stock, name).await;
    let faults = world.faults();
    loading(&world).ensure_tables().await.unwrap();
    faults.set(0, &call).await;
    // The time that it stands still must not look to itself like a turn that hangs.
    let patient = LoaderConfig { turn_max: super::PATIENCE, ..loader_config() };
    let late = Apart::start(&world, &Setup { loads: Some(patient), ..loader("worker-late", "") }).await;
    until(&format!("the first one in {call:?}"), || async { has_struck(&faults).await }).await;
    let frozen = late.freeze().await;
    let other = world.worker(&loader("worker-other", "")).await;
    until("another loader", || async { is_active(&other) }).await;
    assert_whole(&world).await;

    faults.set(1, &next).await;
    assert_eq!(faults.hits().await.iter().sum::<u64>(), 0, "the other one is at rest");
    // It is told late that it loads no more, so that what it was about to do comes first.
    let told = json!({
        "service": "dynamodb", "operation": "UpdateItem", "match": "mangrove-loader:", "kind": "delay",
        "delay_ms": LONG_MS + 1_000,
    });
    faults.set(1, &[next, vec![told]].concat()).await;
    drop(frozen);
    let strikes = || async { faults.hits().await.split_last().unwrap().1.iter().any(|hits| *hits > 0) };
    until("a late step", strikes).await;
    faults.end().await;
    late.finish().await;
    finish(other).await;
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hangs_for_longer_than_the_others_wait_changes_nothing_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let stock = stock(dir.path()).await;
    let send = || vec![held("redshift", "BatchExecuteStatement", "sensor_readings")];
    let cases = [
        // Before its load is sent, while it runs, and when it stands.
        (vec![held("s3", "PutObject", "warehouse/")], send()),
        (send(), results()),
        (results(), results()),
    ];
    let mut runs = JoinSet::new();
    for (n, (call, next)) in cases.into_iter().enumerate() {
        let stock = stock.clone();
        runs.spawn(async move { is_stopped(&stock, &format!("stopped-{n}"), call, next).await });
    }
    runs.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loader_that_dies_while_it_leaves_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "leaves").await;
    let one = world.worker(&loader("worker-a", "loader.released=panic@1")).await;
    until("a loader", || async { is_active(&one) }).await;
    let other = world.worker(&loader("worker-b", "")).await;
    // What it leaves unreleased is waited out.
    let _ = one.drain(super::PATIENCE).await;
    let row = world.lease_row(&format!("mangrove-loader:{}", loading(&world).name())).await;
    assert!(!row.contains_key("mangroveReleased"), "it did not die: {row:?}");
    until("the other", || async { is_active(&other) }).await;
    assert_whole(&world).await;
    finish(other).await;
}
