//! GOAL    No line of the log holds a byte of what sensors send, at whatever level and whatever goes wrong with it, and
//!         every line of a JSON log is an object (INERT, BOUNDED).
//! METHOD  A worker that logs all it can, and records with a mark in every place that is theirs: valid ones, broken ones,
//!         ones that kill their sensor, ones that raise alerts nobody takes. The mark, and the records as the service's
//!         protocol writes them, are looked for in what it wrote.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mangrove_tests::history::history;
use mangrove_tests::lake::Lake;
use mangrove_tests::process::turn;
use mangrove_tests::world::{BUCKET, Record, STREAM, World};
use serde_json::Value;

use crate::mangrove;

const MARK: &str = "c4n4ry-5ee1";
/// Base64 of so many characters is no accident.
const TELLING_CHARS: usize = 40;

/// A history with the mark as an attribute, and what is no reading at all.
fn records() -> Vec<Record> {
    let marked = |(key, data): Record| {
        let text = String::from_utf8_lossy(&data).replace("site-", &format!("{MARK}-"));
        (key, text.into_bytes())
    };
    let mut records: Vec<Record> = history(4, 2).into_iter().map(marked).collect();
    let key = || format!("key-{MARK}");
    records.extend([
        (key(), format!("{{\"sensor_id\": {MARK}").into_bytes()),
        (key(), format!("{MARK} is no JSON at all").into_bytes()),
        (key(), format!("{{\"sensor_id\":\"s-001\",\"ts\":\"{MARK}\",\"temperature\":1}}").into_bytes()),
        (key(), format!("{{\"sensor_id\":\"s-001\",\"temperature\":\"{MARK}\"}}").into_bytes()),
        (key(), format!("{{\"sensor_id\":\"{MARK}\\n\\u001b[2J\",\"temperature\":1}}").into_bytes()),
        (key(), [b"\xff\xfe", MARK.as_bytes()].concat()),
        (key(), MARK.repeat(30_000).into_bytes()),
    ]);
    records
}

#[test]
fn no_line_holds_what_sensors_send() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "stream.name = \"{STREAM}\"\nbucket.name = \"{BUCKET}\"\nleases.table = \"leases\"\nschema.use = \"climate\"\n\
         ops.bind = \"127.0.0.1:0\"\nepoch.age_max = \"300ms\"\nlog.level = \"trace\"\nlog.format = \"json\"\n\
         log.lines_max = 1000000\nalerts.webhooks = [\"http://127.0.0.1:9/\"]\nalerts.timeout = \"1s\"\n\
         alerts.backoff_max = \"1s\"\nalerts.retry_for = \"2s\"\n"
    );
    fs::write(dir.path().join("mangrove.toml"), config).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let records = records();
    let world = runtime.block_on(async {
        let world = World::new(&dir.path().join("cloud"), 1).await;
        world.put(&records).await;
        world
    });

    let url = world.cloud.endpoint_url();
    let config = dir.path().join("mangrove.toml").display().to_string();
    let mut worker = mangrove(&["run", "--config", &config, "--endpoint-url", &url])
        .env("MANGROVE_FAULTS", "sensor.row[s-002]=panic@7")
        .start();
    let bucket = dir.path().join("cloud/s3").join(BUCKET);
    worker.until("all records", |_| Lake::read(&bucket).promised("records") == records.len() as u64);
    worker.signal("TERM");
    let end = worker.end().ok();

    let log = &end.stderr;
    assert!(log.contains("\"level\":\"DEBUG\"") && log.contains("sensor restarted"), "it did not log all it can");
    for line in log.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    let leak = |what: &str| log.lines().find(|line| line.contains(what));
    assert_eq!(leak(MARK), None);
    for (_, data) in &records {
        let encoded = STANDARD.encode(data);
        assert_eq!(leak(encoded.get(..TELLING_CHARS).unwrap_or(&encoded)), None);
    }
}
