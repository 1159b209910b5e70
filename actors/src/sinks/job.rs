//! What the writer of a zone is told: which epoch, for whom, how objects are laid out.
//!
//! **Promises** what is not in here, or in the rows, decides nothing about an object (RAW-ONCE, CLEAN-ONCE).
//! **Not here**: which zones there are (`epoch.rs`).

use std::sync::Arc;

use messages::{Cut, EventSchema, ShardId, StreamId};
use serde::{Deserialize, Serialize};

use crate::lake::keys::Names;

/// Which of Parquet's encodings are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encodings {
    /// Those of version 1: every reader knows them.
    V1,
    /// Times as differences as well, an encoding of version 2: smaller, and some engines refuse it.
    V2,
}

/// How the pages of Parquet are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// What Redshift's own UNLOAD and Firehose write, and every reader knows.
    Snappy,
    /// Smaller.
    Zstd,
}

/// How objects are compressed and laid out. Changes bytes, never digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// For lines: 0 to 9. Each step up from 3 costs about as much time again and saves little.
    pub gzip_level: u32,
    /// For states, and for Parquet by zstd: 1 to 22. On sensor data 3 is slower than 1 and no smaller.
    pub zstd_level: i32,
    /// For Parquet.
    pub codec: Codec,
    /// For Parquet.
    pub encodings: Encodings,
    /// Rows that are encoded (and later read) as a unit.
    pub row_group_rows: usize,
}

impl Encoding {
    /// What suits sensor readings of a few hundred bytes, and what Redshift documents that it reads.
    pub const RECOMMENDED: Self =
        Self { gzip_level: 3, zstd_level: 1, codec: Codec::Snappy, encodings: Encodings::V1, row_group_rows: 131_072 };
}

/// What an epoch is encoded for.
#[derive(Clone, Debug)]
pub struct EpochContext {
    /// The stream's name.
    pub stream: String,
    /// Which stream that is.
    pub origin: StreamId,
    /// The format of the plan: this build's, or the one that the epoch was pinned in.
    pub format: u32,
    /// The shard.
    pub shard: ShardId,
    /// The schema that the readings were decoded with.
    pub schema: Arc<EventSchema>,
    /// How objects are laid out.
    pub encoding: Encoding,
    /// Key of the state object of the epoch before; none at the start of a chain.
    pub previous_state: Option<String>,
}

/// What every zone needs to know.
pub(super) struct Job<'a> {
    pub(super) context: &'a EpochContext,
    pub(super) cut: &'a Cut,
    pub(super) names: Names,
}
