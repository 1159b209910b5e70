//! Cuts the epochs of one shard and moves its checkpoint; the only one that does.
//!
//! **Owns** the shard's lease row and the decision when an epoch ends.
//!
//! **Promises**
//! - The checkpoint only grows, and all up to it is durable (CHECKPOINT): prepare, upload, commit, in this order.
//! - At most one epoch is between its cut and its commit; the next one grows meanwhile.
//! - A prepared epoch is finished as it was pinned, or not at all: other content is an alarm, never an upload.
//! - Whoever lost the lease changes nothing (OWNER).
//!
//! **Fails** by stopping; the shard's next incarnation finds on the row what was prepared, and finishes it.
//!
//! **Not here**: what is in an epoch, encoding, uploading.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use messages::{Caution, CommitterMsg, CutReason, EpochNumber, EpochPlan, Position, ReaderMsg, Receipts, SinksMsg};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, error, info};

use crate::metrics;
use crate::node::{Address, Node};
use crate::ports::faults::Mechanism;
use crate::ports::leases::{Lease, LeaseError};
use crate::shard::{Failing, ShardContext};
use crate::traces::SpanKind;

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct CommitterConfig {
    /// An epoch ends when its first record is this old.
    pub age_max: Duration,
    /// An epoch ends when its records have this many bytes.
    pub bytes_max: u64,
    /// An epoch ends when it touches this many partitions.
    pub partitions_max: usize,
    /// An epoch ends when it holds this many readings, valid or not.
    pub rows_max: u64,
    /// Every how many epochs the state object holds every sensor.
    pub full_state_every: u64,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct CommitterArgs {
    /// Who the shard is.
    pub context: ShardContext,
    /// The lease, as taken.
    pub lease: Lease,
    /// How carefully the shard is read.
    pub caution: Option<Caution>,
    /// Epochs of the last owner whose alerts are being sent again, oldest first.
    pub unsettled: VecDeque<(EpochNumber, Receipts)>,
    /// Told when the shard has been given up in good order.
    pub released: Arc<watch::Sender<bool>>,
    /// This committer's node.
    pub node: Arc<Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct CommitterActor {
    /// When epochs end.
    pub config: CommitterConfig,
}

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct CommitterState {
    context: ShardContext,
    lease: Lease,
    released: Arc<watch::Sender<bool>>,
    myself: Address<CommitterMsg>,
    reader: Option<ActorRef<ReaderMsg>>,
    open: OpenEpoch,
    stage: Stage,
    /// What to cut for as soon as the epoch under way is committed.
    wanted: Option<CutReason>,
    draining: bool,
    /// Records that are still to be prepared with caution.
    cautious_for: u64,
    /// Committed epochs whose alerts are still on their way, oldest first.
    unsettled: VecDeque<(EpochNumber, Receipts)>,
}

/// The epoch that is being read.
#[derive(Debug, Default)]
struct OpenEpoch {
    since: Option<Instant>,
    bytes: u64,
    rows: u64,
    partitions: usize,
}

/// Where the epoch before the open one is.
#[derive(Debug)]
enum Stage {
    /// Committed.
    Idle,
    /// Cut; its boxes are completing it.
    Cut,
    /// Prepared; the sinks are uploading it.
    Uploading { plan: Box<EpochPlan>, receipts: Receipts, since: Instant },
}

/// Why a shard cannot be committed any further.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The lease could not be written.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The content of a prepared epoch came out differently.
    #[error(
        "epoch {epoch} was prepared with other content ({what}); nothing was uploaded. \
         Schema and limits then {pinned}, now {now}: if they differ, or Mangrove is another version, start once with those of then to finish it"
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
    /// A box reported something that does not fit the protocol.
    #[error("out of order: {0}")]
    OutOfOrder(&'static str),
}

impl Actor for CommitterActor {
    type Msg = CommitterMsg;
    type State = CommitterState;
    type Arguments = CommitterArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<CommitterMsg>,
        args: CommitterArgs,
    ) -> Result<CommitterState, ActorProcessingErr> {
        metrics::shard_begins(&args.context.shard);
        let state = CommitterState {
            // A pinned epoch counts as cut: nothing else may be cut before it is committed.
            stage: if args.lease.row.pending.is_some() { Stage::Cut } else { Stage::Idle },
            context: args.context,
            lease: args.lease,
            released: args.released,
            myself: Address::new(myself, args.node),
            reader: None,
            open: OpenEpoch::default(),
            wanted: None,
            draining: false,
            cautious_for: args.caution.map_or(0, |caution| caution.lasts),
            unsettled: args.unsettled,
        };
        state.myself.send_after(self.tick(), CommitterMsg::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<CommitterMsg>,
        message: CommitterMsg,
        state: &mut CommitterState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.myself.node().clone();
        let _handling = node.handling();
        let handled = self.act(message, state).await;
        if let Err(error) = &handled {
            state.note_failure(error);
        }
        handled
    }
}

impl CommitterActor {
    async fn act(&self, message: CommitterMsg, state: &mut CommitterState) -> Result<(), ActorProcessingErr> {
        match message {
            CommitterMsg::Attach(reader) => {
                state.reader = Some(reader);
                self.go_on(state).await?;
            }
            CommitterMsg::Progress { bytes, rows, partitions, .. } => {
                self.on_progress(state, bytes, rows, partitions);
            }
            CommitterMsg::CutNow(reason) => self.on_cut_now(state, reason).await?,
            CommitterMsg::WasCut => {
                let epoch = state.lease.row.epoch.next();
                state.context.figures.epochs().traced(epoch.0, state.context.traces.id(epoch));
                state.open = OpenEpoch::default();
                state.context.figures.epochs().closed();
            }
            CommitterMsg::Planned { plan, receipts, sinks } => state.on_planned(plan, receipts, sinks).await?,
            CommitterMsg::Uploaded(epoch) => self.on_uploaded(state, epoch).await?,
            CommitterMsg::Suspect(suspect, reply) => {
                state.lease.suspect(suspect).await?;
                if let Some(reply) = reply {
                    // Who asked and has died meanwhile is tried again.
                    let _ = reply.send(());
                }
            }
            CommitterMsg::Tick => self.on_tick(state).await?,
        }
        Ok(())
    }

    fn tick(&self) -> Duration {
        (self.config.age_max / 10).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    fn on_progress(&self, state: &mut CommitterState, bytes: u64, rows: u64, partitions: usize) {
        state.open.since.get_or_insert_with(Instant::now);
        state.open.bytes += bytes;
        state.open.rows += rows;
        state.open.partitions = partitions;
        state.context.figures.epochs().grew(bytes, rows, partitions, state.context.clock.now_ms());
        self.cut_if_due(state);
    }

    async fn on_tick(&self, state: &mut CommitterState) -> Result<(), CommitError> {
        self.go_on(state).await?;
        state.myself.send_after(self.tick(), CommitterMsg::Tick);
        Ok(())
    }

    fn cut_if_due(&self, state: &mut CommitterState) {
        let open = &state.open;
        let reason = if open.partitions >= self.config.partitions_max {
            CutReason::Partitions
        } else if open.rows >= self.config.rows_max {
            CutReason::Rows
        } else if open.bytes >= self.config.bytes_max {
            CutReason::Bytes
        } else if open.since.is_some_and(|since| since.elapsed() >= self.config.age_max) {
            CutReason::Age
        } else if open.since.is_some()
            && matches!(state.stage, Stage::Idle)
            && state.context.figures.outcome().takes_hurry()
        {
            CutReason::Age
        } else {
            return;
        };
        self.cut(state, reason);
    }

    async fn on_cut_now(&self, state: &mut CommitterState, reason: CutReason) -> Result<(), CommitError> {
        match reason {
            CutReason::ShardEnd => state.wanted = Some(reason),
            CutReason::Shutdown => {
                state.draining = true;
                // A pinned epoch that is not read to its end stays prepared for the next owner.
                if state.lease.row.pending.is_some() && matches!(state.stage, Stage::Cut) {
                    return state.release().await;
                }
            }
            CutReason::Age | CutReason::Bytes | CutReason::Partitions | CutReason::Rows => {
                if state.open.since.is_some() {
                    self.cut(state, reason);
                }
                return Ok(());
            }
        }
        self.go_on(state).await
    }

    /// After a commit, or a wish: cut for what was wanted, or release if there is nothing left to do.
    async fn go_on(&self, state: &mut CommitterState) -> Result<(), CommitError> {
        if !matches!(state.stage, Stage::Idle) {
            return Ok(());
        }
        if state.lease.row.checkpoint == Position::ShardEnd {
            state.wanted = None;
            state.context.figures.set_ended();
            // Nothing will write the row again: it is kept until every alert has left.
            let last = state.lease.row.epoch;
            if state.draining || state.alerts_through(last) == last {
                state.release().await?;
            }
        } else if let Some(reason) = state.wanted.take() {
            self.cut(state, reason);
        } else if state.draining && (state.open.since.is_some() || state.context.figures.has_unwritten_windows()) {
            // Judged only now: what is on its way may change windows until the epoch before is committed.
            self.cut(state, CutReason::Shutdown);
        } else if state.draining {
            state.release().await?;
        } else {
            self.cut_if_due(state);
        }
        Ok(())
    }

    fn cut(&self, state: &mut CommitterState, reason: CutReason) {
        let Stage::Idle = state.stage else { return };
        let Some(reader) = &state.reader else { return };
        let epoch = state.lease.row.epoch.next();
        // The first one holds what a child shard has from its parents.
        let full_state = epoch.0 == 1 || epoch.0 % self.config.full_state_every.max(1) == 0;
        let full_state = full_state || reason == CutReason::ShardEnd;
        // A reader that has just died takes the shard down with it; nothing is lost with this message.
        if reader.send_message(ReaderMsg::Cut { epoch, reason, full_state }).is_ok() {
            debug!(shard = %state.context.shard, %epoch, ?reason, "epoch cut");
            state.stage = Stage::Cut;
            state.context.figures.wrote();
            state.context.figures.epochs().cut(epoch.0, reason, state.context.clock.now_ms());
        }
    }

    async fn on_uploaded(&self, state: &mut CommitterState, epoch: EpochNumber) -> Result<(), CommitError> {
        state.on_uploaded(epoch).await?;
        self.go_on(state).await
    }
}

impl CommitterState {
    /// A lost lease is no failure of the shard: it is in other hands.
    fn note_failure(&self, error: &ActorProcessingErr) {
        let lasting = match error.downcast_ref::<CommitError>() {
            None | Some(CommitError::Lease(LeaseError::Lost(_))) => return,
            Some(CommitError::Lease(LeaseError::Call(call))) => !call.may_pass(),
            Some(_) => true,
        };
        let now_ms = self.context.clock.now_ms();
        self.context.figures.outcome().failed(Failing::Storing, &error.to_string(), lasting, now_ms);
    }

    async fn on_planned(
        &mut self,
        plan: Box<EpochPlan>,
        receipts: Receipts,
        sinks: ActorRef<SinksMsg>,
    ) -> Result<(), ActorProcessingErr> {
        let Stage::Cut = self.stage else {
            return Err(CommitError::OutOfOrder("an epoch was planned that was not cut").into());
        };
        if *self.released.borrow() {
            // Given up while a pinned epoch was being read again: the next owner finishes it.
            return Ok(());
        }
        let row = &self.lease.row;
        if plan.cut.from != row.checkpoint || plan.cut.to < row.checkpoint {
            return Err(CommitError::OutOfOrder("an epoch does not begin where the checkpoint stands").into());
        }
        let shard = self.context.shard.clone();
        match &self.lease.row.pending {
            Some(pending) => {
                if let Some(what) = first_difference(&pending.plan, &plan) {
                    let trace_id = self.context.traces.id(plan.cut.epoch).map(display);
                    error!(%shard, epoch = %plan.cut.epoch, what, trace_id, "a prepared epoch came out differently");
                    let (epoch, pinned, now) = (plan.cut.epoch, pending.plan.schema.clone(), plan.schema.clone());
                    return Err(CommitError::Diverged { epoch, pinned, now, what }.into());
                }
                info!(%shard, epoch = %plan.cut.epoch, "finishing a prepared epoch");
            }
            None => {
                self.context.faults.hit("committer.planned", shard.short());
                let began = Instant::now();
                self.cautious_for = self.cautious_for.saturating_sub(plan.records);
                if !self.context.faults.lacks(Mechanism::Prepare) {
                    let span = self.context.traces.begin(plan.cut.epoch, "prepare").of_kind(SpanKind::Client);
                    let prepared = self.lease.prepare(&plan, self.cautious_for > 0).await;
                    span.end_with(&prepared);
                    prepared?;
                }
                metrics::epoch_prepared(began.elapsed());
            }
        }
        self.context.faults.hit("committer.prepared", shard.short());
        self.context.figures.wrote();
        self.context.figures.epochs().prepared(&plan, self.context.clock.now_ms());
        // One that was pinned by an earlier incarnation has its line only now.
        self.context.figures.epochs().traced(plan.cut.epoch.0, self.context.traces.id(plan.cut.epoch));
        if self.context.faults.lacks(Mechanism::CommitLast) {
            let alerts_through = self.alerts_through(plan.cut.epoch);
            self.lease.commit(&plan, alerts_through, self.context.figures.sample()).await?;
        }
        let epoch = plan.cut.epoch;
        self.stage = Stage::Uploading { plan, receipts, since: Instant::now() };
        Ok(sinks.send_message(SinksMsg::Upload(epoch)).map_err(|e| e.to_string())?)
    }

    async fn on_uploaded(&mut self, epoch: EpochNumber) -> Result<(), CommitError> {
        let Stage::Uploading { plan, receipts, since } = std::mem::replace(&mut self.stage, Stage::Idle) else {
            return Err(CommitError::OutOfOrder("an epoch was uploaded that was not prepared"));
        };
        if plan.cut.epoch != epoch {
            return Err(CommitError::OutOfOrder("another epoch was uploaded than the prepared one"));
        }
        let shard = self.context.shard.clone();
        self.context.faults.hit("committer.uploaded", shard.short());
        self.context.figures.epochs().uploaded(epoch.0, self.context.clock.now_ms());
        self.unsettled.push_back((epoch, receipts));
        let alerts_through = self.alerts_through(epoch);
        if !self.context.faults.lacks(Mechanism::CommitLast) {
            let span = self.context.traces.begin(epoch, "commit").of_kind(SpanKind::Client);
            let committed = self.lease.commit(&plan, alerts_through, self.context.figures.sample()).await;
            span.end_with(&committed);
            committed?;
        }
        self.context.traces.committed(&plan);
        self.context.figures.stopped_writing();
        self.context.faults.hit("committer.committed", shard.short());
        let now_ms = self.context.clock.now_ms();
        self.context.figures.committed(epoch.0, plan.records, now_ms);
        self.context.figures.epochs().committed(epoch.0, now_ms);
        let latency = self.context.figures.take_sealed().map(|arrival_ms| now_ms - arrival_ms);
        let latency = latency.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        metrics::epoch_committed(&shard, &plan, since.elapsed(), latency);
        Ok(())
    }

    /// The last epoch up to which every alert was handed over.
    fn alerts_through(&mut self, last: EpochNumber) -> EpochNumber {
        while self.unsettled.front().is_some_and(|(_, receipts)| receipts.outstanding() == 0) {
            self.unsettled.pop_front();
        }
        self.unsettled.front().map_or(last, |(epoch, _)| EpochNumber(epoch.0 - 1))
    }

    async fn release(&mut self) -> Result<(), CommitError> {
        if *self.released.borrow() {
            return Ok(());
        }
        let last = self.lease.row.epoch;
        let alerts_through = self.alerts_through(last);
        self.lease.release(alerts_through).await?;
        self.context.faults.hit("committer.released", self.context.shard.short());
        info!(shard = %self.context.shard, checkpoint = %self.lease.row.checkpoint, "shard released");
        self.released.send_replace(true);
        Ok(())
    }
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
