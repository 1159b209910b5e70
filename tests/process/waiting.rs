//! GOAL    A worker that starts while its services are away serves its health, says why it is not ready, and begins by
//!         itself when they come; told to end meanwhile, it ends in good order. What will not heal ends it (LIVE).
//! METHOD  `mangrove run` before there is a cloud, and one that is started behind its back on the port that it asks.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use mangrove_tests::process::{Process, get, turn};

use crate::mangrove;

const CONFIG: &str = "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\nworker.id = \"w\"\n\
                      ops.bind = \"127.0.0.1:0\"\nepoch.age_max = \"300ms\"\n";

/// A port on which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn worker(dir: &tempfile::TempDir, port: u16) -> (Process, String) {
    let config = dir.path().join("mangrove.toml");
    fs::write(&config, CONFIG).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut worker = mangrove(&["run", "--config", config.to_str().unwrap(), "--endpoint-url", &url]).start();
    let ops = worker.printed("ops endpoint: ");
    (worker, ops)
}

fn waits(worker: &mut Process, ops: &str) {
    worker.until("it says what it waits for", |_| {
        let (status, body) = get(ops, "/readyz");
        status == 503 && body.contains("the worker has begun") && body.contains("Connection refused")
    });
    assert_eq!(get(ops, "/livez").0, 200);
    assert_eq!(get(ops, "/").0, 200);
    assert!(get(ops, "/overview").1.contains("This worker cannot begin"), "the page says so too");
}

#[test]
fn a_worker_that_is_started_before_the_cloud_waits_for_it() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let (mut worker, ops) = worker(&dir, port);
    waits(&mut worker, &ops);
    std::thread::sleep(Duration::from_secs(2));
    waits(&mut worker, &ops);

    let (bind, data) = (format!("127.0.0.1:{port}"), dir.path().join("cloud").display().to_string());
    let cloud = ["local", "--bind", &bind, "--data-dir", &data, "--stream", "events", "--shards", "2"];
    let mut cloud = mangrove(&[cloud.as_slice(), &["--bucket", "lake"]].concat()).start();
    cloud.printed("Ctrl-C stops it");
    worker.until("it is ready", |_| get(&ops, "/readyz").0 == 200);
    worker.signal("TERM");
    let end = worker.end().ok();
    let tries = end.stderr.matches("the worker cannot begin yet").count();
    assert!((2..20).contains(&tries), "{tries} lines: {}", end.stderr);
    assert!(end.stderr.contains("all services answer"), "{}", end.stderr);
}

#[test]
fn a_worker_that_waits_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let (mut worker, ops) = worker(&dir, free_port());
    waits(&mut worker, &ops);
    worker.signal("TERM");
    worker.end().ok();
}
