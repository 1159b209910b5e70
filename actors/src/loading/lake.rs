//! What waits in the lake: manifests behind the ledger's tips, and the lengths of their files.
//!
//! **Promises** a look costs one listing per shard that has not ended, and one read per epoch that is chosen (BOUNDED);
//! once in a loader's life, every shard's last epoch in the ledger is held against its manifest.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use messages::{EpochNumber, EpochPlan};

use super::{LoadError, Loading};
use crate::lake::{epoch_of_manifest, manifests_of_stream, recomputed_of};
use crate::ports::aws::Failure;
use crate::warehouse::backlog::{self, Break, Waiting};
use crate::warehouse::batch::{Feed, LoadEpoch, content_of};
use crate::warehouse::ledger::{Tip, Tips};

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
    /// Epochs that wait behind one that cannot be read.
    held: u64,
    /// Why shards are not loaded any further, by the prefixes of their manifests.
    pub(super) stops: BTreeMap<String, String>,
}

impl Backlog {
    /// Epochs that are known to wait.
    pub(super) fn waiting(&self) -> u64 {
        self.held + self.shards.iter().map(|shard| shard.manifests.len() as u64).sum::<u64>()
    }

    /// Its shard is loaded up to this manifest and no further. False if it is none of them.
    fn stop_before(&mut self, manifest: &str, why: &LoadError) -> bool {
        let place = |shard: &mut Waiting| shard.manifests.iter().position(|key| key == manifest);
        let Some((shard, at)) = self.shards.iter_mut().find_map(|shard| place(shard).map(|at| (shard, at))) else {
            return false;
        };
        self.held += (shard.manifests.len() - at) as u64;
        shard.manifests.truncate(at);
        let prefix = manifest.rsplit_once('/').map_or(manifest, |(prefix, _)| prefix);
        self.stops.insert(format!("{prefix}/"), why.to_string());
        true
    }
}

/// One shard's part: what waits, or why nothing of it does.
type ShardPart = Result<(String, Waiting, Option<LoadError>), (String, LoadError)>;

impl Loading {
    /// What waits behind the tips.
    pub(super) async fn backlog(&self, tips: &Tips, epochs_max: usize) -> Result<Backlog, LoadError> {
        let mut prefixes = self.ports.objects.folders(&manifests_of_stream(&self.stream)).await?;
        // Windows that were made anew, if there are any.
        prefixes.push(recomputed_of(&self.stream));
        let places = backlog::places(&self.stream, &prefixes, tips, &self.proven.all());
        // One page a shard tells how far behind it is, up to a bound that is worth telling.
        let keys_max = PAGE_KEYS.max(epochs_max);
        let calls: Vec<BoxFuture<'_, _>> = places.into_iter().map(|place| self.part(place, keys_max).boxed()).collect();
        let parts: Vec<ShardPart> = stream::iter(calls).buffered(CALLS_MAX).try_collect().await?;
        let mut backlog = Backlog::default();
        for part in parts {
            // The other shards go on.
            let (prefix, stop) = match part {
                Ok((prefix, waiting, stop)) => {
                    backlog.shards.push(waiting);
                    (prefix, stop)
                }
                Err((prefix, stop)) => (prefix, Some(stop)),
            };
            backlog.stops.extend(stop.map(|stop| (prefix, stop.to_string())));
        }
        Ok(backlog)
    }

    async fn part(&self, place: backlog::ListingPlace, keys_max: usize) -> Result<ShardPart, LoadError> {
        let backlog::ListingPlace { prefix, tip, after, unproven } = place;
        let mut keys = self.ports.objects.list_after(&prefix, &after, keys_max).await?;
        if let Some(tip) = unproven {
            match self.prove(&prefix, &tip, &mut keys).await? {
                Ok(()) => self.proven.insert(prefix.clone(), tip),
                Err(other) => return Ok(Err((prefix, other))),
            }
        }
        let (manifests, end) = backlog::in_order(tip, keys);
        let stop = end.map(|end| match end {
            Break::Gap(epoch) => LoadError::Gap { prefix: prefix.clone(), epoch },
            Break::Twice(epoch) => LoadError::Twice { prefix: prefix.clone(), epoch },
        });
        Ok(Ok((prefix, Waiting { manifests }, stop)))
    }

    /// Whether the last epoch that the ledger knows is the one that the bucket has under its number: a number alone does
    /// not say what was loaded. Keeps the keys behind it.
    async fn prove(&self, prefix: &str, tip: &Tip, keys: &mut Vec<String>) -> Result<Result<(), LoadError>, LoadError> {
        let mut at = Vec::new();
        keys.retain(|key| match epoch_of_manifest(key) {
            Some(epoch) if epoch <= tip.epoch => {
                at.push(key.clone());
                false
            }
            epoch => epoch.is_some(),
        });
        let other = |found: String| LoadError::OtherHistory {
            prefix: prefix.to_owned(),
            epoch: tip.epoch,
            to: tip.to.clone(),
            content: tip.content.as_ref().map(|content| format!(" (digest {content})")).unwrap_or_default(),
            found,
        };
        let (key, is_next) = match (at.as_slice(), keys.first()) {
            ([key], _) => (key, false),
            ([_, _, ..], _) => {
                return Ok(Err(LoadError::Twice { prefix: prefix.to_owned(), epoch: tip.epoch }));
            }
            // Its manifest is gone; the next one says where it ended.
            ([], Some(key)) if epoch_of_manifest(key) == Some(tip.epoch.next()) => (key, true),
            ([], Some(key)) => return Ok(Err(other(format!("{key} next behind it")))),
            ([], None) => return Ok(Err(other("no manifest of that epoch, and none behind it".to_owned()))),
        };
        let body = match self.manifest(key).await {
            Err(error @ LoadError::Lake { .. }) => return Ok(Err(error)),
            body => body?,
        };
        let content = content_of(&body);
        if !is_next && tip.content.as_ref() == Some(&content) {
            return Ok(Ok(()));
        }
        let cut = match serde_json::from_slice::<EpochPlan>(&body) {
            Ok(plan) => plan.cut,
            Err(error) => {
                let problem = format!("is no manifest: {error}");
                return Ok(Err(LoadError::Lake { key: key.clone(), problem }));
            }
        };
        let same = match (is_next, &tip.content) {
            (true, _) => cut.from.to_string() == tip.to,
            (false, None) => cut.to.to_string() == tip.to,
            (false, Some(_)) => false,
        };
        Ok(match same {
            true => Ok(()),
            false => Err(other(format!("{key}, from {} to {} (digest {content})", cut.from, cut.to))),
        })
    }

    /// The epochs of the next batch. A manifest that cannot be read stops its own shard.
    pub(super) async fn choose(&self, backlog: &mut Backlog, epochs_max: usize) -> Result<Vec<LoadEpoch>, LoadError> {
        loop {
            let keys = backlog::in_turn(&backlog.shards, epochs_max);
            match self.read(&keys, self.config.bytes_max).await {
                Err(LoadError::Lake { key, problem }) => {
                    let error = LoadError::Lake { key: key.clone(), problem };
                    if !backlog.stop_before(&key, &error) {
                        return Err(error);
                    }
                }
                chosen => return chosen,
            }
        }
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

    /// A manifest's bytes. That one of them may not be read, or is gone, is its own shard's matter.
    async fn manifest(&self, key: &str) -> Result<Bytes, LoadError> {
        self.ports.objects.get(key, MANIFEST_BYTES_MAX).await.map_err(|error| match error.failure {
            Failure::Refused | Failure::NotFound => LoadError::Lake { key: key.to_owned(), problem: error.to_string() },
            _ => error.into(),
        })
    }

    async fn epoch(&self, manifest: &str) -> Result<LoadEpoch, LoadError> {
        let body = self.manifest(manifest).await?;
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
        LoadEpoch::new((manifest, content_of(&body)), &plan, |key| lengths.get(key).copied())
            .ok_or_else(|| bad("names a file twice under different names".to_owned()))
    }

    /// The next epoch of a shard behind a tip, and its manifest; none if nothing waits.
    pub(super) async fn next_manifest(
        &self,
        prefix: &str,
        tip: EpochNumber,
    ) -> Result<Option<(EpochNumber, String)>, LoadError> {
        let place = backlog::after(prefix, tip);
        // Its claim comes first.
        let keys = self.ports.objects.list_after(prefix, &place.after, 2).await?;
        Ok(keys.into_iter().find_map(|key| Some((epoch_of_manifest(&key)?, key))))
    }

    /// The manifest of one epoch of a shard; none if it is not there.
    pub(super) async fn manifest_of(&self, prefix: &str, epoch: EpochNumber) -> Result<Option<String>, LoadError> {
        let next = self.next_manifest(prefix, EpochNumber(epoch.0.saturating_sub(1))).await?;
        Ok(next.filter(|(number, _)| *number == epoch).map(|(_, key)| key))
    }
}
