//! Why a load could not be made, and whether waiting helps.

use std::time::Duration;

use messages::EpochNumber;

use crate::ports::aws::{CallError, Failure};
use crate::ports::warehouse::{Trouble, WarehouseError};
use crate::warehouse::diff::DiffError;
use crate::warehouse::ledger::Unreadable;
use crate::warehouse::{TooMuch, Unquotable};

/// A load could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The warehouse failed, or refused.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// The external table, or a partition of it, cannot be made.
    #[error("the external table: {0}")]
    External(WarehouseError),
    /// The bucket or the lease table failed, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An object of the lake is not what it should be.
    #[error("{key}: {problem}")]
    Lake {
        /// The object.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// An epoch's manifest is missing: later ones wait for it.
    #[error("{prefix}: the manifest of epoch {epoch} is missing, and later ones are there: restore it")]
    Gap {
        /// Where the shard's manifests are.
        prefix: String,
        /// The epoch.
        epoch: EpochNumber,
    },
    /// The tables cannot be brought up to the event schema.
    #[error(transparent)]
    Tables(#[from] DiffError),
    /// The ledger's answer makes no sense.
    #[error(transparent)]
    Ledger(#[from] Unreadable),
    /// The statements cannot be made.
    #[error(transparent)]
    Statements(#[from] TooMuch),
    /// A name cannot be quoted.
    #[error(transparent)]
    Unquotable(#[from] Unquotable),
    /// There was more to load than time.
    #[error("not all was loaded within {0:?}")]
    OutOfTime(Duration),
}

impl LoadError {
    /// What can be said after it. The only place that decides.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Warehouse(error) => error.trouble,
            // No epoch is at fault: none is put aside for it.
            Self::External(error) if error.trouble == Trouble::Refused => Trouble::Denied,
            Self::External(error) => error.trouble,
            Self::Call(error) => match error.failure {
                Failure::Throttled | Failure::Transient => Trouble::Unavailable,
                Failure::NotFound | Failure::Condition | Failure::Refused => Trouble::Denied,
            },
            // Fewer epochs make shorter statements.
            Self::Statements(_) => Trouble::Refused,
            Self::Lake { .. } | Self::Gap { .. } | Self::Tables(_) | Self::Ledger(_) | Self::Unquotable(_) => {
                Trouble::Denied
            }
            Self::OutOfTime(_) => Trouble::Unavailable,
        }
    }
}
