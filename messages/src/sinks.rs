//! What the sinks of a shard can be told.

use std::error::Error;

use crate::{Assessed, EncodedEpoch, EpochContent, EpochNumber, Receipts};

/// The protocol of one shard's sinks.
#[derive(Debug)]
pub enum SinksMsg {
    /// Keep these readings for the open epoch.
    Store(Assessed),
    /// The epoch is complete: encode it and tell the committer what it will be.
    Seal(EpochContent),
    /// From the sinks' own task: the epoch is encoded, or why it could not be.
    Encoded(Result<Box<EncodedEpoch>, Cause>, Receipts),
    /// From the committer: the epoch is prepared, upload it.
    Upload(EpochNumber),
    /// From the sinks' own task: the upload ended.
    UploadEnded(EpochNumber, Result<(), NotStored>),
}

/// An error of a type that messages do not know.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an epoch is not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// A call failed too often, or the task died: another try may succeed.
    #[error(transparent)]
    Failed(Cause),
    /// An object is there that says something else than planned: every other try will find it too.
    #[error("{key} exists with other content: a broken promise, look before going on")]
    Different {
        /// The object's key.
        key: String,
    },
}
