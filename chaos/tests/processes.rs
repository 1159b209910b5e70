//! GOAL    Whatever is broken, every record is stored once, in order, and shards are read again in time (RAW-ONCE,
//!         CLEAN-ONCE, COMPLETE, ORDER, STATE, CHECKPOINT, LIVE).
//! METHOD  A short run of the binary: real workers, real signals. Its seed says which faults.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on shall say where")]

use std::process::Command;

use serde_json::Value;

#[test]
fn three_workers_survive_a_short_run() {
    let args = ["processes", "--for", "45s", "--seed", "1", "--workers", "3", "--json"];
    let output = Command::new(env!("CARGO_BIN_EXE_chaos")).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(report["ok"], true, "{stderr}");
    assert!(output.status.success(), "{stderr}");
    assert_eq!((report["missing"].as_u64(), report["doubled"].as_u64()), (Some(0), Some(0)), "{report}");
    assert_eq!(report["seed"], 1);
    let count = |fault: &str| report["faults"][fault].as_u64().unwrap_or(0);
    assert!(count("split") >= 2 && count("merge") >= 1, "{}", report["faults"]);
    assert!(report["acked"].as_u64() > Some(20_000), "{report}");
    assert!(count("actor_loader") >= 1, "{}", report["faults"]);
    let warehouse = &report["verdict"]["warehouse"];
    assert_eq!(warehouse["readings"], report["verdict"]["cleansed"], "{warehouse}");
    assert_eq!(warehouse["epochs"], report["verdict"]["epochs"], "{warehouse}");
    for promise in ["RAW-ONCE", "CLEAN-ONCE", "ORDER", "STATE", "CHECKPOINT", "WAREHOUSE", "INTERVAL", "LEDGER"] {
        let checked = report["verdict"]["checked"].as_array().unwrap();
        assert!(checked.iter().any(|id| id == promise), "{promise} was not checked: {checked:?}");
    }
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), "x").unwrap();
    let folder = folder.path().display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_chaos")).args(["processes", "--data-dir", &folder]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
