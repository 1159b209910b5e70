//! GOAL    Whatever happens in whatever order, the checkpoint moves over what is stored and was pinned, epoch by epoch, and
//!         a shard comes to rest (CHECKPOINT, LIVE); and no state that a start would read gets older than it may (BOUNDED).
//! METHOD  A model of lease row, bucket and actors; random steps with duplicates of events, writes that fail, replies that
//!         are lost and crashes. A machine without one of its steps is noticed by the same walk.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use messages::{CutReason, EpochNumber, EpochPlan, Position, Receipts};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::protocol::{Begin, Effect, EpochRules, Event, Protocol};
use super::{AGE_MAX, REFRESH_AFTER, at, begin, plan, rules};

#[derive(Clone, Debug)]
enum Step {
    Read(u64),
    Deliver,
    DeliverTwice,
    Wait,
    /// Some tenths of the time after which states are written anew.
    Idle(u32),
    Hurry,
    EndShard,
    Drain,
    Crash,
    /// The next effect is without effect, and its actor or the machine dies of it.
    FailNext,
    /// The next effect happens, and nobody hears of it.
    LoseReply,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..12).prop_map(Step::Read),
        12 => Just(Step::Deliver),
        1 => Just(Step::DeliverTwice),
        3 => Just(Step::Wait),
        2 => (1u32..12).prop_map(Step::Idle),
        1 => Just(Step::Hurry),
        1 => Just(Step::EndShard),
        1 => Just(Step::Drain),
        1 => Just(Step::Crash),
        1 => Just(Step::FailNext),
        2 => Just(Step::LoseReply),
    ]
}

/// The row and the bucket, which survive; and one incarnation of the actors, which does not.
struct World {
    rules: EpochRules,
    now: Duration,
    /// When the machine has begun.
    began: Duration,
    row: (u64, Position, Option<EpochPlan>),
    /// When the oldest state was stored that a start would read: the parents' before the first epoch, if there are any.
    states_since: Option<Duration>,
    stored: BTreeMap<EpochNumber, EpochPlan>,
    /// When each epoch was.
    stored_at: BTreeMap<EpochNumber, Duration>,
    ends: bool,
    is_released: bool,
    /// The reader was told to drain: it reads no more.
    drains: bool,
    /// The shard has no owner any more.
    is_gone: bool,
    machine: Protocol,
    /// Sent by actors and not delivered.
    wire: VecDeque<Event>,
    read: u64,
    /// Where the last epoch that was cut has ended.
    cut_at: Position,
    under_way: bool,
    fail_next: bool,
    lose_next: bool,
}

type Walked = Result<(), String>;

fn record(position: &Position) -> u64 {
    match position {
        Position::At(sequence) => sequence.as_str().parse().unwrap(),
        Position::TrimHorizon | Position::ShardEnd => 0,
    }
}

impl World {
    fn new(rules: EpochRules, is_child: bool) -> Self {
        let machine = Protocol::new(rules.clone(), begin(0, Position::TrimHorizon, None));
        let mut world = Self {
            rules,
            now: Duration::ZERO,
            began: Duration::ZERO,
            row: (0, Position::TrimHorizon, None),
            states_since: is_child.then_some(Duration::ZERO),
            stored: BTreeMap::new(),
            stored_at: BTreeMap::new(),
            ends: false,
            is_released: false,
            drains: false,
            is_gone: false,
            machine,
            wire: VecDeque::new(),
            read: 0,
            cut_at: Position::TrimHorizon,
            under_way: false,
            fail_next: false,
            lose_next: false,
        };
        world.restart();
        world
    }

    /// Another incarnation of all actors, from the row. What was pinned is read again to its end, and comes out the same.
    fn restart(&mut self) {
        // A shard that was released starts no more here.
        (self.is_gone, self.drains) = (self.is_released, false);
        let (epoch, checkpoint, pinned) = self.row.clone();
        self.read = match &pinned {
            Some(pinned) => record(&pinned.cut.to).max(record(&checkpoint)),
            None => record(&checkpoint),
        };
        self.began = self.now;
        let begin = Begin {
            states_age: self.states_since.map(|since| self.now - since),
            ..begin(epoch, checkpoint.clone(), pinned.clone())
        };
        self.machine = Protocol::new(self.rules.clone(), begin);
        self.wire = VecDeque::from([Event::Attached]);
        (self.under_way, self.cut_at) = (pinned.is_some(), checkpoint);
        if let Some(pinned) = pinned {
            self.cut_at = pinned.cut.to.clone();
            self.wire.extend([Event::WasCut, Event::Planned(Box::new(pinned), Receipts::default())]);
        }
        if self.ends {
            self.wire.push_back(Event::Wanted(CutReason::ShardEnd));
        }
    }

    fn step(&mut self, step: &Step) -> Walked {
        match step {
            _ if self.is_gone => Ok(()),
            Step::Read(rows) if !self.ends && !self.drains => {
                self.read += rows;
                self.wire.push_back(Event::Progress { bytes: *rows, rows: *rows, partitions: 1 });
                Ok(())
            }
            Step::Read(_) => Ok(()),
            Step::Deliver => self.deliver(1),
            Step::DeliverTwice => self.deliver(2),
            Step::Wait => self.wait(AGE_MAX),
            Step::Idle(tenths) => self.wait(REFRESH_AFTER * *tenths / 10),
            Step::Hurry => self.meet(Event::Hurried),
            Step::EndShard => {
                self.ends = true;
                self.wire.push_back(Event::Wanted(CutReason::ShardEnd));
                Ok(())
            }
            Step::Drain => {
                self.drains = true;
                self.wire.push_back(Event::Wanted(CutReason::Shutdown));
                Ok(())
            }
            Step::Crash => {
                self.restart();
                Ok(())
            }
            Step::FailNext => {
                self.fail_next = true;
                Ok(())
            }
            Step::LoseReply => {
                self.lose_next = true;
                Ok(())
            }
        }
    }

    fn wait(&mut self, time: Duration) -> Walked {
        self.now += time;
        self.meet(Event::Tick)
    }

    fn deliver(&mut self, times: usize) -> Walked {
        let Some(event) = self.wire.pop_front() else { return Ok(()) };
        (0..times).try_for_each(|_| self.meet(event.clone()))
    }

    fn meet(&mut self, event: Event) -> Walked {
        let mut next = Some(event);
        while let Some(event) = next.take().filter(|_| !self.is_gone) {
            match self.machine.on(event, self.now - self.began) {
                Ok(Some(effect)) => next = self.execute(effect)?,
                Ok(None) => {}
                Err(_) => self.restart(),
            }
        }
        Ok(())
    }

    /// Answers what came of it. None also when the machine has died of it.
    fn execute(&mut self, effect: Effect) -> Result<Option<Event>, String> {
        if std::mem::take(&mut self.fail_next) {
            self.restart();
            return Ok(None);
        }
        if self.is_released {
            return Err(format!("{effect:?} after the release"));
        }
        let outcome = self.happen(effect)?;
        if std::mem::take(&mut self.lose_next) {
            self.restart();
            return Ok(None);
        }
        Ok(outcome)
    }

    fn happen(&mut self, effect: Effect) -> Result<Option<Event>, String> {
        match effect {
            Effect::Cut { epoch, reason, full_state } => {
                if std::mem::replace(&mut self.under_way, true) {
                    return Err(format!("epoch {epoch} is cut before the one before is committed"));
                }
                let to = match self.ends && reason == CutReason::ShardEnd {
                    true => Position::ShardEnd,
                    false if self.read == 0 => Position::TrimHorizon,
                    false => at(self.read),
                };
                let from = std::mem::replace(&mut self.cut_at, to.clone());
                let mut plan = plan(epoch.0, from, to, reason);
                plan.cut.full_state = full_state;
                self.wire.extend([Event::WasCut, Event::Planned(Box::new(plan), Receipts::default())]);
                Ok(None)
            }
            Effect::Prepare { plan, .. } => {
                if self.row.2.is_some() {
                    return Err("a second epoch is pinned".to_owned());
                }
                self.row.2 = Some((*plan).clone());
                Ok(Some(Event::Prepared))
            }
            Effect::Finish(plan) => match self.row.2.as_ref() == Some(&*plan) {
                true => Ok(Some(Event::Prepared)),
                false => Err("what is finished was not pinned".to_owned()),
            },
            Effect::Upload(epoch) => {
                let pinned = self.row.2.clone().filter(|pinned| pinned.cut.epoch == epoch);
                let pinned = pinned.ok_or("what is uploaded was not pinned")?;
                self.stored_at.entry(epoch).or_insert(self.now);
                let stored = self.stored.entry(epoch).or_insert_with(|| pinned.clone());
                if *stored != pinned {
                    return Err(format!("epoch {epoch} is stored with other content"));
                }
                self.wire.push_back(Event::Uploaded(epoch));
                Ok(None)
            }
            Effect::Commit(permit) => {
                let plan = permit.plan();
                if self.stored.get(&plan.cut.epoch) != Some(plan) {
                    return Err("the checkpoint moves over what is not stored".to_owned());
                }
                if plan.cut.epoch.0 != self.row.0 + 1 || plan.cut.from != self.row.1 || plan.cut.to < self.row.1 {
                    return Err(format!("{:?} does not follow on {:?}", plan.cut, self.row));
                }
                if plan.cut.full_state {
                    self.states_since = Some(self.stored_at[&plan.cut.epoch]);
                }
                self.row = (plan.cut.epoch.0, plan.cut.to.clone(), None);
                self.under_way = false;
                Ok(Some(Event::Committed))
            }
            Effect::Release { .. } => {
                self.is_released = true;
                Ok(None)
            }
        }
    }

    /// After all that, nothing goes wrong any more: whatever was read is committed, a drain ends in a release, and where
    /// nothing is read any more, states do not grow old.
    fn comes_to_rest(&mut self) -> Walked {
        (self.fail_next, self.lose_next) = (false, false);
        self.step(&Step::Read(1))?;
        for _ in 0..6 {
            while !self.wire.is_empty() {
                self.deliver(1)?;
            }
            self.step(&Step::Wait)?;
        }
        let all = self.is_released || self.row.1 == Position::ShardEnd || record(&self.row.1) == self.read;
        if !all {
            return Err(format!("{} was read, and {:?} is committed", self.read, self.row));
        }
        for _ in 0..30 {
            self.wait(REFRESH_AFTER / 10)?;
            while !self.wire.is_empty() {
                self.deliver(1)?;
            }
        }
        if self.is_released || self.row.1 == Position::ShardEnd {
            return Ok(());
        }
        match self.states_since.map(|since| self.now - since) {
            Some(age) if age <= REFRESH_AFTER * 11 / 10 => Ok(()),
            age => Err(format!("states are {age:?} old: {:?}", self.row)),
        }
    }
}

fn walk(rules: EpochRules, is_child: bool, steps: &[Step]) -> Walked {
    let mut world = World::new(rules, is_child);
    steps.iter().try_for_each(|step| world.step(step))?;
    world.comes_to_rest()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_order_of_events_keeps_the_promises(is_child: bool, steps in prop::collection::vec(step(), 0..120)) {
        prop_assert_eq!(walk(rules(), is_child, &steps), Ok(()));
    }
}

#[test]
fn a_machine_that_lacks_a_step_is_noticed() {
    let mut runner = TestRunner::deterministic();
    let walks: Vec<Vec<Step>> =
        (0..50).map(|_| prop::collection::vec(step(), 10..120).new_tree(&mut runner).unwrap().current()).collect();
    let lacking = [
        EpochRules { prepares: false, ..rules() },
        EpochRules { commits_last: false, ..rules() },
        EpochRules { refreshes: false, ..rules() },
        EpochRules { refreshes_all: false, ..rules() },
    ];
    for lacking in lacking {
        let noticed = walks.iter().any(|steps| walk(lacking.clone(), true, steps).is_err());
        assert!(noticed, "{lacking:?}");
    }
}
