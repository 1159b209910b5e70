//! Loads what the ledger lacks of an interval of arrival: after rows were deleted, or an epoch was put aside.
//!
//! **Promises** run twice, the second run finds nothing to do. Epochs that no load has reached yet are left to the
//! loader: loaded ahead, they would hide those before them.

use std::collections::{BTreeMap, BTreeSet};

use messages::EpochNumber;

use super::{LoadError, Loading};
use crate::lake::{HIDDEN, dated_names_of, manifests_of, manifests_of_stream, raw_of_hour};
use crate::warehouse::Mode;
use crate::warehouse::batch::LoadBatch;
use crate::warehouse::ledger;

const HOUR_US: i64 = 3_600_000_000;
/// Epochs of one shard that one question to the ledger may be about.
const EPOCHS_MAX: usize = 1_000_000;

/// What a backfill did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Backfilled {
    /// Epochs with records that arrived in the interval.
    pub found: u64,
    /// Epochs that the ledger had already.
    pub known: u64,
    /// Epochs that were loaded now.
    pub loaded: u64,
    /// Epochs behind the ledger's tips: the loader comes to them by itself.
    pub left: u64,
}

impl Loading {
    /// Loads what the ledger lacks of the epochs with records that arrived in `[from, to)` (microseconds since 1970,
    /// by whole hours).
    pub async fn backfill(&self, from_us: i64, to_us: i64) -> Result<Backfilled, LoadError> {
        let tips = self.tips().await?;
        let shards: BTreeMap<String, _> =
            tips.0.iter().map(|(shard, tip)| (manifests_of(&self.stream, shard), (shard, tip))).collect();
        let mut done = Backfilled::default();
        for (prefix, epochs) in self.arrived(from_us, to_us).await? {
            done.found += epochs.len() as u64;
            let Some((shard, tip)) = shards.get(&prefix) else {
                done.left += epochs.len() as u64;
                continue;
            };
            let (reached, left): (Vec<_>, Vec<_>) = epochs.into_iter().partition(|epoch| *epoch <= tip.epoch);
            done.left += left.len() as u64;
            let (Some(first), Some(last)) = (reached.first(), reached.last()) else { continue };
            let query = ledger::loaded_query(&self.star, &self.stream, shard, (*first, *last))?;
            let rows = self.ports.warehouse.query(&query, "mangrove: backfill", EPOCHS_MAX).await?;
            let known: BTreeSet<EpochNumber> = ledger::loaded(&rows)?.into_iter().collect();
            let (known, missing): (Vec<_>, Vec<_>) = reached.into_iter().partition(|epoch| known.contains(epoch));
            done.known += known.len() as u64;
            for epochs in missing.chunks(self.config.epochs_max.max(1)) {
                done.loaded += self.fill(&prefix, epochs).await?;
            }
        }
        Ok(done)
    }

    async fn fill(&self, prefix: &str, epochs: &[EpochNumber]) -> Result<u64, LoadError> {
        let mut manifests = Vec::new();
        for epoch in epochs {
            let found = self.manifest_of(prefix, *epoch).await?;
            manifests.push(found.ok_or_else(|| LoadError::Gap { prefix: prefix.to_owned(), epoch: *epoch })?);
        }
        let mut loaded = 0;
        let mut rest = manifests.as_slice();
        while !rest.is_empty() {
            let batch = LoadBatch::new(&self.stream, self.read(rest, self.config.bytes_max).await?);
            self.load(&batch, Mode::Again).await?;
            loaded += batch.epochs.len() as u64;
            rest = &rest[batch.epochs.len()..];
        }
        Ok(loaded)
    }

    /// The epochs whose raw objects lie under the hours of the interval, by the prefix of their manifests.
    async fn arrived(&self, from_us: i64, to_us: i64) -> Result<BTreeMap<String, BTreeSet<EpochNumber>>, LoadError> {
        let (names, manifests) = (dated_names_of(&self.stream), manifests_of_stream(&self.stream));
        let mut arrived: BTreeMap<String, BTreeSet<EpochNumber>> = BTreeMap::new();
        let mut hour_us = from_us.div_euclid(HOUR_US) * HOUR_US;
        while hour_us < to_us {
            for key in self.ports.objects.list(&raw_of_hour(hour_us)).await? {
                if let Some((shard, epoch)) = origin_of(&key, &names) {
                    arrived.entry(format!("{manifests}{shard}/")).or_default().insert(epoch);
                }
            }
            hour_us += HOUR_US;
        }
        Ok(arrived)
    }
}

/// The shard's part of a dated object's name, and its epoch: `<stream>-<shard>-<epoch>-<n>.<ending>`, or as earlier
/// versions wrote it, `<stream>-<shard>-<epoch>-<to>-<n>.<ending>`.
pub(crate) fn origin_of<'a>(key: &'a str, names: &str) -> Option<(&'a str, EpochNumber)> {
    let name = key.rsplit('/').next()?;
    let (name, _n) = name.strip_prefix(HIDDEN).unwrap_or(name).strip_prefix(names)?.rsplit_once('-')?;
    let (shard, last) = name.rsplit_once('-')?;
    let earlier = shard.rsplit_once('-').filter(|(shard, epoch)| is_epoch(epoch) && is_shard(shard));
    let (shard, epoch) = match earlier {
        Some(earlier) => earlier,
        None => (shard, last),
    };
    Some((shard, EpochNumber(epoch.parse().ok()?)))
}

fn is_epoch(text: &str) -> bool {
    text.len() >= 8 && text.bytes().all(|b| b.is_ascii_digit())
}

/// As Kinesis numbers them, or what is left of another name and eight digits of its hash.
fn is_shard(text: &str) -> bool {
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits(text, 12) || text.rsplit_once('-').is_some_and(|(stem, hash)| !stem.is_empty() && digits(hash, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_tell_shard_and_epoch() {
        let key = "raw/year=2026/month=01/day=02/hour=03/demo-000000000001-00000042-0.jsonl.gz";
        assert_eq!(origin_of(key, "demo-"), Some(("000000000001", EpochNumber(42))));
        let hashed = "raw/x/demo-odd-12345678-00000007-0.ndjson.gz";
        assert_eq!(origin_of(hashed, "demo-"), Some(("odd-12345678", EpochNumber(7))));
        // As earlier versions named them.
        let key = "raw/year=2026/month=01/day=02/hour=03/demo-000000000001-00000042-4959-0.jsonl.gz";
        assert_eq!(origin_of(key, "demo-"), Some(("000000000001", EpochNumber(42))));
        let ended = "raw/x/demo-000000000001-00000042-4959-0.crlf.jsonl.gz";
        assert_eq!(origin_of(ended, "demo-"), Some(("000000000001", EpochNumber(42))));
        let hashed = "raw/x/_demo-odd-12345678-00000007-end-0.ndjson.gz";
        assert_eq!(origin_of(hashed, "demo-"), Some(("odd-12345678", EpochNumber(7))));
        assert_eq!(origin_of(key, "other-"), None);
    }
}
