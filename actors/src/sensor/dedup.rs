//! Remembers the last event ids of a sensor, to recognise what a producer has sent twice.
//!
//! **Owns** a ring of 64-bit hashes; the oldest makes room for the newest.
//! **Promises** constant memory. Two different ids among the last 32 of a sensor look alike once in about 10^18
//! readings; a device that searches for such a pair can only hide its own readings.
//! **Not here**: what counts as seen (`core.rs`: valid readings only).

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// The hashes of the last event ids.
#[derive(Clone, Debug, Default)]
pub(super) struct EventIds {
    hashes: Vec<u64>,
    /// The one to be overwritten next, once the ring is full.
    oldest: usize,
}

impl EventIds {
    /// What is remembered of an id.
    pub(super) fn hash(event_id: &str) -> u64 {
        xxh3_64(event_id.as_bytes())
    }

    /// Whether the id is among the last ones.
    pub(super) fn contains(&self, hash: u64) -> bool {
        self.hashes.contains(&hash)
    }

    /// Remembers an id that [`EventIds::contains`] does not know, and forgets the oldest if there are `max` already.
    pub(super) fn insert(&mut self, hash: u64, max: usize) {
        if self.hashes.len() < max {
            self.hashes.push(hash);
        } else if let Some(slot) = self.hashes.get_mut(self.oldest) {
            *slot = hash;
            self.oldest = (self.oldest + 1) % max;
        }
    }

    /// Forgets the oldest beyond `max`: the ring may have been written under a longer horizon.
    pub(super) fn shorten(&mut self, max: usize) {
        if self.hashes.len() > max {
            self.hashes = self.oldest_first().skip(self.hashes.len() - max).collect();
            self.oldest = 0;
        }
    }

    fn oldest_first(&self) -> impl Iterator<Item = u64> + '_ {
        let (newer, older) = self.hashes.split_at(self.oldest);
        older.iter().chain(newer).copied()
    }
}

// Oldest first, so that equal rings have equal bytes wherever their slots stand; and plain bytes, because hashes are
// random numbers, which variable-length integers would make longer.
impl Serialize for EventIds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.oldest_first().flat_map(u64::to_le_bytes).collect();
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for EventIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (hashes, rest) = <&[u8]>::deserialize(deserializer)?.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(D::Error::custom("the ring of event ids ends within an id"));
        }
        Ok(Self { hashes: hashes.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(), oldest: 0 })
    }
}
