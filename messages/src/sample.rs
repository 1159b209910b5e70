//! A few of the sensors that a shard has seen lately, such that two shards with the same sensors have the same few.
//!
//! **Owns** which: of all ids, hashed with the time's salt, those with the smallest hashes. Sensors that look as if they
//! were elsewhere too have places of their own.
//! **Promises** bounded; no clock but the stream's; a sensor in two samples of one time was in both shards within that time. Two shards that share a
//! part of their sensors share about that part of their samples; the salt changes, so that each sensor has its turn.
//! **Fails** never: what cannot be read is no sample.

use std::collections::{BTreeMap, BTreeSet};

use crate::{SensorId, ShardId};

/// For so long a sample is collected before the next begins.
pub const WINDOW_MS: i64 = 600_000;
/// Places for any sensors.
const ANY_MAX: usize = 48;
/// Places for those that roam.
const ROAMING_MAX: usize = 16;
const BYTES: usize = size_of::<u64>();

/// The sample of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Which stretch of time it is of.
    window: u64,
    any: BTreeSet<u64>,
    roaming: BTreeSet<u64>,
}

impl Sample {
    /// An empty one of this arrival time.
    pub fn of_time(arrival_ms: i64) -> Self {
        Self { window: window(arrival_ms), ..Self::default() }
    }

    /// Begins a new one when its time is over.
    pub fn keep_to(&mut self, arrival_ms: i64) {
        if self.window != window(arrival_ms) {
            *self = Self::of_time(arrival_ms);
        }
    }

    /// The shard has seen this sensor.
    pub fn add(&mut self, sensor: &SensorId, roams: bool) {
        let hash = hash(self.window, sensor.as_str());
        keep_smallest(&mut self.any, hash, ANY_MAX);
        if roams {
            keep_smallest(&mut self.roaming, hash, ROAMING_MAX);
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let hashes: BTreeSet<u64> = self.any.union(&self.roaming).copied().collect();
        std::iter::once(self.window).chain(hashes).flat_map(u64::to_be_bytes).collect()
    }

    /// What [`encode`](Self::encode) wrote; none if somebody else did.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<BYTES>();
        let (window, hashes) = numbers.split_first()?;
        if !rest.is_empty() || hashes.len() > ANY_MAX + ROAMING_MAX {
            return None;
        }
        let any = hashes.iter().map(|hash| u64::from_be_bytes(*hash)).collect();
        Some(Self { window: u64::from_be_bytes(*window), any, roaming: BTreeSet::new() })
    }
}

/// Sensors that are in the samples of two shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Two of the shards.
    pub shards: [ShardId; 2],
    /// How many sensors.
    pub sensors: usize,
    /// How many there are in all samples.
    pub of: usize,
}

/// What the samples share; none if nothing. Only the latest samples count.
pub fn shared<'a>(samples: impl Iterator<Item = (&'a ShardId, &'a Sample)> + Clone) -> Option<Shared> {
    // Some shards may have cut their epoch just before the hour that others have seen strike.
    let latest = samples.clone().map(|(_, sample)| sample.window).max()?;
    let mut first: BTreeMap<(u64, u64), &ShardId> = BTreeMap::new();
    let (mut shards, mut sensors) = (None, BTreeSet::new());
    for (shard, sample) in samples.filter(|(_, sample)| sample.window.saturating_add(1) >= latest) {
        for hash in &sample.any {
            let other = *first.entry((sample.window, *hash)).or_insert(shard);
            if other != shard {
                sensors.insert((sample.window, *hash));
                shards.get_or_insert_with(|| [other.clone(), shard.clone()]);
            }
        }
    }
    shards.map(|shards| Shared { shards, sensors: sensors.len(), of: first.len() })
}

fn window(arrival_ms: i64) -> u64 {
    arrival_ms.div_euclid(WINDOW_MS).max(0) as u64
}

fn keep_smallest(kept: &mut BTreeSet<u64>, hash: u64, max: usize) {
    if kept.len() < max || kept.last().is_some_and(|largest| hash < *largest) {
        kept.insert(hash);
        if kept.len() > max {
            kept.pop_last();
        }
    }
}

/// The same in every build: FNV-1a over the id, its bits mixed as in SplitMix64, so that small hashes are a fair choice.
fn hash(salt: u64, id: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000;

    fn sample(ids: impl Iterator<Item = usize>, roams: bool) -> Sample {
        let mut sample = Sample::of_time(NOW_MS);
        ids.for_each(|n| sample.add(&SensorId::new(&format!("s-{n}")), roams));
        // As another worker reads it.
        Sample::decode(&sample.encode()).unwrap()
    }

    fn found(a: &Sample, b: &Sample) -> Option<usize> {
        let (one, other) = (ShardId::new("a"), ShardId::new("b"));
        let found = shared([(&one, a), (&other, b)].into_iter());
        found.map(|found| {
            assert_eq!(found.shards, [one, other]);
            found.sensors
        })
    }

    #[test]
    fn shards_with_the_same_sensors_share_their_samples_and_others_nothing() {
        let (low, high) = (sample(0..10_000, false), sample(10_000..20_000, false));
        assert_eq!(found(&low, &low), Some(ANY_MAX));
        assert_eq!(found(&low, &high), None);
        // A tenth of them in both.
        assert!(found(&low, &sample(9_000..19_000, false)).is_some());
    }

    #[test]
    fn a_few_that_roam_are_found_among_many() {
        let with_a_stray = |ids: std::ops::Range<usize>| {
            let mut sample = Sample::of_time(NOW_MS);
            ids.for_each(|n| sample.add(&SensorId::new(&format!("s-{n}")), false));
            sample.add(&SensorId::new("stray"), true);
            Sample::decode(&sample.encode()).unwrap()
        };
        assert_eq!(found(&with_a_stray(0..50_000), &with_a_stray(50_000..100_000)), Some(1));
    }

    #[test]
    fn what_is_long_over_counts_for_nothing() {
        let sample = sample(0..10, false);
        let (one, other, third) = (ShardId::new("a"), ShardId::new("b"), ShardId::new("c"));
        let beside = |later: &Sample| shared([(&one, &sample), (&other, &sample), (&third, later)].into_iter());
        let mut later = sample.clone();
        later.keep_to(NOW_MS + WINDOW_MS);
        assert_eq!(later, Sample::of_time(NOW_MS + WINDOW_MS));
        assert_eq!(beside(&later).map(|found| (found.sensors, found.of)), Some((10, 10)));
        later.keep_to(NOW_MS + 2 * WINDOW_MS);
        assert_eq!(beside(&later), None);
    }

    #[test]
    fn bytes_of_somebody_else_are_no_sample() {
        assert_eq!(Sample::decode(&[]), None);
        assert_eq!(Sample::decode(&[1, 2, 3]), None);
        assert_eq!(Sample::decode(&[0; BYTES * 100]), None);
        assert!(sample(0..1_000, true).encode().len() <= BYTES * (1 + ANY_MAX + ROAMING_MAX));
    }
}
