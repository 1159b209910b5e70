//! What this worker works on, and what it leaves alone.
//!
//! **Owns** the shards that run here, that leave, that were refused or failed here; whether anything may run at all.
//! **Promises**
//! - OWNER: a worker whose heartbeat has not been written for too long ends everything, and takes nothing until it has
//!   been again.
//! - A shard is started once; nothing is decided by a look that began before the last change here.
//! - What failed here is left to others, for longer each time, unless there are none.
//!
//! **Not here**: who should own what (`assignment.rs`); doing it, asking and saying (`leases.rs`). Times are since any
//! fixed moment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use actors::ports::backoff::doubled;
use actors::ports::faults::{Faults, Mechanism};
use messages::ShardId;

use super::LeasesConfig;
use super::assignment::Orders;
use crate::protocol::{Ending, NotHandedOver};

const MINUTE: Duration = Duration::from_secs(60);
/// Until every look at the table shows that this worker does not want a shard that it has handed over on request.
const SHUN_FOR: Duration = Duration::from_secs(2);

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take it; the counter is the one that was seen. `runs`: it is here, and its row has lost its owner, as where a
    /// table was put back.
    Take { shard: ShardId, counter: u64, runs: bool },
    /// Hand it over, as soon as what was read is committed.
    HandOver(ShardId),
}

/// The shards of this worker.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// From the order to the end.
    running: BTreeSet<ShardId>,
    /// Those of them that are being handed over.
    leaving: BTreeSet<ShardId>,
    /// Those of them whose rows say that another worker has them, and since when.
    elsewhere: BTreeMap<ShardId, Duration>,
    handovers: VecDeque<Duration>,
    /// What was handed over on request, and when it was released.
    declined: BTreeMap<ShardId, Option<Duration>>,
    /// What was refused here, and when: looked at again after a while.
    refused: BTreeMap<ShardId, Duration>,
    /// Shards that failed here, how often, and until when they are left to others.
    backing_off: BTreeMap<ShardId, (u32, Duration)>,
    /// Looks that began before this are out of date.
    changed_at: Duration,
    fenced: bool,
    /// The stream was deleted and made again.
    other_stream: bool,
    /// The worker is to end.
    ending: bool,
    lacks_fence: bool,
    lacks_watch: bool,
}

impl Holdings {
    pub(super) fn new(faults: &Faults) -> Self {
        let (lacks_fence, lacks_watch) = (faults.lacks(Mechanism::SelfFence), faults.lacks(Mechanism::ProgressWatch));
        Self { lacks_fence, lacks_watch, ..Self::default() }
    }

    pub(super) fn running(&self) -> &BTreeSet<ShardId> {
        &self.running
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// The worker is to end: it takes nothing any more.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// The shards have been started, perhaps again: nothing of what ran before does.
    pub(super) fn emptied(&mut self, now: Duration) {
        self.running.clear();
        self.leaving.clear();
        self.changed_at = now;
    }

    /// Whether a look that began then shows what is, and anything can follow from it.
    pub(super) fn counts(&self, seen_at: Duration) -> bool {
        seen_at >= self.changed_at && !self.fenced && !self.other_stream
    }

    /// For how long the heartbeat has not been written. True if everything has to end now.
    pub(super) fn is_silent(&mut self, silent: Duration, config: &LeasesConfig) -> bool {
        let overdue = silent > config.fence_after() && !self.lacks_fence;
        overdue && !std::mem::replace(&mut self.fenced, true)
    }

    /// The heartbeat is written. True if it was not, for too long.
    pub(super) fn is_heard(&mut self) -> bool {
        std::mem::take(&mut self.fenced)
    }

    /// Whether the stream is the one that it was. True if that is news, and everything has to end.
    pub(super) fn stream_is_another(&mut self, another: bool) -> bool {
        !std::mem::replace(&mut self.other_stream, another) && another
    }

    /// Whether a shard in which nothing has moved for this long is to be given up.
    pub(super) fn hangs(&self, stalled: Duration, config: &LeasesConfig) -> bool {
        stalled > config.stuck_after && !self.lacks_watch
    }

    /// Takes up what is to be done of these orders. `alone`: no other worker lives that could.
    pub(super) fn steps(
        &mut self,
        orders: Orders,
        (seen_at, now): (Duration, Duration),
        alone: bool,
        config: &LeasesConfig,
    ) -> Vec<Step> {
        self.forget(now, config);
        if self.ending || !self.counts(seen_at) {
            return Vec::new();
        }
        // Alone it is as good as any: what it leaves nobody reads.
        let left = |shard: &ShardId| !alone && self.backing_off.get(shard).is_some_and(|(_, until)| seen_at < *until);
        let shunned = |shard: &ShardId| self.declined.contains_key(shard) || self.refused.contains_key(shard);
        let takes: Vec<_> = orders.take.into_iter().filter(|(shard, _)| !shunned(shard) && !left(shard)).collect();
        let take = |(shard, counter): (ShardId, u64)| {
            let runs = !self.running.insert(shard.clone());
            Step::Take { shard, counter, runs }
        };
        let mut steps: Vec<Step> = takes.into_iter().map(take).collect();
        for shard in orders.hand_over {
            let allowed = self.handovers.len() < config.handovers_per_minute && self.running.contains(&shard);
            if allowed && self.leaving.insert(shard.clone()) {
                self.handovers.push_back(now);
                steps.push(Step::HandOver(shard));
            }
        }
        steps
    }

    /// Shards that run here while, look after look, another worker that lives has their rows, as where a table was put
    /// back under a shard without records: its committer has nothing to write, and so does not find out. `others`: the
    /// shards that living others have, by the look that was asked for at `now`. Each is answered once in that time.
    pub(super) fn strays(&mut self, others: BTreeSet<&ShardId>, now: Duration, config: &LeasesConfig) -> Vec<ShardId> {
        let of_others = self.running.iter().filter(|shard| others.contains(shard)).cloned();
        let seen: BTreeMap<_, _> =
            of_others.map(|shard| (shard.clone(), *self.elsewhere.get(&shard).unwrap_or(&now))).collect();
        self.elsewhere = seen;
        let long = self.elsewhere.iter_mut().filter(|(_, since)| now.saturating_sub(**since) >= config.patience.worker);
        long.map(|(shard, since)| {
            *since = now;
            shard.clone()
        })
        .collect()
    }

    fn forget(&mut self, now: Duration, config: &LeasesConfig) {
        self.handovers.retain(|at| now.saturating_sub(*at) < MINUTE);
        self.declined.retain(|_, since| since.is_none_or(|since| now.saturating_sub(since) <= SHUN_FOR));
        self.refused.retain(|_, since| now.saturating_sub(*since) <= config.rules.give_up_pause);
    }

    /// An operator wants it handed over. `alone`: no other worker lives that could take it.
    pub(super) fn requested(&mut self, shard: &ShardId, alone: bool) -> Result<(), NotHandedOver> {
        if !self.running.contains(shard) {
            return Err(NotHandedOver::NotHere(shard.clone()));
        }
        if alone {
            return Err(NotHandedOver::Alone);
        }
        if !self.leaving.insert(shard.clone()) {
            return Err(NotHandedOver::UnderWay(shard.clone()));
        }
        self.declined.insert(shard.clone(), None);
        Ok(())
    }

    /// It has ended here. True if the others are to be told that it is theirs.
    pub(super) fn ended(&mut self, shard: &ShardId, ending: &Ending, now: Duration, config: &LeasesConfig) -> bool {
        // One that is given up runs, for this worker, until the row says so: or it would be taken again at once.
        if !matches!(ending, Ending::Failed(_)) {
            self.running.remove(shard);
        }
        self.leaving.remove(shard);
        self.changed_at = now;
        match ending {
            Ending::Released => {
                let declined = self.declined.get_mut(shard);
                return declined.map(|since| *since = Some(now)).is_some();
            }
            Ending::Refused(_) | Ending::Broken(_) => drop(self.refused.insert(shard.clone(), now)),
            Ending::Failed(_) => {
                let (failures, until) = self.backing_off.entry(shard.clone()).or_insert((0, now));
                *failures += 1;
                *until = now + backoff(*failures, config);
            }
            Ending::Finished | Ending::Stopped | Ending::Lost => {}
        }
        self.declined.remove(shard);
        false
    }

    /// Its row says now that it was given up here. If it could not be written, it is taken again: better than not at all.
    pub(super) fn gave_up(&mut self, shard: &ShardId, now: Duration) {
        self.running.remove(shard);
        self.changed_at = now;
    }

    /// Remembers only the failures of shards of which this holds.
    pub(super) fn retain_failures(&mut self, holds: impl Fn(&ShardId) -> bool) {
        self.backing_off.retain(|shard, _| holds(shard));
    }
}

/// How long a shard that failed this often in a row is left alone where others can take it.
pub(super) fn backoff(failures: u32, config: &LeasesConfig) -> Duration {
    let pause = config.rules.give_up_pause;
    doubled(failures.saturating_sub(1), pause, config.give_up_pause_max.max(pause))
}

#[cfg(test)]
mod tests {
    use actors::agreement::Disagreement;
    use messages::{EpochNumber, EventSchema};
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::protocol::ShardFailure;

    const S: Duration = Duration::from_secs(1);
    const SHARDS: u32 = 4;

    fn config() -> LeasesConfig {
        let shipped = Config::shipped("worker-a", EventSchema::built_in("climate").unwrap()).leases;
        LeasesConfig { handovers_per_minute: 2, ..shipped }
    }

    fn id(n: u32) -> ShardId {
        ShardId::new(&format!("shardId-{n:012}"))
    }

    fn take(shards: &[u32]) -> Orders {
        Orders { take: shards.iter().map(|n| (id(*n), 1)).collect(), ..Orders::default() }
    }

    fn takes(n: u32) -> Vec<Step> {
        vec![Step::Take { shard: id(n), counter: 1, runs: false }]
    }

    fn none() -> Holdings {
        Holdings::new(&Faults::none())
    }

    #[test]
    fn a_look_from_before_the_last_change_decides_nothing() {
        let mut holdings = none();
        assert_eq!(holdings.steps(take(&[0]), (S, S), false, &config()), takes(0));
        holdings.ended(&id(0), &Ending::Stopped, S * 5, &config());
        assert_eq!(holdings.steps(take(&[0]), (S * 4, S * 6), false, &config()), []);
        assert_eq!(holdings.steps(take(&[0]), (S * 6, S * 6), false, &config()), takes(0));
    }

    #[test]
    fn what_failed_here_is_left_to_others_twice_as_long_each_time_unless_there_are_none() {
        let (mut holdings, config, failed) = (none(), config(), Ending::Failed(ShardFailure::Hangs(S)));
        let pause = config.rules.give_up_pause;
        let mut at = S;
        for times in [1, 2, 4] {
            holdings.ended(&id(0), &failed, at, &config);
            holdings.gave_up(&id(0), at);
            let until = at + pause * times;
            assert_eq!(holdings.steps(take(&[0]), (until - S, until - S), false, &config), []);
            assert_eq!(holdings.steps(take(&[0]), (until, until), false, &config), takes(0));
            at = until;
        }
        holdings.ended(&id(0), &failed, at, &config);
        holdings.gave_up(&id(0), at);
        assert_eq!(holdings.steps(take(&[0]), (at, at), true, &config), takes(0));
    }

    #[test]
    fn whoever_is_silent_ends_all_once_and_takes_nothing_until_it_is_heard() {
        let (mut holdings, config) = (none(), config());
        assert!(!holdings.is_silent(config.fence_after(), &config));
        assert!(holdings.is_silent(config.fence_after() + S, &config));
        assert!(!holdings.is_silent(config.fence_after() + S * 2, &config), "said once");
        assert_eq!(holdings.steps(take(&[0]), (S, S), true, &config), []);
        assert!(holdings.is_heard() && !holdings.is_heard());
        assert_eq!(holdings.steps(take(&[0]), (S, S), true, &config), takes(0));
    }

    #[test]
    fn what_another_has_for_long_is_not_worked_on_here() {
        let (mut holdings, config) = (none(), config());
        holdings.steps(take(&[0, 1]), (S, S), false, &config);
        let (first, third) = (id(0), id(2));
        assert_eq!(holdings.strays([&first, &third].into(), S * 2, &config), []);
        assert_eq!(holdings.strays([].into(), S * 4, &config), [], "it was a look at the past");
        assert_eq!(holdings.strays([&first].into(), S * 5, &config), []);
        let at = S * 5 + config.patience.worker;
        assert_eq!(holdings.strays([&first].into(), at, &config), [id(0)]);
        assert_eq!(holdings.strays([&first].into(), at + S, &config), [], "said once");
    }

    #[test]
    fn mutants_lack_what_they_say() {
        let mutant = |name| Holdings::new(&Faults::parse(&format!("mutant={name}")).unwrap());
        assert!(!mutant("no-self-fence").is_silent(S * 1_000, &config()));
        assert!(!mutant("hung-shard-kept").hangs(S * 1_000, &config()));
        assert!(none().hangs(S * 1_000, &config()));
    }

    #[test]
    fn a_hand_over_on_request_needs_another_worker_and_is_left_to_it() {
        let (mut holdings, config) = (none(), config());
        assert_eq!(holdings.requested(&id(0), false), Err(NotHandedOver::NotHere(id(0))));
        holdings.steps(take(&[0]), (S, S), false, &config);
        assert_eq!(holdings.requested(&id(0), true), Err(NotHandedOver::Alone));
        holdings.requested(&id(0), false).unwrap();
        assert_eq!(holdings.requested(&id(0), false), Err(NotHandedOver::UnderWay(id(0))));
        assert!(holdings.ended(&id(0), &Ending::Released, S * 2, &config));
        assert_eq!(holdings.steps(take(&[0]), (S * 3, S * 3), false, &config), []);
        assert_eq!(holdings.steps(take(&[0]), (S * 5, S * 5), false, &config), takes(0));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Look { age: u64, alone: bool },
        Ended(u32, Ending),
        GaveUp(u32),
        Requested(u32),
        Silent(u64),
        Heard,
        OtherStream(bool),
        End,
        Emptied,
    }

    fn event() -> impl Strategy<Value = Event> {
        let shard = 0..SHARDS;
        let ending = prop_oneof![
            Just(Ending::Finished),
            Just(Ending::Released),
            Just(Ending::Stopped),
            Just(Ending::Lost),
            Just(Ending::Failed(ShardFailure::Hangs(S))),
            Just(Ending::Refused(Disagreement::Gap {
                row: EpochNumber(1),
                missing: EpochNumber(2),
                newest: EpochNumber(3),
            })),
        ];
        prop_oneof![
            4 => (0..4_u64, any::<bool>()).prop_map(|(age, alone)| Event::Look { age, alone }),
            3 => (shard.clone(), ending).prop_map(|(shard, ending)| Event::Ended(shard, ending)),
            1 => shard.clone().prop_map(Event::GaveUp),
            1 => shard.prop_map(Event::Requested),
            1 => (0..6_u64).prop_map(Event::Silent),
            2 => Just(Event::Heard),
            1 => any::<bool>().prop_map(Event::OtherStream),
            1 => Just(Event::Emptied),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: a shard that runs is not started as if it did not, nothing starts while the
        /// worker is fenced, the stream is another, or by an old look, nor once the worker is to end, and hand-overs keep
        /// within their limit.
        #[test]
        fn all_orders_of_events(
            events in proptest::collection::vec((event(), 0..3_u64), 0..60),
            last in proptest::collection::vec((event(), 0..3_u64), 0..20),
        ) {
            let end = std::iter::once((Event::End, 0));
            let (mut holdings, config) = (none(), config());
            let (mut now, mut changed, mut fenced) = (S, Duration::ZERO, false);
            let (mut another, mut ending) = (false, false);
            let (mut running, mut handed) = (BTreeSet::new(), Vec::<Duration>::new());
            for (event, passes) in events.into_iter().chain(end).chain(last) {
                now += S * passes as u32;
                match event {
                    Event::Look { age, alone } => {
                        let seen_at = now.saturating_sub(S * age as u32);
                        let all: Vec<u32> = (0..SHARDS).collect();
                        let orders = Orders { hand_over: all.iter().map(|n| id(*n)).collect(), ..take(&all) };
                        let steps = holdings.steps(orders, (seen_at, now), alone, &config);
                        prop_assert!(steps.is_empty() || (seen_at >= changed && !fenced && !another && !ending));
                        for step in steps {
                            match step {
                                Step::Take { shard, runs, .. } => prop_assert_eq!(!running.insert(shard), runs),
                                Step::HandOver(shard) => {
                                    prop_assert!(running.contains(&shard));
                                    handed.push(now);
                                    let lately = handed.iter().filter(|at| now - **at < MINUTE).count();
                                    prop_assert!(lately <= config.handovers_per_minute);
                                }
                            }
                        }
                    }
                    Event::Ended(n, ending) => {
                        holdings.ended(&id(n), &ending, now, &config);
                        if !matches!(ending, Ending::Failed(_)) {
                            running.remove(&id(n));
                        }
                        changed = now;
                    }
                    Event::GaveUp(n) => {
                        holdings.gave_up(&id(n), now);
                        running.remove(&id(n));
                        changed = now;
                    }
                    Event::Requested(n) => {
                        let known = running.contains(&id(n));
                        prop_assert!(holdings.requested(&id(n), false).is_err() || known);
                    }
                    Event::Silent(s) => fenced |= holdings.is_silent(S * s as u32, &config),
                    Event::Heard => {
                        prop_assert_eq!(holdings.is_heard(), fenced);
                        fenced = false;
                    }
                    Event::OtherStream(is) => {
                        prop_assert_eq!(holdings.stream_is_another(is), is && !another);
                        another = is;
                    }
                    Event::End => {
                        holdings.end();
                        ending = true;
                    }
                    Event::Emptied => {
                        holdings.emptied(now);
                        running.clear();
                        changed = now;
                    }
                }
                prop_assert_eq!(holdings.running(), &running);
            }
        }
    }
}
