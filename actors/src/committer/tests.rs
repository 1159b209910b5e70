//! The protocol without its actor: the table that ARCHITECTURE.md shows, and all orders of events.

mod orders;
mod refresh;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use messages::{Cut, CutReason, EpochNumber, EpochPlan, Position, Receipts, SequenceNumber, ShardId};

use super::CommitterConfig;
use super::protocol::{Begin, Effect, EpochRules, Event, Protocol};
use crate::ports::faults::Faults;

const AGE_MAX: Duration = Duration::from_secs(10);
const ROWS_MAX: u64 = 10;
const REFRESH_AFTER: Duration = Duration::from_secs(1_000);

fn rules() -> EpochRules {
    EpochRules {
        age_max: AGE_MAX,
        first_age_max: AGE_MAX,
        bytes_max: 1_000,
        partitions_max: 100,
        rows_max: ROWS_MAX,
        full_state_every: 3,
        refresh_after: REFRESH_AFTER,
        refreshes: true,
        refreshes_all: true,
        child_leans_off: true,
        prepares: true,
        commits_last: true,
    }
}

fn begin(epoch: u64, checkpoint: Position, pinned: Option<EpochPlan>) -> Begin {
    let pinned = pinned.map(Box::new);
    let unsettled = VecDeque::new();
    Begin { epoch: EpochNumber(epoch), checkpoint, pinned, unsettled, states_age: None, cautious_for: 0 }
}

fn at(record: u64) -> Position {
    Position::At(SequenceNumber::parse(&record.to_string()).unwrap())
}

fn plan(epoch: u64, from: Position, to: Position, reason: CutReason) -> EpochPlan {
    let (epoch, full_state) = (EpochNumber(epoch), false);
    EpochPlan {
        format: EpochPlan::FORMAT,
        stream: None,
        shard: ShardId::new("shardId-000000000001"),
        cut: Cut { epoch, from, to, reason, full_state, whole_aggregates: false, spread: false },
        schema: "schema".to_owned(),
        records: 1,
        readings: 1,
        clean: 1,
        quarantined: 0,
        duplicates: 0,
        reasons: BTreeMap::new(),
        alerts: 0,
        poisoned: Vec::new(),
        previous_state: None,
        objects: Vec::new(),
    }
}

/// A machine whose shard has committed one epoch, up to record 5.
fn after_one_epoch(pinned: Option<EpochPlan>) -> Protocol {
    Protocol::new(rules(), Begin { states_age: Some(Duration::ZERO), ..begin(1, at(5), pinned) })
}

#[test]
fn shards_that_begin_at_one_moment_end_their_first_epochs_at_different_ones() {
    let config = CommitterConfig {
        age_max: AGE_MAX,
        bytes_max: 1,
        partitions_max: 1,
        rows_max: 1,
        full_state_every: 1,
        refresh_after: REFRESH_AFTER,
    };
    let first = |n: u32| EpochRules::new(&config, &ShardId::new(&format!("shardId-{n:012}")), &Faults::none());
    let ages: BTreeSet<Duration> = (0..100).map(|n| first(n).first_age_max).collect();
    assert!(*ages.first().unwrap() >= AGE_MAX / 2 && *ages.last().unwrap() <= AGE_MAX);
    // All over the time in between.
    let tenths: BTreeSet<u128> = ages.iter().map(|age| age.as_millis() / 500).collect();
    assert!(ages.len() == 100 && tenths.len() >= 9, "{ages:?}");
    let refreshed: BTreeSet<Duration> = (0..100).map(|n| first(n).refresh_after).collect();
    let (soonest, latest) = (*refreshed.first().unwrap(), *refreshed.last().unwrap());
    assert!(refreshed.len() == 100 && soonest >= REFRESH_AFTER * 3 / 4 && latest <= REFRESH_AFTER, "{refreshed:?}");
}

#[test]
fn only_the_first_epoch_ends_before_its_age() {
    let mut machine = Protocol::new(EpochRules { first_age_max: AGE_MAX / 2, ..rules() }, begin(1, at(5), None));
    machine.on(Event::Attached, Duration::ZERO).unwrap();
    let mut ends_at = |begins: Duration, epoch: u64, age: Duration| {
        machine.on(Event::Progress { bytes: 1, rows: 1, partitions: 1 }, begins).unwrap();
        let early = machine.on(Event::Tick, begins + age - Duration::from_millis(1)).unwrap();
        assert!(early.is_none(), "{early:?}");
        let due = machine.on(Event::Tick, begins + age).unwrap();
        assert!(matches!(due, Some(Effect::Cut { reason: CutReason::Age, .. })), "{due:?}");
        let (from, to) = (epoch + 3, epoch + 4);
        let plan = plan(epoch, at(from), at(to), CutReason::Age);
        let receipts = Receipts::default();
        for event in [Event::WasCut, Event::Planned(Box::new(plan), receipts), Event::Prepared] {
            machine.on(event, begins + age).unwrap();
        }
        for event in [Event::Uploaded(EpochNumber(epoch)), Event::Committed] {
            machine.on(event, begins + age).unwrap();
        }
    };
    ends_at(Duration::ZERO, 2, AGE_MAX / 2);
    ends_at(AGE_MAX, 3, AGE_MAX);
}
