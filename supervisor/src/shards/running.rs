//! What each shard that runs here was told, and how it has ended.
//!
//! **Owns** the word that each of them was told, and whether all are being handed over.
//! **Promises**
//! - A shard runs once. What it is told first counts; only that it is to stop at once counts more.
//! - Every end is one [`Ending`]: what the shard itself has found counts more than what it was told, and that more than how
//!   its supervisor has ended.
//! - Once all are handed over nothing begins, and whoever asked for it is answered when nothing runs any more.
//!
//! **Not here**: doing it (`shards.rs`); which shards to run (`leases.rs`).

use std::collections::BTreeMap;

use actors::committer::Release;
use messages::ShardId;

use crate::protocol::Ending;
use crate::shard::ShardFate;

/// What becomes of the order to start a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It begins.
    Begins,
    /// It runs already: nothing is to be done.
    Runs,
    /// It neither runs nor begins, as all are being handed over.
    Refused,
}

/// The shards, from the start of each to its end.
#[derive(Debug, Default)]
pub(super) struct RunningShards {
    /// How each was told to end, if it was.
    told: BTreeMap<ShardId, Option<Ending>>,
    draining: bool,
}

impl RunningShards {
    /// What becomes of the order to start a shard.
    pub(super) fn admits(&self, shard: &ShardId) -> Admission {
        match self.told.contains_key(shard) {
            true => Admission::Runs,
            false if self.draining => Admission::Refused,
            false => Admission::Begins,
        }
    }

    /// It was started.
    pub(super) fn begun(&mut self, shard: ShardId) {
        self.told.insert(shard, None);
    }

    /// It is to end so. True if that is news to it: then it is told.
    pub(super) fn tell(&mut self, shard: &ShardId, ending: Ending) -> bool {
        match self.told.get_mut(shard) {
            Some(told) if told.is_none() || ending == Ending::Stopped => {
                *told = Some(ending);
                true
            }
            _ => false,
        }
    }

    /// All that run are to be handed over, and none begins any more.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        for told in self.told.values_mut() {
            told.get_or_insert(Ending::Released);
        }
    }

    /// Whether all were to be handed over, and nothing runs any more.
    pub(super) fn are_drained(&self) -> bool {
        self.draining && self.told.is_empty()
    }

    /// How a shard has ended, and whether it was to be handed over and was not in time; none if it did not run.
    /// `otherwise`: by how its supervisor has ended.
    pub(super) fn ended(&mut self, shard: &ShardId, fate: ShardFate, otherwise: Ending) -> Option<(Ending, bool)> {
        let told = self.told.remove(shard)?;
        let ShardFate { release, refusal, lost, held } = fate;
        let ending = match (release, lost, refusal, told) {
            (Some(Release::Finished), ..) => Ending::Finished,
            (Some(Release::HandedOver), ..) => Ending::Released,
            (None, _, Some(disagreement), None) => Ending::Refused(disagreement),
            (None, true, ..) if held => Ending::Lost,
            // Another worker was faster.
            (None, true, ..) => Ending::Stopped,
            (None, false, _, Some(Ending::Lost)) if !held => Ending::Stopped,
            (None, false, _, Some(Ending::Released)) => return Some((Ending::Stopped, true)),
            (None, false, _, Some(told)) => told,
            (None, false, None, None) => otherwise,
        };
        Some((ending, false))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actors::agreement::Disagreement;
    use messages::EpochNumber;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::ShardFailure;

    fn id(n: u8) -> ShardId {
        ShardId::new(&format!("shardId-{n:012}"))
    }

    fn failed() -> Ending {
        Ending::Failed(ShardFailure::Hangs(Duration::from_secs(9)))
    }

    fn disagreement() -> Disagreement {
        Disagreement::Gap { row: EpochNumber(1), missing: EpochNumber(2), newest: EpochNumber(3) }
    }

    /// How a shard ends that was told this and has found that of itself, where its supervisor says that it has failed.
    fn ends(told: Option<Ending>, fate: &ShardFate) -> (Ending, bool) {
        let mut shards = RunningShards::default();
        shards.begun(id(0));
        told.into_iter().for_each(|told| assert!(shards.tell(&id(0), told)));
        shards.ended(&id(0), fate.clone(), failed()).expect("it runs")
    }

    #[test]
    fn what_a_shard_has_found_counts_more_than_what_it_was_told() {
        let nothing = ShardFate::default();
        let finished = ShardFate { release: Some(Release::Finished), held: true, ..ShardFate::default() };
        let released = ShardFate { release: Some(Release::HandedOver), ..finished.clone() };
        let lost = ShardFate { lost: true, held: true, ..ShardFate::default() };
        let never_had = ShardFate { held: false, ..lost.clone() };
        for told in [None, Some(Ending::Released), Some(Ending::Stopped), Some(failed())] {
            assert_eq!(ends(told.clone(), &finished), (Ending::Finished, false));
            assert_eq!(ends(told.clone(), &released), (Ending::Released, false));
            assert_eq!(ends(told.clone(), &lost), (Ending::Lost, false));
            assert_eq!(ends(told, &never_had), (Ending::Stopped, false));
        }
        assert_eq!(ends(Some(Ending::Stopped), &nothing), (Ending::Stopped, false));
        assert_eq!(ends(Some(Ending::Released), &nothing), (Ending::Stopped, true), "not in time");
        assert_eq!(ends(None, &nothing), (failed(), false));
        // That another worker has it is a loss only of what was had.
        let had = ShardFate { held: true, ..ShardFate::default() };
        assert_eq!(ends(Some(Ending::Lost), &had), (Ending::Lost, false));
        assert_eq!(ends(Some(Ending::Lost), &nothing), (Ending::Stopped, false));
    }

    #[test]
    fn a_refusal_counts_where_nobody_wanted_the_shard_to_end() {
        let refused = ShardFate { refusal: Some(disagreement()), ..ShardFate::default() };
        assert_eq!(ends(None, &refused), (Ending::Refused(disagreement()), false));
        assert_eq!(ends(Some(Ending::Stopped), &refused), (Ending::Stopped, false));
        assert_eq!(ends(Some(Ending::Released), &refused), (Ending::Stopped, true));
    }

    #[test]
    fn what_a_shard_is_told_first_counts_but_that_it_stops_at_once() {
        let mut shards = RunningShards::default();
        assert!(!shards.tell(&id(0), Ending::Released), "it does not run");
        shards.begun(id(0));
        assert!(shards.tell(&id(0), failed()));
        assert!(!shards.tell(&id(0), Ending::Released));
        assert!(shards.tell(&id(0), Ending::Stopped));
        assert_eq!(shards.ended(&id(0), ShardFate::default(), failed()), Some((Ending::Stopped, false)));
        assert_eq!(shards.ended(&id(0), ShardFate::default(), failed()), None, "an end is reported once");
    }

    #[derive(Clone, Debug)]
    enum Event {
        Start(u8),
        Tell(u8, Ending),
        Drain,
        Ended(u8),
    }

    fn event() -> impl Strategy<Value = Event> {
        let told = prop_oneof![Just(Ending::Released), Just(Ending::Stopped), Just(failed())];
        prop_oneof![
            4 => (0..3_u8).prop_map(Event::Start),
            3 => ((0..3_u8), told).prop_map(|(n, told)| Event::Tell(n, told)),
            1 => Just(Event::Drain),
            4 => (0..3_u8).prop_map(Event::Ended),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: nothing runs twice, ends twice or begins once all are handed over; what was
        /// to go on is no clean end; a drain ends when the last shard does.
        #[test]
        fn all_orders_of_events(events in proptest::collection::vec(event(), 0..60)) {
            let mut shards = RunningShards::default();
            let (mut running, mut draining) = (BTreeMap::<u8, Vec<Ending>>::new(), false);
            for event in events {
                match event {
                    Event::Start(n) => {
                        let admission = shards.admits(&id(n));
                        prop_assert_eq!(admission == Admission::Runs, running.contains_key(&n));
                        prop_assert!(!(draining && admission == Admission::Begins));
                        if admission == Admission::Begins {
                            shards.begun(id(n));
                            running.insert(n, Vec::new());
                        }
                    }
                    Event::Tell(n, ending) => match (shards.tell(&id(n), ending.clone()), running.get_mut(&n)) {
                        (true, Some(told)) => told.push(ending),
                        (told, runs) => prop_assert!(!told && runs.is_none_or(|told| !told.is_empty())),
                    },
                    Event::Drain => {
                        shards.drain();
                        draining = true;
                        running.values_mut().filter(|told| told.is_empty()).for_each(|told| told.push(Ending::Released));
                    }
                    Event::Ended(n) => {
                        let ended = shards.ended(&id(n), ShardFate::default(), failed());
                        let told = running.remove(&n);
                        prop_assert_eq!(ended.is_some(), told.is_some());
                        let Some(((ending, is_late), told)) = ended.zip(told) else { continue };
                        let last = told.last().cloned().unwrap_or_else(failed);
                        prop_assert_eq!(is_late, last == Ending::Released);
                        prop_assert_eq!(ending, if is_late { Ending::Stopped } else { last });
                    }
                }
                prop_assert_eq!(shards.are_drained(), draining && running.is_empty());
            }
        }
    }
}
