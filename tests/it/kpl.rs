//! GOAL    Aggregates of the Kinesis Producer Library are read as the records that went into them: each event of a user
//!         record that belongs to the shard is cleansed once, under a number of its own; what belongs to another shard is
//!         in quarantine with its bytes; the raw zone has the aggregates as they came (RAW-ONCE, CLEAN-ONCE, COMPLETE).
//! METHOD  Two shards. Aggregates whose user records belong to both, put under a key of one; beside them a damaged one,
//!         one that is too large in number, and plain records.

use std::collections::BTreeSet;

use actors::hash_key;
use mangrove_tests::judge::assert_whole;
use mangrove_tests::lake::{bytes, integer, text};
use mangrove_tests::world::{Record, Setup, World, an_hour_ago, caught_up, finish};
use md5::{Digest, Md5};

const AGGREGATES: usize = 40;
const USER_RECORDS: usize = 6;

fn block(field: u8, bytes: &[u8]) -> Vec<u8> {
    // A length takes two bytes here, also where one would do: that is allowed, and enough for 16 KiB.
    let length = [bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8];
    [&[field << 3 | 2], length.as_slice(), bytes].concat()
}

/// An aggregate as the library would write it.
pub(crate) fn aggregate(users: &[Record]) -> Vec<u8> {
    let keys = users.iter().flat_map(|(key, _)| block(1, key.as_bytes()));
    let record = |index: usize, data: &[u8]| block(3, &[&[1 << 3, index as u8], block(3, data).as_slice()].concat());
    let records = users.iter().enumerate().flat_map(|(index, (_, data))| record(index, data));
    let message: Vec<u8> = keys.chain(records).collect();
    [b"\xf3\x89\x9a\xc2", message.as_slice(), &Md5::digest(&message)].concat()
}

/// Which of two shards a key belongs to: the upper half of the hash keys is the second one's.
fn shard_of(key: &str) -> usize {
    (hash_key(key) >> 127) as usize
}

/// The first key with this beginning that belongs to the shard.
fn key_of(shard: usize, beginning: &str) -> String {
    (0..).map(|n| format!("{beginning}-{n}")).find(|key| shard_of(key) == shard).unwrap()
}

fn event(sensor: &str, event_id: &str) -> Vec<u8> {
    let time = an_hour_ago(0);
    format!(r#"{{"sensor_id":"{sensor}","event_id":"{event_id}","ts":"{time}","temperature":21.5}}"#).into_bytes()
}

/// What landed of one event or user record: shard, place in its record, and its event id or its bytes.
type Landed<T> = BTreeSet<(usize, i64, T)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_are_read_as_what_went_into_them() {
    let mut put: Vec<Record> = Vec::new();
    let (mut clean, mut outside): (Landed<String>, Landed<Vec<u8>>) = Default::default();
    for n in 0..AGGREGATES {
        let shard = n % 2;
        let (mut users, mut number): (Vec<Record>, i64) = Default::default();
        for m in 0..USER_RECORDS {
            // The same sensor is in many aggregates, and each belongs to the shard of its key.
            let key = key_of((n + m / 2) % 2, &format!("s{m}"));
            let ids = [format!("{n}-{m}-a"), format!("{n}-{m}-b")];
            // Every other user record holds two lines.
            let ids = &ids[..1 + m % 2];
            let data = ids.iter().map(|id| event(&key, id)).collect::<Vec<_>>().join(&b'\n');
            if shard_of(&key) == shard {
                clean.extend(ids.iter().zip(number..).map(|(id, number)| (shard, number, id.clone())));
                number += ids.len() as i64;
            } else {
                outside.insert((shard, number, data.clone()));
                number += 1;
            }
            users.push((key, data));
        }
        put.push((key_of(shard, "a"), aggregate(&users)));
        put.push((key_of(shard, "plain"), event(&format!("plain-{shard}"), &format!("plain-{n}"))));
        clean.insert((shard, 0, format!("plain-{n}")));
    }
    // Lines inside of a damaged aggregate are not taken for lines of a record.
    let lines = [event("lost", "1"), event("lost", "2"), event("lost", "3")].join(&b'\n');
    let mut damaged = aggregate(&[(key_of(0, "k"), lines)]);
    *damaged.last_mut().unwrap() ^= 1;
    let crowded = aggregate(&[(key_of(0, "k"), b"{}".as_slice().into()), (key_of(0, "k"), b"{}\n".repeat(1_000))]);
    put.extend([(key_of(0, "k"), damaged.clone()), (key_of(0, "k"), crowded.clone())]);

    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    world.put(&put).await;
    let worker = world.worker(&Setup::default()).await;
    caught_up(&worker).await;
    assert_eq!(worker.restarts(), 0, "an actor or a sensor was restarted");
    finish(worker).await;

    let lake = world.lake();
    assert_whole(&lake, &put);
    let shard = |row: &_| text(row, "shard").trim_start_matches("shardId-").parse::<usize>().unwrap();
    let cleansed = lake.rows("cleansed");
    let found: Landed<String> =
        cleansed.iter().map(|row| (shard(row), integer(row, "sub_sequence"), text(row, "event_id"))).collect();
    assert_eq!(found, clean);
    assert_eq!(cleansed.len(), clean.len(), "events once each");

    let (refused, whole): (Vec<_>, Vec<_>) =
        lake.rows("quarantine").into_iter().partition(|row| text(row, "reason") == "outside_hash_range");
    let found: Landed<Vec<u8>> =
        refused.iter().map(|row| (shard(row), integer(row, "sub_sequence"), bytes(row, "data"))).collect();
    assert_eq!(found, outside);
    assert_eq!(refused.len(), outside.len(), "user records once each");
    let mut whole: Vec<_> = whole.iter().map(|row| (text(row, "reason"), bytes(row, "data"))).collect();
    whole.sort();
    assert_eq!(whole, [("not_utf8".to_owned(), damaged), ("too_many_events".to_owned(), crowded)]);

    let reasons = |name: &str| lake.manifests().iter().filter_map(|m| m["reasons"][name].as_u64()).sum::<u64>();
    assert_eq!(reasons("outside_hash_range"), outside.len() as u64, "by the manifests");
}
