//! Streams: writing, reading, reshaping, and what the journal adds.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, Shard, ShardIteratorType};
use mangrove_local::{LocalCloud, LocalOptions};

use crate::{World, options, sdk};

pub(crate) async fn create(client: &Client, stream: &str, n_shards: i32) {
    client.create_stream().stream_name(stream).shard_count(n_shards).send().await.unwrap();
}

pub(crate) fn entry(key: &str, data: impl Into<Vec<u8>>) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build().unwrap()
}

/// All pages of ListShards.
pub(crate) async fn listed(client: &Client, stream: &str, page_max: i32) -> Vec<Shard> {
    let first = client.list_shards().stream_name(stream).max_results(page_max).send().await.unwrap();
    let (mut shards, mut token) = (first.shards.unwrap_or_default(), first.next_token);
    while let Some(next) = token {
        let page = client.list_shards().next_token(next).max_results(page_max).send().await.unwrap();
        assert!(page.shards().len() <= page_max as usize);
        shards.extend(page.shards.unwrap_or_default());
        token = page.next_token;
    }
    shards
}

pub(crate) async fn shards(client: &Client, stream: &str) -> Vec<String> {
    let listed = client.list_shards().stream_name(stream).send().await.unwrap();
    listed.shards().iter().map(|shard| shard.shard_id().to_owned()).collect()
}

pub(crate) async fn iterator(client: &Client, stream: &str, shard: &str, from: ShardIteratorType) -> Option<String> {
    let request = client.get_shard_iterator().stream_name(stream).shard_id(shard).shard_iterator_type(from);
    request.send().await.unwrap().shard_iterator
}

/// Reads a closed shard from its start to its end.
pub(crate) async fn read_to_end(client: &Client, stream: &str, shard: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut n_empty = 0;
    let mut at = iterator(client, stream, shard, ShardIteratorType::TrimHorizon).await;
    while let Some(iterator) = at {
        let answer = client.get_records().shard_iterator(iterator).send().await.unwrap();
        n_empty += usize::from(answer.records().is_empty());
        assert!(n_empty <= 2, "{shard} does not end");
        records.extend(answer.records);
        at = answer.next_shard_iterator;
    }
    records
}

/// Reads a shard from its start until a read returns nothing.
pub(crate) async fn read(client: &Client, stream: &str, shard: &str) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = iterator(client, stream, shard, ShardIteratorType::TrimHorizon).await;
    while let Some(iterator) = at {
        let answer = client.get_records().shard_iterator(iterator).send().await.unwrap();
        if answer.records().is_empty() {
            break;
        }
        records.extend(answer.records);
        at = answer.next_shard_iterator;
    }
    records
}

pub(crate) async fn read_all(client: &Client, stream: &str) -> BTreeMap<String, Vec<Record>> {
    let mut all = BTreeMap::new();
    for shard in shards(client, stream).await {
        let records = read(client, stream, &shard).await;
        all.insert(shard, records);
    }
    all
}

pub(crate) fn is_increasing(records: &[Record]) -> bool {
    let numbers: Vec<u128> = records.iter().map(|record| digits(record.sequence_number())).collect();
    numbers.is_sorted_by(|a, b| a < b)
}

/// The end of a sequence number; the beginning is the same within a shard of one stream.
fn digits(number: &str) -> u128 {
    assert_eq!(number.len(), 56, "all numbers have one length, so that text order is number order");
    number[20..].parse().unwrap()
}

#[tokio::test]
async fn records_come_back_in_order_with_arrival_times_in_milliseconds() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "readings", 4).await;

    let before_ms = now_ms();
    for batch in 0..4 {
        let entries = (0..250).map(|n| entry(&format!("sensor-{n}"), format!("{batch}/{n}"))).collect();
        let answer = client.put_records().stream_name("readings").set_records(Some(entries)).send().await.unwrap();
        assert_eq!(answer.failed_record_count(), Some(0));
    }
    let after_ms = now_ms();

    let all = read_all(&client, "readings").await;
    assert_eq!(all.len(), 4);
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), 1_000);
    for records in all.values() {
        assert!(!records.is_empty(), "250 keys reach every shard");
        assert!(is_increasing(records));
    }
    let arrivals: Vec<f64> = all
        .values()
        .flatten()
        .map(|record| (record.approximate_arrival_timestamp().unwrap().as_secs_f64() * 1e3).round())
        .collect();
    assert!(arrivals.iter().all(|at| (before_ms..=after_ms).contains(&(*at as u64))));
    assert!(arrivals.iter().any(|at| at % 1000.0 != 0.0), "whole seconds only");
}

#[tokio::test]
async fn concurrent_writers_never_let_a_reader_miss_a_record() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "busy", 1).await;
    let shard = shards(&client, "busy").await.remove(0);
    let mut at = iterator(&client, "busy", &shard, ShardIteratorType::Latest).await;

    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    let entries = (0..20).map(|i| entry("k", format!("{writer}/{n}/{i}"))).collect();
                    client.put_records().stream_name("busy").set_records(Some(entries)).send().await.unwrap();
                }
            })
        })
        .collect();

    let mut seen = Vec::new();
    while seen.len() < 8 * 20 * 20 {
        let answer = client.get_records().shard_iterator(at.unwrap()).send().await.unwrap();
        seen.extend(answer.records);
        at = answer.next_shard_iterator;
        assert!(is_increasing(&seen), "a reader never sees a number before a smaller one");
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().map(|record| record.data().as_ref()).collect();
    assert_eq!(distinct.len(), 8 * 20 * 20);
}

#[tokio::test]
async fn a_split_shard_ends_and_its_children_go_on_after_a_restart_too() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "growing", 1).await;
    client.put_record().stream_name("growing").partition_key("a").data(Blob::new("parent")).send().await.unwrap();
    let parent = shards(&client, "growing").await.remove(0);
    let half = (1u128 << 127).to_string();
    let split = client.split_shard().stream_name("growing").shard_to_split(&parent).new_starting_hash_key(half);
    split.send().await.unwrap();
    assert_eq!(shards(&client, "growing").await.len(), 3, "the split is done when it is acknowledged");

    let world = world.reopened().await;
    let client = world.kinesis();
    let put = client.put_record().stream_name("growing").partition_key("a").data(Blob::new("child")).send().await;
    assert_ne!(put.unwrap().shard_id(), parent);

    let at = iterator(&client, "growing", &parent, ShardIteratorType::TrimHorizon).await;
    let first = client.get_records().shard_iterator(at.unwrap()).send().await.unwrap();
    assert_eq!(first.records().len(), 1);
    let end = client.get_records().shard_iterator(first.next_shard_iterator().unwrap()).send().await.unwrap();
    assert_eq!(end.next_shard_iterator(), None, "a closed shard ends");
}

#[tokio::test]
async fn one_answer_stays_under_ten_mebibytes() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "large", 1).await;
    for _ in 0..5 {
        let entries = (0..4).map(|_| entry("k", vec![7; 1_000_000])).collect();
        client.put_records().stream_name("large").set_records(Some(entries)).send().await.unwrap();
    }
    let shard = shards(&client, "large").await.remove(0);
    let at = iterator(&client, "large", &shard, ShardIteratorType::TrimHorizon).await;
    let first = client.get_records().shard_iterator(at.unwrap()).send().await.unwrap();
    let n_bytes: usize = first.records().iter().map(|record| record.data().as_ref().len()).sum();
    assert!((5_000_000..=10 * 1024 * 1024).contains(&n_bytes), "{n_bytes}");
    assert_eq!(read(&client, "large", &shard).await.len(), 20);
}

#[tokio::test]
async fn a_page_is_limited_by_its_own_records_only() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "mixed", 1).await;
    let small = || (0..500).map(|n| entry("k", format!("{n}"))).collect();
    let large = || (0..4).map(|_| entry("k", vec![7; 1_000_000])).collect();
    // 4 large ones, 3,000 small ones, 12 large ones: the first page ends within the last.
    for entries in [large()].into_iter().chain((0..6).map(|_| small())).chain((0..3).map(|_| large())) {
        client.put_records().stream_name("mixed").set_records(Some(entries)).send().await.unwrap();
    }
    let shard = shards(&client, "mixed").await.remove(0);
    let at = iterator(&client, "mixed", &shard, ShardIteratorType::TrimHorizon).await;
    let first = client.get_records().shard_iterator(at.unwrap()).send().await.unwrap();
    assert_eq!(first.records().len(), 4 + 3_000 + 6);
    let next = client.get_records().shard_iterator(first.next_shard_iterator().unwrap()).send().await.unwrap();
    assert_eq!(next.records().len(), 6);
    let limited = iterator(&client, "mixed", &shard, ShardIteratorType::TrimHorizon).await;
    let limited = client.get_records().shard_iterator(limited.unwrap()).limit(17).send().await.unwrap();
    assert_eq!(limited.records().len(), 17, "what was asked for stays the limit");
}

#[tokio::test]
async fn a_read_says_how_far_behind_it_is() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "lagging", 1).await;
    let shard = shards(&client, "lagging").await.remove(0);
    let mut at = iterator(&client, "lagging", &shard, ShardIteratorType::TrimHorizon).await.unwrap();
    let empty = client.get_records().shard_iterator(&at).send().await.unwrap();
    assert_eq!(empty.millis_behind_latest(), Some(0));
    for n in 0..3 {
        client.put_record().stream_name("lagging").partition_key("k").data(Blob::new(vec![n])).send().await.unwrap();
    }

    let mut behind = Vec::new();
    for _ in 0..4 {
        let page = client.get_records().shard_iterator(&at).limit(1).send().await.unwrap();
        let arrived = page.records().first().map(|record| record.approximate_arrival_timestamp().unwrap().to_millis());
        let age = arrived.map_or(0, |arrived| now_ms() as i64 - arrived.unwrap());
        assert!((0..=age).contains(&page.millis_behind_latest().unwrap()), "at most the age of its last record");
        behind.push(page.millis_behind_latest().unwrap());
        at = page.next_shard_iterator.unwrap();
        // Only time makes a lag.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(behind[0] > 0 || behind[1] > 0, "two pages have records behind them");
    assert_eq!(behind[2..], [0, 0], "the last record, and nothing behind it");
}

#[tokio::test]
async fn a_deleted_stream_leaves_nothing_to_a_new_one_of_its_name() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "again", 1).await;
    client.put_record().stream_name("again").partition_key("a").data(Blob::new("old")).send().await.unwrap();
    client.delete_stream().stream_name("again").send().await.unwrap();
    let gone = client.put_record().stream_name("again").partition_key("a").data(Blob::new("x")).send().await;
    assert!(gone.unwrap_err().into_service_error().is_resource_not_found_exception());
    create(&client, "again", 1).await;

    let world = world.reopened().await;
    assert!(read_all(&world.kinesis(), "again").await.values().all(Vec::is_empty));
}

#[tokio::test]
async fn a_position_of_elsewhere_is_refused() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, "here", 2).await;
    let put = client.put_record().stream_name("here").explicit_hash_key("0").partition_key("a").data(Blob::new("x"));
    let number = put.clone().send().await.unwrap().sequence_number;
    let at = async |shard: &str, number: &str| {
        let kind = ShardIteratorType::AfterSequenceNumber;
        let request = client.get_shard_iterator().stream_name("here").shard_id(shard).shard_iterator_type(kind);
        request.starting_sequence_number(number).send().await.map_err(|error| error.into_service_error())
    };
    assert!(at("shardId-000000000000", &number).await.is_ok());
    assert!(at("shardId-000000000001", &number).await.unwrap_err().is_invalid_argument_exception(), "another shard");

    client.delete_stream().stream_name("here").send().await.unwrap();
    create(&client, "here", 2).await;
    put.send().await.unwrap();
    assert!(at("shardId-000000000000", &number).await.unwrap_err().is_invalid_argument_exception(), "another stream");

    let kind = ShardIteratorType::AtTimestamp;
    let then = client.get_shard_iterator().stream_name("here").shard_id("shardId-000000000000");
    let then = then.shard_iterator_type(kind).timestamp(DateTime::from_millis(now_ms() as i64 + 60_000));
    assert!(then.send().await.unwrap_err().into_service_error().is_invalid_argument_exception(), "the future");
}

#[tokio::test]
async fn shards_are_throttled_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(LocalOptions { enforce_limits: true, ..options(dir.path()) }).await.unwrap();
    let sdk = sdk(&cloud.endpoint_url()).await;
    let config = aws_sdk_kinesis::config::Builder::from(&sdk).retry_config(RetryConfig::disabled());
    let client = Client::from_conf(config.build());
    create(&client, "narrow", 1).await;
    let shard = shards(&client, "narrow").await.remove(0);

    // Two of these are more than a second takes, and four more than it gives: any two, or five, that fall within one.
    let put = client.put_record().stream_name("narrow").partition_key("k").data(Blob::new(vec![7; 600_000]));
    let mut refused = None;
    for _ in 0..50 {
        refused = refused.or(put.clone().send().await.err());
    }
    assert!(refused.unwrap().into_service_error().is_provisioned_throughput_exceeded_exception());
    let at = iterator(&client, "narrow", &shard, ShardIteratorType::TrimHorizon).await;
    let mut refused = None;
    for _ in 0..50 {
        let read = client.get_records().set_shard_iterator(at.clone()).limit(1);
        refused = refused.or(read.send().await.err());
    }
    assert!(refused.unwrap().into_service_error().is_provisioned_throughput_exceeded_exception());
    cloud.stop().await.unwrap();
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
