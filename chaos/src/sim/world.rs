//! The world of one run: hosts, cloud, producer and the time that they share.
//!
//! **Promises** time goes in steps; within a step the hosts that are awake run one after the other, in an order that the
//! seed decides. Nothing else decides anything.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::evidence;
use super::host::Host;
use super::lifecycle;
use super::producer::Producer;
use super::restore::{self, Backups};
use super::schedule::{Event, Habit, Schedule, WORKERS};
use super::settings::{BUCKET, OTHER_STREAM, STREAM};
use crate::cloud::{ClientId, Cloud, LoadMutant, OpMatcher, Service, ServiceFaults, ShardView, StoredObject, Weather};
use crate::oracle::Violation;

/// How late a load may come.
const LOAD_DELAY_MS: (u64, u64) = (1_000, 20_000);
/// Fifteen seconds before a full hour, so that windows close in every run.
const BEGINNING_MS: i64 = 1_767_225_600_000 - 15_000;
const STEP_MS: u64 = 5;
/// After the last fault, everything is read and committed within this time.
const REST_MS_MAX: u64 = 60_000;
const DRAIN_MS_MAX: u64 = 30_000;
const SHARDS_MAX: usize = 8;
/// For how long a restore waits for an upload.
const RESTORE_WAITS_MS: i64 = 2_000;

/// A run.
pub(super) struct World {
    pub(super) cloud: Cloud,
    pub(super) hosts: [Seat; WORKERS],
    pub(super) lease_counts: BTreeMap<String, u64>,
    /// The worker of each client, and when it last woke up.
    pub(super) clients: BTreeMap<ClientId, (usize, Option<i64>)>,
    seed: u64,
    dice: StdRng,
    producer: Producer,
    schedule: Schedule,
    mutant: Option<String>,
    now_ms: i64,
    boots: u32,
    calm_at_ms: Option<i64>,
    faults: BTreeMap<String, u64>,
    /// Workers that could not start though nothing was in their way.
    pub(super) refused: Vec<Violation>,
    /// The lease table as it was.
    pub(super) backups: Backups,
    /// Which of them is put back, at the next upload or by this time.
    to_restore: Option<(u64, i64)>,
    /// Epochs in the ledger, when so many transactions had ended.
    loaded: Option<(u64, u64)>,
    /// The own faults of every boot.
    armed: Vec<actors::ports::faults::Faults>,
    /// When the weather became calm, or a worker was killed, while some shard has not been read since.
    disturbed_at_ms: Option<i64>,
    /// What a lifecycle rule has taken.
    pub(super) expired: BTreeMap<String, StoredObject>,
    /// The longest from there until every open shard was read again.
    pub(super) back_ms: u64,
}

/// Where a worker runs, or will run again.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) host: Option<Host>,
    boot_at_ms: i64,
    draining: Option<u64>,
}

impl World {
    pub(super) fn new(seed: u64, schedule: Schedule, mutant: Option<String>) -> Self {
        let cloud = Cloud::new(seed);
        cloud.create_stream(STREAM, schedule.shards);
        cloud.alias_stream(OTHER_STREAM);
        if schedule.habit == Habit::Spread {
            cloud.spread(BEGINNING_MS, true);
        }
        cloud.create_bucket(BUCKET);
        cloud.create_topic("alerts");
        if let Some(mutant) = mutant.as_deref().and_then(LoadMutant::of_name) {
            cloud.load_without(mutant);
        }
        cloud.set_faults(with_loads(Weather::calm(), &schedule));
        schedule.lost_replies.iter().for_each(|matcher| cloud.lose_reply_once(matcher.clone()));
        let load = OpMatcher::new(Service::Redshift, "BatchExecuteStatement").containing("mangrove: load");
        schedule.load_faults.iter().for_each(|fault| cloud.inject_once(*fault, load.clone()));
        let mut dice = StdRng::seed_from_u64(seed ^ 0x0077_0c1d);
        let producer = Producer::new(StdRng::seed_from_u64(dice.random()), BEGINNING_MS, schedule.habit);
        let boot_at_ms = |n: usize| BEGINNING_MS + schedule.boot_gap_ms * n as i64;
        let hosts = std::array::from_fn(|n| Seat { boot_at_ms: boot_at_ms(n), ..Seat::default() });
        Self {
            cloud,
            hosts,
            lease_counts: BTreeMap::new(),
            clients: BTreeMap::new(),
            seed,
            dice,
            producer,
            schedule,
            mutant,
            now_ms: BEGINNING_MS,
            boots: 0,
            calm_at_ms: None,
            faults: BTreeMap::new(),
            refused: Vec::new(),
            backups: Backups::default(),
            to_restore: None,
            loaded: None,
            armed: Vec::new(),
            disturbed_at_ms: None,
            expired: BTreeMap::new(),
            back_ms: 0,
        }
    }

    pub(super) fn habit(&self) -> Habit {
        self.schedule.habit
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        (self.now_ms - BEGINNING_MS) as u64
    }

    /// Everything that was injected, by kind.
    pub(super) fn faults(&self) -> BTreeMap<String, u64> {
        let mut faults = self.faults.clone();
        let struck: u64 = self.armed.iter().map(actors::ports::faults::Faults::struck).sum();
        faults.insert("struck".to_owned(), struck);
        for (fault, n) in self.cloud.counts().faults {
            *faults.entry(format!("{fault:?}")).or_default() += n;
        }
        faults
    }

    /// The storm.
    pub(super) fn play(&mut self) {
        let mut events = std::mem::take(&mut self.schedule.events).into_iter().peekable();
        while self.elapsed_ms() < self.schedule.storm_ms {
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= self.elapsed_ms()) {
                self.befall(event);
            }
            self.producer.tick(&self.cloud, self.now_ms);
            self.backups.look(&self.cloud, self.now_ms);
            if let Some((pick, _)) = self.to_restore.take_if(|(_, until_ms)| {
                self.now_ms >= *until_ms || restore::upload_is_under_way(&self.cloud.objects())
            }) {
                self.restore(pick, true);
            }
            self.step();
        }
    }

    /// The calm after it: faults end, workers come back, and all that was put has to be committed.
    pub(super) fn come_to_rest(&mut self) -> Vec<Violation> {
        self.schedule.loads = (ServiceFaults::calm(), 0.0);
        self.cloud.set_faults(with_loads(Weather::calm(), &self.schedule));
        self.calm_at_ms = None;
        // From here on nobody injures itself.
        self.schedule.plans.clear();
        for n in 0..WORKERS {
            self.hosts[n].boot_at_ms = self.hosts[n].boot_at_ms.min(self.now_ms);
            if let Some(host) = &mut self.hosts[n].host {
                host.faults.disarm();
                host.asleep_until_ms = host.asleep_until_ms.map(|_| self.now_ms);
            }
        }
        let deadline_ms = self.now_ms + REST_MS_MAX as i64;
        while !self.is_at_rest() {
            if self.now_ms > deadline_ms {
                return vec![self.unrest()];
            }
            self.step();
        }
        self.grow_old();
        self.drain_all()
    }

    /// Nothing comes for a while; then a lifecycle rule takes what may be taken by then. Whoever starts from now on has to
    /// do without, and finds nothing that is so old as to be written anew.
    fn grow_old(&mut self) {
        let Some(refresh_after) = self.schedule.refresh_after.take() else { return };
        let until_ms = self.now_ms + 3 * refresh_after.as_millis() as i64;
        while self.now_ms < until_ms {
            self.step();
        }
        self.expired = lifecycle::take_states(&self.cloud, self.now_ms - 2 * refresh_after.as_millis() as i64);
        *self.faults.entry("expired".to_owned()).or_default() += self.expired.len() as u64;
    }

    /// Drains all workers at once.
    fn drain_all(&mut self) -> Vec<Violation> {
        for seat in &mut self.hosts {
            if let Some(host) = &seat.host {
                host.drain(Duration::from_millis(DRAIN_MS_MAX));
                seat.draining = Some(u64::MAX);
            }
        }
        let deadline_ms = self.now_ms + 2 * DRAIN_MS_MAX as i64;
        let mut late = Vec::new();
        while self.hosts.iter().any(|seat| seat.host.is_some()) {
            if self.now_ms > deadline_ms {
                return vec![violation("LIVE", format!("the workers do not end: {}", self.describe()))];
            }
            for seat in &self.hosts {
                match seat.host.as_ref().and_then(Host::ended) {
                    Some(Ok(paths)) => late.extend(paths),
                    Some(Err(error)) => late.push(error),
                    None => {}
                }
            }
            self.step();
        }
        late.into_iter().map(|late| violation("LIVE", format!("not drained in time: {late}"))).collect()
    }

    /// Starts one worker when there is nothing to do, lets it look around, and ends it.
    pub(super) fn start_for_nothing(&mut self) -> Vec<Violation> {
        self.hosts[0].boot_at_ms = self.now_ms;
        // By its own clock, which may be wrong by an hour.
        let since_ms = self.now_ms + self.schedule.skews_ms[0];
        let deadline_ms = self.now_ms + REST_MS_MAX as i64;
        let rests = |world: &Self| {
            world.hosts[0].host.as_ref().and_then(Host::worker).is_some_and(|worker| worker.has_caught_up(since_ms))
        };
        while !rests(self) || !self.is_loaded() {
            if self.now_ms > deadline_ms {
                return vec![self.unrest()];
            }
            self.step();
        }
        let mut violations = super::keys::check(self);
        violations.extend(self.drain_all());
        violations
    }

    /// Whether all workers are there, and everything that was put is committed. The cloud knows; a worker could miss
    /// a shard that has just been split.
    fn is_at_rest(&mut self) -> bool {
        let rows = self.cloud.rows();
        let committed = |shard: &ShardView| {
            let row = rows.get(&shard.id);
            let text = |name: &str| row.and_then(|row| row.get(name)?.get("S")?.as_str());
            let reached = match (shard.closed, &shard.last_sequence) {
                (true, _) => text("checkpoint") == Some("SHARD_END"),
                (false, Some(last)) => text("checkpoint") == Some(last.as_str()),
                // A child leans on its parents no longer.
                (false, None) => row.is_some_and(|row| shard.parents.is_empty() || row.contains_key("mangroveState")),
            };
            reached && text("pendingCheckpoint").is_none()
        };
        let n_workers =
            self.hosts.iter().filter(|seat| seat.host.as_ref().is_some_and(|h| h.worker().is_some())).count();
        // A shard that nobody has cannot be given up in good order: its open windows would stay unwritten.
        let all_read = self.all_read_since(0);
        n_workers == WORKERS && all_read && self.cloud.shards().iter().all(committed) && self.is_loaded()
    }

    /// Whether every open shard has an owner that has had a page of it after this time, which is not of any host's clock.
    fn all_read_since(&self, since_ms: i64) -> bool {
        let owners: Vec<_> = self.hosts.iter().zip(self.schedule.skews_ms).collect();
        let is_read = |shard: &ShardView| {
            owners.iter().any(|(seat, skew_ms)| {
                let Some(worker) = seat.host.as_ref().and_then(Host::worker) else { return false };
                let of = |owned: &supervisor::shard::Shard| {
                    let read_at_ms = owned.context.figures.read_at_ms();
                    owned.context.shard.as_str() == shard.id && read_at_ms > 0 && read_at_ms - skew_ms > since_ms
                };
                worker.shards().iter().any(of)
            })
        };
        self.open_shards().iter().all(is_read)
    }

    /// Whether every epoch of the bucket stands in the ledger, and nothing is on its way there. The ledger is asked when
    /// a transaction has ended, and not at every step.
    fn is_loaded(&mut self) -> bool {
        let (n_epochs, Some(n_ended)) = self.cloud.loads() else { return false };
        if self.loaded.is_none_or(|(_, asked)| asked != n_ended) {
            self.loaded = Some((evidence::ledger(&self.cloud), n_ended));
        }
        self.loaded.is_some_and(|(n_loaded, _)| n_loaded == n_epochs as u64)
    }

    fn unrest(&self) -> Violation {
        violation("LIVE", format!("not at rest within {REST_MS_MAX} ms: {}", self.describe()))
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (n, seat) in self.hosts.iter().enumerate() {
            let Some(host) = &seat.host else { continue };
            let Some(worker) = host.worker() else {
                text.push_str(&format!("[{n} starting] "));
                continue;
            };
            let shards: Vec<_> = worker
                .shards()
                .iter()
                .map(|shard| {
                    let (read, committed) = shard.context.figures.progress();
                    format!("{} {read}/{committed} {:?}", shard.context.shard.short(), shard.context.progress)
                })
                .collect();
            let findings = worker.leases().findings();
            let settled = worker.settled_at_ms();
            text.push_str(&format!("[{n} settled {settled} {shards:?} {findings:?}] "));
        }
        text.push_str(&format!("epochs and transactions {:?}, loaded {:?}", self.cloud.loads(), self.loaded));
        let rows = self.cloud.rows();
        for shard in self.cloud.shards() {
            let row = rows.get(&shard.id).map(|row| {
                let of = |name: &str| row.get(name).map_or("-".to_owned(), |value| value.to_string());
                let names = ["leaseOwner", "leaseCounter", "checkpoint", "pendingCheckpoint", "mangroveGivenUpBy"];
                names.map(of).join(" ")
            });
            let row = row.unwrap_or_else(|| "no row".to_owned());
            let (id, parents, closed) = (shard.id, shard.parents, shard.closed);
            text.push_str(&format!("\n    {id} of {parents:?} closed {closed} last {:?}: {row}", shard.last_sequence));
        }
        text
    }

    fn step(&mut self) {
        if self.calm_at_ms.is_some_and(|at| self.now_ms >= at) {
            self.calm_at_ms = None;
            self.disturbed_at_ms = Some(self.now_ms);
            self.cloud.set_faults(with_loads(Weather::calm(), &self.schedule));
        }
        if self.disturbed_at_ms.is_some_and(|since_ms| self.all_read_since(since_ms)) {
            let since_ms = self.disturbed_at_ms.take().unwrap_or(self.now_ms);
            self.back_ms = self.back_ms.max((self.now_ms - since_ms) as u64);
        }
        let mut order: Vec<usize> = (0..WORKERS).collect();
        order.shuffle(&mut self.dice);
        for n in order {
            self.run_host(n);
        }
        self.now_ms += STEP_MS as i64;
        self.cloud.settle(self.now_ms);
    }

    fn run_host(&mut self, n: usize) {
        let now_ms = self.now_ms;
        let seat = &mut self.hosts[n];
        let Some(host) = &mut seat.host else {
            if now_ms >= seat.boot_at_ms {
                self.boot(n, STREAM);
            }
            return;
        };
        match host.asleep_until_ms {
            Some(until_ms) if now_ms < until_ms => return,
            Some(_) => {
                host.wake(now_ms);
                self.clients.insert(host.client, (n, host.woken_ms));
            }
            None => {}
        }
        let _span = tracing::info_span!("host", n, ms = now_ms - BEGINNING_MS).entered();
        host.tick(Duration::from_millis(STEP_MS));
        if host.is_dead() {
            *self.faults.entry("crash point".to_owned()).or_default() += 1;
            let again_ms = self.dice.random_range(0..6_000);
            self.kill(n, again_ms);
        } else if let Some(ended) = host.ended() {
            // Each name has one machine here: nobody else can use it.
            if let Err(error) = ended
                && error.contains("in use")
            {
                self.refused.push(violation("LIVE", format!("a worker was refused its own name: {error}")));
            }
            let again_ms = seat.draining.take().unwrap_or(1_000);
            self.note_leases(n);
            self.kill(n, again_ms);
        }
    }

    fn boot(&mut self, n: usize, stream: &'static str) {
        let client = ClientId(self.boots);
        let mut plan = self.schedule.plans.get(self.boots as usize).cloned().unwrap_or_default();
        if let Some(mutant) = self.mutant.as_ref().filter(|name| LoadMutant::of_name(name).is_none()) {
            plan = format!("{plan};mutant={mutant}");
        }
        self.boots += 1;
        tracing::info!(now_ms = self.now_ms, n, ?client, plan, "boots");
        let (skew_ms, seed) = (self.schedule.skews_ms[n], self.seed ^ u64::from(self.boots) << 40);
        let times = (self.now_ms, skew_ms);
        let host = Host::boot(&self.cloud, (&name_of(n), stream), client, seed, times, (&plan, &self.schedule));
        self.armed.push(host.faults.clone());
        self.clients.insert(client, (n, None));
        self.hosts[n].host = Some(host);
        self.hosts[n].draining = None;
    }

    fn kill(&mut self, n: usize, again_ms: u64) {
        let seat = &mut self.hosts[n];
        if let Some(host) = seat.host.take() {
            self.cloud.cut_off(host.client);
            drop(host);
        }
        seat.boot_at_ms = self.now_ms.saturating_add_unsigned(again_ms.min(i64::MAX as u64 / 4));
    }

    fn note_leases(&mut self, n: usize) {
        let Some(worker) = self.hosts[n].host.as_ref().and_then(Host::worker) else { return };
        for (name, count) in worker.leases().counts() {
            *self.lease_counts.entry(name.to_owned()).or_default() += count;
        }
        *self.lease_counts.entry("lost writes".to_owned()).or_default() += worker.lost_writes();
    }

    fn befall(&mut self, event: Event) {
        let name = match &event {
            Event::Kill(..) => "kill",
            Event::Sleep(..) => "sleep",
            Event::Drain(..) => "drain",
            Event::KillActor(..) => "kill actor",
            Event::Split(_) => "split",
            Event::Merge(_) => "merge",
            Event::Restore(_, true) => "restore",
            Event::Restore(_, false) => "restore under workers",
            Event::Share(_) => "share",
            Event::Weather(..) => "weather",
            Event::Spread(_) => "spread",
        };
        if self.happens(event) {
            *self.faults.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn happens(&mut self, event: Event) -> bool {
        let now_ms = self.now_ms;
        tracing::info!(now_ms, ?event, "befalls");
        match event {
            Event::Kill(n, again_ms) => {
                let up = self.hosts[n].host.is_some();
                if up {
                    self.disturbed_at_ms = Some(now_ms);
                    self.kill(n, again_ms);
                }
                up
            }
            Event::Sleep(n, for_ms) => match self.hosts[n].host.as_mut().filter(|h| h.asleep_until_ms.is_none()) {
                Some(host) => {
                    host.sleep(now_ms, now_ms.saturating_add_unsigned(for_ms));
                    true
                }
                None => false,
            },
            Event::Drain(n, again_ms) => {
                let seat = &mut self.hosts[n];
                let Some(host) = seat.host.as_ref().filter(|_| seat.draining.is_none()) else { return false };
                host.drain(Duration::from_millis(DRAIN_MS_MAX));
                seat.draining = Some(again_ms);
                true
            }
            Event::KillActor(n, pick) => {
                let Some(worker) = self.hosts[n].host.as_ref().and_then(Host::worker) else { return false };
                let nodes = worker.tree().nodes();
                let node = &nodes[pick as usize % nodes.len().max(1)];
                worker.tree().kill(&node.path, "the simulation killed it")
            }
            Event::Split(pick) => {
                let open = self.open_shards();
                // A range of one key cannot be split.
                let wide: Vec<_> = open.iter().filter(|shard| shard.range.1 > shard.range.0).collect();
                if open.len() >= SHARDS_MAX || wide.is_empty() {
                    return false;
                }
                self.cloud.split(now_ms, &wide[pick as usize % wide.len()].id);
                true
            }
            Event::Merge(pick) => {
                let mut open = self.open_shards();
                open.sort_by_key(|shard| shard.range);
                if open.len() < 2 {
                    return false;
                }
                let at = pick as usize % (open.len() - 1);
                self.cloud.merge(now_ms, &open[at].id, &open[at + 1].id);
                true
            }
            Event::Spread(spread) => {
                self.cloud.spread(now_ms, spread);
                true
            }
            Event::Restore(pick, false) => self.restore(pick, false),
            // As soon as some of an epoch is stored and not all of it: that is when a kill leaves most behind.
            Event::Restore(pick, true) => {
                self.to_restore = Some((pick, now_ms + RESTORE_WAITS_MS));
                true
            }
            Event::Share(n) => {
                // Whose the table is has to be settled: before, whoever comes first has it.
                let settled = self.cloud.rows().contains_key("mangrove-table");
                if settled {
                    // The others are away, so that nothing but whose the table is keeps it from taking all shards.
                    (0..WORKERS).for_each(|other| self.kill(other, 6_000));
                    self.boot(n, OTHER_STREAM);
                }
                settled
            }
            Event::Weather(faults, for_ms) => {
                self.cloud.set_faults(with_loads(*faults, &self.schedule));
                self.calm_at_ms = Some(now_ms.saturating_add_unsigned(for_ms));
                true
            }
        }
    }

    /// The table as of some time ago. What was split or merged since then would lack its rows: that is for a person.
    fn restore(&mut self, pick: u64, down: bool) -> bool {
        let Some(rows) = self.backups.pick(&self.cloud.rows(), pick) else { return false };
        if down {
            for n in 0..WORKERS {
                let again_ms = self.dice.random_range(0..3_000);
                self.kill(n, again_ms);
            }
        }
        self.cloud.restore_rows(self.now_ms, rows);
        true
    }

    fn open_shards(&self) -> Vec<ShardView> {
        self.cloud.shards().into_iter().filter(|shard| !shard.closed).collect()
    }
}

impl Drop for World {
    /// Tasks of a machine that was killed may keep its clients for ever, and with them a warehouse.
    fn drop(&mut self) {
        self.cloud.clear();
    }
}

/// What a worker calls itself, in each of its lives.
pub(super) fn name_of(host: usize) -> String {
    format!("w-{host}")
}

/// Whatever else the weather is, loads have theirs.
fn with_loads(faults: Weather, schedule: &Schedule) -> Weather {
    let (redshift, abort) = schedule.loads;
    // No run waits for its rest as long as a request of other services may be late.
    Weather { redshift: ServiceFaults { delay_ms: LOAD_DELAY_MS, ..redshift }, abort, ..faults }
}

pub(super) fn violation(invariant: &'static str, what: String) -> Violation {
    Violation { invariant, what }
}
