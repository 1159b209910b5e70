//! Whether the stream heeds keys, and whether its sensors keep to one shard each.
//!
//! **Owns** what a worker knows of it: what the configuration expects, what the service says, what was seen.
//! **Promises** a stream is believed to heed keys until the service, the configuration or the records say otherwise.
//! **Not here**: asking the service (`ports/stream.rs`), looking at other shards (the leases), saying it (the ops
//! endpoint). What is judged does not depend on it, but for aggregates: and that is pinned with each epoch.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use messages::ShardId;
use messages::sample::{Shared, WINDOW_MS};

/// One sensor of so many in two shards is a stray; more, and a sensor's silence on one shard tells nothing of it.
const STRAYS: usize = 8;
/// What was seen of a sensor in two shards is believed for this long: two samples.
const SEEN_MS: i64 = 2 * WINDOW_MS;

/// What the configuration says of a sensor's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: what the service and the records say counts.
    #[default]
    Detect,
    /// Each sensor is to keep to one shard: anything else is a fault of a producer, or of the stream's settings.
    Sensor,
    /// Sensors are spread over shards, and it is meant so.
    Spread,
}

/// Sensors that were seen in two open shards at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedSensors {
    /// Two of the shards.
    pub shards: [ShardId; 2],
    /// How many sensors of the samples.
    pub sensors: usize,
    /// How many sensors there are in all samples.
    pub of: usize,
    /// Since when there were any, milliseconds since 1970.
    pub since_ms: i64,
    /// When they were last there.
    pub last_ms: i64,
}

/// What a worker knows of the stream's keys; the same for all its actors.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    expected: Expected,
    lacks_ask: bool,
    lacks_comparison: bool,
    /// Whether the service spreads records as it likes.
    spread_by_service: AtomicBool,
    /// Since when, milliseconds since 1970.
    spread_since_ms: AtomicI64,
    /// Why the service could not be asked.
    unknown: Mutex<Option<String>>,
    seen: Mutex<Option<SharedSensors>>,
}

impl Keys {
    /// Nothing is known but what is expected.
    pub fn new(expected: Expected) -> Self {
        Self(Arc::new(Known { expected, ..Known::default() }))
    }

    /// The same, where mutants do not ask the service, or compare no samples; neither is so outside tests.
    pub fn lacking(expected: Expected, lacks_ask: bool, lacks_comparison: bool) -> Self {
        Self(Arc::new(Known { expected, lacks_ask, lacks_comparison, ..Known::default() }))
    }

    /// What the configuration says.
    pub fn expected(&self) -> Expected {
        self.0.expected
    }

    /// Whether a record's key decides on its shard.
    pub fn are_heeded(&self) -> bool {
        self.0.expected != Expected::Spread && !self.is_spread_by_service()
    }

    /// Whether the service says that it spreads records as it likes.
    pub fn is_spread_by_service(&self) -> bool {
        self.0.spread_by_service.load(Ordering::Acquire)
    }

    /// Since when it says so, milliseconds since 1970.
    pub fn spread_since_ms(&self) -> i64 {
        self.0.spread_since_ms.load(Ordering::Acquire)
    }

    /// The service has said whether keys decide. True if that is news.
    pub fn heard(&self, heeded: bool, now_ms: i64) -> bool {
        *lock(&self.0.unknown) = None;
        let heeded = heeded || self.0.lacks_ask;
        let news = self.0.spread_by_service.swap(!heeded, Ordering::AcqRel) == heeded;
        if news {
            self.0.spread_since_ms.store(now_ms, Ordering::Release);
            // What was seen was the producers' doing, or the service's; whose it is now, the next samples tell.
            *lock(&self.0.seen) = None;
        }
        news
    }

    /// The service does not say.
    pub fn not_heard(&self, why: String) {
        *lock(&self.0.unknown) = Some(why);
    }

    /// Why it is not known whether the service heeds keys.
    pub fn unknown(&self) -> Option<String> {
        lock(&self.0.unknown).clone()
    }

    /// The samples of all open shards were compared: this many sensors of them are in two. True if that is news.
    pub fn compared(&self, found: Option<Shared>, now_ms: i64) -> bool {
        let mut seen = lock(&self.0.seen);
        let Some(Shared { shards, sensors, of }) = found.filter(|_| !self.0.lacks_comparison) else {
            seen.take_if(|seen| now_ms.saturating_sub(seen.last_ms) > SEEN_MS);
            return false;
        };
        let since_ms = seen.as_ref().map_or(now_ms, |seen| seen.since_ms);
        seen.replace(SharedSensors { shards, sensors, of, since_ms, last_ms: now_ms }).is_none()
    }

    /// Whether a sensor that says nothing on its shard says nothing.
    pub fn silence_tells(&self) -> bool {
        self.are_heeded() && lock(&self.0.seen).as_ref().is_none_or(|seen| seen.sensors * STRAYS < seen.of)
    }

    /// Sensors that were lately in two open shards.
    pub fn seen(&self) -> Option<SharedSensors> {
        lock(&self.0.seen).clone()
    }
}

// A panic while a lock was held leaves whole values behind.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_heeded_until_somebody_says_otherwise() {
        let keys = Keys::new(Expected::Detect);
        assert!(keys.are_heeded());
        assert!(!keys.heard(true, 1), "that is as it was");
        assert!(keys.heard(false, 2) && !keys.heard(false, 3));
        assert!(!keys.are_heeded());
        assert_eq!(keys.spread_since_ms(), 2);
        assert!(keys.heard(true, 4) && keys.are_heeded());
        assert!(!Keys::new(Expected::Spread).are_heeded());
    }

    #[test]
    fn what_was_seen_is_forgotten_when_it_does_not_come_again() {
        let keys = Keys::new(Expected::Sensor);
        let shards = ["a", "b"].map(ShardId::new);
        let found = |sensors| Some(Shared { shards: shards.clone(), sensors, of: 16 });
        assert!(keys.compared(found(1), 10));
        assert!(keys.silence_tells(), "one stray");
        assert!(!keys.compared(found(2), 20));
        assert!(!keys.silence_tells());
        assert!(keys.are_heeded(), "what producers do says nothing of the stream");
        assert!(!keys.compared(None, 20 + SEEN_MS));
        assert_eq!(keys.seen().map(|seen| (seen.sensors, seen.since_ms, seen.last_ms)), Some((2, 10, 20)));
        keys.compared(None, 21 + SEEN_MS);
        assert_eq!(keys.seen(), None);
    }
}
