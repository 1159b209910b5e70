//! GOAL    Whatever happens in whatever order, every record is in exactly one epoch, epochs follow on each other, none has
//!         more than it may, a pinned one comes out the same, and a shard that has ended says so (CHECKPOINT, LIVE).
//! METHOD  A model of stream, committer and row; random steps with pages, cuts, drains, changing keys, deaths, prepared
//!         epochs and caution. Bounds without one of their mechanisms are noticed by the same walk.

use std::collections::BTreeSet;

use messages::{Caution, Cut, CutReason, EpochNumber, Position};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::{Bounds, BoundsRules, KnownKeys, ReadBegin, ReadEffect, ReadTurn};
use super::{BY_KEY, ROWS_MAX, begin, plan, record, rules};

#[derive(Clone, Debug)]
enum Step {
    /// Producers send so many records, each with so many readings.
    Send(u64, u64),
    /// The reader's timer: with or without room in the budget.
    Poll(bool),
    /// The committer ends the open epoch.
    Cut,
    /// The epoch that was cut last is pinned.
    Prepare,
    /// The epoch that was pinned is committed.
    Commit,
    Keys(bool),
    CloseShard,
    Drain,
    /// Everything begins again from the row, perhaps with caution.
    Die(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u64..15, 0u64..4).prop_map(|(records, rows)| Step::Send(records, rows)),
        10 => prop::bool::weighted(0.8).prop_map(Step::Poll),
        5 => Just(Step::Cut),
        5 => Just(Step::Prepare),
        4 => Just(Step::Commit),
        2 => any::<bool>().prop_map(Step::Keys),
        1 => Just(Step::CloseShard),
        1 => Just(Step::Drain),
        3 => (0u32..5).prop_map(Step::Die),
    ]
}

struct World {
    rules: BoundsRules,
    /// How many readings each record has, from record 1 on.
    stream: Vec<u64>,
    is_closed: bool,
    keys: KnownKeys,
    /// The row: the checkpoint, its epoch, and the cut that is pinned.
    checkpoint: Position,
    epoch: u64,
    pinned: Option<Cut>,
    bounds: Bounds,
    caution: Option<Caution>,
    is_draining: bool,
    /// Whether the pinned epoch is still being read again.
    reads_pinned: bool,
    /// What this incarnation has of the open epoch: its last record, records, readings, keys.
    last: u64,
    records: u64,
    rows: u64,
    epoch_keys: Option<KnownKeys>,
    /// The end of the last cut of this incarnation, and cuts that are not prepared.
    from: Position,
    cuts: Vec<Cut>,
    wants: Option<CutReason>,
}

type Walked = Result<(), String>;

fn number(position: &Position) -> u64 {
    match position {
        Position::At(sequence) => sequence.as_str().parse().unwrap(),
        Position::TrimHorizon | Position::ShardEnd => 0,
    }
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Walked {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    fn new(rules: BoundsRules) -> Self {
        let bounds = Bounds::new(rules.clone(), begin(Position::TrimHorizon), BY_KEY);
        Self {
            rules,
            stream: Vec::new(),
            is_closed: false,
            keys: BY_KEY,
            checkpoint: Position::TrimHorizon,
            epoch: 0,
            pinned: None,
            bounds,
            caution: None,
            is_draining: false,
            reads_pinned: false,
            last: 0,
            records: 0,
            rows: 0,
            epoch_keys: None,
            from: Position::TrimHorizon,
            cuts: Vec::new(),
            wants: None,
        }
    }

    fn die(&mut self, tries: u32) {
        self.caution = Caution::after(tries).map(|caution| Caution { lasts: caution.lasts.min(10), ..caution });
        let pinned = self.pinned.clone().map(|cut| Box::new(plan(cut, &[])));
        let begin = ReadBegin { pinned, caution: self.caution, ..begin(self.checkpoint.clone()) };
        self.bounds = Bounds::new(self.rules.clone(), begin, self.keys);
        (self.is_draining, self.reads_pinned) = (false, self.pinned.is_some());
        self.last = number(&self.checkpoint);
        (self.records, self.rows, self.epoch_keys) = (0, 0, None);
        (self.from, self.cuts, self.wants) = (self.checkpoint.clone(), Vec::new(), None);
    }

    fn step(&mut self, step: &Step) -> Walked {
        match step {
            Step::Send(records, rows) if !self.is_closed => {
                self.stream.extend((0..*records).map(|_| *rows));
                Ok(())
            }
            Step::Send(..) => Ok(()),
            Step::Poll(has_room) => self.poll(*has_room),
            Step::Cut => self.cut(CutReason::Age),
            Step::Prepare => {
                self.prepare();
                Ok(())
            }
            Step::Commit => {
                self.commit();
                Ok(())
            }
            Step::Keys(spread) => {
                self.keys = KnownKeys { whole_aggregates: *spread, spread: *spread };
                Ok(())
            }
            Step::CloseShard => {
                self.is_closed = true;
                Ok(())
            }
            Step::Drain => {
                self.is_draining = true;
                let effect = self.bounds.drain();
                self.meet(effect)
            }
            Step::Die(tries) => {
                self.die(*tries);
                Ok(())
            }
        }
    }

    fn prepare(&mut self) {
        if self.pinned.is_none() && !self.cuts.is_empty() {
            self.pinned = Some(self.cuts.remove(0));
        }
    }

    fn commit(&mut self) {
        // A pinned epoch is committed by an incarnation that has read it to its end.
        if !self.reads_pinned
            && let Some(cut) = self.pinned.take()
        {
            (self.checkpoint, self.epoch) = (cut.to, self.epoch + 1);
        }
    }

    /// The committer does not cut while a pinned epoch is read, nor a second time before the first is prepared.
    fn cut(&mut self, reason: CutReason) -> Walked {
        if self.reads_pinned || !self.cuts.is_empty() || self.from == Position::ShardEnd {
            return Ok(());
        }
        self.wants = None;
        self.bounds.knows(self.keys);
        let epoch = EpochNumber(self.epoch + 1 + u64::from(self.pinned.is_some()));
        let effect = self.bounds.cut(epoch, reason, false);
        self.meet(effect)
    }

    fn poll(&mut self, has_room: bool) -> Walked {
        if let Some(effect) = self.bounds.pinned_end() {
            self.meet(effect)?;
        }
        match self.bounds.turn(has_room) {
            ReadTurn::Rest => return Ok(()),
            ReadTurn::NoRoom => self.wants = Some(CutReason::Bytes),
            ReadTurn::HandOn => self.hand_on(has_room)?,
            ReadTurn::Fetch => {
                let after = number(self.bounds.position());
                let page = (after + 1..=self.stream.len() as u64).take(12).map(record).collect::<Vec<_>>();
                let is_last = self.is_closed && after as usize + page.len() == self.stream.len();
                self.bounds.fetched(page, is_last);
                self.hand_on(has_room)?;
            }
        }
        if self.bounds.is_read_out() {
            let effect = self.bounds.end_shard().map_err(|error| error.to_string())?;
            return effect.map_or(Ok(()), |effect| self.meet(effect));
        }
        Ok(())
    }

    fn hand_on(&mut self, mut has_room: bool) -> Walked {
        self.bounds.knows(self.keys);
        while self.bounds.next_batch(has_room).is_some() {
            let keys = self.bounds.begin_batch();
            let mut rows = 0;
            while let Some((record, _)) = self.bounds.next_record(rows, rows).map_err(|error| error.to_string())? {
                let n = record.sequence.as_str().parse().unwrap();
                self.receives(n, keys)?;
                rows += self.stream[n as usize - 1];
                self.bounds.touches(BTreeSet::from([0]));
            }
            let effect = self.bounds.handed_on(rows, rows);
            self.meet(effect)?;
            has_room = !has_room;
        }
        Ok(())
    }

    fn receives(&mut self, n: u64, keys: KnownKeys) -> Walked {
        expect(!self.is_draining, || format!("record {n} after a drain"))?;
        expect(n == self.last + 1, || format!("record {n} follows on {}", self.last))?;
        let records_max = self.caution.map_or(u64::MAX, |caution| caution.records_max);
        let is_full = self.rows >= ROWS_MAX || self.records >= records_max;
        expect(self.reads_pinned || !is_full, || format!("record {n} is one too many"))?;
        let of_epoch = *self.epoch_keys.get_or_insert(keys);
        expect(of_epoch == keys, || format!("at record {n} other keys hold in the same epoch"))?;
        (self.last, self.records, self.rows) = (n, self.records + 1, self.rows + self.stream[n as usize - 1]);
        Ok(())
    }

    fn meet(&mut self, effect: ReadEffect) -> Walked {
        let cut = match effect {
            ReadEffect::Grew { ends, .. } => {
                self.wants = if ends { Some(CutReason::Bytes) } else { self.wants };
                return Ok(());
            }
            ReadEffect::Ask(reason) => {
                self.wants = Some(reason);
                return Ok(());
            }
            ReadEffect::Cut(cut) => cut,
        };
        expect(cut.from == self.from, || format!("{cut:?} does not begin at {}", self.from))?;
        let ends = cut.to == Position::ShardEnd;
        expect(ends || number(&cut.to) == self.last, || format!("{cut:?}, and {} was handed on", self.last))?;
        let all = self.is_closed && self.last as usize == self.stream.len();
        expect(!ends || all, || format!("{cut:?} before the end"))?;
        let keys = KnownKeys { whole_aggregates: cut.whole_aggregates, spread: cut.spread };
        let same = self.epoch_keys.is_none_or(|of_records| of_records == keys);
        expect(same, || format!("{cut:?} has other keys than its records"))?;
        match std::mem::take(&mut self.reads_pinned) {
            true => {
                expect(self.pinned.as_ref() == Some(&cut), || format!("{:?} was pinned, {cut:?} came", self.pinned))?
            }
            false => self.cuts.push(cut.clone()),
        }
        if let Some(caution) = &mut self.caution {
            caution.lasts = caution.lasts.saturating_sub(self.records);
            self.caution = (caution.lasts > 0).then_some(*caution);
        }
        (self.from, self.records, self.rows, self.epoch_keys) = (cut.to, 0, 0, None);
        Ok(())
    }

    /// After all that, the shard is closed and a committer does what it is asked for: all of it is in epochs.
    fn comes_to_its_end(&mut self) -> Walked {
        self.is_closed = true;
        if self.is_draining {
            self.die(0);
        }
        for _ in 0..self.stream.len() + 20 {
            self.poll(true)?;
            if self.wants.is_some() || self.bounds.has_waiting() {
                self.cut(self.wants.unwrap_or(CutReason::Rows))?;
            }
            self.prepare();
            self.commit();
        }
        expect(self.checkpoint == Position::ShardEnd, || format!("it rests at {}", self.checkpoint))
    }
}

fn walk(rules: BoundsRules, steps: &[Step]) -> Walked {
    let mut world = World::new(rules);
    steps.iter().try_for_each(|step| world.step(step))?;
    world.comes_to_its_end()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_order_keeps_the_bounds(steps in prop::collection::vec(step(), 0..120)) {
        prop_assert_eq!(walk(rules(), &steps), Ok(()));
    }
}

#[test]
fn bounds_that_lack_a_mechanism_are_noticed() {
    let mut runner = TestRunner::deterministic();
    let walks: Vec<Vec<Step>> =
        (0..200).map(|_| prop::collection::vec(step(), 60..120).new_tree(&mut runner).unwrap().current()).collect();
    for lacking in [BoundsRules { pins_keys: false, ..rules() }, BoundsRules { empty_shard_ends: false, ..rules() }] {
        let noticed = walks.iter().any(|steps| walk(lacking.clone(), steps).is_err());
        assert!(noticed, "{lacking:?}");
    }
}
