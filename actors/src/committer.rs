//! Cuts the epochs of one shard and moves its checkpoint; the only one that does.
//!
//! **Owns** the shard's lease row and the decision when an epoch ends.
//!
//! **Promises**
//! - The checkpoint only grows, and all up to it is durable (CHECKPOINT): this actor executes what the protocol
//!   (`committer/protocol.rs`) decides, one effect after the other.
//! - A committer that has lost the lease changes nothing (OWNER).
//!
//! **Fails** by stopping; the shard's next incarnation finds on the row what was prepared, and finishes it.
//!
//! **Not here**: the order of the steps (`committer/protocol.rs`); what is in an epoch, encoding, uploading.

mod facts;
mod protocol;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use messages::{Caution, CommitterMsg, EpochNumber, Position, ReaderMsg, Receipts, Sample, SinksMsg, Suspect};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::facts::Facts;
pub use self::protocol::ProtocolError;
use self::protocol::{Begin, Effect, EpochRules, Event, Protocol};
use crate::node::{Address, Node};
use crate::ports::leases::{Lease, LeaseError};
use crate::shard::ShardContext;
use crate::verdict::FailureVerdict;

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
    /// All states are written anew when the oldest that a start would read is this old, whatever is read.
    pub refresh_after: Duration,
}

/// How a shard was given up in good order: all that was read of it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Others read on.
    HandedOver,
    /// It was closed, and nothing of it is left.
    Finished,
}

impl Release {
    /// By where the checkpoint stands.
    pub fn at(checkpoint: &Position) -> Self {
        if *checkpoint == Position::ShardEnd { Self::Finished } else { Self::HandedOver }
    }
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct CommitterArgs {
    /// The identity of the shard.
    pub context: ShardContext,
    /// The lease, as taken.
    pub lease: Lease,
    /// How carefully the shard is read.
    pub caution: Option<Caution>,
    /// How long ago the oldest state was stored that was read for it; none if there was none.
    pub states_age: Option<Duration>,
    /// Epochs of the last owner whose alerts are being sent again, oldest first.
    pub unsettled: VecDeque<(EpochNumber, Receipts)>,
    /// Sends them, as long as this committer runs.
    pub resending: JoinSet<()>,
    /// Told when the shard has been given up in good order.
    pub released: Arc<watch::Sender<Option<Release>>>,
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
    lease: Lease,
    protocol: Protocol,
    facts: Facts,
    /// The sensors of the epoch that was cut last, sampled.
    sample: Option<Sample>,
    began: Instant,
    tick: Duration,
    released: Arc<watch::Sender<Option<Release>>>,
    _resending: JoinSet<()>,
    myself: Address<CommitterMsg>,
    reader: Option<ActorRef<ReaderMsg>>,
    sinks: Option<ActorRef<SinksMsg>>,
}

/// Why a shard cannot be committed any further.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The lease could not be written.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Something does not fit the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The sinks have died; the shard's supervisor restarts them and this actor.
    #[error("the sinks are gone")]
    SinksGone,
}

impl CommitError {
    fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Lease(error) => error.verdict(),
            Self::Protocol(error) => error.verdict(),
            Self::SinksGone => FailureVerdict::Restart,
        }
    }
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
        let row = &args.lease.row;
        let begin = Begin {
            epoch: row.epoch,
            checkpoint: row.checkpoint.clone(),
            pinned: row.pending.as_ref().map(|pending| pending.plan.clone()),
            unsettled: args.unsettled,
            states_age: args.states_age,
            cautious_for: args.caution.map_or(0, |caution| caution.lasts),
        };
        let state = CommitterState {
            protocol: Protocol::new(EpochRules::new(&self.config, &args.context.shard, &args.context.faults), begin),
            facts: Facts::new(args.context),
            sample: None,
            lease: args.lease,
            began: Instant::now(),
            tick: (self.config.age_max / 10).clamp(Duration::from_millis(10), Duration::from_secs(1)),
            released: args.released,
            _resending: args.resending,
            myself: Address::new(myself, args.node),
            reader: None,
            sinks: None,
        };
        state.myself.send_after(state.tick, CommitterMsg::Tick);
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
        let handled = state.act(message).await;
        handled.map_err(|error| {
            state.facts.failed(&error);
            error.verdict().on(error)
        })
    }
}

impl CommitterState {
    async fn act(&mut self, message: CommitterMsg) -> Result<(), CommitError> {
        let event = match message {
            CommitterMsg::Attach(reader) => {
                self.reader = Some(reader);
                Event::Attached
            }
            CommitterMsg::Progress { bytes, rows, partitions } => {
                self.facts.grew(bytes, rows, partitions);
                Event::Progress { bytes, rows, partitions }
            }
            CommitterMsg::CutNow(reason) => Event::Wanted(reason),
            CommitterMsg::WasCut => {
                self.facts.was_cut(self.protocol.next_epoch());
                Event::WasCut
            }
            CommitterMsg::Sampled(sample) => {
                self.sample = Some(sample);
                return Ok(());
            }
            CommitterMsg::Windows { unwritten } => Event::Windows { unwritten },
            CommitterMsg::Planned { plan, receipts, first_arrival_ms, sinks } => {
                self.facts.planned(first_arrival_ms);
                self.sinks = Some(sinks);
                Event::Planned(plan, receipts)
            }
            CommitterMsg::Uploaded(epoch) => {
                self.facts.uploaded(epoch);
                Event::Uploaded(epoch)
            }
            CommitterMsg::Suspect(suspect, reply) => return self.on_suspect(suspect, reply).await,
            CommitterMsg::Hurry => Event::Hurried,
            CommitterMsg::Tick => {
                self.myself.send_after(self.tick, CommitterMsg::Tick);
                Event::Tick
            }
        };
        self.follow(event).await
    }

    /// Does what follows from an event, and from what comes of that.
    async fn follow(&mut self, event: Event) -> Result<(), CommitError> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let effect = self.protocol.on(event, self.began.elapsed())?;
            if self.protocol.has_ended() {
                self.facts.ended();
            }
            if let Some(effect) = effect {
                next = self.execute(effect).await?;
            }
        }
        Ok(())
    }

    /// Answers what came of it, if that is known already.
    async fn execute(&mut self, effect: Effect) -> Result<Option<Event>, CommitError> {
        match effect {
            Effect::Cut { epoch, reason, full_state } => {
                self.facts.cut(epoch, reason, full_state);
                if let Some(reader) = &self.reader {
                    // A reader that has just died takes the shard down with it; nothing is lost with this message.
                    let _ = reader.send_message(ReaderMsg::Cut { epoch, reason, full_state });
                }
                Ok(None)
            }
            Effect::Prepare { plan, cautious } => {
                self.facts.preparing(&plan, self.lease.prepare(&plan, cautious)).await?;
                self.facts.is_prepared(&plan);
                Ok(Some(Event::Prepared))
            }
            Effect::Finish(plan) => {
                self.facts.finishing(&plan);
                Ok(Some(Event::Prepared))
            }
            Effect::Upload(epoch) => {
                let sinks = self.sinks.as_ref().ok_or(CommitError::SinksGone)?;
                sinks.send_message(SinksMsg::Upload(epoch)).map_err(|_| CommitError::SinksGone)?;
                Ok(None)
            }
            Effect::Commit(permit) => {
                let (plan, sample) = (permit.plan(), self.sample.take());
                let write = self.lease.commit(plan, permit.alerts_through(), sample);
                self.facts.committing(plan.cut.epoch, write).await?;
                self.facts.committed(plan);
                Ok(Some(Event::Committed))
            }
            Effect::Release { alerts_through } => {
                self.lease.release(alerts_through).await?;
                self.facts.released(&self.lease.row.checkpoint);
                self.released.send_replace(Some(Release::at(&self.lease.row.checkpoint)));
                Ok(None)
            }
        }
    }

    async fn on_suspect(&mut self, suspect: Suspect, reply: Option<RpcReplyPort<()>>) -> Result<(), CommitError> {
        self.lease.suspect(suspect).await?;
        if let Some(reply) = reply {
            // A sender that has died meanwhile is tried again.
            let _ = reply.send(());
        }
        Ok(())
    }
}
