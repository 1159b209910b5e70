//! The sensors of a shard as a machine: who gets which rows, who is asked for its state at a cut, who starts again from
//! what, who waits for an actor and who gives one back.
//!
//! **Owns** the state of every sensor as of its last report, and the journal of what was routed since the last cut.
//!
//! **Promises**
//! - A sensor that begins again has its last reported state and gets its rows since then, each once and in order (STATE).
//! - A cut is complete when every sensor that the epoch touched has reported.
//! - A row that kills its sensor again and again is quarantined; so is, at once, one whose actor could not be killed.
//!
//! **Not here**: actors, messages, clocks (`sensors.rs`); the rules of judging (`sensor.rs`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use messages::{Batch, InFlight, Sample, SensorId, SensorMsg, SequenceNumber, StateEntry, Suspect};

use super::SensorsConfig;
use super::idle::Idle;
use super::journal::Journal;
use super::silence::Silence;
use super::slot::{Life, Slot};
use crate::ports::faults::{Faults, Mechanism};

/// The limits.
#[derive(Clone, Debug)]
pub(super) struct RosterRules {
    /// Sensors that may be known.
    pub(super) known_max: usize,
    /// A row that killed its sensor this often is quarantined.
    pub(super) crashes_max: u32,
    /// False only in a mutant: a sensor that begins again has forgotten everything.
    pub(super) keeps_state: bool,
}

impl RosterRules {
    pub(super) fn new(config: &SensorsConfig, faults: &Faults) -> Self {
        let keeps_state = !faults.lacks(Mechanism::SensorState);
        Self { known_max: config.known_max, crashes_max: config.crashes_max, keeps_state }
    }
}

/// What is to be done with the rows of one sensor.
#[derive(Debug)]
pub(super) enum Routed<'a, A> {
    /// They are quarantined: the shard knows as many sensors as it may.
    Refused,
    /// Its actor gets them.
    To(&'a A, SensorMsg),
    /// It gets them from the journal, when its last state has come or an actor is free.
    Waits,
    /// It gets an actor, and then them.
    Starts,
}

/// A sensor has died.
#[derive(Debug)]
pub(super) struct Death {
    pub(super) sensor: SensorId,
    /// How often it died of this.
    pub(super) crashes: u32,
    /// What is to be remembered beyond the process.
    pub(super) suspect: Option<Suspect>,
    /// Whether it is not started again: it died without a row in hand, again and again.
    pub(super) is_unstable: bool,
}

/// A sensor that has been at one row for too long.
#[derive(Debug)]
pub(super) struct Hanging<A> {
    pub(super) sensor: SensorId,
    pub(super) actor: A,
    /// Whether it was killed before, and that did not end it.
    pub(super) is_immortal: bool,
}

/// The slots by sensor. Boxed, as a map has up to twice as many places as it holds.
pub(super) type SensorSlots<A> = HashMap<SensorId, Box<Slot<A>>>;

/// The machine. `A` is what an actor is reached by.
#[derive(Debug)]
pub(super) struct Roster<A> {
    pub(super) rules: RosterRules,
    pub(super) slots: SensorSlots<A>,
    /// The same ids in order, for pages and searches: sorting them when asked would hold up the data.
    pub(super) ids: BTreeSet<SensorId>,
    /// The sensors that have an actor, by its id.
    pub(super) actors: HashMap<u64, SensorId>,
    pub(super) journal: Journal,
    /// Sensors that the open epoch touched.
    pub(super) touched: BTreeSet<SensorId>,
    /// Sensors that count against the limit of known ones.
    pub(super) known: usize,
    /// Sensors that have an actor to give back.
    pub(super) idle: Idle<Duration>,
    /// Sensors that say nothing any more.
    pub(super) silence: Silence,
    /// Some of those of the last minutes, for other shards to look for.
    pub(super) sample: Sample,
    /// The latest arrival, milliseconds since 1970.
    pub(super) arrived_ms: i64,
    /// Sensors that have rows and wait for an actor, because as many live as may.
    pub(super) parked: VecDeque<SensorId>,
    /// How many sensors are retiring.
    pub(super) retiring: usize,
    suspects: Vec<Suspect>,
}

impl<A: Clone> Roster<A> {
    /// The sensors as of the checkpoint: their states, each with its last arrival.
    pub(super) fn new(rules: RosterRules, states: Vec<(StateEntry, Option<i64>)>, suspects: Vec<Suspect>) -> Self {
        let (mut slots, mut silence) = (HashMap::with_capacity(states.len()), Silence::default());
        for (entry, last_arrival_ms) in states {
            let mut slot = Slot::passive(entry.hash_key, entry.bytes, last_arrival_ms);
            silence.watch(&entry.sensor, &mut slot);
            slots.insert(entry.sensor, Box::new(slot));
        }
        silence.recovered();
        Self {
            rules,
            ids: slots.keys().cloned().collect(),
            known: slots.len(),
            slots,
            actors: HashMap::new(),
            journal: Journal::default(),
            touched: BTreeSet::new(),
            idle: Idle::default(),
            silence,
            sample: Sample::default(),
            arrived_ms: 0,
            parked: VecDeque::new(),
            retiring: 0,
            suspects,
        }
    }

    /// A batch is going to be routed, group by group. Rows that killed their sensors too often before are never tried.
    pub(super) fn begin_batch(&mut self, batch: Batch, now: Duration) -> Arc<InFlight> {
        let number = self.journal.next_number();
        let in_flight = Arc::new(InFlight::new(number, batch));
        self.journal.push_batch(in_flight.clone(), now);
        for row in self.poisoned_rows(&in_flight.batch) {
            self.journal.poison(number, row);
        }
        in_flight
    }

    /// What is to be done with a group of the newest batch, if so many sensors may have an actor.
    pub(super) fn route(
        &mut self,
        in_flight: &Arc<InFlight>,
        group: usize,
        now: Duration,
        live_max: usize,
    ) -> Routed<'_, A> {
        let members = &in_flight.batch.groups[group];
        let sensor = &members.sensor;
        let counted = self.slots.get(sensor).is_some_and(|slot| slot.counted);
        if !counted && !self.admit(members) {
            return Routed::Refused;
        }
        let slot = self.slots.get_mut(sensor).expect("whoever is admitted has a slot");
        let last = *in_flight.batch.group_rows(group).last().expect("a group has a row") as usize;
        slot.touch(in_flight.number, group, now, in_flight.batch.record_of(last).arrival_ms);
        if slot.has_been_valid() {
            self.silence.touched(sensor, slot);
        }
        slot.roams |= slot.hash_key != members.hash_key;
        self.arrived_ms = self.arrived_ms.max(slot.touched_ms);
        self.touched.insert(sensor.clone());
        let parks = self.actors.len() >= live_max && !slot.parked && matches!(slot.life, Life::Passive);
        if parks {
            slot.parked = true;
            self.parked.push_back(sensor.clone());
        }
        match &slot.life {
            Life::Live { actor, .. } => Routed::To(actor, self.journal.apply(in_flight, group)),
            Life::Passive if !slot.parked => Routed::Starts,
            Life::Passive | Life::Retiring { .. } => Routed::Waits,
        }
    }

    /// The state that a sensor begins again from; none if it begins anew.
    pub(super) fn base(&self, sensor: &SensorId) -> Option<&[u8]> {
        Some(&*self.slots[sensor].base).filter(|base| !base.is_empty() && self.rules.keeps_state)
    }

    /// Everything that a sensor has to do since that state.
    pub(super) fn catch_up<'a>(&'a self, sensor: &'a SensorId) -> impl Iterator<Item = SensorMsg> + 'a {
        let slot = &self.slots[sensor];
        self.journal.replay(sensor, slot.base_at, &slot.routed)
    }

    /// An actor has died, with this row in hand. `abandoned`: it lives on, and nobody waits for it any more.
    pub(super) fn died(&mut self, id: u64, row: Option<(u64, u32)>, error: &str, abandoned: bool) -> Option<Death> {
        let sensor = self.actors.remove(&id)?;
        let slot = self.slots.get_mut(&sensor).expect("every actor has a slot");
        if let Life::Retiring { .. } = slot.life {
            self.retiring -= 1;
        }
        slot.life = Life::Passive;
        // An abandoned actor keeps a thread: its row gets no second chance.
        let hopeless = abandoned && slot.failures().killed == Some(id);
        let mut crashes = match slot.failures().excused.take() == Some(id) {
            true => slot.ended(error),
            false => slot.crashed(row, error),
        };
        let suspect = row.filter(|_| crashes > 0).and_then(|row| self.suspect(row, crashes));
        crashes = suspect.as_ref().map_or(crashes, |suspect| suspect.tries);
        let is_enough = hopeless || crashes >= self.rules.crashes_max;
        if let Some((batch, row)) = row.filter(|_| is_enough) {
            self.journal.poison(batch, row);
        }
        Some(Death { sensor, crashes, suspect, is_unstable: is_enough && row.is_none() })
    }

    /// Sensors that have been at one batch for too long; `in_hand` tells at which row an actor is. Only who has had the
    /// same row in hand since the last look: the others wait for a processor.
    pub(super) fn hanging(
        &mut self,
        now: Duration,
        after: Duration,
        in_hand: impl Fn(&A) -> Option<(u64, u32)>,
    ) -> Vec<Hanging<A>> {
        let Some(in_flight) = self.journal.overdue(now, after) else { return Vec::new() };
        let mut hanging = Vec::new();
        for (group, members) in in_flight.batch.groups.iter().enumerate() {
            let Some(slot) = self.slots.get_mut(&members.sensor) else { continue };
            let (id, actor) = match &slot.life {
                Life::Live { id, actor } => (*id, actor.clone()),
                // Asked to retire after it was given this batch.
                Life::Retiring { id, actor, asked_at } if in_flight.number < *asked_at => (*id, actor.clone()),
                Life::Retiring { .. } | Life::Passive => continue,
            };
            let Some(row) = in_hand(&actor).filter(|_| in_flight.outcome(group).is_none()) else { continue };
            let failures = slot.failures();
            if failures.looked_at.replace((id, row)) == Some((id, row)) {
                let is_immortal = failures.killed.replace(id) == Some(id);
                hanging.push(Hanging { sensor: members.sensor.clone(), actor, is_immortal });
            }
        }
        hanging
    }

    /// Rows of a batch that killed their sensors too often before this incarnation.
    fn poisoned_rows(&self, batch: &Batch) -> Vec<u32> {
        if self.suspects.is_empty() {
            return Vec::new();
        }
        let tries = |row: usize| self.tries_before(&batch.record_of(row).sequence, batch.rows.sub_sequence[row]);
        (0..batch.rows.len()).filter(|row| tries(*row) >= self.rules.crashes_max).map(|row| row as u32).collect()
    }

    fn tries_before(&self, sequence: &SequenceNumber, sub_sequence: u32) -> u32 {
        let is_it = |suspect: &&Suspect| suspect.sequence == *sequence && suspect.sub_sequence == Some(sub_sequence);
        self.suspects.iter().find(is_it).map_or(0, |suspect| suspect.tries)
    }

    /// A reading that has killed its sensor this often by now, with what it had before this incarnation.
    fn suspect(&self, (batch, row): (u64, u32), crashes: u32) -> Option<Suspect> {
        let batch = &self.journal.batch(batch)?.batch;
        let sequence = batch.record_of(row as usize).sequence.clone();
        let sub_sequence = batch.rows.sub_sequence[row as usize];
        let tries = self.tries_before(&sequence, sub_sequence) + crashes;
        Some(Suspect { sequence, sub_sequence: Some(sub_sequence), tries })
    }
}
