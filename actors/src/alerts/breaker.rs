//! Leaves a receiver alone that refuses whatever it is handed.
//!
//! **Owns** when such a receiver is asked again.
//! **Promises** while it refuses, one alert at a time asks for all, after pauses that double; the first that is let in
//! lets in the others.
//!
//! **Not here**: handing over, and what is refused for the alert's own sake. Times are since any fixed moment.

use std::time::Duration;

use crate::ports::aws::CallError;
use crate::ports::backoff::Backoff;

/// The circuit breaker of one receiver.
#[derive(Debug)]
pub(super) struct Breaker {
    backoff: Backoff,
    open: Option<Refusing>,
}

/// It refuses.
#[derive(Debug)]
struct Refusing {
    since: Duration,
    until: Duration,
    pause: Duration,
    error: CallError,
}

impl Breaker {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, open: None }
    }

    /// Whether the receiver may be asked now. If not: for how long, and what it has said.
    pub(super) fn ask(&mut self, now: Duration) -> Result<(), (Duration, CallError)> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if now < open.until {
            return Err((open.until - now, open.error.clone()));
        }
        // Whoever asks now asks for all; one that never comes back does not keep the others away.
        open.until = now + open.pause;
        Ok(())
    }

    /// What was asked then was refused. Answers whether that is news.
    pub(super) fn refused(&mut self, asked: Duration, now: Duration, error: &CallError) -> bool {
        // What was under way when it began to refuse is one refusal.
        if self.is_old(asked) {
            return false;
        }
        let pause = self.backoff.after(error);
        let is_news = self.open.is_none();
        self.open = Some(Refusing { since: now, until: now + pause, pause, error: error.clone() });
        is_news
    }

    /// What was asked then was let in. Answers whether that is news.
    pub(super) fn passed(&mut self, asked: Duration) -> bool {
        if self.open.is_none() || self.is_old(asked) {
            return false;
        }
        self.backoff.passed();
        self.open = None;
        true
    }

    fn is_old(&self, asked: Duration) -> bool {
        self.open.as_ref().is_some_and(|open| asked < open.since)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ports::aws::Failure;
    use crate::ports::chance::Chance;

    const MS: Duration = Duration::from_millis(1);

    fn breaker() -> Breaker {
        // The longest of all pauses.
        Breaker::new(Backoff::new(&Chance::from_fn(|| u64::MAX), MS * 100, MS * 1_000))
    }

    fn error() -> CallError {
        CallError::new("publish", Failure::NotFound, "no such topic")
    }

    #[test]
    fn what_was_under_way_together_is_refused_once_and_one_asks_for_all() {
        let mut breaker = breaker();
        assert!((0..64).all(|_| breaker.ask(MS).is_ok()));
        let news: Vec<bool> = (0..64).map(|n| breaker.refused(MS, MS * (10 + n), &error())).collect();
        assert_eq!((news[0], news[1..].contains(&true)), (true, false));
        let (wait, said) = breaker.ask(MS * 60).unwrap_err();
        assert!(wait <= MS * 50 && said == error(), "{wait:?}");
        assert!(breaker.ask(MS * 111).is_ok());
        assert!(breaker.ask(MS * 111).is_err(), "one alone");
        assert!(!breaker.passed(MS * 5), "that was before");
        assert!(!breaker.refused(MS * 111, MS * 112, &error()));
        assert!(breaker.ask(MS * 300).is_err() && breaker.ask(MS * 313).is_ok());
        assert!(breaker.passed(MS * 313) && !breaker.passed(MS * 313));
        assert!((0..64).all(|_| breaker.ask(MS * 314).is_ok()));
    }

    proptest! {
        /// However many alerts wait and whoever never comes back: a receiver that refuses is asked seldom, and one that
        /// does not any more is known to within one pause and the time of a turn.
        #[test]
        fn a_receiver_is_asked_seldom_and_found_again(
            heals in 0..15_000_u32, turns in prop::collection::vec((10..50_u32, any::<bool>()), 2_000)
        ) {
            let (mut breaker, mut now, mut asked) = (breaker(), 0, 0);
            breaker.refused(Duration::ZERO, Duration::ZERO, &error());
            for (later, comes_back) in turns {
                now += later;
                if breaker.ask(MS * now).is_err() {
                    continue;
                }
                asked += 1;
                match (now < heals, comes_back) {
                    (true, true) => drop(breaker.refused(MS * now, MS * now, &error())),
                    (false, _) if breaker.passed(MS * now) => break,
                    (false, _) => prop_assert!(false, "it was open"),
                    (true, false) => {}
                }
            }
            prop_assert!(breaker.open.is_none() && now <= heals.max(100) + 1_000 + 50, "{now} for {heals}");
            // One after each pause, the shortest of which one that does not come back may stretch.
            prop_assert!(asked <= heals / 100 + 2, "{asked}");
        }
    }
}
