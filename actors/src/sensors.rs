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

mod journal;
mod queries;
mod scan;
mod slot;
mod taps;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use messages::{
    AggregatorMsg, AlertsMsg, Batch, CommitterMsg, Cut, GroupOutcome, InFlight, Reason, SensorId, SensorMsg,
    SensorsMsg, SequenceNumber, Settled, StateEntry, Suspect, Verdict,
};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;
use tracing::warn;

use self::journal::{Entry, Journal};
use self::slot::{Life, Slot};
use self::taps::Taps;
use crate::metrics;
use crate::node::{Address, Gone, Node};
use crate::ports::faults::Mechanism;
use crate::sensor::{InHand, RETIRED, SensorActor, SensorArgs, SensorCore, SensorRules, StateError};
use crate::shard::{SensorFall, ShardContext};

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct SensorsConfig {
    /// Sensors that one shard may know; readings of further ones are quarantined.
    pub known_max: usize,
    /// Sensors of one shard that may have an actor at once; beyond, the longest idle are retired first.
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
/// Causes are remembered with the shard: bounded.
const CAUSE_CHARS_MAX: usize = 200;

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
    slots: HashMap<SensorId, Slot>,
    /// The same ids in order, for pages and searches: sorting them when asked would hold up the data.
    ids: BTreeSet<SensorId>,
    /// The readings of the few sensors that somebody looks at.
    taps: Taps,
    actors: HashMap<ActorId, SensorId>,
    journal: Journal,
    /// Sensors that the open epoch touched.
    touched: BTreeSet<SensorId>,
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
        let mut slots = HashMap::with_capacity(args.states.len());
        for entry in args.states {
            let core = SensorCore::decode(entry.sensor.clone(), args.rules.clone(), &entry.bytes)
                .map_err(|source| SensorsError::State { sensor: entry.sensor.clone(), source })?;
            let slot = Slot::passive(entry.hash_key, entry.bytes, core.last_arrival_ms());
            slots.insert(entry.sensor, slot);
        }
        let state = SensorsState {
            context: args.context,
            rules: args.rules,
            suspects: args.suspects,
            committer: args.committer,
            aggregator: args.aggregator,
            alerts: args.alerts,
            myself: Address::new(myself, args.node),
            ids: slots.keys().cloned().collect(),
            slots,
            taps: Taps::default(),
            actors: HashMap::new(),
            journal: Journal::default(),
            touched: BTreeSet::new(),
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
            SensorsMsg::Route(batch) => self.on_route(state, &myself, batch).await?,
            SensorsMsg::Time(stream_ms) => state.stream_ms = Some(stream_ms),
            SensorsMsg::Cut(cut) => state.on_cut(cut)?,
            SensorsMsg::BatchDone(_) => state.forward()?,
            SensorsMsg::State { sensor, actor, snapshot, bytes } => {
                self.on_state(state, &myself, (sensor, actor), snapshot, bytes).await?;
            }
            SensorsMsg::Scan => self.on_scan(state, &myself).await?,
            SensorsMsg::Kill(sensor, reply) => {
                let _ = reply.send(state.slots.get_mut(&sensor).is_some_and(Slot::kill));
            }
            SensorsMsg::Inspect(sensor, reply) => state.on_inspect(&sensor, reply),
            SensorsMsg::Find { prefix, limit, reply } => {
                let _ = reply.send(state.find(&prefix, limit));
            }
            SensorsMsg::Page { offset, limit, reply } => {
                let _ = reply.send(state.page(offset, limit));
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
            let sensor = &members.sensor;
            let first = in_flight.batch.group_rows(group)[0] as usize;
            let record = in_flight.batch.record_of(first);
            if !state.slots.contains_key(sensor) {
                if state.slots.len() >= self.config.known_max {
                    refuse(&in_flight, group, self.config.known_max);
                    continue;
                }
                let slot = Slot::passive(members.hash_key, Arc::from([]), None);
                state.slots.insert(sensor.clone(), slot);
                state.ids.insert(sensor.clone());
            }
            let slot = state.slots.get_mut(sensor).expect("inserted above if it was missing");
            slot.touch(number, group, now, record.arrival_ms);
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
                Life::Passive if state.actors.len() >= self.config.live_max => state.park(sensor),
                Life::Passive => {
                    // Nothing else is there to do for it: searching the journal would find just this batch.
                    let actor = self.start(state, myself, sensor).await?;
                    let _ = actor.send_message(state.journal.apply(&in_flight, group));
                }
            }
        }
        self.make_room(state);
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
        let slot = &state.slots[sensor];
        for message in state.journal.replay(sensor, slot.base_at, &slot.routed) {
            let _ = actor.send_message(message);
        }
        Ok(())
    }

    /// Starts a sensor's actor from its last known state.
    async fn start(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        sensor: &SensorId,
    ) -> Result<ActorRef<SensorMsg>, SensorsError> {
        let slot = state.slots.get_mut(sensor).expect("only known sensors are revived");
        let core = if slot.base.is_empty() || state.context.faults.lacks(Mechanism::SensorState) {
            SensorCore::new(sensor.clone(), state.rules.clone())
        } else {
            SensorCore::decode(sensor.clone(), state.rules.clone(), &slot.base)
                .map_err(|source| SensorsError::State { sensor: sensor.clone(), source })?
        };
        let in_hand = Arc::new(InHand::default());
        let args = SensorArgs { core, sensor: sensor.clone(), in_hand: in_hand.clone() };
        let behaviour =
            SensorActor { context: state.context.clone(), sensors: state.myself.clone(), alerts: state.alerts.clone() };
        let spawned = SensorActor::spawn_linked(None, behaviour, args, myself.get_cell()).await;
        let (actor, _) = spawned.map_err(|e| SensorsError::Spawn { sensor: sensor.clone(), error: e.to_string() })?;
        state.actors.insert(actor.get_id(), sensor.clone());
        slot.parked = false;
        slot.life = Life::Live { actor: actor.clone(), in_hand };
        Ok(actor)
    }

    /// Retires as many sensors as wait for an actor, the longest untouched first. Each finishes what it has before.
    fn make_room(&self, state: &mut SensorsState) {
        let wanted = state.parked.len().saturating_sub(state.retiring);
        if wanted == 0 {
            return;
        }
        let mut live: Vec<(Instant, SensorId)> = state.live().collect();
        live.sort();
        let asked_at = state.journal.next_number();
        for (_, sensor) in live.into_iter().take(wanted) {
            state.retire(&sensor, asked_at);
        }
    }

    async fn on_state(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        (sensor, reporter): (SensorId, ActorId),
        snapshot: Option<u64>,
        bytes: Arc<[u8]>,
    ) -> Result<(), SensorsError> {
        let Some(slot) = state.slots.get_mut(&sensor) else { return Ok(()) };
        match snapshot {
            Some(number) => {
                let entry = slot.entry(&sensor, bytes.clone());
                // An answer that comes a second time, after a restart, says the same again.
                if state.journal.complete_cut(number, entry) {
                    slot.report(bytes, number + 1);
                }
                state.forward()
            }
            None => {
                let Life::Retiring { actor, asked_at, .. } = &slot.life else { return Ok(()) };
                let (asked_at, id) = (*asked_at, actor.get_id());
                if id != reporter {
                    // Of an incarnation that was killed before this could be handled: its successor knows more.
                    return Ok(());
                }
                state.actors.remove(&id);
                state.retiring -= 1;
                slot.report(bytes, asked_at);
                slot.life = Life::Passive;
                if slot.last_routed >= asked_at || state.journal.waits_for(&sensor) {
                    state.park(&sensor);
                }
                self.revive_parked(state, myself).await
            }
        }
    }

    async fn revive_parked(&self, state: &mut SensorsState, myself: &ActorRef<SensorsMsg>) -> Result<(), SensorsError> {
        while state.actors.len() < self.config.live_max.max(1) {
            let Some(sensor) = state.parked.pop_front() else { break };
            self.revive(state, myself, &sensor).await?;
        }
        self.make_room(state);
        Ok(())
    }

    async fn on_death(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        id: ActorId,
        error: String,
    ) -> Result<(), SensorsError> {
        let Some(sensor) = state.actors.remove(&id) else { return Ok(()) };
        let slot = state.slots.get_mut(&sensor).expect("every actor has a slot");
        let row = slot.life.in_hand();
        if let Life::Retiring { .. } = slot.life {
            state.retiring -= 1;
        }
        // An abandoned actor keeps a thread: its row gets no second chance.
        let abandoned = slot.killed == Some(id) && error == ABANDONED;
        slot.life = Life::Passive;
        let mut crashes = match slot.excused.take() == Some(id) {
            true => slot.ended(&error),
            false => slot.crashed(row, &error),
        };
        if let (Some((batch, row)), 1..) = (row, crashes) {
            crashes += state.remember(batch, row, crashes)?;
        }
        metrics::sensor_restarted();
        state.context.figures.sensor_restarted();
        let cause = error.chars().take(CAUSE_CHARS_MAX).collect();
        let at_ms = state.context.clock.now_ms();
        state.context.figures.sensor_fell(SensorFall { sensor: sensor.to_string(), cause, at_ms, crashes });
        warn!(shard = %state.context.shard, %sensor, ?row, crashes, %error, "sensor restarted");
        if abandoned || crashes >= self.config.crashes_max {
            match row {
                Some((batch, row)) => state.journal.poison(batch, row),
                None => return Err(SensorsError::Unstable { sensor, crashes, error }),
            }
        }
        self.revive(state, myself, &sensor).await?;
        self.make_room(state);
        Ok(())
    }
}

impl SensorsState {
    /// The sensors that have an actor and may be retired.
    fn live(&self) -> impl Iterator<Item = (Instant, SensorId)> + '_ {
        let slots = self.actors.values().map(|sensor| (sensor, &self.slots[sensor]));
        let live = slots.filter(|(_, slot)| matches!(slot.life, Life::Live { .. }));
        live.map(|(sensor, slot)| (slot.last_touched, sensor.clone()))
    }

    /// Rows of a batch that killed their sensors too often before this incarnation.
    fn poisoned_rows(&self, batch: &Batch, crashes_max: u32) -> Vec<u32> {
        if self.suspects.is_empty() {
            return Vec::new();
        }
        let tries = |row: usize| self.tries_before(&batch.record_of(row).sequence, batch.rows.sub_sequence[row]);
        (0..batch.rows.len()).filter(|row| tries(*row) >= crashes_max).map(|row| row as u32).collect()
    }

    fn tries_before(&self, sequence: &SequenceNumber, sub_sequence: u32) -> u32 {
        let is_it = |suspect: &&Suspect| suspect.sequence == *sequence && suspect.sub_sequence == Some(sub_sequence);
        self.suspects.iter().find(is_it).map_or(0, |suspect| suspect.tries)
    }

    /// Has it remembered beyond this process that a reading has killed its sensor, this often by now. Answers how often
    /// it had before this incarnation.
    fn remember(&self, batch: u64, row: u32, crashes: u32) -> Result<u32, SensorsError> {
        let Some(in_flight) = self.journal.batch(batch) else { return Ok(0) };
        let sequence = in_flight.batch.record_of(row as usize).sequence.clone();
        let sub_sequence = in_flight.batch.rows.sub_sequence[row as usize];
        let before = self.tries_before(&sequence, sub_sequence);
        let suspect = Suspect { sequence, sub_sequence: Some(sub_sequence), tries: before + crashes };
        self.committer.send(CommitterMsg::Suspect(suspect, None))?;
        Ok(before)
    }

    fn retire(&mut self, sensor: &SensorId, asked_at: u64) {
        let slot = self.slots.get_mut(sensor).expect("only known sensors retire");
        self.retiring += usize::from(slot.retire(asked_at));
    }

    /// Lets a sensor wait for an actor.
    fn park(&mut self, sensor: &SensorId) {
        let slot = self.slots.get_mut(sensor).expect("only known sensors are parked");
        if !std::mem::replace(&mut slot.parked, true) {
            self.parked.push_back(sensor.clone());
        }
    }

    fn on_cut(&mut self, cut: Cut) -> Result<(), SensorsError> {
        self.context.faults.hit("sensors.cut", self.context.shard.short());
        let number = self.journal.next_number();
        let touched = std::mem::take(&mut self.touched);
        let mut states = BTreeMap::new();
        if cut.full_state {
            let untouched = self.slots.iter().filter(|(sensor, _)| !touched.contains(*sensor));
            states.extend(untouched.map(|(sensor, slot)| (sensor.clone(), slot.entry(sensor, slot.base.clone()))));
        }
        let mut waiting = BTreeSet::new();
        for sensor in touched {
            let slot = &self.slots[&sensor];
            match &slot.life {
                Life::Live { actor, .. } => {
                    let _ = actor.send_message(SensorMsg::Snapshot(number));
                }
                // Retired in the middle of the epoch and not touched since: the state it left is the state now.
                Life::Passive if slot.last_routed < slot.base_at => {
                    states.insert(sensor.clone(), slot.entry(&sensor, slot.base.clone()));
                    continue;
                }
                // Started again, or waiting for it: then it finds the cut in the journal.
                Life::Passive | Life::Retiring { .. } => {}
            }
            waiting.insert(sensor);
        }
        self.journal.push_cut(cut, states, waiting);
        self.forward()
    }

    /// Sends on whatever is complete, in stream order.
    fn forward(&mut self) -> Result<(), SensorsError> {
        while let Some(entry) = self.journal.next_complete() {
            match entry {
                Entry::Batch(batch) => {
                    self.taps.take(&batch, &self.context.schema, Instant::now());
                    self.context.traces.judged(&batch);
                    self.aggregator.send(AggregatorMsg::Fold(batch))?;
                }
                Entry::Cut(cut) => self.aggregator.send(AggregatorMsg::Cut(cut))?,
            }
        }
        Ok(())
    }
}

/// The shard knows as many sensors as it may: the rows of a further one are quarantined.
fn refuse(in_flight: &InFlight, group: usize, known_max: usize) {
    let detail = format!("the shard knows {known_max} sensors already (sensors.known_max)");
    let verdict = Verdict::Quarantined { reason: Reason::TooManySensors, detail };
    let verdicts = vec![verdict; in_flight.batch.group_rows(group).len()];
    match in_flight.settle(group, GroupOutcome { verdicts, ..GroupOutcome::default() }) {
        Settled::Now { .. } => {}
        Settled::Already => unreachable!("the group was routed to nobody"),
    }
}
