//! What the two siblings below the worker's root may say to each other: the leases, which decide, and the shards, which
//! work.
//!
//! **Promises** neither knows how the other does it.

use std::collections::BTreeSet;
use std::time::Duration;

use actors::agreement::Disagreement;
use actors::ports::aws::CallError;
use actors::ports::leases::{Heartbeat, LeaseError, LeaseRows};
use actors::ports::stream::{Description, ShardInfo};
use actors::shard::FailureStreak;
use actors::verdict::FailureVerdict;
use messages::ShardId;
use ractor::{ActorRef, RpcReplyPort};
use tokio::time::Instant;

use crate::supervision::GivenUp;
use crate::supervision::tree::TreeFull;

/// The protocol of the leases.
#[derive(Debug)]
pub enum LeasesMsg {
    /// The shards introduce themselves: they are started later.
    Attach(ActorRef<ShardsMsg>),
    /// From the actor's own timer: begin what is due.
    Tick,
    /// From the actor's own task: the heartbeat ended, begun then.
    Beaten(Instant, Option<Heartbeat>, Result<(), LeaseError>),
    /// From the actor's own task: a look at the table ended, begun then.
    Scanned(Instant, Result<LeaseRows, CallError>),
    /// From the actor's own task: a look at the heartbeats of these workers alone ended, begun then.
    Watched(Instant, Vec<String>, Result<LeaseRows, CallError>),
    /// From the actor's own task: the stream's shards were listed, begun then.
    Discovered(Instant, Result<Discovered, LeaseError>),
    /// From the actor's own task: whether this worker could go on with what is there.
    Rehearsed(Result<(), LeaseError>),
    /// A shard is no longer worked on here.
    Ended(ShardId, Ending),
    /// From the actor's own task: the row of a shard that failed here was given back, or not.
    GaveUp(ShardId, Result<(), LeaseError>),
    /// An operator wants another worker to have this shard. Answers why not.
    HandOver(ShardId, RpcReplyPort<Result<(), NotHandedOver>>),
    /// Take no more, and say so to the others.
    Leave,
    /// Say goodbye. Answers when the others know, or cannot be told.
    Goodbye(RpcReplyPort<()>),
}

/// The protocol of the shards.
#[derive(Debug)]
pub enum ShardsMsg {
    /// Take a shard and work on it.
    Start {
        /// The shard.
        info: ShardInfo,
        /// The counter of its row when that was decided.
        counter: u64,
    },
    /// Commit what was read of a shard, and release it.
    HandOver(ShardId),
    /// End a shard that does not move, or is not stored.
    GiveUp(ShardId, ShardFailure),
    /// End a shard that another worker has.
    Lost(ShardId),
    /// End all shards at once.
    StopAll,
    /// From the actor's own task: a shard was released.
    Released(ShardId),
    /// Hand all shards over and take no more. Answers when nothing runs any more.
    Drain {
        /// Time for all of them together.
        within: Duration,
        /// Where the answer goes.
        reply: RpcReplyPort<()>,
    },
}

/// How a shard ended here.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// All of it is committed, and it will have no more.
    Finished,
    /// Given up in good order: all that was read is committed.
    Released,
    /// Ended because this worker has to.
    Stopped,
    /// Another worker has it.
    Lost,
    /// It failed too often, or did not move.
    Failed(ShardFailure),
    /// Its lease row, the bucket and the stream disagree: it was not taken, and nothing was changed.
    Refused(Disagreement),
    /// What was promised of it and what came out differ: no other worker would fare better.
    Broken(GivenUp),
}

impl From<GivenUp> for Ending {
    fn from(given_up: GivenUp) -> Self {
        match given_up.verdict {
            FailureVerdict::Final => Self::Broken(given_up),
            FailureVerdict::Retry | FailureVerdict::Restart => Self::Failed(given_up.into()),
        }
    }
}

/// Why a shard is given up here; another worker may fare better.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardFailure {
    /// Its actors failed too often.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// A promise is broken, says a worker that has shown nothing yet.
    #[error("{}", .0.cause)]
    Broken(GivenUp),
    /// It does not move.
    #[error("nothing moved for {0:.1?}")]
    Hangs(Duration),
    /// What is read of it is not stored.
    #[error("{}", .0.cause)]
    FailureStreak(FailureStreak),
    /// Its supervisor has ended otherwise, in the words of the runtime.
    #[error("{0}")]
    Ended(String),
    /// There is no place for its actors.
    #[error(transparent)]
    TreeFull(#[from] TreeFull),
}

/// Why a shard is not handed over, for whoever has asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHandedOver {
    /// It is not this worker's.
    #[error("this worker does not work on shard {}", .0.short())]
    NotHere(ShardId),
    /// No other worker is there.
    #[error("no other worker lives that could take it: start one first, or drain this one")]
    Alone,
    /// That has begun already.
    #[error("shard {} is being handed over already", .0.short())]
    UnderWay(ShardId),
    /// The leases, which decide, or the shards, which work, do not run at the moment.
    #[error("the {0} are restarting: try again")]
    Restarting(&'static str),
}

/// What a listing found.
#[derive(Debug)]
pub struct Discovered {
    /// What the service says of the stream. That it says nothing must not keep shards from being found.
    pub(crate) description: Result<Description, CallError>,
    /// All shards, open and closed.
    pub(crate) shards: Vec<ShardInfo>,
    /// Those that had a row before.
    pub(crate) known: BTreeSet<ShardId>,
    /// Those that got a row.
    pub(crate) created: Vec<ShardId>,
    /// Those without a row that have epochs in the bucket.
    pub(crate) orphans: Vec<ShardId>,
    /// Why nothing of it counts: the stream is no longer the one that the worker was started for.
    pub(crate) other_stream: Option<String>,
}
