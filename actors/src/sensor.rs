//! Judges the readings of one sensor.
//!
//! **Owns** the state of one sensor; nobody else writes it.
//!
//! **Promises**
//! - A group's slot is filled once; a replay of rows that have their outcome changes nothing outside (STATE).
//! - Alerts leave as soon as their batch is judged, once per slot (ALERT).
//!
//! **Fails** by stopping. The router starts the next incarnation from the state at the last cut and replays the rows
//! of this sensor since then: no other sensor notices, the shard does not rewind.
//!
//! **Not here**: I/O, wall clock, other sensors. The rules of judging are in `sensor/core.rs`.

mod alerts;
mod attributes;
mod codec;
mod core;
mod dedup;
mod detectors;
mod judge;
mod layout;
mod rules;
#[cfg(test)]
mod tests;
mod view;
mod words;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use messages::{AlertsMsg, InFlight, Receipt, Receipts, SensorId, SensorMsg, SensorsMsg, Settled};
use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use self::core::{SensorCore, SensorRules, StateError, heartbeat_alert, silence_alert};
use crate::node::Address;
use crate::shard::ShardContext;

/// Why a sensor that gave its actor back has ended.
pub(crate) const RETIRED: &str = "retired";

/// Given to every sensor of a shard; read-only while running.
#[derive(Debug)]
pub struct SensorActor {
    /// The identity of the shard.
    pub context: ShardContext,
    /// The router of this sensor.
    pub sensors: Address<SensorsMsg>,
    /// Where alerts go.
    pub alerts: Address<AlertsMsg>,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct SensorArgs {
    /// The state to go on from.
    pub core: SensorCore,
    /// Which sensor it is.
    pub sensor: SensorId,
    /// Tells the router which row was in hand when the actor died.
    pub in_hand: Arc<InHand>,
}

/// The live part; lost in a crash.
#[derive(Debug)]
pub struct SensorState {
    core: SensorCore,
    sensor: SensorId,
    in_hand: Arc<InHand>,
}

/// The row that a sensor is judging, readable after its death. Batch numbers and rows fit 32 bits each:
/// numbers begin anew with every incarnation of a shard.
#[derive(Debug, Default)]
pub struct InHand {
    row: AtomicU64,
    /// The sensor that the actor is next, after its own has retired: most of what a sensor costs is its actor.
    next: Mutex<Option<(SensorId, SensorCore)>>,
}

impl InHand {
    fn set(&self, batch: u64, row: u32) {
        self.row.store((batch + 1) << 32 | u64::from(row), Ordering::Relaxed);
    }

    fn clear(&self) {
        self.row.store(0, Ordering::Relaxed);
    }

    /// Lays a sensor ready for an actor that has retired.
    pub(crate) fn lay_ready(&self, sensor: SensorId, core: SensorCore) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((sensor, core));
    }

    fn take_next(&self) -> Option<(SensorId, SensorCore)> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Batch number and row, if a row was in hand.
    pub fn get(&self) -> Option<(u64, u32)> {
        let packed = self.row.load(Ordering::Relaxed);
        (packed != 0).then_some(((packed >> 32) - 1, packed as u32))
    }
}

impl Actor for SensorActor {
    type Msg = SensorMsg;
    type State = SensorState;
    type Arguments = SensorArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<SensorMsg>,
        args: SensorArgs,
    ) -> Result<SensorState, ActorProcessingErr> {
        Ok(SensorState { core: args.core, sensor: args.sensor, in_hand: args.in_hand })
    }

    async fn handle(
        &self,
        myself: ActorRef<SensorMsg>,
        message: SensorMsg,
        state: &mut SensorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SensorMsg::Apply { in_flight, group, receipts, poison } => {
                self.on_apply(state, &in_flight, group, &receipts, &poison)?;
            }
            SensorMsg::Snapshot(number) => self.report(state, &myself, Some(number))?,
            SensorMsg::Retire => self.report(state, &myself, None)?,
            SensorMsg::Become => {
                if let Some((sensor, core)) = state.in_hand.take_next() {
                    (state.sensor, state.core) = (sensor, core);
                }
            }
            SensorMsg::Inspect(reply) => {
                // Whoever asked may have gone: that is their business.
                let _ = reply.send(state.core.view(self.context.shard.as_str()));
            }
        }
        Ok(())
    }
}

impl SensorActor {
    fn on_apply(
        &self,
        state: &mut SensorState,
        in_flight: &InFlight,
        group: usize,
        receipts: &Receipts,
        poison: &[u32],
    ) -> Result<(), ActorProcessingErr> {
        let (in_hand, faults) = (&state.in_hand, &self.context.faults);
        let sensor = state.sensor.as_str();
        let outcome = state.core.apply(&self.context.shard, &in_flight.batch, group, poison, &mut |row| {
            in_hand.set(in_flight.number, row);
            faults.hit("sensor.row", sensor);
        });
        in_hand.clear();
        // Receipts first: from the moment the slot is filled the epoch may be cut, and must know of them.
        let issued: Vec<Receipt> = outcome.alerts.iter().map(|_| receipts.issue()).collect();
        match in_flight.settle(group, outcome) {
            Settled::Now { outcome, last } => {
                in_flight.batch.credit.grow(outcome.held_bytes());
                for (alert, receipt) in outcome.alerts.iter().zip(issued) {
                    let trace = self.context.traces.alert(in_flight.batch.trace);
                    self.alerts.send(AlertsMsg::Send { alert: alert.clone(), receipt: Some(receipt), trace })?;
                }
                if last {
                    self.sensors.send(SensorsMsg::BatchDone(in_flight.number))?;
                }
            }
            Settled::Already => issued.into_iter().for_each(Receipt::settle),
        }
        Ok(())
    }

    fn report(
        &self,
        state: &SensorState,
        myself: &ActorRef<SensorMsg>,
        snapshot: Option<u64>,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever has never had a valid reading has nothing to remember.
        let bytes = if state.core.has_been_valid() { state.core.encode() } else { Arc::from([]) };
        let (sensor, actor, last_arrival_ms) = (state.sensor.clone(), myself.get_id(), state.core.last_arrival_ms());
        Ok(self.sensors.send(SensorsMsg::State { sensor, actor, snapshot, bytes, last_arrival_ms })?)
    }
}
