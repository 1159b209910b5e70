//! GOAL    A data folder of a build before the engine had the streams is read, and goes on.
//! METHOD  Streams that such a build left behind (`local/tests/data/streams-before`): twelve records, a split, a merge, a
//!         consumer, a tag, and a stream that spreads its records.

use std::fs;
use std::path::Path;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ConsumerStatus, RecordDistributionStrategy, ShardIteratorType};

use crate::World;
use crate::kinesis::{create, entry, read_all};
use crate::reshard::{id, read_lineage};

const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/streams-before");
const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/readings";
/// The last record but one of the last shard.
const NUMBER: &str = "49680717178740770363544199605937798923220153964244762690";

/// The folder as it was left. Its streams keep their records for ten years: these get no younger.
async fn left_behind() -> World {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("kinesis");
    fs::create_dir(&to).unwrap();
    for file in ["streams.json", "stream-readings.journal", "stream-spread.journal"] {
        fs::copy(Path::new(BEFORE).join(file), to.join(file)).unwrap();
    }
    let shape = fs::read_to_string(to.join("streams.json")).unwrap();
    let kept = |hours: u32| format!("\"retention_period_hours\":{hours}");
    assert!(shape.contains(&kept(168)) && shape.contains(&kept(48)), "the fixture is another one");
    fs::write(to.join("streams.json"), shape.replace(&kept(168), &kept(87_600)).replace(&kept(48), &kept(87_600)))
        .unwrap();
    World::on(dir).await
}

async fn ids(client: &Client) -> Vec<String> {
    let mut ids: Vec<String> = read_lineage(client, "readings").await.iter().map(id).collect();
    ids.sort_by_key(|id| id[1..].parse::<u32>().unwrap());
    ids
}

fn expected(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("v{n}")).collect()
}

#[tokio::test]
async fn streams_of_a_build_before_are_read_and_go_on() {
    let world = left_behind().await;
    let client = world.kinesis();
    assert_eq!(ids(&client).await, expected(12));
    let after = client.get_shard_iterator().stream_name("readings").shard_id("shardId-000000000004");
    let after = after.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(NUMBER);
    let at = after.send().await.unwrap().shard_iterator.unwrap();
    let rest = client.get_records().shard_iterator(at).send().await.unwrap();
    assert_eq!(rest.records().iter().map(id).collect::<Vec<_>>(), ["v9"], "a stored position holds");

    let tags = client.list_tags_for_stream().stream_name("readings").send().await.unwrap();
    assert_eq!((tags.tags()[0].key(), tags.tags()[0].value()), ("team", Some("sensors")));
    let reader = client.describe_stream_consumer().stream_arn(ARN).consumer_name("reader").send().await.unwrap();
    assert_eq!(reader.consumer_description().unwrap().consumer_status(), &ConsumerStatus::Active);
    let spread = client.describe_stream_summary().stream_name("spread").send().await.unwrap();
    let strategy = spread.stream_description_summary.unwrap().record_distribution_strategy;
    assert_eq!(strategy, Some(RecordDistributionStrategy::Auto));
    assert_eq!(read_all(&client, "spread").await.values().flatten().filter(|r| r.partition_key().is_none()).count(), 1);

    put(&client, 12..40).await;
    let half = (1u128 << 126).to_string();
    let split = client.split_shard().stream_name("readings").shard_to_split("shardId-000000000004");
    split.new_starting_hash_key(half).send().await.unwrap();
    put(&client, 40..80).await;
    assert_eq!(ids(&client).await, expected(80));

    let world = world.reopened().await;
    assert_eq!(ids(&world.kinesis()).await, expected(80), "and again, in the form of now");
    create(&world.kinesis(), "new", 1).await;
    let shape = fs::read_to_string(world.dir.path().join("kinesis/streams.json")).unwrap();
    assert!(shape.starts_with(r#"{"format":3,"#), "a build before says that it is of a newer one");
}

async fn put(client: &Client, ns: std::ops::Range<usize>) {
    let entries = ns.map(|n| entry(&format!("k{n}"), format!("v{n}"))).collect();
    let put = client.put_records().stream_name("readings").set_records(Some(entries)).send().await.unwrap();
    assert_eq!(put.failed_record_count(), Some(0));
}
