//! GOAL    A reader that follows the lineage of shards reads every record once and in order, whatever splits and merges
//!         happened meanwhile, and whether the cloud was killed.
//! METHOD  Real splits and merges through the SDK, with records flowing. Shards are read to their end.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{Record, Shard, ShardFilter, ShardFilterType, ShardIteratorType};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::kinesis::{create, is_increasing, iterator, listed, read, read_to_end, shards};
use crate::{World, kill, sdk};

const STREAM: &str = "readings";

/// Writes one record after the other until told to stop, or until the cloud is gone; returns what was acknowledged.
fn writer(client: Client, name: usize, stop: watch::Receiver<bool>) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for n in 0.. {
            if *stop.borrow() {
                break;
            }
            let id = format!("{name}-{n:06}");
            let put = client.put_record().stream_name(STREAM).partition_key(&id).data(Blob::new(id.clone()));
            if put.send().await.is_err() {
                break;
            }
            acknowledged.push(id);
        }
        acknowledged
    })
}

/// Waits until this many more records are in the stream, so that every shard of the moment gets some.
async fn flow(client: &Client, n_records: usize) {
    for n in 0..n_records {
        let put = client.put_record().stream_name(STREAM).partition_key(format!("flow-{n}")).data(Blob::new("flow"));
        put.send().await.unwrap();
    }
}

async fn split(client: &Client, shard: &Shard) {
    let range = shard.hash_key_range().unwrap();
    let (start, end) = (number(range.starting_hash_key()), number(range.ending_hash_key()));
    let middle = (start + (end - start) / 2).to_string();
    let split = client.split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
    split.new_starting_hash_key(middle).send().await.unwrap();
}

async fn merge(client: &Client, left: &Shard, right: &Shard) {
    let merge = client.merge_shards().stream_name(STREAM).shard_to_merge(left.shard_id());
    merge.adjacent_shard_to_merge(right.shard_id()).send().await.unwrap();
}

/// The open shards, in the order of their hash ranges.
async fn open(client: &Client) -> Vec<Shard> {
    let mut shards = listed(client, STREAM, 7).await;
    shards.retain(|shard| end_of(shard).is_none());
    shards.sort_by_key(|shard| number(shard.hash_key_range().unwrap().starting_hash_key()));
    shards
}

fn number(hash_key: &str) -> u128 {
    hash_key.parse().unwrap()
}

fn end_of(shard: &Shard) -> Option<&str> {
    shard.sequence_number_range().unwrap().ending_sequence_number()
}

fn start_of(shard: &Shard) -> &str {
    shard.sequence_number_range().unwrap().starting_sequence_number()
}

fn parents(shard: &Shard) -> Vec<&str> {
    [shard.parent_shard_id(), shard.adjacent_parent_shard_id()].into_iter().flatten().collect()
}

pub(crate) fn id(record: &Record) -> String {
    String::from_utf8(record.data().as_ref().to_vec()).unwrap()
}

/// Every shard to its end; an open one to its tip. Checks order within shards, and children against their parents.
pub(crate) async fn read_lineage(client: &Client, stream: &str) -> Vec<Record> {
    let shards = listed(client, stream, 1_000).await;
    let mut last = BTreeMap::<&str, String>::new();
    let mut all = Vec::new();
    for shard in &shards {
        let records = match end_of(shard) {
            Some(end) => {
                let records = read_to_end(client, stream, shard.shard_id()).await;
                assert!(records.iter().all(|record| record.sequence_number() < end), "beyond the end of its shard");
                records
            }
            None => read(client, stream, shard.shard_id()).await,
        };
        assert!(is_increasing(&records), "{}", shard.shard_id());
        for parent in parents(shard) {
            let before = &last[parent];
            assert!(start_of(shard) > before.as_str(), "{} begins before {parent} ended", shard.shard_id());
            assert!(records.iter().all(|record| record.sequence_number() > before.as_str()));
        }
        assert!(records.iter().all(|record| record.sequence_number() > start_of(shard)));
        // A number is 56 digits here, so that text order is number order.
        last.insert(shard.shard_id(), end_of(shard).unwrap_or(start_of(shard)).to_owned());
        all.extend(records);
    }
    all
}

fn assert_once_and_complete(records: &[Record], acknowledged: &[String]) {
    let ids: Vec<String> = records.iter().map(id).filter(|id| id != "flow").collect();
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "stored twice");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !distinct.contains(id)).collect();
    assert!(lost.is_empty(), "{} lost, {:?}", lost.len(), lost.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_and_merges_lose_nothing_while_records_flow() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 2).await;
    let (stop, stopped) = watch::channel(false);
    let writers: Vec<_> = (0..4).map(|name| writer(client.clone(), name, stopped.clone())).collect();

    for _ in 0..4 {
        for shard in &open(&client).await {
            flow(&client, 10).await;
            split(&client, shard).await;
        }
        flow(&client, 20).await;
        for pair in open(&client).await.chunks(2) {
            flow(&client, 10).await;
            merge(&client, &pair[0], &pair[1]).await;
        }
    }
    flow(&client, 20).await;
    stop.send(true).unwrap();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "{} records", acknowledged.len());
    assert_eq!(listed(&client, STREAM, 1_000).await.len(), 2 + 4 * (4 + 2));
    assert_once_and_complete(&read_lineage(&client, STREAM).await, &acknowledged);
}

#[tokio::test]
async fn children_name_their_parents_and_share_their_range() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 1).await;
    split(&client, &open(&client).await[0]).await;
    let halves = open(&client).await;
    merge(&client, &halves[0], &halves[1]).await;

    let shards = listed(&client, STREAM, 1_000).await;
    let range = |ix: usize| {
        let range = shards[ix].hash_key_range().unwrap();
        (number(range.starting_hash_key()), number(range.ending_hash_key()))
    };
    assert_eq!([0, 1, 2, 3].map(|ix| parents(&shards[ix]).len()), [0, 1, 1, 2]);
    let ids: Vec<&str> = shards.iter().map(Shard::shard_id).collect();
    assert_eq!((parents(&shards[1])[0], parents(&shards[2])[0]), (ids[0], ids[0]));
    assert_eq!((shards[3].parent_shard_id(), shards[3].adjacent_parent_shard_id()), (Some(ids[1]), Some(ids[2])));
    assert_eq!((range(0), range(3)), ((0, u128::MAX), (0, u128::MAX)));
    assert_eq!((range(1).0, range(1).1 + 1, range(2).1), (0, range(2).0, u128::MAX));
    assert_eq!([0, 1, 2, 3].map(|ix| end_of(&shards[ix]).is_some()), [true, true, true, false]);
    // Four generations within a second or two, and yet each begins behind the end of the one before.
    for (child, parent) in [(1, 0), (2, 0), (3, 1), (3, 2)] {
        assert!(start_of(&shards[child]) > end_of(&shards[parent]).unwrap(), "{child} begins before {parent} ended");
    }
}

#[tokio::test]
async fn an_empty_closed_shard_ends() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 1).await;
    let parent = open(&client).await.remove(0);
    let mut latest = iterator(&client, STREAM, parent.shard_id(), ShardIteratorType::Latest).await;
    split(&client, &parent).await;
    // A child that is closed at once was made in the future, as far as its numbers say.
    let child = open(&client).await.remove(0);
    split(&client, &child).await;

    assert!(read_to_end(&client, STREAM, parent.shard_id()).await.is_empty());
    assert!(read_to_end(&client, STREAM, child.shard_id()).await.is_empty());
    for _ in 0..2 {
        let Some(at) = latest else { break };
        latest = client.get_records().shard_iterator(at).send().await.unwrap().next_shard_iterator;
    }
    assert_eq!(latest, None, "an iterator from before the split ends as well");
}

#[tokio::test]
async fn the_end_comes_after_the_last_record_and_not_before() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 1).await;
    let parent = open(&client).await.remove(0);
    flow(&client, 25).await;
    split(&client, &parent).await;

    let mut at = iterator(&client, STREAM, parent.shard_id(), ShardIteratorType::TrimHorizon).await;
    let mut n_records = 0;
    while let Some(iterator) = at {
        let page = client.get_records().shard_iterator(iterator).limit(10).send().await.unwrap();
        n_records += page.records().len();
        assert!(page.next_shard_iterator().is_some() || n_records == 25, "ended after {n_records}");
        at = page.next_shard_iterator;
    }
    assert_eq!(n_records, 25);
}

#[tokio::test]
async fn a_closed_shard_is_not_split_or_merged_again() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 2).await;
    let before = open(&client).await;
    split(&client, &before[0]).await;

    let again = client.split_shard().stream_name(STREAM).shard_to_split(before[0].shard_id());
    let again = again.new_starting_hash_key((1u128 << 100).to_string()).send().await.unwrap_err();
    assert!(again.into_service_error().is_resource_in_use_exception());
    let again = client.merge_shards().stream_name(STREAM).shard_to_merge(before[0].shard_id());
    let again = again.adjacent_shard_to_merge(before[1].shard_id()).send().await.unwrap_err();
    assert!(again.into_service_error().is_resource_in_use_exception());
    let unknown = client.split_shard().stream_name(STREAM).shard_to_split("shardId-000000000099");
    let unknown = unknown.new_starting_hash_key("9").send().await.unwrap_err();
    assert!(unknown.into_service_error().is_resource_not_found_exception());
    assert_eq!(listed(&client, STREAM, 1_000).await.len(), 4);
}

#[tokio::test]
async fn shards_are_listed_in_pages_across_a_restart_and_by_filter() {
    let world = World::new().await;
    let client = world.kinesis();
    create(&client, STREAM, 64).await;
    split(&client, &open(&client).await[0]).await;
    let all = shards(&client, STREAM).await;
    assert_eq!(all.len(), 66);
    let paged: Vec<_> = listed(&client, STREAM, 10).await.iter().map(|shard| shard.shard_id().to_owned()).collect();
    assert_eq!(paged, all);

    let first = client.list_shards().stream_name(STREAM).max_results(60).send().await.unwrap();
    let token = first.next_token().unwrap().to_owned();
    let world = world.reopened().await;
    let client = world.kinesis();
    let rest = client.list_shards().next_token(&token).send().await.unwrap();
    assert_eq!((rest.shards().len(), rest.next_token()), (6, None));
    let after = client.list_shards().stream_name(STREAM).exclusive_start_shard_id(&all[64]).send().await.unwrap();
    assert_eq!(after.shards().len(), 1);
    let latest = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().unwrap();
    let latest = client.list_shards().stream_name(STREAM).shard_filter(latest).send().await.unwrap();
    assert_eq!(latest.shards().len(), 65, "without the closed one");

    for refused in [
        client.list_shards().next_token("bm90IG91cnM="),
        client.list_shards().next_token(&token).stream_name(STREAM),
        client.list_shards(),
    ] {
        assert!(refused.send().await.unwrap_err().into_service_error().is_invalid_argument_exception());
    }
    let unknown = client.list_shards().stream_name("nothing").send().await.unwrap_err();
    assert!(unknown.into_service_error().is_resource_not_found_exception());
}

/// Every position of every shard: what comes after a record is exactly what came after it before.
async fn assert_resumable(client: &Client, stream: &str) {
    for shard in listed(client, stream, 1_000).await {
        let records = read(client, stream, shard.shard_id()).await;
        for at in [0, records.len() / 2, records.len().saturating_sub(1)] {
            let Some(record) = records.get(at) else { continue };
            let after = client.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id());
            let after = after.shard_iterator_type(ShardIteratorType::AfterSequenceNumber);
            let after = after.starting_sequence_number(record.sequence_number()).send().await.unwrap();
            let rest = client.get_records().shard_iterator(after.shard_iterator().unwrap()).send().await.unwrap();
            assert_eq!(rest.records(), &records[at + 1..], "{} after {at}", shard.shard_id());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reshard_survives_a_kill_with_the_records_of_parents_and_children() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = kill::spawn(folder.path());
    let client = Client::new(&sdk(&kill::endpoint(folder.path()).await).await);
    create(&client, STREAM, 2).await;
    let (_stop, stopped) = watch::channel(false);
    let writers: Vec<_> = (0..4).map(|name| writer(client.clone(), name, stopped.clone())).collect();

    flow(&client, 20).await;
    split(&client, &open(&client).await[0]).await;
    flow(&client, 20).await;
    let halves = open(&client).await;
    merge(&client, &halves[0], &halves[1]).await;
    flow(&client, 20).await;
    let acknowledged_shards = listed(&client, STREAM, 1_000).await;
    // One more, which may or may not be acknowledged when the kill comes.
    let unfinished = tokio::spawn({
        let (client, shard) = (client.clone(), open(&client).await.remove(0));
        async move {
            let half = (1u128 << 126).to_string();
            let split = client.split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
            split.new_starting_hash_key(half).send().await.is_ok()
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let was_acknowledged = unfinished.await.unwrap();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }

    let world = kill::left_behind(folder).await;
    let client = world.kinesis();
    let shards = listed(&client, STREAM, 1_000).await;
    assert!(shards.len() == 5 || shards.len() == 7, "a reshard is whole or not there");
    assert!(shards.len() == 7 || !was_acknowledged);
    for (before, now) in acknowledged_shards.iter().zip(&shards).take(4) {
        assert_eq!(before, now);
    }
    assert_once_and_complete(&read_lineage(&client, STREAM).await, &acknowledged);
    assert_resumable(&client, STREAM).await;

    // And it goes on: new records behind the old ones, in the open shards only.
    let before = read_lineage(&client, STREAM).await.len();
    flow(&client, 20).await;
    assert_eq!(read_lineage(&client, STREAM).await.len(), before + 20);
    let world = world.reopened().await;
    assert_eq!(read_lineage(&world.kinesis(), STREAM).await.len(), before + 20);
    assert_resumable(&world.kinesis(), STREAM).await;
}
