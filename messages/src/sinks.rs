//! What the sinks of a shard can be told.

use crate::{Assessed, EncodedEpoch, EpochContent, EpochNumber, Receipts};

/// The protocol of one shard's sinks.
#[derive(Debug)]
pub enum SinksMsg {
    /// Keep these readings for the open epoch.
    Store(Assessed),
    /// The epoch is complete: encode it and tell the committer what it will be.
    Seal(EpochContent),
    /// From the sinks' own task: the epoch is encoded, or why it could not be.
    Encoded(Result<Box<EncodedEpoch>, String>, Receipts),
    /// From the committer: the epoch is prepared, upload it.
    Upload(EpochNumber),
    /// From the sinks' own task: the upload ended.
    UploadEnded(EpochNumber, Result<(), NotStored>),
}

/// Why an epoch is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// A call failed too often, or the task died: another try may succeed.
    #[error("{0}")]
    Failed(String),
    /// An object is there that says something else than planned: every other try will find it too.
    #[error("{key} exists with other content: a broken promise, look before going on")]
    Different {
        /// The object's key.
        key: String,
    },
}
