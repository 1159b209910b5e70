//! Hands every sensor of a shard its readings, and keeps each sensor alive on its own.
//!
//! **Owns** the sensor actors of one shard, the state of every sensor as of its last cut, and the journal: what was
//! routed since then.
//!
//! **Promises**
//! - Batches leave in stream order, each with a verdict for every row (COMPLETE, ORDER).
//! - A sensor that dies is started again from its last cut and gets its rows since then again; no other sensor notices
//!   and the shard does not rewind (STATE).
//! - A row that kills its sensor again and again is quarantined; actors, sensors and the journal are bounded (BOUNDED).
//!
//! **Fails** by stopping, and the sensors with it. The shard restarts from its checkpoint.
//!
//! **Not here**: judging readings (`sensor.rs`), deciding when an epoch ends (`committer.rs`).
//!
//! It spawns its sensors itself, though elsewhere only the supervisor side spawns: whoever restarts a sensor must hold
//! the journal, and a detour over another actor would put a supervisor on the path of data.

mod cuts;
mod failures;
mod idle;
mod journal;
mod known;
mod queries;
mod room;
mod roster;
mod scan;
mod share;
mod silence;
mod slot;
mod taps;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use messages::{
    AggregatorMsg, AlertsMsg, Batch, CommitterMsg, Cut, SensorId, SensorMsg, SensorsMsg, StateEntry, Suspect,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use self::journal::Entry;
use self::room::Left;
use self::roster::{Roster, RosterRules, Routed};
pub use self::share::LiveSensors;
use self::share::Share;
use self::taps::Taps;
use crate::node::{Address, Gone, Node};
use crate::ports::work;
use crate::sensor::{InHand, RETIRED, SensorActor, SensorArgs, SensorCore, SensorRules, StateError};
use crate::shard::ShardContext;

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct SensorsConfig {
    /// Sensors that one shard may know; readings of further ones are quarantined.
    pub known_max: usize,
    /// Sensors of one worker that may have an actor at once; beyond, the longest idle are retired first.
    pub live_max: usize,
    /// A sensor silent for this long gives its actor back.
    pub idle_timeout: Duration,
    /// A row that killed its sensor this often is quarantined.
    pub crashes_max: u32,
    /// A sensor that needs longer than this for one batch is killed and restarted.
    pub hang_timeout: Duration,
    /// How often silent, idle and hanging sensors are looked for.
    pub scan_interval: Duration,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct SensorsArgs {
    /// The identity of the shard.
    pub context: ShardContext,
    /// The rules of judging.
    pub rules: Arc<SensorRules>,
    /// The states of all sensors as of the checkpoint.
    pub states: Vec<StateEntry>,
    /// Readings after the checkpoint that sensors died on before this incarnation.
    pub suspects: Vec<Suspect>,
    /// The committer, which remembers them.
    pub committer: Address<CommitterMsg>,
    /// Where judged batches go.
    pub aggregator: Address<AggregatorMsg>,
    /// Where the sensors send alerts.
    pub alerts: Address<AlertsMsg>,
    /// How many sensors may have an actor, over all shards.
    pub live: LiveSensors,
    /// This router's node.
    pub node: Arc<Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct SensorsActor {
    /// Its limits.
    pub config: SensorsConfig,
}

/// The cause of death of a sensor that a kill does not end.
const ABANDONED: &str = "it hangs and could not be killed";

/// Sensors that are given something before the others of the process get their turn.
const BREATH: usize = 32;

/// Lets what else the process does have its turn, after every so many sensors. Whoever wakes thousands of actors at once
/// fills the runtime's queues, and a heartbeat that waits behind them at every step is late enough to cost all shards.
async fn breathe(n: usize) {
    if n % BREATH == BREATH - 1 {
        tokio::task::yield_now().await;
    }
}

/// What the router has of a sensor's actor.
#[derive(Clone, Debug)]
struct Hand {
    actor: ActorRef<SensorMsg>,
    in_hand: Arc<InHand>,
}

/// Asks an actor to retire. False if there is none.
fn retire(hand: Option<&Hand>) -> bool {
    // One that has just died is started again, and finds out that it may not stay.
    hand.map(|hand| hand.actor.send_message(SensorMsg::Retire)).is_some()
}

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct SensorsState {
    context: ShardContext,
    rules: Arc<SensorRules>,
    roster: Roster<Hand>,
    began: Instant,
    committer: Address<CommitterMsg>,
    aggregator: Address<AggregatorMsg>,
    alerts: Address<AlertsMsg>,
    myself: Address<SensorsMsg>,
    /// The readings of the few sensors that somebody looks at.
    taps: Taps,
    /// What came from the reader and is not begun: its order must stay.
    in_order: VecDeque<SensorsMsg>,
    /// How many sensors may have an actor.
    share: Share,
    /// The time that the shard has been read and routed up to, milliseconds since 1970.
    stream_ms: Option<i64>,
}

/// Why the sensors of a shard had to stop.
#[derive(Debug, thiserror::Error)]
pub enum SensorsError {
    /// The next actor has ended; the shard restarts as a whole.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// A stored state cannot be read.
    #[error("state of sensor {sensor}: {source}")]
    State {
        /// The sensor.
        sensor: SensorId,
        /// What is wrong with it.
        source: StateError,
    },
    /// A sensor died without a row in hand, again and again.
    #[error("sensor {sensor} died {crashes} times outside its readings, last: {error}")]
    Unstable {
        /// The sensor.
        sensor: SensorId,
        /// How often.
        crashes: u32,
        /// The last cause.
        error: String,
    },
    /// No actor could be started.
    #[error("start sensor {sensor}: {error}")]
    Spawn {
        /// The sensor.
        sensor: SensorId,
        /// Why not.
        error: String,
    },
}

impl Actor for SensorsActor {
    type Msg = SensorsMsg;
    type State = SensorsState;
    type Arguments = SensorsArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SensorsMsg>,
        args: SensorsArgs,
    ) -> Result<SensorsState, ActorProcessingErr> {
        let rules = RosterRules::new(&self.config, &args.context.faults);
        let roster = work::here(|| {
            Ok::<_, ActorProcessingErr>(Roster::new(rules, recovered(args.states, &args.rules)?, args.suspects))
        })?;
        let state = SensorsState {
            roster,
            context: args.context,
            rules: args.rules,
            began: Instant::now(),
            committer: args.committer,
            aggregator: args.aggregator,
            alerts: args.alerts,
            myself: Address::new(myself, args.node),
            taps: Taps::default(),
            in_order: VecDeque::new(),
            share: args.live.join(),
            stream_ms: None,
        };
        state.myself.send_after(self.config.scan_interval, SensorsMsg::Scan);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SensorsMsg>,
        message: SensorsMsg,
        state: &mut SensorsState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.myself.node().clone();
        let _handling = node.handling();
        match message {
            SensorsMsg::Route(_) | SensorsMsg::Time(_) | SensorsMsg::Cut(_) => state.in_order.push_back(message),
            SensorsMsg::BatchDone(_) => state.forward()?,
            SensorsMsg::State { sensor, snapshot: Some(number), bytes, last_arrival_ms, .. } => {
                if state.roster.reported(&sensor, number, (bytes, last_arrival_ms)) {
                    state.context.progress.came_closer();
                }
                state.forward()?;
            }
            SensorsMsg::State { sensor, actor, snapshot: None, bytes, last_arrival_ms } => {
                let live_max = state.share.max();
                let left = state.roster.retired((&sensor, actor.pid()), (bytes, last_arrival_ms), live_max);
                self.on_left(state, &myself, left).await?;
            }
            SensorsMsg::Offered(left) => state.on_offered(left),
            SensorsMsg::Scan => self.on_scan(state, &myself).await?,
            SensorsMsg::Kill(sensor, reply) => {
                let hand = state.roster.slots.get_mut(&sensor).and_then(|slot| slot.excuse());
                let _ = reply.send(hand.map(|hand| hand.actor.kill()).is_some());
            }
            SensorsMsg::Inspect(sensor, reply) => state.on_inspect(&sensor, reply),
            SensorsMsg::Find { prefix, limit, reply } => {
                let _ = reply.send(state.find(&prefix, limit));
            }
            SensorsMsg::Page { after, limit, reply } => {
                let _ = reply.send(state.page(after.as_deref(), limit));
            }
        }
        while let Some(message) = state.next_in_order() {
            match message {
                SensorsMsg::Route(batch) => self.on_route(state, &myself, batch).await?,
                SensorsMsg::Time(stream_ms) => state.stream_ms = Some(stream_ms),
                SensorsMsg::Cut(cut) => state.on_cut(cut).await?,
                _ => unreachable!("nothing else has to keep its order"),
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SensorsMsg>,
        event: SupervisionEvent,
        state: &mut SensorsState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                self.on_death(state, &myself, cell.get_id(), error.to_string()).await?;
            }
            // Its last state is in the mailbox, and this event has overtaken it: `on_state` does the rest.
            SupervisionEvent::ActorTerminated(_, _, Some(reason)) if reason == RETIRED => {}
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let reason = reason.unwrap_or_else(|| "stopped".into());
                self.on_death(state, &myself, cell.get_id(), reason).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The states of sensors, each with its last arrival.
fn recovered(
    states: Vec<StateEntry>,
    rules: &Arc<SensorRules>,
) -> Result<Vec<(StateEntry, Option<i64>)>, SensorsError> {
    let mut recovered = Vec::with_capacity(states.len());
    for entry in states {
        let core = SensorCore::decode(entry.sensor.clone(), rules.clone(), &entry.bytes)
            .map_err(|source| SensorsError::State { sensor: entry.sensor.clone(), source })?;
        // An earlier build wrote those without a valid reading too.
        if core.has_been_valid() {
            recovered.push((entry, core.last_arrival_ms()));
        }
    }
    Ok(recovered)
}

impl SensorsActor {
    async fn on_route(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        batch: Batch,
    ) -> Result<(), SensorsError> {
        let now = state.began.elapsed();
        let (in_flight, live_max) = (state.roster.begin_batch(batch, now), state.share.max());
        for (group, members) in in_flight.batch.groups.iter().enumerate() {
            breathe(group).await;
            match state.roster.route(&in_flight, group, now, live_max) {
                Routed::Refused => {
                    state.context.figures.sensor_refused(state.context.clock.now_ms());
                    state.roster.refuse(&in_flight, group);
                }
                // A send to an actor that just died is made good by its restart, which replays the journal.
                Routed::To(hand, message) => drop(hand.actor.send_message(message)),
                Routed::Waits => {}
                Routed::Starts => {
                    // Nothing else is there to do for it: searching the journal would find just this batch.
                    let actor = self.start(state, myself, &members.sensor).await?;
                    let _ = actor.send_message(state.roster.journal.apply(&in_flight, group));
                }
            }
        }
        state.make_room();
        state.forward()
    }

    /// A sensor has left its actor, if it has one to leave.
    async fn on_left(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        left: Option<Left<Hand>>,
    ) -> Result<(), SensorsError> {
        match left {
            None => return Ok(()),
            Some(Left::Ends(hand)) => hand.actor.stop(Some(RETIRED.into())),
            Some(Left::Becomes(next, Hand { actor, in_hand })) => {
                in_hand.lay_ready(next.clone(), state.core(&next)?);
                let _ = actor.send_message(SensorMsg::Become);
                state.catch_up(&next, &actor);
            }
        }
        let mut n = 0;
        while let Some(sensor) = state.roster.next_parked(state.share.max()) {
            breathe(n).await;
            n += 1;
            self.revive(state, myself, &sensor).await?;
        }
        state.make_room();
        Ok(())
    }

    /// Starts a sensor's actor and hands it everything that was routed to it since its last known state.
    async fn revive(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        sensor: &SensorId,
    ) -> Result<(), SensorsError> {
        let actor = self.start(state, myself, sensor).await?;
        state.catch_up(sensor, &actor);
        Ok(())
    }

    /// Starts a sensor's actor from its last known state.
    async fn start(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        sensor: &SensorId,
    ) -> Result<ActorRef<SensorMsg>, SensorsError> {
        let (core, in_hand) = (state.core(sensor)?, Arc::new(InHand::default()));
        let args = SensorArgs { core, sensor: sensor.clone(), in_hand: in_hand.clone() };
        let behaviour =
            SensorActor { context: state.context.clone(), sensors: state.myself.clone(), alerts: state.alerts.clone() };
        let spawned = SensorActor::spawn_linked(None, behaviour, args, myself.get_cell()).await;
        let (actor, _) = spawned.map_err(|e| SensorsError::Spawn { sensor: sensor.clone(), error: e.to_string() })?;
        state.roster.lives(sensor, actor.get_id().pid(), Hand { actor: actor.clone(), in_hand });
        Ok(actor)
    }
}

impl SensorsState {
    /// What comes next of that which must keep its order; none if there is nothing, or it has to wait.
    fn next_in_order(&mut self) -> Option<SensorsMsg> {
        if matches!(self.in_order.front()?, SensorsMsg::Route(batch) if self.roster.must_wait(batch)) {
            return None;
        }
        self.in_order.pop_front()
    }

    async fn on_cut(&mut self, cut: Cut) -> Result<(), SensorsError> {
        self.context.faults.hit("sensors.cut", self.context.shard.short());
        let range = self.context.keys.are_heeded().then_some(self.context.hash_range);
        let (mut cutting, touched) = self.roster.begin_cut(cut, range);
        for (n, sensor) in touched.into_iter().enumerate() {
            breathe(n).await;
            let number = cutting.number;
            if let Some(hand) = self.roster.cut_one(&mut cutting, sensor) {
                let _ = hand.actor.send_message(SensorMsg::Snapshot(number));
            }
        }
        self.committer.send(CommitterMsg::Sampled(self.roster.sample.clone()))?;
        self.roster.end_cut(cutting);
        self.forward()
    }

    /// Sends on whatever is complete, in stream order.
    fn forward(&mut self) -> Result<(), SensorsError> {
        while let Some(entry) = self.roster.journal.next_complete() {
            match entry {
                Entry::Batch(batch) => {
                    self.taps.take(&batch, &self.context.schema, Instant::now());
                    self.context.traces.judged(&batch);
                    self.aggregator.send(AggregatorMsg::Fold(batch))?;
                }
                Entry::Cut(mut cut) => {
                    cut.silences = self.silences(&cut.receipts, cut.cut.spread)?;
                    self.aggregator.send(AggregatorMsg::Cut(cut))?;
                }
            }
        }
        Ok(())
    }

    /// A sensor as its last known state says.
    fn core(&self, sensor: &SensorId) -> Result<SensorCore, SensorsError> {
        let Some(base) = self.roster.base(sensor) else {
            return Ok(SensorCore::new(sensor.clone(), self.rules.clone()));
        };
        let core = SensorCore::decode(sensor.clone(), self.rules.clone(), base);
        core.map_err(|source| SensorsError::State { sensor: sensor.clone(), source })
    }

    /// Hands a sensor everything that was routed to it since its last known state.
    fn catch_up(&self, sensor: &SensorId, actor: &ActorRef<SensorMsg>) {
        for message in self.roster.catch_up(sensor) {
            let _ = actor.send_message(message);
        }
    }

    /// Retires as many sensors as wait for an actor. Each finishes what it has before.
    fn make_room(&mut self) {
        while retire(self.roster.makes_room()) {}
    }
}
