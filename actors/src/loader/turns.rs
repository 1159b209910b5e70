//! The right to load, and when the next turn begins.
//!
//! **Owns** what this worker knows of the loader's row, its turns, and how many failed in a row.
//! **Promises** one turn is under way at most, and none without the right to load; an owner is followed when its row has
//! stood still for the failover time by this worker's own clock; a turn that hangs is told, not hidden by heartbeats.
//! **Not here**: reading and writing the row, loading (`loader.rs`). Times are since any fixed moment.

use std::time::Duration;

use super::LoaderConfig;
use crate::loading::{PAUSE_MIN, Turn, pause_after};
use crate::ports::leases::LoaderRow;
use crate::ports::warehouse::WarehouseFailure;

/// What a beat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Renew the right to load.
    Renew,
    /// Look whether somebody else has it.
    Look,
    /// Nothing: the worker is to end.
    Nothing,
    /// The turn that is under way hangs.
    Hangs,
}

/// When the next turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// After this time.
    After(Duration),
    /// After about this time: those that failed together must not come back together.
    About(Duration),
}

impl Next {
    /// How long, at the most.
    pub(super) fn pause(self) -> Duration {
        match self {
            Self::After(pause) | Self::About(pause) => pause,
        }
    }
}

#[derive(Debug)]
pub(super) struct Turns {
    config: LoaderConfig,
    /// When the right to load was last renewed; none without it.
    renewed_at: Option<Duration>,
    /// The row of whoever else loads, and since when it has stood so.
    seen: Option<(LoaderRow, Duration)>,
    /// The number and the beginning of the turn that is under way.
    under_way: Option<(u64, Duration)>,
    turns: u64,
    /// Whether the tables are known to fit.
    fits: bool,
    failures: u32,
    leaving: bool,
}

impl Turns {
    pub(super) fn new(config: LoaderConfig) -> Self {
        let (renewed_at, seen, under_way) = (None, None, None);
        Self { config, renewed_at, seen, under_way, turns: 0, fits: false, failures: 0, leaving: false }
    }

    pub(super) fn fit(&self) -> bool {
        self.fits
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn beat(&self, now: Duration) -> Beat {
        match (self.under_way, self.renewed_at) {
            _ if self.leaving => Beat::Nothing,
            // Beating says that loads go on: one that hangs must not be hidden by it.
            (Some((_, began)), _) if now.saturating_sub(began) > self.config.turn_max => Beat::Hangs,
            (_, Some(_)) => Beat::Renew,
            (_, None) => Beat::Look,
        }
    }

    /// The row could not be renewed for now. True if the right to load is given up for it: others may think it free soon.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        self.renewed_at.is_none_or(|at| now.saturating_sub(at) >= self.config.failover_after * 2 / 3)
    }

    /// Whether nobody loads who could, by this look at the row. `me`: a worker's name belongs to one living process, so
    /// its own row was left by an incarnation that is dead.
    pub(super) fn is_free(&mut self, row: Option<&LoaderRow>, me: &str, now: Duration) -> bool {
        let Some(row) = row.filter(|row| !row.released && row.owner != me) else { return true };
        let since = self.seen.as_ref().filter(|(seen, _)| seen == row).map_or(now, |(_, since)| *since);
        self.seen = Some((row.clone(), since));
        now.saturating_sub(since) >= self.config.failover_after
    }

    /// The right to load is this worker's, or is again.
    pub(super) fn holds(&mut self, now: Duration) {
        (self.renewed_at, self.seen) = (Some(now), None);
    }

    /// The right to load is lost. Whoever loads in between may change the tables.
    pub(super) fn lost(&mut self) {
        (self.renewed_at, self.seen, self.under_way, self.fits) = (None, None, None, false);
    }

    /// The worker is to end.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.lost();
    }

    /// The number of the turn that begins now; none if none may.
    pub(super) fn begins(&mut self, now: Duration) -> Option<u64> {
        if self.renewed_at.is_none() || self.under_way.is_some() || self.leaving {
            return None;
        }
        self.turns += 1;
        self.under_way = Some((self.turns, now));
        Some(self.turns)
    }

    /// When the turn of this number began; none if it is of an earlier time when this worker loaded.
    pub(super) fn ended(&mut self, number: u64) -> Option<Duration> {
        self.under_way.take_if(|(under_way, _)| *under_way == number).map(|(_, began)| began)
    }

    /// What follows on a turn that went through.
    pub(super) fn went(&mut self, turn: &Turn, began: Duration, now: Duration) -> Next {
        self.fits = true;
        match turn {
            // A cause that passes is given the time to.
            Turn::Refused { tries } => Next::About(pause_after(*tries, self.config.backoff_max)),
            Turn::Loaded { more: true } => {
                self.failures = 0;
                Next::After(Duration::ZERO)
            }
            _ => {
                self.failures = 0;
                let rest = self.config.load_interval.saturating_sub(now.saturating_sub(began));
                Next::After(rest.max(PAUSE_MIN))
            }
        }
    }

    /// What follows on one that failed.
    pub(super) fn failed(&mut self, failure: WarehouseFailure) -> Next {
        // Somebody may have changed the tables.
        self.fits &= failure != WarehouseFailure::Denied;
        let pause = pause_after(self.failures, self.config.backoff_max);
        self.failures = self.failures.saturating_add(1);
        Next::About(pause)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn turns() -> Turns {
        let (load_interval, backoff_max) = (S * 60, S * 10);
        Turns::new(LoaderConfig { load_interval, backoff_max, failover_after: S * 15, turn_max: S * 100 })
    }

    fn row(owner: &str, beat: u64) -> LoaderRow {
        LoaderRow { owner: owner.to_owned(), incarnation: "one".to_owned(), beat, released: false }
    }

    #[test]
    fn an_owner_is_followed_when_its_row_has_stood_still() {
        let mut turns = turns();
        assert!(!turns.is_free(Some(&row("b", 1)), "a", S));
        assert!(!turns.is_free(Some(&row("b", 1)), "a", S * 15));
        assert!(!turns.is_free(Some(&row("b", 2)), "a", S * 16), "it has moved");
        assert!(!turns.is_free(Some(&row("b", 2)), "a", S * 30));
        assert!(turns.is_free(Some(&row("b", 2)), "a", S * 31));
    }

    #[test]
    fn what_nobody_has_is_free() {
        assert!(turns().is_free(None, "a", S));
        assert!(turns().is_free(Some(&row("a", 1)), "a", S), "left by a dead incarnation");
        assert!(turns().is_free(Some(&LoaderRow { released: true, ..row("b", 1) }), "a", S));
    }

    #[test]
    fn whoever_cannot_renew_gives_up_before_others_follow() {
        let mut turns = turns();
        turns.holds(S);
        assert!(!turns.is_overdue(S * 10) && turns.is_overdue(S * 11));
    }

    #[test]
    fn the_next_turn_begins_at_once_after_its_interval_or_later_each_time() {
        let mut turns = turns();
        turns.holds(S);
        assert_eq!(turns.went(&Turn::Loaded { more: true }, S, S * 3), Next::After(Duration::ZERO));
        assert_eq!(turns.went(&Turn::Idle, S, S * 3), Next::After(S * 58));
        assert_eq!(turns.went(&Turn::Idle, S, S * 300), Next::After(PAUSE_MIN));
        assert_eq!(turns.failed(WarehouseFailure::Unavailable), Next::About(PAUSE_MIN));
        assert_eq!(turns.failed(WarehouseFailure::Unavailable), Next::About(PAUSE_MIN * 2));
        assert!(turns.fit());
        assert_eq!(turns.failed(WarehouseFailure::Denied), Next::About(PAUSE_MIN * 4));
        assert!(!turns.fit(), "somebody may have changed the tables");
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Beat,
        Took,
        Lost,
        Leave,
        Begin,
        /// The report of so many turns ago.
        Ended(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            2 => Just(Event::Beat),
            2 => Just(Event::Took),
            1 => Just(Event::Lost),
            1 => Just(Event::Leave),
            4 => Just(Event::Begin),
            4 => (0..3_u64).prop_map(Event::Ended),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: a turn begins only with the right to load and no other under way, its end
        /// is heard once, a turn that hangs is told, and who leaves does nothing more.
        #[test]
        fn all_orders_of_events(events in proptest::collection::vec((event(), 0..80_u64), 0..60)) {
            let mut turns = turns();
            let (mut now, mut holds, mut left) = (S, false, false);
            let (mut last, mut under_way) = (0, None::<(u64, Duration)>);
            for (event, passes) in events {
                now += S * passes as u32;
                match event {
                    Event::Beat => {
                        let hangs = under_way.is_some_and(|(_, began)| now - began > S * 100);
                        let expected = match (left, hangs, holds) {
                            (true, _, _) => Beat::Nothing,
                            (_, true, _) => Beat::Hangs,
                            (_, _, true) => Beat::Renew,
                            (_, _, false) => Beat::Look,
                        };
                        prop_assert_eq!(turns.beat(now), expected);
                    }
                    Event::Took if left => {}
                    Event::Took => {
                        turns.holds(now);
                        holds = true;
                    }
                    Event::Lost => {
                        turns.lost();
                        (holds, under_way) = (false, None);
                    }
                    Event::Leave => {
                        turns.leave();
                        (holds, under_way, left) = (false, None, true);
                    }
                    Event::Begin => {
                        let begun = turns.begins(now);
                        prop_assert_eq!(begun.is_some(), holds && under_way.is_none());
                        if let Some(number) = begun {
                            prop_assert!(number > last);
                            last = number;
                            under_way = Some((number, now));
                        }
                    }
                    Event::Ended(ago) => {
                        let number = last.saturating_sub(ago);
                        let expected = under_way.take_if(|(under_way, _)| *under_way == number);
                        prop_assert_eq!(turns.ended(number), expected.map(|(_, began)| began));
                    }
                }
            }
        }
    }
}
