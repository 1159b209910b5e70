//! The bounds of an epoch: which records belong to it, where it begins and ends, and when the shard's end is said.
//!
//! **Owns** the read position, what was fetched and not handed on, and how far the open epoch has come.
//!
//! **Promises**
//! - Records leave in stream order; the position moves over every one of them, whatever its content.
//! - An epoch that was pinned ends at exactly that record, with what was known of keys when it began, or not at all
//!   (CHECKPOINT).
//! - An open epoch gets no record more once it has all that it may have; after a drain nothing is handed on.
//!
//! **Fails** by refusing to go on when the stream no longer holds a pinned end.
//!
//! **Not here**: I/O, clocks, messages (`reader.rs`); what is said of each step (`facts.rs`); when an open epoch should
//! end (`committer/protocol.rs`).

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use messages::{Caution, Cut, CutReason, EpochNumber, EpochPlan, Position, RawRecord, SequenceNumber, Suspect};

use super::ReaderConfig;
use crate::ports::faults::{Faults, Mechanism};

/// A batch that holds this many bytes is handed on, and another one begun: as much may the budget be overdrawn by.
const BATCH_HELD_MAX: u64 = 8 << 20;

/// How much an epoch may hold.
#[derive(Clone, Debug)]
pub(super) struct BoundsRules {
    /// Partitions of the cleansed zone that it may touch.
    pub(super) partitions_max: usize,
    /// Readings that it may hold, valid or not.
    pub(super) rows_max: u64,
    /// A record that was tried this often is not tried again.
    pub(super) crashes_max: u32,
    /// False only in a mutant: a pinned epoch is read with what is known of keys now.
    pub(super) pins_keys: bool,
    /// False only in a mutant: a shard whose last epoch has no records never ends.
    pub(super) empty_shard_ends: bool,
}

impl BoundsRules {
    pub(super) fn new(config: &ReaderConfig, crashes_max: u32, faults: &Faults) -> Self {
        Self {
            partitions_max: config.partitions_max,
            rows_max: config.rows_max,
            crashes_max,
            pins_keys: !faults.lacks(Mechanism::PinnedKeys),
            empty_shard_ends: !faults.lacks(Mechanism::EmptyShardEnds),
        }
    }
}

/// What is known of the stream's keys. What was known when an epoch began holds to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownKeys {
    /// Whether aggregates are taken whole.
    pub(super) whole_aggregates: bool,
    /// Whether sensors are known to be on several shards.
    pub(super) spread: bool,
}

/// What the lease row says when an incarnation begins.
#[derive(Debug)]
pub(super) struct ReadBegin {
    /// Where the last epoch ended.
    pub(super) checkpoint: Position,
    /// A record right after it that another application had stopped inside.
    pub(super) begin_inside: Option<SequenceNumber>,
    /// Where a shard without a checkpoint begins, in milliseconds since 1970; none is its oldest record.
    pub(super) start_at_ms: Option<i64>,
    /// The epoch that was prepared and must be finished first.
    pub(super) pinned: Option<Box<EpochPlan>>,
    /// How carefully to read.
    pub(super) caution: Option<Caution>,
    /// Records that something died on before, after the checkpoint.
    pub(super) suspects: Vec<Suspect>,
}

/// What comes next.
#[derive(Debug, PartialEq)]
pub(super) enum ReadTurn {
    /// Nothing: there is no more to read.
    Rest,
    /// There is no room for more, until something is committed.
    NoRoom,
    /// What was fetched already.
    HandOn,
    /// The next page.
    Fetch,
}

/// Where the next page begins.
#[derive(Debug, PartialEq)]
pub(super) enum ReadFrom<'a> {
    /// With this record.
    At(&'a SequenceNumber),
    /// With the first that arrived then or later, in milliseconds since 1970.
    Since(i64),
    /// Behind this position.
    After(&'a Position),
}

/// How the next batch is to be begun.
#[derive(Debug, PartialEq)]
pub(super) enum Care {
    /// As usual.
    Usual,
    /// With nothing else in flight, and when this has been noted beyond the process.
    Noted(Suspect),
    /// With nothing else in flight; its record was tried too often, and nobody looks into it any more.
    Unread(Suspect),
}

/// What is to be told, and to whom.
#[derive(Debug, PartialEq)]
pub(super) enum ReadEffect {
    /// To the committer: the open epoch holds more. `ends`: it is to end at once, as nobody else may read meanwhile.
    Grew { bytes: u64, rows: u64, partitions: usize, ends: bool },
    /// To the committer: an epoch should end.
    Ask(CutReason),
    /// To the sensors, then to the committer: the epoch ends here.
    Cut(Cut),
}

/// The stream no longer holds the records up to a pinned end.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{to} was prepared as the end of an epoch, but the next record of the stream is {found}")]
pub struct PinnedEndMissing {
    /// The pinned end.
    pub to: Position,
    /// What stands there instead.
    pub found: Position,
}

#[derive(Debug)]
enum Phase {
    /// Towards the end of a pinned epoch.
    Pinned(Box<EpochPlan>),
    /// On and on.
    Open,
    /// No more reading.
    Draining,
}

/// The epoch that is being read.
#[derive(Debug)]
struct EpochSoFar {
    from: Position,
    partitions: BTreeSet<i64>,
    rows: u64,
    records: u64,
    keys: KnownKeys,
}

impl EpochSoFar {
    fn new(from: Position, keys: KnownKeys) -> Self {
        Self { from, partitions: BTreeSet::new(), rows: 0, records: 0, keys }
    }
}

/// The machine.
#[derive(Debug)]
pub(super) struct Bounds {
    rules: BoundsRules,
    phase: Phase,
    /// The last record that was handed on.
    position: Position,
    begin_inside: Option<SequenceNumber>,
    start_at_ms: Option<i64>,
    epoch: EpochSoFar,
    known: KnownKeys,
    caution: Option<Caution>,
    suspects: Vec<Suspect>,
    /// Records that were fetched and not handed on.
    waiting: VecDeque<RawRecord>,
    /// Whether the service said that a closed shard has nothing more.
    end_seen: bool,
    /// Whether everything before that end was handed on.
    at_end: bool,
}

impl Bounds {
    pub(super) fn new(rules: BoundsRules, begin: ReadBegin, known: KnownKeys) -> Self {
        let ReadBegin { checkpoint, begin_inside, start_at_ms, pinned, caution, suspects } = begin;
        let of_plan =
            |plan: &EpochPlan| KnownKeys { whole_aggregates: plan.cut.whole_aggregates, spread: plan.cut.spread };
        let keys = pinned.as_deref().filter(|_| rules.pins_keys).map_or(known, of_plan);
        Self {
            rules,
            phase: pinned.map_or(Phase::Open, Phase::Pinned),
            at_end: checkpoint == Position::ShardEnd,
            epoch: EpochSoFar::new(checkpoint.clone(), keys),
            position: checkpoint,
            begin_inside,
            start_at_ms,
            known,
            caution,
            suspects,
            waiting: VecDeque::new(),
            end_seen: false,
        }
    }

    /// The last record that was handed on.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Whether there is nothing to read any more, as everything was handed on.
    pub(super) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Whether records were fetched that are not handed on.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What is known of keys has perhaps changed: it holds for epochs that begin from now on.
    pub(super) fn knows(&mut self, keys: KnownKeys) {
        self.known = keys;
    }

    /// What comes next. A pinned epoch is read whatever the budget says: nothing in flight becomes free before it ends,
    /// and its bytes were in memory once already.
    pub(super) fn turn(&self, has_room: bool) -> ReadTurn {
        match self.phase {
            Phase::Draining => ReadTurn::Rest,
            _ if self.at_end => ReadTurn::Rest,
            Phase::Open if !has_room => ReadTurn::NoRoom,
            Phase::Open | Phase::Pinned(_) if self.has_waiting() => ReadTurn::HandOn,
            Phase::Open | Phase::Pinned(_) => ReadTurn::Fetch,
        }
    }

    /// Where the next page begins, if no iterator says so.
    pub(super) fn reads_from(&self) -> ReadFrom<'_> {
        match (&self.begin_inside, self.start_at_ms.filter(|_| self.position == Position::TrimHorizon)) {
            (Some(sequence), _) => ReadFrom::At(sequence),
            (None, Some(at_ms)) => ReadFrom::Since(at_ms),
            (None, None) => ReadFrom::After(&self.position),
        }
    }

    /// A page came, and whether it is the last one of the shard.
    pub(super) fn fetched(&mut self, records: Vec<RawRecord>, is_last: bool) {
        self.waiting = records.into();
        self.end_seen = is_last;
    }

    /// How the next batch is to be begun; none if nothing waits, or what waits has to go on waiting.
    pub(super) fn next_batch(&self, has_room: bool) -> Option<Care> {
        let first = self.waiting.front()?;
        let is_open = matches!(self.phase, Phase::Open);
        if self.is_full(0) || (is_open && !has_room) {
            return None;
        }
        if !self.is_strict() {
            return Some(Care::Usual);
        }
        let suspect = Suspect { sequence: first.sequence.clone(), sub_sequence: None, tries: self.tries(first) };
        Some(match suspect.tries >= self.rules.crashes_max {
            true => Care::Unread(suspect),
            false => Care::Noted(Suspect { tries: suspect.tries + 1, ..suspect }),
        })
    }

    /// A batch begins. Answers what is known of keys, from the epoch's beginning to its end.
    pub(super) fn begin_batch(&mut self) -> KnownKeys {
        if matches!(self.phase, Phase::Open) && self.position == self.epoch.from {
            // It begins now, and not when the one before ended: that may be long ago.
            self.epoch.keys = self.known;
        }
        self.epoch.keys
    }

    /// The next record of a batch that has so many readings and holds so many bytes, and whether it is taken unread; none
    /// if the batch ends here.
    pub(super) fn next_record(&mut self, rows: u64, held: u64) -> Result<Option<(RawRecord, bool)>, PinnedEndMissing> {
        if self.is_full(rows) || held >= BATCH_HELD_MAX || self.is_at_pinned_end() {
            return Ok(None);
        }
        let Some(record) = self.waiting.pop_front() else { return Ok(None) };
        let unread = self.goes_unread(&record);
        self.position = Position::At(record.sequence.clone());
        if let Phase::Pinned(plan) = &self.phase
            && self.position > plan.cut.to
        {
            return Err(PinnedEndMissing { to: plan.cut.to.clone(), found: self.position.clone() });
        }
        self.epoch.records += 1;
        self.begin_inside = None;
        Ok(Some((record, unread)))
    }

    /// The record that was taken last touches these partitions.
    pub(super) fn touches(&mut self, partitions: BTreeSet<i64>) {
        self.epoch.partitions.extend(partitions);
    }

    /// A batch of so many bytes and readings was handed on.
    pub(super) fn handed_on(&mut self, bytes: u64, rows: u64) -> ReadEffect {
        self.epoch.rows += rows;
        let (partitions, ends) = (self.epoch.partitions.len(), self.is_strict());
        self.pinned_end().unwrap_or(ReadEffect::Grew { bytes, rows, partitions, ends })
    }

    /// While there is caution, records that wait for the open epoch to end must not wait for its age.
    pub(super) fn asks_for_more(&self) -> Option<ReadEffect> {
        (self.caution.is_some() && self.has_waiting()).then_some(ReadEffect::Ask(CutReason::Bytes))
    }

    /// A pinned epoch whose end is reached ends there: one without records where it begins, as no record will tell.
    pub(super) fn pinned_end(&mut self) -> Option<ReadEffect> {
        if self.is_at_pinned_end() { self.finish_pinned() } else { None }
    }

    /// Whether the last record before the shard's end was handed on.
    pub(super) fn is_read_out(&self) -> bool {
        self.end_seen && !self.has_waiting()
    }

    /// The shard has been read out.
    pub(super) fn end_shard(&mut self) -> Result<Option<ReadEffect>, PinnedEndMissing> {
        self.at_end = true;
        match &self.phase {
            Phase::Pinned(plan) if plan.cut.to == Position::ShardEnd => Ok(self.finish_pinned()),
            Phase::Pinned(plan) => Err(PinnedEndMissing { to: plan.cut.to.clone(), found: Position::ShardEnd }),
            Phase::Open if !self.rules.empty_shard_ends && self.position == self.epoch.from => Ok(None),
            Phase::Open | Phase::Draining => Ok(Some(ReadEffect::Ask(CutReason::ShardEnd))),
        }
    }

    /// The committer ends the epoch: after the last record that was handed on, or with the shard.
    pub(super) fn cut(&mut self, epoch: EpochNumber, reason: CutReason, full_state: bool) -> ReadEffect {
        let (from, position) = (self.epoch.from.clone(), self.position.clone());
        let KnownKeys { whole_aggregates, spread } = self.epoch.keys;
        let (to, reason) = if self.at_end { (Position::ShardEnd, CutReason::ShardEnd) } else { (position, reason) };
        let full_state = full_state || self.at_end;
        self.end(Cut { epoch, from, to, reason, full_state, whole_aggregates, spread })
    }

    /// No more is read. A pinned epoch is not finished on the way out: the next owner does, and nothing is lost by
    /// waiting.
    pub(super) fn drain(&mut self) -> ReadEffect {
        self.phase = Phase::Draining;
        self.waiting.clear();
        ReadEffect::Ask(CutReason::Shutdown)
    }

    fn finish_pinned(&mut self) -> Option<ReadEffect> {
        let Phase::Pinned(plan) = &self.phase else { return None };
        let cut = plan.cut.clone();
        self.phase = Phase::Open;
        Some(self.end(cut))
    }

    fn end(&mut self, cut: Cut) -> ReadEffect {
        let records = std::mem::replace(&mut self.epoch, EpochSoFar::new(cut.to.clone(), self.known)).records;
        if let Some(caution) = &mut self.caution {
            caution.lasts = caution.lasts.saturating_sub(records);
            self.caution = (caution.lasts > 0).then_some(*caution);
        }
        ReadEffect::Cut(cut)
    }

    /// Whether the open epoch has all that it may have. A pinned one ends where it ends.
    fn is_full(&self, rows: u64) -> bool {
        let (epoch, rules) = (&self.epoch, &self.rules);
        let full = epoch.partitions.len() >= rules.partitions_max || epoch.rows + rows >= rules.rows_max;
        let cautious = self.caution.is_some_and(|caution| epoch.records >= caution.records_max);
        matches!(self.phase, Phase::Open) && (full || cautious)
    }

    fn is_at_pinned_end(&self) -> bool {
        matches!(&self.phase, Phase::Pinned(plan) if plan.cut.to == self.position)
    }

    /// Whether records are tried one by one, each noted before.
    fn is_strict(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.caution.is_some_and(Caution::is_strict)
    }

    fn tries(&self, record: &RawRecord) -> u32 {
        let is_it = |suspect: &&Suspect| suspect.sequence == record.sequence && suspect.sub_sequence.is_none();
        self.suspects.iter().find(is_it).map_or(0, |suspect| suspect.tries)
    }

    /// Whether a record was tried too often, or is in quarantine as a whole in the epoch that is written again.
    fn goes_unread(&self, record: &RawRecord) -> bool {
        match &self.phase {
            Phase::Pinned(plan) => {
                plan.poisoned.iter().any(|(sequence, sub)| *sequence == record.sequence && sub.is_none())
            }
            Phase::Open | Phase::Draining => self.is_strict() && self.tries(record) >= self.rules.crashes_max,
        }
    }
}
