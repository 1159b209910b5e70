//! What an aggregator can be told.

use std::sync::Arc;

use crate::{CutState, InFlight};

/// The protocol of one shard's aggregator.
#[derive(Debug)]
pub enum AggregatorMsg {
    /// Fold these readings into their windows.
    Fold(Arc<InFlight>),
    /// The epoch ends here: write what closed, and pass the states on.
    Cut(CutState),
}
