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
    /// From the sinks' own task: the upload ended. The text says why it failed.
    UploadEnded(EpochNumber, Result<(), String>),
}
