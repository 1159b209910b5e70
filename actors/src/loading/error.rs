//! Why a load could not be made, and whether waiting helps.

use std::time::Duration;

use messages::{EpochNumber, ShardId};

use crate::ports::aws::{CallError, Failure};
use crate::ports::warehouse::{WarehouseError, WarehouseFailure};
use crate::sinks::EncodeError;
use crate::warehouse::diff::DiffError;
use crate::warehouse::ledger::Unreadable;
use crate::warehouse::probe::Misread;
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
    /// The warehouse did not take the probe: a file of known rows.
    #[error(
        "the warehouse refuses to read a file of known rows as this configuration writes it: {0}. Nothing is loaded; set \
         parquet.compression = \"snappy\" and parquet.encodings = \"v1\", which Redshift documents, or give its role the bucket"
    )]
    ProbeRefused(WarehouseError),
    /// The warehouse reads the lake's files as something else.
    #[error(transparent)]
    Misread(#[from] Misread),
    /// The probe cannot be written.
    #[error(transparent)]
    Probe(#[from] EncodeError),
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
    /// Two manifests have one number.
    #[error(
        "{prefix}: epoch {epoch} has two manifests; an earlier version went on from a restored lease table. Remove one of \
         them with its objects, by its list of them"
    )]
    Twice {
        /// Where the shard's manifests are.
        prefix: String,
        /// The epoch.
        epoch: EpochNumber,
    },
    /// What the ledger has loaded is not what the bucket has under that number.
    #[error(
        "{prefix}: the ledger has epoch {epoch} to {to}{content}, and the bucket has {found}: they are of two histories, as \
         after a stream was deleted and made again, or a lease table was restored under an earlier version. Nothing of the \
         shard is loaded any more; load it into another schema (warehouse.schema), or delete the ledger's rows of this \
         stream and what they brought"
    )]
    OtherHistory {
        /// Where the shard's manifests are.
        prefix: String,
        /// The last epoch that the ledger knows.
        epoch: EpochNumber,
        /// Where that ends.
        to: String,
        /// Its digest, if the ledger has one.
        content: String,
        /// What the bucket has instead.
        found: String,
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
    /// Epoch after epoch is refused with the same words: none of them is at fault.
    #[error(
        "{epochs} epochs in a row are refused with the same words, so no epoch is at fault and none is put aside any more: \
         {error}"
    )]
    SameWords {
        /// How many, this one included.
        epochs: usize,
        /// What was said last.
        error: String,
    },
    /// The warehouse does not take one epoch, in words that do not speak of its data.
    #[error("shard {shard} waits with epoch {epoch}: {error}")]
    Waits {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: EpochNumber,
        /// Why.
        #[source]
        error: Box<LoadError>,
    },
    /// Only the next epoch of a shard can be put aside.
    #[error("epoch {epoch} of {shard} is not the one that waits: that is {}", .next.map_or("none".to_owned(), |next| next.to_string()))]
    NotNext {
        /// The shard.
        shard: ShardId,
        /// The epoch that was named.
        epoch: EpochNumber,
        /// The epoch that comes next; none if nothing waits.
        next: Option<EpochNumber>,
    },
    /// There was more to load than time.
    #[error("not all was loaded within {0:?}")]
    OutOfTime(Duration),
}

impl LoadError {
    /// Whether the warehouse ran the load, and said that it failed.
    pub(super) fn ran(&self) -> bool {
        matches!(self, Self::Warehouse(error) if error.ran)
    }

    /// What can be said after it. The only place that decides.
    pub fn failure(&self) -> WarehouseFailure {
        match self {
            Self::Warehouse(error) => error.failure,
            // No epoch is at fault: none is put aside for it.
            Self::External(error) | Self::ProbeRefused(error)
                if matches!(error.failure, WarehouseFailure::Refused | WarehouseFailure::TooLarge) =>
            {
                WarehouseFailure::Denied
            }
            // The warehouse has read the file, and said no: in whatever words.
            Self::ProbeRefused(error) if error.ran => WarehouseFailure::Denied,
            Self::External(error) | Self::ProbeRefused(error) => error.failure,
            Self::Call(error) => match error.failure {
                Failure::Throttled | Failure::Transient | Failure::Key => WarehouseFailure::Unavailable,
                Failure::NotFound | Failure::Condition | Failure::Refused => WarehouseFailure::Denied,
            },
            // Fewer epochs make shorter statements.
            Self::Statements(_) => WarehouseFailure::TooLarge,
            Self::Waits { error, .. } => error.failure(),
            Self::NotNext { .. } | Self::Lake { .. } | Self::Gap { .. } | Self::Twice { .. } => {
                WarehouseFailure::Denied
            }
            Self::Misread(_)
            | Self::Probe(_)
            | Self::OtherHistory { .. }
            | Self::Tables(_)
            | Self::Ledger(_)
            | Self::Unquotable(_) => WarehouseFailure::Denied,
            Self::SameWords { .. } | Self::OutOfTime(_) => WarehouseFailure::Unavailable,
        }
    }
}
