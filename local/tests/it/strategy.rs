//! A stream on demand can spread its records over its shards, whatever their keys are.

use std::collections::BTreeSet;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{RecordDistributionStrategy as Strategy, StreamMode, StreamModeDetails};

use crate::World;
use crate::kinesis::{create, entry, read, shards};

const STREAM: &str = "spread";
const SHARDS: i32 = 4;

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().unwrap()
}

async fn summary(client: &Client) -> (String, Option<Strategy>) {
    let answer = client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let summary = answer.stream_description_summary.unwrap();
    (summary.stream_arn, summary.record_distribution_strategy)
}

async fn set(client: &Client, arn: &str, strategy: Strategy) -> Result<(), String> {
    let request = client.update_stream_record_distribution_strategy().stream_arn(arn);
    let answer = request.record_distribution_strategy(strategy).send().await;
    answer.map(|_| ()).map_err(|error| error.into_service_error().code().unwrap_or_default().to_owned())
}

/// In which shards the records of one key are.
async fn places(client: &Client, key: &str) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for shard in shards(client, STREAM).await {
        if read(client, STREAM, &shard).await.iter().any(|record| record.partition_key() == Some(key)) {
            places.insert(shard);
        }
    }
    places
}

#[tokio::test]
async fn keys_decide_until_the_stream_spreads_its_records_and_again_afterwards() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, SHARDS).await;
    let (arn, strategy) = summary(&client).await;
    assert_eq!(strategy, Some(Strategy::UserPartitionKey));
    assert_eq!(set(&client, &arn, Strategy::Auto).await, Err("InvalidArgumentException".to_owned()), "provisioned");
    client.update_stream_mode().stream_arn(&arn).stream_mode_details(mode(StreamMode::OnDemand)).send().await.unwrap();
    assert_eq!(set(&client, &arn, Strategy::from("RANDOM")).await, Err("InvalidArgumentException".to_owned()));

    let put = async |client: &Client, key: &str| {
        let entries = (0..40).map(|n| entry(key, n.to_string())).collect();
        let put = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.unwrap();
        assert_eq!(put.failed_record_count, Some(0));
    };
    put(&client, "before").await;
    set(&client, &arn, Strategy::Auto).await.unwrap();
    put(&client, "spread").await;
    // Neither key nor hash key count, and neither is needed.
    for n in 0..40 {
        let put = client.put_record().stream_name(STREAM).data(Blob::new(n.to_string()));
        put.explicit_hash_key("0").send().await.unwrap();
    }
    let world = world.reopened().await;
    let client = world.kinesis();
    assert_eq!(summary(&client).await, (arn.clone(), Some(Strategy::Auto)), "it is kept");
    put(&client, "spread").await;
    set(&client, &arn, Strategy::UserPartitionKey).await.unwrap();
    put(&client, "after").await;
    let keyless = client.put_record().stream_name(STREAM).data(Blob::new("x")).send().await;
    assert!(keyless.is_err(), "keys are needed again");

    assert_eq!(places(&client, "before").await.len(), 1);
    assert_eq!(places(&client, "after").await.len(), 1);
    assert_eq!(places(&client, "spread").await.len(), SHARDS as usize);
    let mut keyless = 0;
    for shard in shards(&client, STREAM).await {
        keyless += read(&client, STREAM, &shard).await.iter().filter(|record| record.partition_key().is_none()).count();
    }
    assert_eq!(keyless, 40);
}

#[tokio::test]
async fn another_stream_of_the_same_name_goes_by_keys() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 1).await;
    let (arn, _) = summary(&client).await;
    client.update_stream_mode().stream_arn(&arn).stream_mode_details(mode(StreamMode::OnDemand)).send().await.unwrap();
    set(&client, &arn, Strategy::Auto).await.unwrap();
    client.delete_stream().stream_name(STREAM).send().await.unwrap();
    create(&client, STREAM, 1).await;
    assert_eq!(summary(&client).await.1, Some(Strategy::UserPartitionKey));
}
