use messages::{EpochNumber, ShardId};

use crate::lake::epoch_of_manifest;
use crate::warehouse::backlog::{Break, Waiting, after, in_order, in_turn, places};
use crate::warehouse::ledger::{Tip, Tips};

/// Even ones as earlier versions wrote them, odd ones with their claims.
fn keys(shard: &str, epochs: &[u64]) -> Vec<String> {
    let key = |n: &u64| match n % 2 {
        0 => format!("manifests/s/{shard}/{n:08}-{}.json", n * 7),
        _ => format!("manifests/s/{shard}/{n:08}.json"),
    };
    epochs.iter().map(key).collect()
}

#[test]
fn later_manifests_sort_behind_the_tip() {
    let place = after("manifests/s/000000000000/", EpochNumber(5));
    let all = keys("000000000000", &[4, 5, 6, 7]);
    let found: Vec<EpochNumber> =
        all.iter().filter(|key| **key > place.after).filter_map(|key| epoch_of_manifest(key)).collect();
    assert_eq!(found, [EpochNumber(6), EpochNumber(7)]);
    assert!("manifests/s/000000000000/00000005-end.json" < place.after.as_str());
    assert!("manifests/s/000000000000/00000005-x0ff.json" < place.after.as_str());
    assert!("manifests/s/000000000000/00000006.claim" > place.after.as_str());
    assert_eq!(epoch_of_manifest("manifests/s/000000000000/00000006.claim"), None);
}

#[test]
fn a_gap_ends_the_order() {
    assert_eq!(in_order(EpochNumber(5), keys("a", &[6, 7, 9])), (keys("a", &[6, 7]), Some(Break::Gap(EpochNumber(8)))));
    assert_eq!(in_order(EpochNumber(5), keys("a", &[7])), (vec![], Some(Break::Gap(EpochNumber(6)))));
    // An earlier version went on from a restored lease table: neither of the two is loaded.
    let twice = [keys("a", &[6]), vec!["manifests/s/a/00000006-43.json".to_owned()], keys("a", &[7])].concat();
    assert_eq!(
        in_order(EpochNumber(4), [keys("a", &[5]), twice].concat()),
        (keys("a", &[5]), Some(Break::Twice(EpochNumber(6))))
    );
    // The lake may begin later than the stream.
    assert_eq!(in_order(EpochNumber(0), keys("a", &[3, 4])), (keys("a", &[3, 4]), None));
}

#[test]
fn shards_take_turns() {
    let waiting = |shard, epochs| Waiting { manifests: keys(shard, epochs) };
    let chosen = in_turn(&[waiting("a", &[1, 2, 3]), waiting("b", &[8])], 3);
    assert_eq!(chosen, [keys("a", &[1]), keys("b", &[8]), keys("a", &[2])].concat());
}

#[test]
fn shards_that_are_loaded_to_their_end_are_not_listed() {
    let tip = |n, ended| {
        let to = if ended { "SHARD_END" } else { "49" }.to_owned();
        Tip { epoch: EpochNumber(n), to, content: None }
    };
    let shard = |n: u64| ShardId::new(&format!("shardId-{n:012}"));
    let tips = Tips([(shard(0), tip(9, true)), (shard(1), tip(2, false))].into_iter().collect());
    let prefixes: Vec<String> = (0..3).map(|n| format!("manifests/s/{n:012}/")).collect();
    let proven = |n: &[usize]| n.iter().map(|n| (prefixes[*n].clone(), tips.0[&shard(*n as u64)].clone())).collect();
    let found = |proven| {
        let places = places("s", &prefixes, &tips, &proven).into_iter();
        places.map(|place| (place.prefix, place.tip.0, place.after, place.unproven.is_some())).collect::<Vec<_>>()
    };
    let behind = |n: usize, epoch: u64| format!("{}{epoch:08}.~", prefixes[n]);
    let expected = [(prefixes[1].clone(), 2, behind(1, 2), false), (prefixes[2].clone(), 0, behind(2, 0), false)];
    assert_eq!(found(proven(&[0, 1])), expected);
    // What the ledger says of an epoch is held against the bucket once: its manifest is listed too.
    let unproven = [(prefixes[0].clone(), 9, behind(0, 8), true), (prefixes[1].clone(), 2, behind(1, 1), true)];
    assert_eq!(found(proven(&[])), [unproven.as_slice(), &expected[1..]].concat());
}
