use super::fixture::batch;
use crate::warehouse::pace::{Pace, Step};

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
