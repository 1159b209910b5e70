//! What a reader can be told.

use crate::{CutReason, EpochNumber};

/// The protocol of one shard's reader.
#[derive(Debug)]
pub enum ReaderMsg {
    /// From the reader's own timer: fetch the next records.
    Poll,
    /// From the committer: end the epoch after the last record that was handed on.
    Cut {
        /// The number of the epoch that ends.
        epoch: EpochNumber,
        /// Why it ends.
        reason: CutReason,
        /// Whether its state object shall hold every sensor.
        full_state: bool,
    },
    /// Read no more; ask the committer for a last cut.
    Drain,
}
