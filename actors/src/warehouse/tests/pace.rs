use super::fixture::batch;
use crate::warehouse::ledger::Tips;
use crate::warehouse::pace::{Pace, Step, TIPS_AGE_MAX_MS};

#[test]
fn a_refused_batch_is_halved_down_to_the_epoch_at_fault() {
    let mut pace = Pace::new(4, 2);
    assert_eq!(pace.refused(&batch(&[("a", 1), ("a", 2), ("a", 3), ("a", 4)])), Step::Smaller);
    assert_eq!(pace.epochs(), 2);
    assert_eq!(pace.refused(&batch(&[("a", 1), ("a", 2)])), Step::Smaller);
    pace.loaded();
    assert_eq!(pace.epochs(), 2);
    assert_eq!(pace.refused(&batch(&[("a", 2)])), Step::Again);
    assert_eq!(pace.epochs(), 1);
    assert_eq!(pace.refused(&batch(&[("a", 2)])), Step::PutAside(2));
    pace.loaded();
    pace.loaded();
    pace.loaded();
    assert_eq!(pace.epochs(), 4);
}

#[test]
fn tries_are_counted_for_one_epoch() {
    let mut pace = Pace::new(4, 2);
    assert_eq!(pace.refused(&batch(&[("a", 2)])), Step::Again);
    assert_eq!(pace.refused(&batch(&[("b", 2)])), Step::Again);
    assert_eq!(pace.refused(&batch(&[("a", 2)])), Step::Again);
}

#[test]
fn what_the_ledger_said_is_believed_for_a_while_and_moves_with_what_is_loaded() {
    let mut pace = Pace::new(4, 2);
    assert_eq!(pace.tips(0), None);
    pace.asked(Tips::default(), 1_000);
    pace.reached(&batch(&[("a", 1), ("a", 2), ("b", 1)]));
    let tips = pace.tips(2_000).unwrap().0.iter().map(|(shard, tip)| (shard.as_str(), tip.epoch.0, tip.ended));
    assert_eq!(tips.collect::<Vec<_>>(), [("a", 2, false), ("b", 1, false)]);
    assert_eq!(pace.tips(1_000 + TIPS_AGE_MAX_MS), None);
    assert_eq!(pace.tips(999), None, "a clock that was put back");
}
