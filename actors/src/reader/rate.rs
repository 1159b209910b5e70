//! When a shard may be asked for its next page.
//!
//! **Owns** the moment before which it is not asked.
//! **Promises** a shard that is behind is read as fast as the service documents, and not asked while that would be
//! refused: two megabytes a second, as a debt that every page makes. Where it is refused all the same, as where others
//! read the shard too, it is asked again after a second, which costs neither the iterator nor a failure.
//! Source: the API reference of GetRecords: after 10 MB, calls of the next 5 seconds are refused; without throughput
//! enough, those of the next second; "we recommend that you wait 1 second between calls".
//!
//! **Not here**: asking (`reader.rs`). Times are since any fixed moment.

use std::time::Duration;

/// Bytes a second that a shard gives, to all its readers together.
const BYTES_PER_S: f64 = 2_000_000.0;
/// The pause after an answer that it was too much.
const THROTTLED: Duration = Duration::from_secs(1);

/// The pace of one shard's reader.
#[derive(Debug)]
pub(super) struct ReadRate {
    poll_interval: Duration,
    not_before: Duration,
}

impl ReadRate {
    /// Nothing was asked yet. `poll_interval`: the least time from one call to the next.
    pub(super) fn new(poll_interval: Duration) -> Self {
        Self { poll_interval, not_before: Duration::ZERO }
    }

    /// A page of so many bytes, asked for then, has come.
    pub(super) fn page(&mut self, bytes: usize, (asked, now): (Duration, Duration)) {
        // The service counts from its answer, which was before it came.
        let debt = Duration::from_secs_f64(bytes as f64 / BYTES_PER_S);
        self.not_before = (asked + self.poll_interval).max(now + debt);
    }

    /// The service said that it was too much. `more`: what it asks for itself, and jitter, so that readers that were refused
    /// together do not come together.
    pub(super) fn throttled(&mut self, now: Duration, more: Duration) {
        self.not_before = now + THROTTLED + more;
    }

    /// How long to wait before the next call; none if it may be made now.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        self.not_before.checked_sub(now).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);
    const LATENCY: Duration = Duration::from_millis(40);

    /// A shard as the service documents it: a debt of bytes, and five calls a second of all its readers.
    #[derive(Default)]
    struct Shard {
        free_at: Duration,
        calls: VecDeque<Duration>,
    }

    impl Shard {
        fn call(&mut self, bytes: usize, now: Duration) -> bool {
            self.calls.retain(|at| now - *at < S);
            if self.calls.len() >= 5 || now < self.free_at {
                return false;
            }
            self.calls.push_back(now);
            self.free_at = now + Duration::from_secs_f64(bytes as f64 / 2e6);
            true
        }
    }

    /// Reads an endless backlog for an hour, beside another reader that calls so often. Answers megabytes a second of
    /// our own, and how often we were refused.
    fn drained(page: usize, other: Option<Duration>) -> (f64, usize) {
        let (mut shard, mut rate) = (Shard::default(), ReadRate::new(MS * 200));
        let (mut now, mut bytes, mut refused, mut others) = (Duration::ZERO, 0, 0, Duration::ZERO);
        let hour = S * 3_600;
        while now < hour {
            now += rate.wait(now).unwrap_or(Duration::ZERO);
            while let Some(every) = other.filter(|_| others <= now) {
                shard.call(1_000, others);
                others += every;
            }
            let asked = now;
            let served = shard.call(page, now + LATENCY / 2);
            now += LATENCY;
            match served {
                true => {
                    bytes += page;
                    rate.page(page, (asked, now));
                }
                false => {
                    refused += 1;
                    rate.throttled(now, MS * 100);
                }
            }
        }
        (bytes as f64 / 1e6 / hour.as_secs_f64(), refused)
    }

    #[test]
    fn a_backlog_drains_as_fast_as_a_shard_gives_and_nothing_is_refused() {
        for page in [10_000_000, 5_000_000, 2_000_000, 1_000_000] {
            let (mb_per_s, refused) = drained(page, None);
            assert!(mb_per_s > 1.8 && refused == 0, "pages of {page}: {mb_per_s:.2} MB/s, {refused} refused");
        }
    }

    #[test]
    fn another_reader_costs_a_second_now_and_then() {
        for page in [10_000_000, 2_000_000] {
            let (mb_per_s, refused) = drained(page, Some(S));
            assert!(mb_per_s > 1.0, "pages of {page}: {mb_per_s:.2} MB/s, {refused} refused");
        }
    }

    #[test]
    fn small_pages_follow_each_other_at_the_poll_interval() {
        let mut rate = ReadRate::new(MS * 200);
        assert_eq!(rate.wait(S), None);
        rate.page(1_000, (S, S + LATENCY));
        assert_eq!(rate.wait(S + LATENCY), Some(MS * 160));
        assert_eq!(rate.wait(S + MS * 200), None);
        rate.throttled(S * 2, MS * 50);
        assert_eq!(rate.wait(S * 2), Some(MS * 1_050));
    }
}
