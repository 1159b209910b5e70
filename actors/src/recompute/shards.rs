//! The shards of a stream as a recomputation has to know them: how far each has committed, and which windows it does not
//! revise any more.

use std::collections::BTreeMap;

use messages::{EpochNumber, Position};

use super::files::Named;
use super::{Recompute, RecomputeError};
use crate::lake::{
    dated_names_of, decode_state_header, manifest_of_state, manifests_of, manifests_of_stream, recomputed,
};
use crate::loading::origin_of;

/// The header of a state object stands at its beginning, and is small.
const HEADER_BYTES: usize = 256 << 10;

/// What is known of the shards, by the part of an object's name that says the shard.
#[derive(Clone, Debug)]
pub(super) struct Shards(BTreeMap<String, KnownShard>);

/// A shard that nothing is known of has ended, and has no row any more: all of it is committed, and closed.
#[derive(Clone, Copy, Debug)]
struct KnownShard {
    /// The last epoch that was committed.
    tip: EpochNumber,
    /// Windows that end by then are closed.
    closed_us: i64,
}

const ENDED: KnownShard = KnownShard { tip: EpochNumber(u64::MAX), closed_us: i64::MAX };

impl Shards {
    /// An object of the stream, by its key.
    pub(super) fn named(&self, stream: &str, key: String) -> Option<Named> {
        let (shard, epoch) = origin_of(&key, &dated_names_of(stream))?;
        let shard = shard.to_owned();
        (self.0.contains_key(&shard) || shard == recomputed().prefix).then_some(Named { key, shard, epoch })
    }

    pub(super) fn is_committed(&self, file: &Named) -> bool {
        self.0.get(&file.shard).is_some_and(|shard| file.epoch <= shard.tip)
    }

    /// What ends by then is closed in the shard of a file.
    pub(super) fn closed_in(&self, file: &Named) -> i64 {
        self.0.get(&file.shard).map_or(i64::MIN, |shard| shard.closed_us)
    }

    /// What ends by then is closed in all shards.
    pub(super) fn closed_us(&self) -> i64 {
        self.0.values().map(|shard| shard.closed_us).min().unwrap_or(i64::MIN)
    }
}

impl Recompute {
    pub(super) async fn shards(&self) -> Result<Shards, RecomputeError> {
        let of_stream = manifests_of_stream(&self.stream);
        let name = |prefix: &str| prefix.strip_prefix(&of_stream).map(|name| name.trim_end_matches('/').to_owned());
        let folders = self.objects.folders(&of_stream).await?;
        let mut shards: BTreeMap<String, KnownShard> =
            folders.iter().filter_map(|folder| Some((name(folder)?, ENDED))).collect();
        let lateness_us = i64::try_from(self.lateness.as_micros()).unwrap_or(i64::MAX);
        let mut committed = 0;
        for (shard, _) in self.leases.scan().await?.leases {
            let Some(row) = self.leases.get(&shard).await? else { continue };
            // A table of another stream says nothing of this one.
            let state_key = row.state_key.filter(|key| manifest_of_state(key).starts_with(&of_stream));
            let (Some(name), Some(state_key)) = (name(&manifests_of(&self.stream, &row.shard)), state_key) else {
                continue;
            };
            committed += 1;
            let closed_us = match row.checkpoint {
                Position::ShardEnd => i64::MAX,
                _ => self.watermark_us(&state_key).await?.saturating_sub(lateness_us),
            };
            shards.insert(name, KnownShard { tip: row.epoch, closed_us });
        }
        if committed == 0 {
            let (table, stream) = (self.leases.name().to_owned(), self.stream.clone());
            return Err(RecomputeError::NothingCommitted { table, stream });
        }
        Ok(Shards(shards))
    }

    async fn watermark_us(&self, state_key: &str) -> Result<i64, RecomputeError> {
        let body = self.objects.head(state_key, HEADER_BYTES).await?;
        let header = decode_state_header(&body)
            .map_err(|error| RecomputeError::Lake { key: state_key.to_owned(), problem: error.to_string() })?;
        Ok(header.watermark_us)
    }
}
