//! GOAL    What the ledger says is what the stream holds, record by record.
//! METHOD  The local cloud on loopback, whole runs through the public interface; then every shard is read from its
//!         beginning and compared with the ledger.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use mangrove_fleet::{
    BrokenKind, Entry, FleetOptions, Kind, Ledger, Line, Outcome, ReplayMapping, ReplayOptions, Target, client,
    run_fleet, run_replay,
};
use mangrove_local::{LocalCloud, LocalOptions};
use tokio::sync::watch;

const SHARDS: i32 = 4;

/// A stream with `SHARDS` shards on a local cloud of its own.
async fn stream(folder: &Path) -> (LocalCloud, Target) {
    let port = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let cloud = LocalCloud::start(LocalOptions::new(port, folder.join("cloud"))).await.unwrap();
    let url = cloud.endpoint_url();
    let client = client(Some(&url), "us-east-1").await;
    client.create_stream().stream_name("fleet").shard_count(SHARDS).send().await.unwrap();
    (cloud, Target { stream: "fleet".to_owned(), client })
}

/// All records, by shard.
async fn read(client: &Client) -> HashMap<String, Vec<Record>> {
    let shards = client.list_shards().stream_name("fleet").send().await.unwrap();
    let mut all = HashMap::new();
    for shard in shards.shards() {
        let request = client.get_shard_iterator().stream_name("fleet").shard_id(shard.shard_id());
        let first = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let mut iterator = first.shard_iterator;
        let mut records = Vec::new();
        while let Some(next) = iterator {
            let got = client.get_records().shard_iterator(next).limit(10_000).send().await.unwrap();
            let at_end = got.records().is_empty() && got.millis_behind_latest() == Some(0);
            records.extend(got.records);
            iterator = got.next_shard_iterator.filter(|_| !at_end);
        }
        all.insert(shard.shard_id().to_owned(), records);
    }
    all
}

fn acked(path: &Path) -> Vec<Entry> {
    let entry = |line| match line {
        Line::Outcome(entry) if entry.k == Outcome::Acked => Some(entry),
        Line::Outcome(_) | Line::Sending { .. } | Line::Complete(_) => None,
    };
    Ledger::read(path).unwrap().map(Result::unwrap).filter_map(entry).collect()
}

fn sha256(data: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every stored record has its line, every line its record, and each sensor's numbers grow along its shard.
fn compare(ledger: &[Entry], stream: &HashMap<String, Vec<Record>>) {
    let mut lines: HashMap<(&str, &str), &Entry> = HashMap::new();
    for entry in ledger {
        let place = (entry.shard.as_deref().unwrap(), entry.seq.as_deref().unwrap());
        assert!(lines.insert(place, entry).is_none(), "two lines for {place:?}");
    }
    for (shard, records) in stream {
        let mut last: HashMap<&str, u64> = HashMap::new();
        for record in records {
            let place = (shard.as_str(), record.sequence_number());
            let entry = lines.remove(&place).unwrap_or_else(|| panic!("no line for {place:?}"));
            assert_eq!(entry.sha256, sha256(record.data().as_ref()), "{entry:?}");
            assert_eq!(Some(&*entry.sensor), record.partition_key());
            if entry.kind != Kind::Duplicate {
                let before = last.insert(&entry.sensor, entry.n);
                assert_eq!(before.map_or(0, |n| n + 1), entry.n, "{entry:?}");
            }
        }
    }
    assert!(lines.is_empty(), "{} lines without a record", lines.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_with_everything_broken_is_stored_as_its_ledger_says() {
    let folder = tempfile::tempdir().unwrap();
    let (_cloud, target) = stream(folder.path()).await;
    let mut options = FleetOptions::new(200, 5000.0, 42, folder.path().join("ledger.jsonl"));
    options.duration = Some(Duration::from_secs(3));
    options.shares.broken = 0.05;
    let (_keep, stop) = watch::channel(false);
    let report = run_fleet(target.clone(), options.clone(), Arc::default(), stop).await.unwrap();
    println!("{}", serde_json::to_string(&report).unwrap());
    assert_eq!((report.failed, report.unsent, report.maybe), (0, 0, 0), "{report:?}");
    let ledger = acked(&options.ledger);
    assert_eq!(ledger.len() as u64, report.acked);
    for kind in BrokenKind::ALL {
        assert!(ledger.iter().any(|entry| entry.kind == Kind::Broken(kind)), "{kind:?} was never sent");
    }
    compare(&ledger, &read(&target.client).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_data_arrives_in_order_and_as_its_ledger_says() {
    let folder = tempfile::tempdir().unwrap();
    let (_cloud, target) = stream(folder.path()).await;
    let ledger = folder.path().join("ledger.jsonl");
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/beijing-air/*.csv.gz");
    let options = ReplayOptions::new(files, ReplayMapping::named("air-quality").unwrap(), &ledger);
    let (_keep, stop) = watch::channel(false);
    let report = run_replay(target.clone(), options, Arc::default(), stop).await.unwrap();
    println!("{}", serde_json::to_string(&report).unwrap());
    assert_eq!((report.acked, report.failed, report.bad_rows), (280_512, 0, 0), "{report:?}");
    compare(&acked(&ledger), &read(&target.client).await);
}
