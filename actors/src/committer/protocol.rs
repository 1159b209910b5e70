//! The epoch protocol of one shard as a state machine: events in, at most one effect out.
//!
//! **Owns** when an epoch ends, and the order of its steps: cut, prepare, upload, commit. ARCHITECTURE.md shows the table
//! of stages and events, which a test holds against this file.
//!
//! **Promises**
//! - A commit needs a [`CommitPermit`], and only an upload of what was prepared makes one (CHECKPOINT).
//! - At most one epoch is between its cut and its commit.
//! - An epoch that was pinned by an earlier incarnation is finished with the same plan, or not at all.
//! - No state that a start reads again gets older than `refresh_after` and an epoch, whatever is read: an epoch is cut for
//!   it though it has no records (BOUNDED).
//! - After a release nothing more is written.
//!
//! **Fails** by refusing an event that is out of order, and stays refusing: the next incarnation begins from the lease row.
//!
//! **Not here**: I/O, clocks, messages (`committer.rs`); what is said of each step (`facts.rs`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use messages::{CutReason, EpochNumber, EpochPlan, Position, Receipts, ShardId};

use super::CommitterConfig;
use crate::hash_key;
use crate::ports::faults::{Faults, Mechanism};
use crate::verdict::FailureVerdict;

/// When epochs end, and which steps they take.
#[derive(Clone, Debug)]
pub(super) struct EpochRules {
    /// An epoch ends when its first record is this old.
    pub(super) age_max: Duration,
    /// The first epoch of an incarnation ends when its first record is this old: shards that began at the same moment,
    /// as after a roll-out, then end their epochs at different ones.
    pub(super) first_age_max: Duration,
    /// An epoch ends when its records have this many bytes.
    pub(super) bytes_max: u64,
    /// An epoch ends when it touches this many partitions.
    pub(super) partitions_max: usize,
    /// An epoch ends when it holds this many readings, valid or not.
    pub(super) rows_max: u64,
    /// Every how many epochs the state object holds every sensor.
    pub(super) full_state_every: u64,
    /// All states are written anew when the oldest that a start would read is this old.
    pub(super) refresh_after: Duration,
    /// False only in a mutant: states get as old as they may.
    pub(super) refreshes: bool,
    /// False only in a mutant: an epoch is cut for them, and has what changed.
    pub(super) refreshes_all: bool,
    /// False only in a mutant: a child leans on its parents' states until it has records.
    pub(super) child_leans_off: bool,
    /// False only in a mutant: epochs are not pinned before they are uploaded.
    pub(super) prepares: bool,
    /// False only in a mutant: the checkpoint moves before the upload.
    pub(super) commits_last: bool,
}

impl EpochRules {
    pub(super) fn new(config: &CommitterConfig, shard: &ShardId, faults: &Faults) -> Self {
        // Between a half and the whole, by the shard alone: which shards meet is no matter of luck.
        let share = (hash_key(shard.as_str()) >> 96) as f64 / f64::from(u32::MAX);
        Self {
            age_max: config.age_max,
            first_age_max: config.age_max.mul_f64((1.0 + share) / 2.0),
            bytes_max: config.bytes_max,
            partitions_max: config.partitions_max,
            rows_max: config.rows_max,
            full_state_every: config.full_state_every,
            // Sooner by up to a quarter, for the same reason.
            refresh_after: config.refresh_after.mul_f64((3.0 + share) / 4.0),
            refreshes: !faults.lacks(Mechanism::StatesRefreshed),
            refreshes_all: !faults.lacks(Mechanism::RefreshIsWhole),
            child_leans_off: !faults.lacks(Mechanism::ChildLeansOff),
            prepares: !faults.lacks(Mechanism::Prepare),
            commits_last: !faults.lacks(Mechanism::CommitLast),
        }
    }

    /// How long after its begin an incarnation writes all states anew, whatever is read. A shard that has nothing but what
    /// its parents have left does so as soon as its first record would make it: it leans on their objects no longer.
    fn refresh_at(&self, begin: &Begin) -> Duration {
        match begin.states_age {
            _ if !self.refreshes => Duration::MAX,
            None if begin.pinned.is_none() => Duration::MAX,
            // Its first states are those of the pinned epoch, perhaps stored already.
            None => self.refresh_after,
            Some(_) if begin.epoch == EpochNumber(0) && self.child_leans_off => self.first_age_max,
            Some(age) => self.refresh_after.saturating_sub(age),
        }
    }
}

/// What the lease row says when an incarnation begins.
#[derive(Debug)]
pub(super) struct Begin {
    /// The last committed epoch.
    pub(super) epoch: EpochNumber,
    /// Where it ended.
    pub(super) checkpoint: Position,
    /// The plan of an epoch that was prepared and not committed.
    pub(super) pinned: Option<Box<EpochPlan>>,
    /// Epochs whose alerts are being sent again, oldest first.
    pub(super) unsettled: VecDeque<(EpochNumber, Receipts)>,
    /// How long ago the oldest state was stored that was read for it, its own or its parents'; none if there was none.
    pub(super) states_age: Option<Duration>,
    /// Records that are to be prepared with caution.
    pub(super) cautious_for: u64,
}

/// What happens to a shard's epochs.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// There is a reader that can be asked for cuts.
    Attached,
    /// Records were handed on: their bytes, their readings, and the partitions of the open epoch since its cut.
    Progress { bytes: u64, rows: u64, partitions: usize },
    /// Whether windows have changed that no epoch has written yet, as of the last cut.
    Windows { unwritten: bool },
    /// Somebody wants the open epoch to end.
    Wanted(CutReason),
    /// The worker is waiting for a commit to prove itself by: the next epoch ends as soon as it holds anything.
    Hurried,
    /// The reader has ended the epoch: progress that follows belongs to the next one.
    WasCut,
    /// The epoch that was cut is encoded.
    Planned(Box<EpochPlan>, Receipts),
    /// The plan is pinned on the lease row.
    Prepared,
    /// Every object of the epoch is stored, the manifest last.
    Uploaded(EpochNumber),
    /// The checkpoint has moved.
    Committed,
    /// Some time has passed.
    Tick,
}

/// What is to be done next. Its outcome, where it has one, comes back as an event.
#[derive(Debug)]
pub(super) enum Effect {
    /// Ask the reader to end the epoch. Comes back as `WasCut`, and then as `Planned`.
    Cut { epoch: EpochNumber, reason: CutReason, full_state: bool },
    /// Pin the plan on the lease row. Comes back as `Prepared`.
    Prepare { plan: Arc<EpochPlan>, cautious: bool },
    /// The plan is pinned already, by an earlier incarnation. Comes back as `Prepared`.
    Finish(Arc<EpochPlan>),
    /// Have the objects stored. Comes back as `Uploaded`.
    Upload(EpochNumber),
    /// Move the checkpoint. Comes back as `Committed`.
    Commit(CommitPermit),
    /// Give the lease back.
    Release { alerts_through: EpochNumber },
}

/// The right to move the checkpoint to the end of one epoch. Nothing outside this file makes one.
#[derive(Debug)]
pub(super) struct CommitPermit {
    plan: Arc<EpochPlan>,
    alerts_through: EpochNumber,
}

impl CommitPermit {
    /// What was uploaded.
    pub(super) fn plan(&self) -> &EpochPlan {
        &self.plan
    }

    /// The last epoch up to which every alert was handed over.
    pub(super) fn alerts_through(&self) -> EpochNumber {
        self.alerts_through
    }
}

/// An event that does not fit the protocol.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The content of a prepared epoch came out differently.
    #[error(
        "epoch {epoch} was prepared with other content ({what}); nothing was uploaded. Schema and limits then {pinned}, now {now}: \
         if they differ, or Mangrove is another version, start once with those of then to finish it"
    )]
    Diverged {
        /// The epoch.
        epoch: EpochNumber,
        /// Schema fingerprint that was pinned.
        pinned: String,
        /// Schema fingerprint now.
        now: String,
        /// The first difference.
        what: String,
    },
    /// An actor reported something that does not fit the protocol.
    #[error("out of order: {0}")]
    OutOfOrder(&'static str),
}

impl ProtocolError {
    pub(super) fn verdict(&self) -> FailureVerdict {
        match self {
            // Where the configuration differs, a worker that still has the other one can finish the epoch.
            Self::Diverged { pinned, now, .. } if pinned == now => FailureVerdict::Final,
            Self::Diverged { .. } | Self::OutOfOrder(_) => FailureVerdict::Restart,
        }
    }
}

/// The epoch that is being read.
#[derive(Debug, Default)]
struct OpenEpoch {
    since: Option<Duration>,
    bytes: u64,
    rows: u64,
    partitions: usize,
}

/// Where the epoch before the open one is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Committed.
    Idle,
    /// Cut; its actors are completing it.
    Cut,
    /// Its plan is being pinned.
    Preparing(Arc<EpochPlan>, Receipts),
    /// Prepared; the sinks are uploading it.
    Uploading(Arc<EpochPlan>, Receipts),
    /// Uploaded; the checkpoint is being moved.
    Committing(Arc<EpochPlan>),
    /// The shard has been given up, or is being given up.
    Released,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Protocol {
    rules: EpochRules,
    /// When the open epoch ends of its age.
    age_max: Duration,
    epoch: EpochNumber,
    checkpoint: Position,
    pinned: Option<Box<EpochPlan>>,
    attached: bool,
    open: OpenEpoch,
    stage: Stage,
    /// What to cut for as soon as the epoch under way is committed.
    wanted: Option<CutReason>,
    hurried: bool,
    draining: bool,
    unwritten_windows: bool,
    cautious_for: u64,
    /// When all states are written anew.
    refresh_at: Duration,
    /// Committed epochs whose alerts are still on their way, oldest first.
    unsettled: VecDeque<(EpochNumber, Receipts)>,
}

type Effects = Result<Option<Effect>, ProtocolError>;

impl Protocol {
    pub(super) fn new(rules: EpochRules, begin: Begin) -> Self {
        let refresh_at = rules.refresh_at(&begin);
        let Begin { epoch, checkpoint, pinned, unsettled, cautious_for, states_age: _ } = begin;
        Self {
            age_max: rules.first_age_max,
            refresh_at,
            rules,
            epoch,
            checkpoint,
            // A pinned epoch counts as cut: nothing else may be cut before it is committed.
            stage: if pinned.is_some() { Stage::Cut } else { Stage::Idle },
            pinned,
            attached: false,
            open: OpenEpoch::default(),
            wanted: None,
            hurried: false,
            draining: false,
            unwritten_windows: false,
            cautious_for,
            unsettled,
        }
    }

    /// What follows from an event. `now` is the time since the incarnation has begun.
    pub(super) fn on(&mut self, event: Event, now: Duration) -> Effects {
        match event {
            Event::Attached => {
                self.attached = true;
                Ok(self.go_on(now))
            }
            Event::Progress { bytes, rows, partitions } => Ok(self.on_progress((bytes, rows, partitions), now)),
            Event::Windows { unwritten } => {
                self.unwritten_windows = unwritten;
                Ok(None)
            }
            Event::Wanted(reason) => Ok(self.on_wanted(reason, now)),
            Event::Hurried => {
                self.hurried = true;
                Ok(self.go_on(now))
            }
            Event::WasCut => {
                self.open = OpenEpoch::default();
                Ok(None)
            }
            Event::Planned(plan, receipts) => self.on_planned(plan, receipts),
            Event::Prepared => self.on_prepared(),
            Event::Uploaded(epoch) => self.on_uploaded(epoch, now),
            Event::Committed => self.on_committed(now),
            Event::Tick => Ok(self.go_on(now)),
        }
    }

    /// The number of the epoch that is being read, or cut.
    pub(super) fn next_epoch(&self) -> EpochNumber {
        self.epoch.next()
    }

    /// Whether the shard was closed and all of it is committed.
    pub(super) fn has_ended(&self) -> bool {
        self.checkpoint == Position::ShardEnd
    }

    #[cfg(test)]
    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    fn on_progress(&mut self, (bytes, rows, partitions): (u64, u64, usize), now: Duration) -> Option<Effect> {
        let open = &mut self.open;
        open.since.get_or_insert(now);
        open.bytes += bytes;
        open.rows += rows;
        open.partitions = partitions;
        self.cut_if_due(now)
    }

    fn on_wanted(&mut self, reason: CutReason, now: Duration) -> Option<Effect> {
        match reason {
            CutReason::ShardEnd => self.wanted = Some(reason),
            CutReason::Shutdown => {
                self.draining = true;
                // A pinned epoch that is not read to its end stays prepared for the next owner.
                if self.pinned.is_some() && matches!(self.stage, Stage::Cut) {
                    return self.release();
                }
            }
            CutReason::Age | CutReason::Bytes | CutReason::Partitions | CutReason::Rows => {
                return self.open.since.and_then(|_| self.cut(reason, now));
            }
        }
        self.go_on(now)
    }

    fn on_planned(&mut self, plan: Box<EpochPlan>, receipts: Receipts) -> Effects {
        match self.stage {
            Stage::Cut => {}
            // Given up while a pinned epoch was being read again: the next owner finishes it.
            Stage::Released => return Ok(None),
            _ => return Err(ProtocolError::OutOfOrder("an epoch was planned that was not cut")),
        }
        if plan.cut.epoch != self.next_epoch() {
            return Err(ProtocolError::OutOfOrder("another epoch was planned than the one that was cut"));
        }
        if plan.cut.from != self.checkpoint || plan.cut.to < self.checkpoint {
            return Err(ProtocolError::OutOfOrder("an epoch does not begin where the checkpoint stands"));
        }
        let plan = Arc::new(*plan);
        if let Some(pinned) = &self.pinned {
            same_as(pinned, &plan)?;
            self.stage = Stage::Preparing(plan.clone(), receipts);
            return Ok(Some(Effect::Finish(plan)));
        }
        self.cautious_for = self.cautious_for.saturating_sub(plan.records);
        self.stage = Stage::Preparing(plan.clone(), receipts);
        if !self.rules.prepares {
            return self.on_prepared();
        }
        Ok(Some(Effect::Prepare { plan, cautious: self.cautious_for > 0 }))
    }

    fn on_prepared(&mut self) -> Effects {
        let Stage::Preparing(plan, receipts) = self.take_stage() else {
            return Err(ProtocolError::OutOfOrder("an epoch was prepared that was not planned"));
        };
        let epoch = plan.cut.epoch;
        self.stage = Stage::Uploading(plan.clone(), receipts);
        if !self.rules.commits_last {
            return Ok(Some(Effect::Commit(CommitPermit { alerts_through: self.alerts_through(epoch), plan })));
        }
        Ok(Some(Effect::Upload(epoch)))
    }

    fn on_uploaded(&mut self, epoch: EpochNumber, now: Duration) -> Effects {
        let Stage::Uploading(plan, receipts) = self.take_stage() else {
            return Err(ProtocolError::OutOfOrder("an epoch was uploaded that was not prepared"));
        };
        if plan.cut.epoch != epoch {
            return Err(ProtocolError::OutOfOrder("another epoch was uploaded than the prepared one"));
        }
        self.unsettled.push_back((epoch, receipts));
        let alerts_through = self.alerts_through(epoch);
        self.stage = Stage::Committing(plan.clone());
        if !self.rules.commits_last {
            return self.on_committed(now);
        }
        Ok(Some(Effect::Commit(CommitPermit { plan, alerts_through })))
    }

    fn on_committed(&mut self, now: Duration) -> Effects {
        match self.take_stage() {
            Stage::Committing(plan) => {
                self.stage = Stage::Idle;
                // What was waited for.
                self.hurried = false;
                self.checkpoint = plan.cut.to.clone();
                self.epoch = plan.cut.epoch;
                self.pinned = None;
                Ok(self.go_on(now))
            }
            // Of the mutant that moves the checkpoint before the upload.
            Stage::Uploading(plan, receipts) if !self.rules.commits_last => {
                let epoch = plan.cut.epoch;
                self.stage = Stage::Uploading(plan, receipts);
                Ok(Some(Effect::Upload(epoch)))
            }
            _ => Err(ProtocolError::OutOfOrder("an epoch was committed that was not uploaded")),
        }
    }

    /// After a commit, or a wish: cut for what was wanted, or release if there is nothing left to do.
    fn go_on(&mut self, now: Duration) -> Option<Effect> {
        if !matches!(self.stage, Stage::Idle) {
            return None;
        }
        if self.has_ended() {
            self.wanted = None;
            // Nothing will write the row again: it is kept until every alert has left.
            let settled = self.alerts_through(self.epoch) == self.epoch;
            return if self.draining || settled { self.release() } else { None };
        }
        if let Some(reason) = self.wanted {
            return self.cut(reason, now);
        }
        if self.draining {
            // Judged only now: what is on its way may change windows until the epoch before is committed.
            let holds_something = self.open.since.is_some() || self.unwritten_windows;
            return if holds_something { self.cut(CutReason::Shutdown, now) } else { self.release() };
        }
        self.cut_if_due(now)
    }

    fn cut_if_due(&mut self, now: Duration) -> Option<Effect> {
        let (open, rules) = (&self.open, &self.rules);
        let reason = if open.partitions >= rules.partitions_max {
            CutReason::Partitions
        } else if open.rows >= rules.rows_max {
            CutReason::Rows
        } else if open.bytes >= rules.bytes_max {
            CutReason::Bytes
        } else if now >= self.refresh_at {
            // By its age as well: another reason would be one that the release beside this one does not know.
            CutReason::Age
        } else if open.since.is_some_and(|since| self.hurried || now.saturating_sub(since) >= self.age_max) {
            CutReason::Age
        } else {
            return None;
        };
        self.cut(reason, now)
    }

    fn cut(&mut self, reason: CutReason, now: Duration) -> Option<Effect> {
        if !self.attached || !matches!(self.stage, Stage::Idle) {
            return None;
        }
        (self.wanted, self.hurried, self.age_max) = (None, false, self.rules.age_max);
        let epoch = self.next_epoch();
        // The first one holds what a child shard has from its parents.
        let full_state = epoch.0 == 1 || epoch.0.is_multiple_of(self.rules.full_state_every.max(1));
        let is_refresh = now >= self.refresh_at;
        let full_state = full_state || reason == CutReason::ShardEnd || (is_refresh && self.rules.refreshes_all);
        if (full_state || is_refresh) && self.rules.refreshes {
            self.refresh_at = now.saturating_add(self.rules.refresh_after);
        }
        self.stage = Stage::Cut;
        Some(Effect::Cut { epoch, reason, full_state })
    }

    fn release(&mut self) -> Option<Effect> {
        let alerts_through = self.alerts_through(self.epoch);
        self.stage = Stage::Released;
        Some(Effect::Release { alerts_through })
    }

    /// The last epoch up to which every alert was handed over.
    fn alerts_through(&mut self, last: EpochNumber) -> EpochNumber {
        while self.unsettled.front().is_some_and(|(_, receipts)| receipts.outstanding() == 0) {
            self.unsettled.pop_front();
        }
        self.unsettled.front().map_or(last, |(epoch, _)| EpochNumber(epoch.0 - 1))
    }

    /// Takes the stage out; an event that finds another one than it needs leaves the machine released, so that it does
    /// nothing more.
    fn take_stage(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Released)
    }
}

/// A prepared epoch is finished as it was pinned.
fn same_as(pinned: &EpochPlan, plan: &EpochPlan) -> Result<(), ProtocolError> {
    let Some(what) = first_difference(pinned, plan) else { return Ok(()) };
    let (pinned, now) = (pinned.schema.clone(), plan.schema.clone());
    Err(ProtocolError::Diverged { epoch: plan.cut.epoch, pinned, now, what })
}

/// What differs between the plan that was pinned and the one that came out; none if they promise the same.
fn first_difference(pinned: &EpochPlan, now: &EpochPlan) -> Option<String> {
    if pinned == now {
        return None;
    }
    if pinned.schema != now.schema {
        return Some("the schema or a limit was changed in between".to_owned());
    }
    if pinned.cut != now.cut {
        return Some(format!("cut {:?} against {:?}", pinned.cut, now.cut));
    }
    let pairs = pinned.objects.iter().zip(&now.objects);
    let object = pairs.into_iter().find(|(a, b)| a != b).map(|(a, b)| format!("object {} against {}", a.key, b.key));
    let counts = || {
        let of = |p: &EpochPlan| (p.objects.len(), p.records, p.clean, p.quarantined, p.duplicates, p.alerts);
        format!("objects, records, clean, quarantined, duplicates, alerts {:?} against {:?}", of(pinned), of(now))
    };
    Some(object.unwrap_or_else(counts))
}
