use std::time::Duration;

use actors::ports::aws::Failure;
use actors::ports::provision::{self, Provisioned};
use actors::ports::stream::{Page, Stream, is_expired_iterator};
use messages::{Position, RawRecord, SequenceNumber, ShardId};
use tokio::time::sleep;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn world(shards: u32) -> (World, Stream) {
    let world = World::new(7);
    world.cloud.create_stream("readings", shards);
    let stream = Stream::new(&world.sdk(ME), "readings");
    (world, stream)
}

/// All records after the position, at a pace that the service allows; `None` when the shard has more to come.
async fn read(stream: &Stream, shard: &str, after: &Position, pages: usize) -> (Vec<RawRecord>, Option<String>) {
    let shard = ShardId::new(shard);
    let mut next = Some(stream.iterator(&shard, after).await.unwrap());
    let mut records = Vec::new();
    for _ in 0..pages {
        let Some(iterator) = next else { break };
        let page: Page = stream.records(&shard, &iterator, 100).await.unwrap();
        records.extend(page.records);
        next = page.next;
        sleep(SECOND / 4).await;
    }
    (records, next)
}

#[tokio::test(start_paused = true)]
async fn shards_are_listed_with_lineage_and_ranges() {
    let (world, stream) = world(5);
    let id = |n: usize| ShardId::new(&format!("shardId-{n:012}"));
    assert_eq!(world.cloud.split(0, "shardId-000000000000"), ["shardId-000000000005", "shardId-000000000006"]);
    assert_eq!(world.cloud.merge(0, "shardId-000000000002", "shardId-000000000001"), "shardId-000000000007");

    let shards = stream.shards().await.unwrap();
    assert_eq!(shards.iter().map(|shard| shard.shard.clone()).collect::<Vec<_>>(), (0..8).map(id).collect::<Vec<_>>());
    assert_eq!(
        shards.iter().map(|shard| shard.closed).collect::<Vec<_>>(),
        [true, true, true, false, false, false, false, false]
    );
    assert_eq!(shards[5].parents, [id(0)]);
    assert_eq!(shards[6].parents, [id(0)]);
    assert_eq!(shards[7].parents, [id(2), id(1)]);
    // Three pages of three and their tokens.
    assert_eq!(world.cloud.counts().calls[&(Service::Kinesis, "ListShards".to_owned())], 3);

    let parsed = |n: usize| -> (u128, u128) {
        let (from, to) = &shards[n].hash_range;
        (from.parse().unwrap(), to.parse().unwrap())
    };
    assert_eq!((parsed(5).0, parsed(6).1), parsed(0));
    assert_eq!((parsed(1).0, parsed(2).1), parsed(7));
    let mut open: Vec<_> = (3..8).map(parsed).collect();
    open.sort_unstable();
    assert_eq!((open[0].0, open[4].1), (0, u128::MAX));
    assert!(open.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));

    world.cloud.trim("shardId-000000000000");
    assert_eq!(stream.shards().await.unwrap().len(), 7);
    assert_eq!(stream.iterator(&id(0), &Position::TrimHorizon).await.unwrap_err().failure, Failure::NotFound);
    assert!(world.cloud.shards()[0].trimmed);
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_is_read_to_its_end_exactly() {
    let (world, stream) = world(1);
    let parent = "shardId-000000000000";
    for n in 0..250 {
        let (shard, sequence) = world.cloud.put(START_MS - 1_000 + n, "sensor-1", format!("{n}").into_bytes());
        assert_eq!((shard.as_str(), sequence.len()), (parent, 56));
    }
    let (records, next) = read(&stream, parent, &Position::TrimHorizon, 20).await;
    assert!(next.is_some(), "an open shard has no end");
    assert_eq!(records.len(), 250);
    for (record, stored) in records.iter().zip(world.cloud.records()) {
        let same = (record.sequence.as_str(), &*record.partition_key, record.arrival_ms, &record.data[..]);
        assert_eq!(same, (stored.sequence.as_str(), &*stored.partition_key, stored.arrival_ms, &stored.data[..]));
    }
    assert!(records.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));

    let children = world.cloud.split(world.now_ms(), parent);
    let middle = Position::At(records[99].sequence.clone());
    let (rest, next) = read(&stream, parent, &middle, 20).await;
    assert_eq!((rest.len(), next), (150, None));
    assert_eq!(rest[0].sequence, records[100].sequence);
    // A child goes on where its parent ended.
    let (shard, sequence) = world.cloud.put_to_hash(world.now_ms(), "low", 0, b"child".to_vec());
    assert_eq!(shard, children[0]);
    assert!(SequenceNumber::parse(&sequence).unwrap() > records[249].sequence);
    let (first, _) = read(&stream, &children[0], &Position::TrimHorizon, 5).await;
    assert_eq!(&first[0].data[..], b"child");
}

#[tokio::test(start_paused = true)]
async fn empty_pages_come_though_more_follows() {
    let (world, stream) = world(1);
    world.cloud.put(START_MS - 5_000, "a", vec![1]);
    world.cloud.inject_once(Fault::EmptyPage, OpMatcher::new(Service::Kinesis, "GetRecords"));
    let shard = ShardId::new("shardId-000000000000");
    let iterator = stream.iterator(&shard, &Position::TrimHorizon).await.unwrap();
    let page = stream.records(&shard, &iterator, 10).await.unwrap();
    assert!(page.records.is_empty() && page.millis_behind >= Some(5_000), "{page:?}");
    assert_eq!(world.cloud.counts().faults[&Fault::EmptyPage], 1);
    assert_eq!(read(&stream, shard.as_str(), &Position::TrimHorizon, 9).await.0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn iterators_expire_and_reads_are_limited() {
    let (world, stream) = world(1);
    let shard = ShardId::new("shardId-000000000000");
    let iterator = stream.iterator(&shard, &Position::TrimHorizon).await.unwrap();
    let mut refused = 0;
    for _ in 0..7 {
        if let Err(error) = stream.records(&shard, &iterator, 10).await {
            assert_eq!(error.failure, Failure::Throttled);
            refused += 1;
        }
    }
    assert_eq!(refused, 2);
    sleep(SECOND * 301).await;
    let error = stream.records(&shard, &iterator, 10).await.unwrap_err();
    assert!(is_expired_iterator(&error), "{error}");
    let foreign = Position::At(SequenceNumber::parse("42").unwrap());
    assert_eq!(stream.iterator(&shard, &foreign).await.unwrap_err().failure, Failure::Refused);
    let unknown = Stream::new(&world.sdk(ME), "another");
    assert_eq!(unknown.shards().await.unwrap_err().failure, Failure::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_provisioned_once() {
    let world = World::new(1);
    let sdk = world.sdk(ME);
    assert_eq!(provision::stream(&sdk, "readings", 2).await.unwrap(), Provisioned::Created);
    assert_eq!(provision::stream(&sdk, "readings", 4).await.unwrap(), Provisioned::Existing);
    assert_eq!(world.cloud.shards().len(), 2);
    // What the simulation does not know is refused, not ignored.
    let raw = aws_sdk_kinesis::Client::new(&sdk);
    assert!(raw.get_resource_policy().resource_arn("arn").send().await.is_err());
    assert!(raw.get_records().shard_iterator("nonsense").send().await.is_err());
}

#[test]
fn a_key_lies_where_its_digest_says() {
    // The test suite of RFC 1321, appendix A.5.
    let known = [
        ("", 0xd41d8cd98f00b204e9800998ecf8427e),
        ("a", 0x0cc175b9c0f1b6a831c399e269772661),
        ("message digest", 0xf96b697d7cb7938d525a2f31aaf161d0),
        ("abcdefghijklmnopqrstuvwxyz", 0xc3fcd3d76192e4007dfb496cca67e13b),
    ];
    for (key, place) in known {
        assert_eq!(place_of(key), place, "{key:?}");
    }
    // Two halves: the key goes where its first bit says.
    let (world, _) = world(2);
    let shards = known.map(|(key, _)| world.cloud.put(0, key, Vec::new()).0);
    assert_eq!(shards.map(|shard| shard.ends_with('1')), [true, false, true, true]);
}
