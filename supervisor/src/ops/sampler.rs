//! Rates, and since when something has been so, from one look to the next.
//!
//! **Owns** the last sample of every counter that was looked at within the last minute.
//! **Promises** it costs nothing while nobody looks; memory is bounded by what is listed.
//! **Not here**: history. Whoever wants a curve scrapes `/metrics`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A rate is over at least this time: two who look at once must not halve each other's.
const SPAN_MS_MIN: i64 = 900;
const FORGET_MS: i64 = 60_000;
/// Whatever was not there for this long begins anew.
const GAP_MS: i64 = 5_000;

/// Remembers from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Sampler(Mutex<SamplerMemory>);

#[derive(Debug, Default)]
struct SamplerMemory {
    counters: HashMap<String, Counter>,
    facts: HashMap<String, Fact>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    at_ms: i64,
    value: u64,
    rate: Option<f64>,
    asked_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Fact {
    since_ms: i64,
    asked_ms: i64,
}

impl Sampler {
    /// How much a counter grows in a second; none at the first look. One that went back has begun anew.
    pub(super) fn rate(&self, key: String, value: u64, now_ms: i64) -> Option<f64> {
        let mut memory = self.memory();
        let first = Counter { at_ms: now_ms, value, rate: None, asked_ms: now_ms };
        let counter = memory.counters.entry(key).or_insert(first);
        counter.asked_ms = now_ms;
        let span_ms = now_ms - counter.at_ms;
        if span_ms >= SPAN_MS_MIN {
            let rate = value.saturating_sub(counter.value) as f64 * 1000.0 / span_ms as f64;
            *counter = Counter { at_ms: now_ms, value, rate: Some(rate), asked_ms: now_ms };
        }
        counter.rate
    }

    /// Since when something that is so now has been so, as far as somebody has looked.
    pub(super) fn since(&self, key: &str, now_ms: i64) -> i64 {
        let mut memory = self.memory();
        let begins = Fact { since_ms: now_ms, asked_ms: now_ms };
        let fact = memory.facts.entry(key.to_owned()).or_insert(begins);
        if now_ms - fact.asked_ms > GAP_MS {
            *fact = begins;
        }
        fact.asked_ms = now_ms;
        fact.since_ms
    }

    /// Keeps a moment from trembling: it is computed anew at each look, and clocks do not tick together.
    pub(super) fn steady(&self, key: &str, at_ms: i64, now_ms: i64) -> i64 {
        const TREMOR_MS: i64 = 1_500;
        let mut memory = self.memory();
        let found = memory.facts.entry(key.to_owned()).or_insert(Fact { since_ms: at_ms, asked_ms: now_ms });
        if (found.since_ms - at_ms).abs() > TREMOR_MS {
            found.since_ms = at_ms;
        }
        found.asked_ms = now_ms;
        found.since_ms
    }

    /// Forgets what nobody has looked at for a while.
    pub(super) fn sweep(&self, now_ms: i64) {
        let mut memory = self.memory();
        memory.counters.retain(|_, counter| now_ms - counter.asked_ms < FORGET_MS);
        memory.facts.retain(|_, fact| now_ms - fact.asked_ms < FORGET_MS);
    }

    // A panic while the lock was held leaves whole values behind.
    fn memory(&self) -> MutexGuard<'_, SamplerMemory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_over_a_second_however_often_somebody_looks() {
        let sampler = Sampler::default();
        let rate = |value, now_ms| sampler.rate("a".into(), value, now_ms);
        assert_eq!(rate(100, 0), None);
        assert_eq!(rate(150, 500), None);
        assert_eq!(rate(300, 1_000), Some(200.0));
        assert_eq!(rate(900, 1_001), Some(200.0));
        assert_eq!(rate(0, 3_000), Some(0.0));
    }

    #[test]
    fn a_fact_counts_from_when_it_began() {
        let sampler = Sampler::default();
        assert_eq!((sampler.since("a", 10), sampler.since("a", 3_000), sampler.since("a", 30_000)), (10, 10, 30_000));
        sampler.sweep(200_000);
        assert!(sampler.memory().facts.is_empty());
        assert_eq!((sampler.steady("b", 1_000, 0), sampler.steady("b", 1_400, 0)), (1_000, 1_000));
        assert_eq!(sampler.steady("b", 9_000, 0), 9_000);
    }
}
