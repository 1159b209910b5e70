use super::fixture::batch;
use crate::warehouse::ledger::RefusedEpoch;
use crate::warehouse::ledger::Tips;
use crate::warehouse::pace::{Pace, RefusalPatience, RefusalStep, TIPS_AGE_MAX_MS};

const LONG: &str = "ERROR: value too long for 'site'";

fn pace() -> Pace {
    Pace::new(4, RefusalPatience { attempts_max: 2, alike_max: 3 })
}

fn put_aside(pace: &mut Pace, epoch: (&str, u64), words: &str) -> RefusalStep {
    assert_eq!(pace.refused(&batch(&[epoch]), words, false), RefusalStep::Again(1), "{epoch:?}");
    let step = pace.refused(&batch(&[epoch]), words, false);
    pace.goes_on();
    step
}

#[test]
fn a_refused_batch_is_halved_down_to_the_epoch_at_fault() {
    let mut pace = pace();
    assert_eq!(pace.refused(&batch(&[("a", 1), ("a", 2), ("a", 3), ("a", 4)]), LONG, false), RefusalStep::Smaller);
    assert_eq!(pace.epochs(), 2);
    assert_eq!(pace.refused(&batch(&[("a", 1), ("a", 2)]), LONG, false), RefusalStep::Smaller);
    pace.loaded();
    assert_eq!(pace.epochs(), 2);
    assert_eq!(pace.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::Again(1));
    assert_eq!(pace.epochs(), 1);
    assert_eq!(pace.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::PutAside(2));
    pace.loaded();
    pace.loaded();
    pace.loaded();
    assert_eq!(pace.epochs(), 4);
}

#[test]
fn tries_are_counted_for_one_epoch() {
    let mut pace = pace();
    assert_eq!(pace.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::Again(1));
    assert_eq!(pace.refused(&batch(&[("b", 2)]), LONG, false), RefusalStep::Again(1));
    assert_eq!(pace.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::Again(1));
}

#[test]
fn what_the_ledger_said_is_believed_for_a_while_and_moves_with_what_is_loaded() {
    let mut pace = pace();
    assert_eq!(pace.tips(0), None);
    pace.asked(Tips::default(), 1_000);
    pace.reached(&batch(&[("a", 1), ("a", 2), ("b", 1)]));
    let tips = pace.tips(2_000).unwrap().0.iter().map(|(shard, tip)| (shard.as_str(), tip.epoch.0, tip.ended()));
    assert_eq!(tips.collect::<Vec<_>>(), [("a", 2, false), ("b", 1, false)]);
    assert_eq!(pace.tips(1_000 + TIPS_AGE_MAX_MS), None);
    assert_eq!(pace.tips(999), None, "a clock that was put back");
}

#[test]
fn the_same_words_for_epoch_after_epoch_are_nobodys_fault() {
    let mut pace = pace();
    assert_eq!(put_aside(&mut pace, ("a", 1), "run load 1: ERROR: stl_load_errors 'k1'"), RefusalStep::PutAside(2));
    assert_eq!(put_aside(&mut pace, ("a", 2), "run load 2: ERROR: stl_load_errors 'k2'"), RefusalStep::PutAside(2));
    for n in 3..6 {
        // At once, and as often as it is tried.
        assert_eq!(
            pace.refused(&batch(&[("b", n)]), "run load 3: ERROR: stl_load_errors 'k3'", false),
            RefusalStep::Wait(3)
        );
    }
    assert_eq!(put_aside(&mut pace, ("c", 1), LONG), RefusalStep::PutAside(2), "other words are another cause");

    // An epoch that is loaded in between ends the row.
    let mut pace = self::pace();
    for n in 1..10 {
        assert_eq!(put_aside(&mut pace, ("a", n), LONG), RefusalStep::PutAside(2));
        pace.loaded();
    }
    // What is proven to be the epoch's fault is.
    for n in 1..10 {
        pace.refused(&batch(&[("a", n)]), LONG, true);
        assert_eq!(pace.refused(&batch(&[("a", n)]), LONG, true), RefusalStep::PutAside(2));
        pace.goes_on();
    }
}

#[test]
fn what_was_put_aside_for_the_same_is_looked_at_again_when_loads_succeed() {
    let aside = |epoch: u64, error: &str| RefusedEpoch {
        shard: messages::ShardId::new("a"),
        epoch: messages::EpochNumber(epoch),
        manifest: String::new(),
        error: error.to_owned(),
    };
    let refusals = [aside(1, LONG), aside(2, "ERROR: out of range 'x'"), aside(3, LONG), aside(4, "other words")];
    let numbers = |epochs: Vec<&RefusedEpoch>| epochs.iter().map(|epoch| epoch.epoch.0).collect::<Vec<_>>();
    let mut pace = pace();
    assert!(pace.looks_back(), "a loader that begins looks");
    assert_eq!(numbers(pace.suspects(&refusals)), [1, 3]);
    for holds in [0, 3, 1] {
        let suspects = numbers(pace.suspects(&refusals));
        assert!(suspects.contains(&refusals[holds].epoch.0), "{suspects:?}");
        assert!(holds == 0 || suspects.len() == 1, "what others do not share is looked at by itself");
        pace.holds_still(&refusals[holds]);
    }
    assert_eq!(numbers(pace.suspects(&refusals)), [0; 0]);
    assert!(!pace.looks_back());

    pace.loaded();
    assert!(!pace.looks_back(), "nothing was put aside since");
    put_aside(&mut pace, ("a", 2), LONG);
    put_aside(&mut pace, ("a", 3), LONG);
    assert!(!pace.looks_back());
    pace.loaded();
    assert!(pace.looks_back());
    assert_eq!(numbers(pace.suspects(&refusals)), [1, 3]);
    for _ in 0..100 {
        pace.looked_in_vain();
    }
    assert!(!pace.looks_back(), "a look has an end");
}

#[test]
fn a_batch_that_fails_is_halved_too() {
    let mut pace = pace();
    pace.smaller(&batch(&[("a", 1), ("a", 2), ("a", 3)]));
    assert_eq!(pace.epochs(), 1);
    pace.smaller(&batch(&[("a", 1)]));
    assert_eq!(pace.epochs(), 1);
}
