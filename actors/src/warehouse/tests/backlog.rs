use messages::{EpochNumber, ShardId};

use crate::warehouse::backlog::{Waiting, after, epoch_of, in_order, in_turn, places};
use crate::warehouse::ledger::{Tip, Tips};

fn keys(shard: &str, epochs: &[u64]) -> Vec<String> {
    epochs.iter().map(|n| format!("manifests/s/{shard}/{n:08}-{}.json", n * 7)).collect()
}

#[test]
fn later_manifests_sort_behind_the_tip() {
    let place = after("manifests/s/000000000000/", EpochNumber(5));
    let all = keys("000000000000", &[4, 5, 6, 7]);
    let found: Vec<EpochNumber> =
        all.iter().filter(|key| **key > place.after).filter_map(|key| epoch_of(key)).collect();
    assert_eq!(found, [EpochNumber(6), EpochNumber(7)]);
    assert!("manifests/s/000000000000/00000005-end.json" < place.after.as_str());
    assert!("manifests/s/000000000000/00000005-x0ff.json" < place.after.as_str());
}

#[test]
fn a_gap_ends_the_order() {
    assert_eq!(in_order(EpochNumber(5), keys("a", &[6, 7, 9])), (keys("a", &[6, 7]), Some(EpochNumber(8))));
    assert_eq!(in_order(EpochNumber(5), keys("a", &[7])), (vec![], Some(EpochNumber(6))));
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
    let tip = |n, ended| Tip { epoch: EpochNumber(n), ended };
    let shard = |n: u64| ShardId::new(&format!("shardId-{n:012}"));
    let tips = Tips([(shard(0), tip(9, true)), (shard(1), tip(2, false))].into_iter().collect());
    let prefixes: Vec<String> = (0..3).map(|n| format!("manifests/s/{n:012}/")).collect();
    let found: Vec<(String, u64)> = places("s", &prefixes, &tips).into_iter().map(|p| (p.prefix, p.tip.0)).collect();
    assert_eq!(found, [(prefixes[1].clone(), 2), (prefixes[2].clone(), 0)]);
}
