//! GOAL    What a start reads again is bounded in age and in bytes, whatever arrives (BOUNDED): an idle shard, a child without
//!         records and a slow shard write all states anew before a lifecycle rule could take what they lean on.
//! METHOD  The machine alone, driven epoch by epoch, and a bucket that is a list of sizes and ages.

use std::time::Duration;

use messages::{CutReason, EpochNumber, Position, Receipts};

use super::super::protocol::{Begin, Effect, EpochRules, Event, Protocol};
use super::{AGE_MAX, REFRESH_AFTER, at, begin, plan, rules};

/// A machine that has begun with states of this age.
fn begun(epoch: u64, checkpoint: Position, states_age: Option<Duration>) -> Protocol {
    let mut machine = Protocol::new(rules(), Begin { states_age, ..begin(epoch, checkpoint, None) });
    let first = machine.on(Event::Attached, Duration::ZERO).unwrap();
    assert!(first.is_none() || states_age >= Some(REFRESH_AFTER), "{first:?}");
    machine
}

/// Whether an epoch was cut then, and whether with all states.
fn cut_at(machine: &mut Protocol, now: Duration) -> Option<bool> {
    match machine.on(Event::Tick, now).unwrap() {
        None => None,
        Some(Effect::Cut { reason: CutReason::Age, full_state, .. }) => Some(full_state),
        other => panic!("{other:?}"),
    }
}

/// What was cut is written and committed.
fn committed(machine: &mut Protocol, epoch: u64, (from, to): (Position, Position), now: Duration) {
    let plan = plan(epoch, from, to, CutReason::Age);
    let planned = Event::Planned(Box::new(plan), Receipts::default());
    for event in [Event::WasCut, planned, Event::Prepared, Event::Uploaded(EpochNumber(epoch)), Event::Committed] {
        machine.on(event, now).unwrap();
    }
}

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn an_idle_shard_writes_all_states_when_the_oldest_is_old_and_again_when_that_is() {
    let mut machine = begun(7, at(5), Some(REFRESH_AFTER / 4));
    let mut now = REFRESH_AFTER * 3 / 4;
    for epoch in [8, 9, 10] {
        assert_eq!(cut_at(&mut machine, now - MOMENT), None);
        assert_eq!(cut_at(&mut machine, now), Some(true), "epoch {epoch}");
        assert_eq!(cut_at(&mut machine, now), None, "once");
        committed(&mut machine, epoch, (at(5), at(5)), now);
        now += REFRESH_AFTER;
    }
}

#[test]
fn restarts_do_not_make_states_younger() {
    // Begun again and again after less time than states may have.
    for tenths in 0..10 {
        let mut machine = begun(7, at(5), Some(REFRESH_AFTER * tenths / 10));
        assert_eq!(cut_at(&mut machine, REFRESH_AFTER / 10 - MOMENT), None, "{tenths}");
        assert_eq!(cut_at(&mut machine, REFRESH_AFTER / 10).is_some(), tenths == 9, "{tenths}");
    }
    let mut machine = Protocol::new(rules(), Begin { states_age: Some(5 * REFRESH_AFTER), ..begin(7, at(5), None) });
    let first = machine.on(Event::Attached, Duration::ZERO).unwrap();
    assert!(matches!(first, Some(Effect::Cut { full_state: true, .. })), "{first:?}");
}

#[test]
fn a_child_without_records_writes_what_its_parents_left_and_once() {
    let mut machine = begun(0, Position::TrimHorizon, Some(Duration::ZERO));
    assert_eq!(cut_at(&mut machine, AGE_MAX - MOMENT), None);
    assert_eq!(cut_at(&mut machine, AGE_MAX), Some(true));
    committed(&mut machine, 1, (Position::TrimHorizon, Position::TrimHorizon), AGE_MAX);
    assert_eq!(cut_at(&mut machine, AGE_MAX + REFRESH_AFTER - MOMENT), None);
    // A shard that has no parents has nothing to lose.
    assert_eq!(cut_at(&mut begun(0, Position::TrimHorizon, None), 100 * REFRESH_AFTER), None);
}

#[test]
fn a_drain_writes_no_states_for_their_age() {
    let mut machine = begun(7, at(5), Some(REFRESH_AFTER / 2));
    let drained = machine.on(Event::Wanted(CutReason::Shutdown), REFRESH_AFTER).unwrap();
    assert!(matches!(drained, Some(Effect::Release { .. })), "{drained:?}");
}

#[test]
fn a_slow_shard_writes_all_states_by_age_and_not_by_number() {
    let rules = EpochRules { full_state_every: 1_000, ..rules() };
    let mut machine = Protocol::new(rules, Begin { states_age: Some(Duration::ZERO), ..begin(1, at(1), None) });
    machine.on(Event::Attached, Duration::ZERO).unwrap();
    let mut full = |epoch: u64| {
        // An epoch takes a tenth of the time that states may have.
        let begins = REFRESH_AFTER * (epoch as u32 - 2) / 10;
        machine.on(Event::Progress { bytes: 1, rows: 1, partitions: 1 }, begins).unwrap();
        let full = cut_at(&mut machine, begins + REFRESH_AFTER / 10).expect("it is old enough");
        committed(&mut machine, epoch, (at(epoch - 1), at(epoch)), begins + REFRESH_AFTER / 10);
        full
    };
    let all: Vec<u64> = (2..40).map(|epoch| (epoch, full(epoch))).filter(|(_, full)| *full).map(|(n, _)| n).collect();
    assert_eq!(all, [11, 21, 31]);
}

/// What a lifecycle rule at twice the age leaves of the states of `sensors` sensors after each epoch, in entries; and that
/// it takes nothing that a start would read.
fn under_lifecycle(sensors: u64, epochs: u64, epoch_takes: Duration) -> Vec<u64> {
    let rules = EpochRules { full_state_every: 32, ..rules() };
    let mut machine = Protocol::new(rules, Begin { states_age: Some(Duration::ZERO), ..begin(1, at(1), None) });
    machine.on(Event::Attached, Duration::ZERO).unwrap();
    let mut objects = std::collections::VecDeque::from([(Duration::ZERO, sensors)]);
    let (mut held, mut chain_since, mut curve) = (sensors, Duration::ZERO, Vec::new());
    for epoch in 2..2 + epochs {
        let (begins, now) = (epoch_takes * (epoch as u32 - 2), epoch_takes * (epoch as u32 - 1));
        machine.on(Event::Progress { bytes: 1, rows: 1, partitions: 1 }, begins).unwrap();
        let full = cut_at(&mut machine, now).expect("it is old enough");
        committed(&mut machine, epoch, (at(epoch - 1), at(epoch)), now);
        // A tenth of them is touched.
        let entries = if full { sensors } else { sensors / 10 };
        objects.push_back((now, entries));
        held += entries;
        if full {
            chain_since = now;
        }
        while let Some((_, taken)) = objects.pop_front_if(|(stored, _)| now - *stored > 2 * REFRESH_AFTER) {
            held -= taken;
        }
        assert!(now - chain_since <= REFRESH_AFTER + epoch_takes, "epoch {epoch} leans on what the rule takes");
        curve.push(held);
    }
    curve
}

#[test]
fn states_stay_as_many_over_ten_thousand_epochs() {
    for (what, epoch_takes) in [("fast", AGE_MAX), ("slow", REFRESH_AFTER / 7)] {
        let curve = under_lifecycle(1_000, 10_000, epoch_takes);
        let points: Vec<(usize, u64)> = (0..=10).map(|n| (n * 1_000).max(1)).map(|n| (n, curve[n - 1])).collect();
        println!("epochs and entries of 1,000 sensors in the bucket, {what}: {points:?}");
        let (early, late) = (curve[1_000..2_000].iter().max().unwrap(), curve[9_000..].iter().max().unwrap());
        assert!(late <= early, "{what}: {early} entries at most in the second thousand epochs, {late} in the tenth");
    }
}
