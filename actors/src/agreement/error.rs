//! In what a lease row and the bucket disagree: both sides by name, and the way on.

use messages::{EpochNumber, Position, ShardId};

use crate::ports::aws::CallError;
use crate::ports::leases::OtherHome;

/// The rest of every sentence about a row that cannot be believed.
const REBUILD: &str = "Nothing was written. Stop the workers and let mangrove leases rebuild say what it would write";

/// Why a shard is not read.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// The bucket did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// They disagree.
    #[error(transparent)]
    Disagrees(#[from] Disagreement),
}

/// What is wrong with a manifest or a claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlan {
    /// The bucket does not give it out.
    #[error(transparent)]
    Unread(#[from] CallError),
    /// It is no plan, in the parser's words.
    #[error("{0}")]
    Malformed(String),
    /// It has a format that this version does not know.
    #[error("it is of a newer version (format {0})")]
    Newer(u32),
    /// It is not of the epoch that it is named after.
    #[error("it says that it is of epoch {0}")]
    OtherEpoch(EpochNumber),
    /// It is not of the shard that it lies under.
    #[error("it says that it is of {0}")]
    OtherShard(ShardId),
    /// It is of a shard whose manifests lie under another prefix.
    #[error("it says that it is of {0}, which lies elsewhere")]
    Elsewhere(ShardId),
    /// A manifest does not say what its claim says.
    #[error("it says something else than its claim")]
    OtherThanClaim,
    /// A claim does not go on where the epoch before it ends.
    #[error("it claims an epoch from {from}, and the one before ends at {end}")]
    NotNext {
        /// Where it begins.
        from: Position,
        /// Where the one before ends.
        end: Position,
    },
}

/// In what they disagree.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Disagreement {
    /// The row is of another stream or bucket.
    #[error(transparent)]
    Home(#[from] OtherHome),
    /// The row's states are another stream's.
    #[error(
        "the lease row of {shard} goes on from {state}, which are states of another stream or shard than {stream:?}: each \
         stream needs a lease table of its own (leases.table)"
    )]
    OtherStates {
        /// The shard.
        shard: ShardId,
        /// The row's state object.
        state: String,
        /// The stream's name.
        stream: String,
    },
    /// The bucket is further than a start looks.
    #[error(
        "the lease row says that epoch {row} is the newest, the bucket has manifests up to {seen} and more: the row is as \
         of an earlier time, as after a restore of the table, by more epochs than a start goes through. {REBUILD}"
    )]
    FarBehind {
        /// The row's epoch.
        row: EpochNumber,
        /// The newest that was listed.
        seen: EpochNumber,
    },
    /// The row's epoch has no manifest.
    #[error(
        "the lease row says that epoch {row} is committed, the bucket has no manifest of it under {prefix}, and no claim \
         that says what it was: objects were deleted, or this is another bucket. Restore them from their versions; or, if \
         they are gone for good: {REBUILD}"
    )]
    ManifestLost {
        /// The row's epoch.
        row: EpochNumber,
        /// Where it should be.
        prefix: String,
    },
    /// A manifest between others is missing.
    #[error(
        "the lease row says that epoch {row} is the newest, the bucket has epoch {newest} and lacks the manifest of epoch \
         {missing}: restore it from its versions. {REBUILD}"
    )]
    Gap {
        /// The row's epoch.
        row: EpochNumber,
        /// What is missing.
        missing: EpochNumber,
        /// What there is behind it.
        newest: EpochNumber,
    },
    /// Two manifests have one number.
    #[error(
        "epoch {epoch} has two manifests, {first} and {second}: it was written twice with different ends, and which of them \
         readers took is not in the bucket. Remove one of them with its objects, by its list of them"
    )]
    Twice {
        /// The epoch.
        epoch: EpochNumber,
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A manifest or a claim cannot be understood.
    #[error("{key} cannot be read: {problem}. It is kept as it is; restore it from its versions")]
    Damaged {
        /// Which one.
        key: String,
        /// What is wrong with it.
        problem: BadPlan,
    },
    /// The row was set back.
    #[error(
        "the lease row says that epoch {epoch} ends at {row}, its manifest {key} says {manifest}: the checkpoint was set \
         back, and reading on from there would store records twice. {REBUILD}"
    )]
    SetBack {
        /// The epoch.
        epoch: EpochNumber,
        /// What the row says.
        row: Position,
        /// What the manifest says.
        manifest: Position,
        /// The manifest.
        key: String,
    },
    /// What lies behind the row does not follow on it.
    #[error(
        "the lease row has epoch {row} end at {checkpoint}, but {key}, of epoch {epoch}, begins at {from} and goes on from \
         the states {states}, where {expected} was to be: they are of two histories. {REBUILD}"
    )]
    Fork {
        /// The epoch that is gone on from.
        row: EpochNumber,
        /// Its end.
        checkpoint: Position,
        /// Its states.
        expected: String,
        /// The epoch that does not follow.
        epoch: EpochNumber,
        /// Where that begins.
        from: Position,
        /// Its states before it.
        states: String,
        /// Its manifest or claim.
        key: String,
    },
    /// The row names other states than its manifest.
    #[error("the lease row has epoch {epoch} end with the states {row}, its manifest {key} with {manifest}. {REBUILD}")]
    States {
        /// The epoch.
        epoch: EpochNumber,
        /// What the row says.
        row: String,
        /// What the manifest says.
        manifest: String,
        /// The manifest.
        key: String,
    },
}
