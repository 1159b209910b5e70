//! Why an epoch could not be encoded.

use std::io;

use arrow::error::ArrowError;
use messages::Zone;
use parquet::errors::ParquetError;

/// Encoding is a pure function into memory: the same content fails again, on every worker.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The Parquet writer refused the settings or the rows.
    #[error("write {zone:?} as Parquet")]
    Parquet {
        /// Which part of the lake.
        zone: Zone,
        /// What the writer says.
        #[source]
        source: ParquetError,
    },
    /// The columns do not fit the zone's layout.
    #[error("lay out the columns of {zone:?}")]
    Columns {
        /// Which part of the lake.
        zone: Zone,
        /// What does not fit.
        #[source]
        source: ArrowError,
    },
    /// The compressor refused its settings.
    #[error("compress {zone:?}")]
    Compress {
        /// Which part of the lake.
        zone: Zone,
        /// What it says.
        #[source]
        source: io::Error,
    },
    /// A line or the manifest could not be written.
    #[error("write {zone:?} as JSON")]
    Json {
        /// Which part of the lake.
        zone: Zone,
        /// What the writer says.
        #[source]
        source: serde_json::Error,
    },
    /// The state could not be written.
    #[error("write the state object")]
    State(#[from] postcard::Error),
    /// The state is larger than what a reader would accept: better no commit than one that cannot be recovered.
    #[error("the state takes {bytes} bytes, more than the {bytes_max} that can be read back")]
    StateTooLarge {
        /// Its size before compression.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The content does not follow the schema that it is said to follow.
    #[error("{field}: {problem}")]
    Mismatch {
        /// The schema field, or its number.
        field: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}
