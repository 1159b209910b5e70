//! What a committer can be told.

use ractor::{ActorRef, RpcReplyPort};

use crate::epoch::Receipts;
use crate::{CutReason, EpochNumber, EpochPlan, ReaderMsg, Sample, SinksMsg, Suspect};

/// The protocol of one shard's committer.
#[derive(Debug)]
pub enum CommitterMsg {
    /// A reader introduces itself: it was started later, because data flows towards the committer.
    Attach(ActorRef<ReaderMsg>),
    /// Records were handed on.
    Progress {
        /// Bytes among them.
        bytes: u64,
        /// Readings in them, valid or not.
        rows: u64,
        /// Partitions that they are known to touch, since the last cut.
        partitions: usize,
    },
    /// The reader can go no further: the end of the shard, a drain, or no budget left.
    CutNow(CutReason),
    /// The reader has ended an epoch: progress that follows belongs to the next one.
    WasCut,
    /// A sample of the shard's sensors as of a cut: shown to other shards with the commit of that epoch.
    Sampled(Sample),
    /// Whether windows have changed that no epoch has written: as the aggregator begins, and at each cut.
    Windows {
        /// Whether any has.
        unwritten: bool,
    },
    /// Everything of the epoch is encoded; prepare it.
    Planned {
        /// What will be uploaded.
        plan: Box<EpochPlan>,
        /// Alerts of the epoch that are still on their way.
        receipts: Receipts,
        /// When its first record arrived, milliseconds since 1970; none if it has no records.
        first_arrival_ms: Option<i64>,
        /// The sinks, which upload it once prepared.
        sinks: ActorRef<SinksMsg>,
    },
    /// Every object of the epoch is stored, the manifest last.
    Uploaded(EpochNumber),
    /// Something died, or may die, on a record: remember it beyond this process. Answers when that is done.
    Suspect(Suspect, Option<RpcReplyPort<()>>),
    /// The open epoch is to end as soon as it has a record: others wait for its commit.
    Hurry,
    /// From the committer's own timer: is the epoch old enough?
    Tick,
}
