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
mod falls;
mod idle;
mod journal;
mod known;
mod queries;
mod room;
mod scan;
mod share;
mod silence;
mod slot;
mod taps;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use messages::{
    AggregatorMsg, AlertsMsg, Batch, CommitterMsg, InFlight, SensorId, SensorMsg, SensorsMsg, StateEntry, Suspect,
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use self::idle::Idle;
use self::journal::Journal;
pub use self::share::LiveSensors;
use self::share::Share;
use self::silence::Silence;
use self::slot::{Life, Slot};
use self::taps::Taps;
use crate::keys::Sample;
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
    /// Who the shard is.
    pub context: ShardContext,
    /// The rules of judging.
    pub rules: Arc<SensorRules>,
    /// The states of all sensors as of the checkpoint.
    pub states: Vec<StateEntry>,
    /// Readings after the checkpoint that sensors died on before this incarnation.
    pub suspects: Vec<Suspect>,
    /// Who remembers them.
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

/// What is said of a sensor that a kill does not end.
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

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct SensorsState {
    context: ShardContext,
    rules: Arc<SensorRules>,
    suspects: Vec<Suspect>,
    committer: Address<CommitterMsg>,
    aggregator: Address<AggregatorMsg>,
    alerts: Address<AlertsMsg>,
    myself: Address<SensorsMsg>,
    /// Boxed, as a map has up to twice as many places as it holds.
    slots: HashMap<SensorId, Box<Slot>>,
    /// The same ids in order, for pages and searches: sorting them when asked would hold up the data.
    ids: BTreeSet<SensorId>,
    /// The readings of the few sensors that somebody looks at.
    taps: Taps,
    actors: HashMap<ActorId, SensorId>,
    journal: Journal,
    /// What came from the reader and is not begun: its order must stay.
    in_order: VecDeque<SensorsMsg>,
    /// Sensors that the open epoch touched.
    touched: BTreeSet<SensorId>,
    /// Sensors that count against the limit of known ones.
    known: usize,
    /// How many sensors may have an actor.
    share: Share,
    /// Sensors that have an actor to give back.
    idle: Idle<Instant>,
    /// Sensors that say nothing any more.
    silence: Silence,
    /// Some of those of the last minutes, for other shards to look for.
    sample: Sample,
    /// The latest arrival, milliseconds since 1970.
    arrived_ms: i64,
    /// Sensors that have rows and wait for an actor, because as many live as may.
    parked: VecDeque<SensorId>,
    /// How many sensors are retiring.
    retiring: usize,
    /// The time that the shard has been read and routed up to, milliseconds since 1970.
    stream_ms: Option<i64>,
}

/// Why the sensors of a shard had to stop.
#[derive(Debug, thiserror::Error)]
pub enum SensorsError {
    /// The next box has ended; the shard restarts as a whole.
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
        let (slots, silence) = work::here(|| recovered(args.states, &args.rules))?;
        let state = SensorsState {
            context: args.context,
            rules: args.rules,
            suspects: args.suspects,
            committer: args.committer,
            aggregator: args.aggregator,
            alerts: args.alerts,
            myself: Address::new(myself, args.node),
            ids: slots.keys().cloned().collect(),
            known: slots.len(),
            slots,
            taps: Taps::default(),
            actors: HashMap::new(),
            journal: Journal::default(),
            in_order: VecDeque::new(),
            touched: BTreeSet::new(),
            share: args.live.join(),
            idle: Idle::default(),
            silence,
            sample: Sample::default(),
            arrived_ms: 0,
            parked: VecDeque::new(),
            retiring: 0,
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
                state.on_snapshot(&sensor, number, (bytes, last_arrival_ms))?;
            }
            SensorsMsg::State { sensor, actor, snapshot: None, bytes, last_arrival_ms } => {
                self.on_retired(state, &myself, (sensor, actor), (bytes, last_arrival_ms)).await?;
            }
            SensorsMsg::Offered(left) => state.on_offered(left),
            SensorsMsg::Scan => self.on_scan(state, &myself).await?,
            SensorsMsg::Kill(sensor, reply) => {
                let _ = reply.send(state.slots.get_mut(&sensor).is_some_and(|slot| slot.kill()));
            }
            SensorsMsg::Inspect(sensor, reply) => state.on_inspect(&sensor, reply),
            SensorsMsg::Find { prefix, limit, reply } => {
                let _ = reply.send(state.find(&prefix, limit));
            }
            SensorsMsg::Page { after, limit, reply } => {
                let _ = reply.send(state.page(after.as_deref(), limit));
            }
        }
        while let Some(message) = state.next_in_order(self.config.known_max) {
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

/// The sensors as their states say.
fn recovered(
    states: Vec<StateEntry>,
    rules: &Arc<SensorRules>,
) -> Result<(HashMap<SensorId, Box<Slot>>, Silence), SensorsError> {
    let (mut slots, mut silence) = (HashMap::with_capacity(states.len()), Silence::default());
    for entry in states {
        let core = SensorCore::decode(entry.sensor.clone(), rules.clone(), &entry.bytes)
            .map_err(|source| SensorsError::State { sensor: entry.sensor.clone(), source })?;
        if !core.has_been_valid() {
            // An earlier build wrote those too.
            continue;
        }
        let mut slot = Slot::passive(entry.hash_key, entry.bytes, core.last_arrival_ms());
        silence.watch(&entry.sensor, &mut slot);
        slots.insert(entry.sensor, Box::new(slot));
    }
    silence.recovered();
    Ok((slots, silence))
}

impl SensorsActor {
    async fn on_route(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        batch: Batch,
    ) -> Result<(), SensorsError> {
        let now = Instant::now();
        let number = state.journal.next_number();
        let in_flight = Arc::new(InFlight::new(number, batch));
        state.journal.push_batch(in_flight.clone(), now);
        for row in state.poisoned_rows(&in_flight.batch, self.config.crashes_max) {
            state.journal.poison(number, row);
        }
        for (group, members) in in_flight.batch.groups.iter().enumerate() {
            breathe(group).await;
            let sensor = &members.sensor;
            let counted = state.slots.get(sensor).is_some_and(|slot| slot.counted);
            if !counted && !state.admit(members, self.config.known_max) {
                state.refuse(&in_flight, group, self.config.known_max);
                continue;
            }
            let slot = state.slots.get_mut(sensor).expect("whoever is admitted has a slot");
            let last = *in_flight.batch.group_rows(group).last().expect("a group has a row") as usize;
            slot.touch(number, group, now, in_flight.batch.record_of(last).arrival_ms);
            if slot.has_been_valid() {
                state.silence.touched(sensor, slot);
            }
            slot.roams |= slot.hash_key != members.hash_key;
            state.arrived_ms = state.arrived_ms.max(slot.touched_ms);
            state.touched.insert(sensor.clone());
            // Whoever is parked has this batch in the journal.
            let parked = slot.parked;
            match &slot.life {
                Life::Live { actor, .. } => {
                    // A send to an actor that just died is made good by its restart, which replays the journal.
                    let _ = actor.send_message(state.journal.apply(&in_flight, group));
                }
                // It gets this batch from the journal when its last state has come.
                Life::Retiring { .. } => {}
                Life::Passive if parked => {}
                Life::Passive if state.actors.len() >= state.share.max() => state.park(sensor),
                Life::Passive => {
                    // Nothing else is there to do for it: searching the journal would find just this batch.
                    let actor = self.start(state, myself, sensor).await?;
                    let _ = actor.send_message(state.journal.apply(&in_flight, group));
                }
            }
        }
        state.make_room();
        state.forward()
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
        state.lives(sensor, &actor, in_hand);
        Ok(actor)
    }
}
