//! What waits in the lake: manifests behind the ledger's tips, and the lengths of their files.
//!
//! **Promises** a look costs one listing per shard that has not ended, and one read per epoch that is chosen (BOUNDED).

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use messages::{EpochNumber, EpochPlan};
use tracing::error;

use super::{LoadError, Loading};
use crate::ports::aws::Failure;
use crate::sinks::manifests_of_stream;
use crate::warehouse::backlog::{self, Waiting};
use crate::warehouse::batch::{Feed, LoadEpoch};
use crate::warehouse::ledger::Tips;

/// Calls under way at once.
const CALLS_MAX: usize = 16;
/// Epochs that are read at once; each asks for the lengths of its files.
const EPOCHS_AT_ONCE: usize = 4;
/// A page of a listing: further manifests are seen when these are loaded.
const PAGE_KEYS: usize = 1_000;
const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Files in one batch: the manifests for COPY name each of them.
const FILES_MAX: usize = 20_000;

/// What waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog {
    shards: Vec<Waiting>,
}

impl Backlog {
    /// Epochs that are known to wait.
    pub(super) fn waiting(&self) -> u64 {
        self.shards.iter().map(|shard| shard.manifests.len() as u64).sum()
    }
}

impl Loading {
    /// What waits behind the tips.
    pub(super) async fn backlog(&self, tips: &Tips, epochs_max: usize) -> Result<Backlog, LoadError> {
        let prefixes = self.ports.objects.folders(&manifests_of_stream(&self.stream)).await?;
        let places = backlog::places(&self.stream, &prefixes, tips);
        // One page a shard tells how far behind it is, up to a bound that is worth telling.
        let keys_max = PAGE_KEYS.max(epochs_max);
        let list = |place: backlog::Place| async move {
            let keys = self.ports.objects.list_after(&place.prefix, &place.after, keys_max).await?;
            let (manifests, gap) = backlog::in_order(place.tip, keys);
            if let Some(epoch) = gap {
                // The other shards go on.
                error!(error = %LoadError::Gap { prefix: place.prefix, epoch }, "a shard cannot be loaded further");
            }
            Ok::<_, LoadError>(Waiting { manifests })
        };
        let calls: Vec<BoxFuture<'_, _>> = places.into_iter().map(|place| list(place).boxed()).collect();
        let shards = stream::iter(calls).buffered(CALLS_MAX).try_collect().await?;
        Ok(Backlog { shards })
    }

    /// The epochs of the next batch.
    pub(super) async fn choose(&self, backlog: &Backlog, epochs_max: usize) -> Result<Vec<LoadEpoch>, LoadError> {
        let keys = backlog::in_turn(&backlog.shards, epochs_max);
        self.read(&keys, self.config.bytes_max).await
    }

    /// Reads epochs, in this order, until they have so many bytes; at least one.
    pub(super) async fn read(&self, manifests: &[String], bytes_max: u64) -> Result<Vec<LoadEpoch>, LoadError> {
        let mut epochs = Vec::new();
        let (mut bytes, mut files) = (0_u64, 0);
        let calls: Vec<BoxFuture<'_, _>> = manifests.iter().map(|key| self.epoch(key).boxed()).collect();
        let mut read = stream::iter(calls).buffered(EPOCHS_AT_ONCE);
        while let Some(epoch) = read.try_next().await? {
            bytes = bytes.saturating_add(epoch.bytes());
            files += epoch.files.len();
            if (bytes > bytes_max || files > FILES_MAX) && !epochs.is_empty() {
                break;
            }
            epochs.push(epoch);
        }
        Ok(epochs)
    }

    async fn epoch(&self, manifest: &str) -> Result<LoadEpoch, LoadError> {
        let body = self.ports.objects.get(manifest, MANIFEST_BYTES_MAX).await?;
        let bad = |problem: String| LoadError::Lake { key: manifest.to_owned(), problem };
        let plan: EpochPlan = serde_json::from_slice(&body).map_err(|e| bad(format!("is no manifest: {e}")))?;
        let wanted = plan.objects.iter().filter(|object| Feed::of_zone(object.zone).is_some());
        let length = |key: String| async move {
            match self.ports.objects.length(&key).await {
                Ok(bytes) => Ok((key, bytes)),
                // COPY will say so, and the epoch is put aside like any other that is refused.
                Err(error) if error.failure == Failure::NotFound => Ok((key, 0)),
                Err(error) => Err(error),
            }
        };
        let calls: Vec<BoxFuture<'_, _>> = wanted.map(|object| length(object.key.clone()).boxed()).collect();
        let lengths: HashMap<String, u64> = stream::iter(calls).buffered(CALLS_MAX).try_collect().await?;
        LoadEpoch::new(manifest, &plan, |key| lengths.get(key).copied())
            .ok_or_else(|| bad("names a file twice under different names".to_owned()))
    }

    /// The next epoch of a shard behind a tip, and its manifest; none if nothing waits.
    pub(super) async fn next_manifest(
        &self,
        prefix: &str,
        tip: EpochNumber,
    ) -> Result<Option<(EpochNumber, String)>, LoadError> {
        let place = backlog::after(prefix, tip);
        let keys = self.ports.objects.list_after(prefix, &place.after, 1).await?;
        Ok(keys.into_iter().find_map(|key| Some((backlog::epoch_of(&key)?, key))))
    }

    /// The manifest of one epoch of a shard; none if it is not there.
    pub(super) async fn manifest_of(&self, prefix: &str, epoch: EpochNumber) -> Result<Option<String>, LoadError> {
        let next = self.next_manifest(prefix, EpochNumber(epoch.0.saturating_sub(1))).await?;
        Ok(next.filter(|(number, _)| *number == epoch).map(|(_, key)| key))
    }
}
