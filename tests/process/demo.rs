//! GOAL    The demo does what it promises: nothing missing, alerts in time, within its memory; it can be watched while
//!         it runs, and ends in good order when asked to (RAW-ONCE, CLEAN-ONCE, COMPLETE).
//! METHOD  The command of the README, alone on the machine, with the ops endpoint asked on the way. Its report is held
//!         against the files and the ledger.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mangrove_tests::process::ledgers::{assert_holds, assert_reported};
use mangrove_tests::process::{Process, get, n_objects, try_get, turn, turn_alone};
use serde_json::Value;

use crate::mangrove;

const ACTORS: [&str; 5] = ["committer", "sinks", "aggregator", "sensors", "reader"];
const SHARDS: usize = 4;
const ALERT_P99_MS: u64 = 300;

/// The base of the ops endpoint's addresses.
fn ops(process: &mut Process) -> String {
    let rest = process.printed("ops endpoint: ");
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_demo_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let mut report = run(&dir.path().join("first"));
    let p99 = |report: &Value| report["alert_latency_ms"]["p99"].as_u64().unwrap();
    if p99(&report) >= ALERT_P99_MS {
        // Others may be on the machine, which a latency feels first.
        let again = run(&dir.path().join("second"));
        println!("p99 {} ms at first, {} ms once more", p99(&report), p99(&again));
        report = again;
    }
    println!("{report}");
    let of = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key} in {report}"));
    assert!(p99(&report) < ALERT_P99_MS, "{report}");
    assert!(of("peak_rss_mb") < 512, "{report}");
    assert!(report["events_per_second"].as_f64() > Some(4_500.0), "{report}");
    assert!(of("alerts_sent") > 0 && of("alerts_received") == of("alerts_sent"), "{report}");
    assert!(["p50", "max"].iter().all(|key| report["alert_latency_ms"][key].is_u64()), "{report}");
    assert_eq!((of("actor_restarts"), of("records_maybe")), (0, 0), "{report}");
    let rows = |table: &str| report["warehouse_rows"][table].as_u64();
    assert_eq!(rows("sensor_readings"), Some(of("cleansed_rows")), "{report}");
    for table in ["dim_sensors", "dim_locations", "sensor_hourly", "sensor_daily", "alerts"] {
        assert!(rows(table) > Some(0), "{table}: {report}");
    }
    assert!(of("ledger_batches") > 1 && report["warehouse_lag_ms"]["p99"].is_u64(), "{report}");
}

/// Runs it, asks it while it runs, and holds what it reports against what lies there.
fn run(data: &Path) -> Value {
    let folder = data.display().to_string();
    // Longer than an epoch, so that one is loaded on the way and the rest at the end.
    let line = "demo --for 13s --seed 7 --sensors 1000 --rate 5000 --shards 4 --json --ops-port 0 --data-dir";
    let args: Vec<&str> = line.split(' ').chain([folder.as_str()]).collect();
    let end = {
        let _alone = turn_alone();
        let mut process = mangrove(&args).start();
        let ops = ops(&mut process);
        watched(&mut process, &ops);
        assert!(process.is_running(), "it has ended while it was watched");
        process.end().ok()
    };
    assert!(end.stderr.contains(&format!("data: {folder}")), "{}", end.stderr);
    let report = end.json();
    let held = assert_holds(&data.join("ledger"), &data.join("s3/mangrove-demo"));
    assert_reported(&report, &held);
    assert_eq!(held.raw, held.acked);
    assert_eq!(held.cleansed + held.quarantined + held.duplicates, held.raw);
    report
}

fn watched(process: &mut Process, ops: &str) {
    process.until("readiness", |_| get(ops, "/readyz").0 == 200);
    assert_eq!(get(ops, "/livez").0, 200);
    process.until("tree with all actors running", |_| is_whole(&json(ops, "/tree", 200)));
    process.until("sensor", |_| get(ops, "/sensors/s-000001").0 == 200);
    let sensor = json(ops, "/sensors/s-000001", 200);
    assert_eq!((&sensor["sensor_id"], &sensor["state"]), (&"s-000001".into(), &"live".into()), "{sensor}");
    assert!(sensor["readings"].as_u64() > Some(0), "{sensor}");

    let long = format!("/sensors/{}", "a".repeat(5_000));
    let hostile = ["/sensors/..%2Fx", "/sensors/%2e%2e%2fx", "/sensors/%ff", "/sensors/a%0Ab", "/sensors/", &long];
    for target in hostile {
        let (status, body) = get(ops, target);
        let refusal: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {status} {body:?}"));
        assert!((400..500).contains(&status) && refusal["error"].is_string(), "{status} {refusal}");
    }

    // More than the server reads of any request: it says so in HTTP alone, if the answer outruns the closed connection.
    let answer = try_get(ops, &format!("/sensors/{}", "a".repeat(64 << 10)));
    assert!(answer.as_ref().is_none_or(|(status, _)| [414, 431].contains(status)), "{answer:?}");
    assert_eq!(get(ops, "/livez").0, 200);

    process.until("committed epoch in the metrics", |_| get(ops, "/metrics").1.contains("\nmangrove_epochs_total"));
    assert_documented(&get(ops, "/metrics").1);

    let tree = mangrove(&["tree", "--ops", ops]).run().ok().stdout;
    for name in ACTORS {
        let lines = tree.lines().filter(|line| line.contains(name) && line.contains("running"));
        assert_eq!(lines.count(), SHARDS, "{name} in\n{tree}");
    }
    assert!(tree.contains("alerts") && tree.contains(" live"), "{tree}");
}

fn json(ops: &str, target: &str, expected: u16) -> Value {
    let (status, body) = get(ops, target);
    assert_eq!(status, expected, "{target}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// All shards with all their actors, and every one of them running.
fn is_whole(tree: &Value) -> bool {
    let children = |node: &Value| node["children"].as_array().unwrap().clone();
    let shards = children(tree).into_iter().find(|node| node["name"] == "shards");
    let shards = shards.map(|shards| children(&shards)).unwrap_or_default();
    let runs = |shard: &Value| {
        let actors = children(shard);
        let names: BTreeSet<_> = actors.iter().map(|child| child["name"].as_str().unwrap().to_owned()).collect();
        names == BTreeSet::from(ACTORS.map(str::to_owned)) && actors.iter().all(|child| child["state"] == "running")
    };
    shards.len() == SHARDS && shards.iter().all(runs)
}

/// Every metric is ours and has a text for people.
fn assert_documented(metrics: &str) {
    let helped: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let samples = metrics.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    assert!(names.len() > 10, "{metrics}");
    for name in names {
        let whole = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        assert!(name.starts_with("mangrove_") || name.starts_with("process_"), "{name}");
        assert!(helped.contains(name) || helped.contains(whole), "{name} has no HELP");
    }
}

#[test]
fn interrupted_it_ends_in_good_order() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let (data, config) = (dir.path().join("data"), dir.path().join("mangrove.toml"));
    fs::write(&config, "[epoch]\nage_max = \"500ms\"\n").unwrap();
    let (folder, config) = (data.display().to_string(), config.display().to_string());
    let args =
        ["demo", "--rate", "1000", "--sensors", "100", "--shards", "2", "--json", "--ops-port", "0", "--data-dir"];
    let mut process = mangrove(&[args.as_slice(), &[&folder, "--config", &config]].concat()).start();
    let bucket = data.join("s3/mangrove-demo");
    process.until("some epochs", |_| n_objects(&bucket, "manifests") >= 3);
    assert!(process.is_running(), "without --for it goes on");
    process.signal("INT");
    let report = process.end().ok().json();
    let held = assert_holds(&data.join("ledger"), &bucket);
    assert_reported(&report, &held);
    assert_eq!(held.raw, held.acked);
}
