//! UpdateShardCount: uniform shards with their lineage, storms of them, and many reshards in a row.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{ScalingType, Shard};

use crate::World;
use crate::kinesis::{create, entry, listed, shards};
use crate::reshard::{id, read_lineage};

const STREAM: &str = "storm";

async fn scale(client: &Client, n_shards: i32) {
    let scale = client.update_shard_count().stream_name(STREAM).target_shard_count(n_shards);
    scale.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
}

async fn put(client: &Client, round: usize) {
    let entries: Vec<_> = (0..200).map(|n| entry(&n.to_string(), format!("{round}-{n}"))).collect();
    let put = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.unwrap();
    assert_eq!(put.failed_record_count(), Some(0));
}

/// The hash ranges of the open shards, which cover everything once.
async fn widths(client: &Client) -> Vec<u128> {
    let shards = listed(client, STREAM, 1_000).await;
    let open = |shard: &&Shard| shard.sequence_number_range().unwrap().ending_sequence_number().is_none();
    let mut ranges: Vec<(u128, u128)> = shards
        .iter()
        .filter(open)
        .map(|shard| shard.hash_key_range().unwrap())
        .map(|range| (range.starting_hash_key().parse().unwrap(), range.ending_hash_key().parse().unwrap()))
        .collect();
    ranges.sort_unstable();
    assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, u128::MAX));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "a gap or an overlap");
    ranges.iter().map(|(start, end)| end - start).collect()
}

#[tokio::test]
async fn a_storm_of_reshards_keeps_lineage_and_records() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 1).await;
    put(&client, 0).await;
    for (round, n_shards) in [(1, 64), (2, 3), (3, 17)] {
        scale(&client, n_shards).await;
        let widths = widths(&client).await;
        assert_eq!(widths.len(), n_shards as usize);
        let (min, max) = (widths.iter().min().unwrap(), widths.iter().max().unwrap());
        assert!(max - min <= n_shards as u128, "not uniform: {min} to {max}");
        put(&client, round).await;
    }
    let same = client.update_shard_count().stream_name(STREAM).target_shard_count(17);
    let same = same.scaling_type(ScalingType::UniformScaling).send().await.unwrap_err();
    assert!(same.into_service_error().is_invalid_argument_exception());

    let world = world.reopened().await;
    let client = world.kinesis();
    let shards = listed(&client, STREAM, 50).await;
    let orphans = shards.iter().filter(|shard| shard.parent_shard_id().is_none()).count();
    assert_eq!(orphans, 1, "all but the first have a parent");
    let mut ids: Vec<String> = read_lineage(&client, STREAM).await.iter().map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4 * 200);
}

#[tokio::test]
async fn hundreds_of_reshards_fit_into_one_stream() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 1).await;
    for round in 0..100 {
        scale(&client, if round % 2 == 0 { 3 } else { 1 }).await;
    }
    let n_shards = shards(&client, STREAM).await.len();
    assert!(n_shards > 300, "{n_shards}");
    put(&client, 0).await;
    assert_eq!(read_lineage(&client, STREAM).await.len(), 200);
}
