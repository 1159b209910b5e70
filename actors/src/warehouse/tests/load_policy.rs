use super::fixture::batch;
use crate::warehouse::ledger::RefusedEpoch;
use crate::warehouse::ledger::Tips;
use crate::warehouse::load_policy::{LoadPolicy, RefusalPatience, RefusalStep, TIPS_AGE_MAX_MS};

const LONG: &str = "ERROR: value too long for 'site'";

fn policy() -> LoadPolicy {
    LoadPolicy::new(4, RefusalPatience { attempts_max: 2, alike_max: 3 })
}

fn put_aside(policy: &mut LoadPolicy, epoch: (&str, u64), words: &str) -> RefusalStep {
    assert_eq!(policy.refused(&batch(&[epoch]), words, false), RefusalStep::Again(1), "{epoch:?}");
    let step = policy.refused(&batch(&[epoch]), words, false);
    policy.goes_on();
    step
}

#[test]
fn a_refused_batch_is_halved_down_to_the_epoch_at_fault() {
    let mut policy = policy();
    assert_eq!(policy.refused(&batch(&[("a", 1), ("a", 2), ("a", 3), ("a", 4)]), LONG, false), RefusalStep::Smaller);
    assert_eq!(policy.epochs(), 2);
    assert_eq!(policy.refused(&batch(&[("a", 1), ("a", 2)]), LONG, false), RefusalStep::Smaller);
    policy.loaded();
    assert_eq!(policy.epochs(), 2);
    assert_eq!(policy.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::Again(1));
    assert_eq!(policy.epochs(), 1);
    assert_eq!(policy.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::PutAside(2));
    policy.loaded();
    policy.loaded();
    policy.loaded();
    assert_eq!(policy.epochs(), 4);
}

#[test]
fn tries_are_counted_for_one_epoch() {
    let mut policy = policy();
    assert_eq!(policy.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::Again(1));
    assert_eq!(policy.refused(&batch(&[("b", 2)]), LONG, false), RefusalStep::Again(1));
    assert_eq!(policy.refused(&batch(&[("a", 2)]), LONG, false), RefusalStep::Again(1));
}

#[test]
fn what_the_ledger_said_is_believed_for_a_while_and_moves_with_what_is_loaded() {
    let mut policy = policy();
    assert_eq!(policy.tips(0), None);
    policy.asked(Tips::default(), 1_000);
    policy.reached(&batch(&[("a", 1), ("a", 2), ("b", 1)]));
    let tips = policy.tips(2_000).unwrap().0.iter().map(|(shard, tip)| (shard.as_str(), tip.epoch.0, tip.ended()));
    assert_eq!(tips.collect::<Vec<_>>(), [("a", 2, false), ("b", 1, false)]);
    assert_eq!(policy.tips(1_000 + TIPS_AGE_MAX_MS), None);
    assert_eq!(policy.tips(999), None, "a clock that was put back");
}

#[test]
fn the_same_words_for_epoch_after_epoch_are_nobodys_fault() {
    let mut policy = policy();
    assert_eq!(put_aside(&mut policy, ("a", 1), "run load 1: ERROR: stl_load_errors 'k1'"), RefusalStep::PutAside(2));
    assert_eq!(put_aside(&mut policy, ("a", 2), "run load 2: ERROR: stl_load_errors 'k2'"), RefusalStep::PutAside(2));
    for n in 3..6 {
        // At once, and as often as it is tried.
        assert_eq!(
            policy.refused(&batch(&[("b", n)]), "run load 3: ERROR: stl_load_errors 'k3'", false),
            RefusalStep::Wait(3)
        );
    }
    assert_eq!(put_aside(&mut policy, ("c", 1), LONG), RefusalStep::PutAside(2), "other words are another cause");

    // An epoch that is loaded in between ends the row.
    let mut policy = self::policy();
    for n in 1..10 {
        assert_eq!(put_aside(&mut policy, ("a", n), LONG), RefusalStep::PutAside(2));
        policy.loaded();
    }
    // What is proven to be the epoch's fault is.
    for n in 1..10 {
        policy.refused(&batch(&[("a", n)]), LONG, true);
        assert_eq!(policy.refused(&batch(&[("a", n)]), LONG, true), RefusalStep::PutAside(2));
        policy.goes_on();
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
    let mut policy = policy();
    assert!(policy.looks_back(), "a loader that begins looks");
    assert_eq!(numbers(policy.suspects(&refusals)), [1, 3]);
    for holds in [0, 3, 1] {
        let suspects = numbers(policy.suspects(&refusals));
        assert!(suspects.contains(&refusals[holds].epoch.0), "{suspects:?}");
        assert!(holds == 0 || suspects.len() == 1, "what others do not share is looked at by itself");
        policy.holds_still(&refusals[holds]);
    }
    assert_eq!(numbers(policy.suspects(&refusals)), [0; 0]);
    assert!(!policy.looks_back());

    policy.loaded();
    assert!(!policy.looks_back(), "nothing was put aside since");
    put_aside(&mut policy, ("a", 2), LONG);
    put_aside(&mut policy, ("a", 3), LONG);
    assert!(!policy.looks_back());
    policy.loaded();
    assert!(policy.looks_back());
    assert_eq!(numbers(policy.suspects(&refusals)), [1, 3]);
    for _ in 0..100 {
        policy.looked_in_vain();
    }
    assert!(!policy.looks_back(), "a look has an end");
}

#[test]
fn a_batch_that_fails_is_halved_too() {
    let mut policy = policy();
    policy.smaller(&batch(&[("a", 1), ("a", 2), ("a", 3)]));
    assert_eq!(policy.epochs(), 1);
    policy.smaller(&batch(&[("a", 1)]));
    assert_eq!(policy.epochs(), 1);
}
