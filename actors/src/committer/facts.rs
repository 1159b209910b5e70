//! The facts of an epoch's steps: one function per fact, so that figures, metrics, log, spans and crash points cannot
//! disagree.

use std::time::Duration;

use messages::{CutReason, EpochNumber, EpochPlan, Position};
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, error, info};

use super::CommitError;
use super::protocol::ProtocolError;
use crate::metrics;
use crate::ports::leases::LeaseError;
use crate::shard::{Failing, ShardContext};
use crate::traces::SpanKind;
use crate::verdict::FailureVerdict;

/// The epoch between its plan and its commit.
#[derive(Debug)]
struct UnderWay {
    prepared_at: Instant,
    /// When its first record arrived, milliseconds since 1970; none if it has no records.
    first_arrival_ms: Option<i64>,
}

/// Where facts go.
#[derive(Debug)]
pub(super) struct Facts {
    context: ShardContext,
    under_way: Option<UnderWay>,
    /// When the epoch under way was cut, milliseconds since 1970, if it has all states. When one that an earlier
    /// incarnation has cut was stored, nobody knows.
    full_cut_ms: Option<i64>,
}

impl Facts {
    pub(super) fn new(context: ShardContext) -> Self {
        metrics::shard_begins(&context.shard);
        Self { context, under_way: None, full_cut_ms: None }
    }

    /// The open epoch holds more.
    pub(super) fn grew(&self, bytes: u64, rows: u64, partitions: usize) {
        self.context.figures.epochs().grew(bytes, rows, partitions, self.context.clock.now_ms());
    }

    /// The reader was asked to end the epoch.
    pub(super) fn cut(&mut self, epoch: EpochNumber, reason: CutReason, full_state: bool) {
        debug!(shard = %self.context.shard, %epoch, ?reason, full_state, "epoch cut");
        let now_ms = self.context.clock.now_ms();
        self.full_cut_ms = full_state.then_some(now_ms);
        self.context.progress.wrote();
        self.context.figures.epochs().cut(epoch.0, reason, now_ms);
    }

    /// The reader has ended the epoch.
    pub(super) fn was_cut(&self, epoch: EpochNumber) {
        self.context.figures.epochs().traced(epoch.0, self.context.traces.id(epoch));
        self.context.figures.epochs().closed();
    }

    /// The epoch is encoded, and its first record arrived then.
    pub(super) fn planned(&mut self, first_arrival_ms: Option<i64>) {
        self.under_way = Some(UnderWay { prepared_at: Instant::now(), first_arrival_ms });
    }

    /// An epoch that an earlier incarnation has prepared came out the same.
    pub(super) fn finishing(&mut self, plan: &EpochPlan) {
        info!(shard = %self.context.shard, epoch = %plan.cut.epoch, "finishing a prepared epoch");
        self.is_prepared(plan);
    }

    /// The plan is about to be pinned; ends when it is.
    pub(super) async fn preparing(
        &self,
        plan: &EpochPlan,
        write: impl Future<Output = Result<(), LeaseError>>,
    ) -> Result<(), LeaseError> {
        self.context.faults.hit("committer.planned", self.context.shard.short());
        let span = self.context.traces.begin(plan.cut.epoch, "prepare").of_kind(SpanKind::Client);
        let began = Instant::now();
        let prepared = write.await;
        span.end_with(&prepared);
        if prepared.is_ok() {
            metrics::epoch_prepared(began.elapsed());
        }
        prepared
    }

    /// The plan is pinned on the lease row.
    pub(super) fn is_prepared(&mut self, plan: &EpochPlan) {
        self.context.faults.hit("committer.prepared", self.context.shard.short());
        self.context.progress.wrote();
        let epochs = self.context.figures.epochs();
        epochs.prepared(plan, self.context.clock.now_ms());
        // One that was pinned by an earlier incarnation has its line only now.
        epochs.traced(plan.cut.epoch.0, self.context.traces.id(plan.cut.epoch));
        if let Some(under_way) = &mut self.under_way {
            under_way.prepared_at = Instant::now();
        }
    }

    /// Every object of the epoch is stored.
    pub(super) fn uploaded(&self, epoch: EpochNumber) {
        self.context.faults.hit("committer.uploaded", self.context.shard.short());
        self.context.figures.epochs().uploaded(epoch.0, self.context.clock.now_ms());
    }

    /// The checkpoint is about to move; ends when it has.
    pub(super) async fn committing(
        &self,
        epoch: EpochNumber,
        write: impl Future<Output = Result<(), LeaseError>>,
    ) -> Result<(), LeaseError> {
        let span = self.context.traces.begin(epoch, "commit").of_kind(SpanKind::Client);
        let committed = write.await;
        span.end_with(&committed);
        committed
    }

    /// The checkpoint has moved. Others are shown the sample with it.
    pub(super) fn committed(&mut self, plan: &EpochPlan) {
        let (context, now_ms) = (&self.context, self.context.clock.now_ms());
        context.traces.committed(plan);
        context.faults.hit("committer.committed", context.shard.short());
        context.committed(plan.cut.epoch.0, plan.records, now_ms);
        context.figures.epochs().committed(plan.cut.epoch.0, now_ms);
        // The first states of all, if an earlier incarnation has cut them, are about as old as this.
        let first_ms = context.figures.states_since_ms().is_none().then_some(now_ms);
        if let Some(since_ms) = self.full_cut_ms.take().or(first_ms) {
            context.figures.set_states_since(Some(since_ms));
        }
        let Some(UnderWay { prepared_at, first_arrival_ms }) = self.under_way.take() else { return };
        let latency = first_arrival_ms.and_then(|at_ms| u64::try_from(now_ms - at_ms).ok()).map(Duration::from_millis);
        metrics::epoch_committed(&context.shard, plan, prepared_at.elapsed(), latency);
    }

    /// The shard was closed and all of it is committed.
    pub(super) fn ended(&self) {
        self.context.figures.set_ended();
    }

    /// The lease is given back.
    pub(super) fn released(&self, checkpoint: &Position) {
        self.context.faults.hit("committer.released", self.context.shard.short());
        info!(shard = %self.context.shard, %checkpoint, "shard released");
    }

    /// The shard cannot be committed any further. A lost lease is no failure of the shard: it is in other hands.
    pub(super) fn failed(&self, error: &CommitError) {
        if let CommitError::Lease(LeaseError::Lost(_)) = error {
            self.context.figures.lost_a_write();
        }
        let lasting = match error {
            // Nor is it one that the actor beside it was ended first.
            CommitError::Lease(LeaseError::Lost(_)) | CommitError::SinksGone => return,
            _ => error.verdict() != FailureVerdict::Retry,
        };
        if let CommitError::Protocol(ProtocolError::Diverged { epoch, what, .. }) = error {
            let trace_id = self.context.traces.id(*epoch).map(display);
            error!(shard = %self.context.shard, %epoch, what, trace_id, "a prepared epoch came out differently");
        }
        let now_ms = self.context.clock.now_ms();
        self.context.outcome.failed(Failing::Storing, &error.to_string(), lasting, now_ms);
    }
}
