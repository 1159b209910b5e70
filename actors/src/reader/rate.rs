//! When a shard may be asked for its next page.
//!
//! **Owns** the moment before which it is not asked.
//! **Promises** a shard that is behind is read as fast as the service documents, and not asked while that would be
//! refused: two megabytes a second, as a debt that every page makes. Where it is refused all the same, others read the
//! shard too, and nothing is lost: neither the iterator nor a try. Behind a large page the second that the service names is
//! waited for. Behind a small one it was the calls that were too many, five a second for all readers: it is asked again soon,
//! then more and more rarely, and half as often for a minute.
//! Source: the API reference of GetRecords: after 10 MB, calls of the next 5 seconds are refused; without throughput
//! enough, those of the next second; "we recommend that you wait 1 second between calls"; five transactions a second.
//!
//! **Not here**: asking (`reader.rs`). Times are since any fixed moment.

use std::time::Duration;

/// Bytes a second that a shard gives, to all its readers together.
const BYTES_PER_S: f64 = 2_000_000.0;
/// The pause after an answer that it was too many bytes, and the longest after one that it was too many calls.
const THROTTLED: Duration = Duration::from_secs(1);
/// How long the shard is taken for one that others read too.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// The pace of one shard's reader.
#[derive(Debug)]
pub(super) struct ReadRate {
    poll_interval: Duration,
    not_before: Duration,
    /// How long the last page's bytes take to be paid off.
    debt: Duration,
    /// Until when others are taken to read the shard too.
    shared_until: Duration,
    /// The pause after the next refusal in a row.
    pause: Duration,
}

impl ReadRate {
    /// Nothing was asked yet. `poll_interval`: the least time from one call to the next.
    pub(super) fn new(poll_interval: Duration) -> Self {
        let never = Duration::ZERO;
        Self { poll_interval, not_before: never, debt: never, shared_until: never, pause: poll_interval }
    }

    /// A page of so many bytes, asked for then, has come.
    pub(super) fn page(&mut self, bytes: usize, (asked, now): (Duration, Duration)) {
        // The service counts from its answer, which was before it came.
        self.debt = Duration::from_secs_f64(bytes as f64 / BYTES_PER_S);
        let shared = if now < self.shared_until { 2 } else { 1 };
        self.not_before = (asked + self.poll_interval * shared).max(now + self.debt);
        self.pause = self.poll_interval;
    }

    /// The service said that it was too much. `more`: what it asks for itself, and jitter, so that readers that were refused
    /// together do not come together.
    pub(super) fn throttled(&mut self, now: Duration, more: Duration) {
        let by_bytes = self.debt > self.poll_interval;
        self.not_before = now + more + if by_bytes { THROTTLED } else { self.pause };
        self.shared_until = now + SHARED_FOR;
        self.pause = (self.pause * 2).min(THROTTLED.max(self.poll_interval));
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
            self.calls.retain(|at| now.saturating_sub(*at) < S);
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
        let (mut shard, mut rate) = (Shard::default(), ReadRate::new(MS * 250));
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

    /// Another application that reads the shard.
    enum Other {
        /// It calls so often, whatever the answer is: KCL, Lambda and Firehose do, once a second.
        Every(Duration),
        /// It reads as we do.
        Alike,
    }

    /// How much of an hour's events waited for longer than a second, and how often we were refused. Latencies and jitter
    /// come from a fixed generator.
    fn late(poll: Duration, other: &Other) -> (f64, usize) {
        let (mut shard, mut rates) = (Shard::default(), [ReadRate::new(poll), ReadRate::new(poll)]);
        let (mut due, mut read_at, mut late, mut refused) = ([S, S], S, Duration::ZERO, 0);
        let mut seed = 1_u32;
        let mut chance = |most: Duration| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            most * (seed >> 16) / 65_536
        };
        while due[0] < S * 3_600 {
            let n = usize::from(due[1] < due[0]);
            let (asked, now) = (due[n], due[n] + MS * 10 + chance(MS * 40));
            let served = shard.call(1_000, now);
            match served {
                true => rates[n].page(1_000, (asked, now)),
                false => rates[n].throttled(now, MS * 50 + chance(MS * 50)),
            }
            due[n] = match (n, other) {
                (1, Other::Every(interval)) => asked + *interval,
                _ => now + rates[n].wait(now).unwrap_or_default(),
            };
            if n == 0 {
                refused += usize::from(!served);
            }
            if n == 0 && served {
                late += (now - read_at).saturating_sub(S);
                read_at = now;
            }
        }
        (late.as_secs_f64() / 3_600.0, refused)
    }

    #[test]
    fn beside_one_other_reader_fewer_than_one_event_in_a_hundred_waits_for_a_second() {
        for (name, other) in
            [("once a second", Other::Every(S)), ("twice a second", Other::Every(MS * 500)), ("as we do", Other::Alike)]
        {
            let (late, refused) = late(MS * 250, &other);
            eprintln!("another reads {name}: {:.3} % wait for more than 1 s, {refused} refused an hour", late * 100.0);
            assert!(late < 0.01 && refused < 700, "another reads {name}: {late:.4}, {refused} refused");
        }
    }

    #[test]
    fn small_pages_follow_each_other_at_the_poll_interval() {
        let mut rate = ReadRate::new(MS * 200);
        assert_eq!(rate.wait(S), None);
        rate.page(1_000, (S, S + LATENCY));
        assert_eq!(rate.wait(S + LATENCY), Some(MS * 160));
        assert_eq!(rate.wait(S + MS * 200), None);
        for pause in [200, 400, 800].into_iter().chain([1_000; 100]) {
            rate.throttled(S * 2, MS * 50);
            assert_eq!(rate.wait(S * 2), Some(MS * (pause + 50)));
        }
        rate.page(1_000, (S * 4, S * 4));
        assert_eq!(rate.wait(S * 4), Some(MS * 400), "half as often, for a minute");
        rate.page(1_000, (S * 70, S * 70));
        assert_eq!(rate.wait(S * 70), Some(MS * 200));
        rate.page(5_000_000, (S * 80, S * 80));
        rate.throttled(S * 83, MS * 50);
        assert_eq!(rate.wait(S * 83), Some(MS * 1_050), "behind a large page");
    }
}
