//! More sensors than may live take turns: who waits for an actor, and who gives one back.
//!
//! **Promises** a sensor that gives its actor back finishes what it has before; the longest untouched goes first, and
//! that costs what is retired, not what is live (BOUNDED).

use std::sync::Arc;

use messages::{SensorId, SensorMsg};
use ractor::{ActorId, ActorRef};
use tokio::time::Instant;

use super::idle::Found;
use super::slot::Life;
use super::{SensorsActor, SensorsError, SensorsMsg, SensorsState, breathe};
use crate::ports::faults::Mechanism;
use crate::sensor::{InHand, RETIRED, SensorCore};

/// Sensors that retire at a time: each that has gone makes room for the next. As many as keep the processors busy; more
/// would only be more that others wait behind.
const RETIRING_MAX: usize = 32;

impl SensorsActor {
    /// A sensor has left its state and given its actor back.
    pub(super) async fn on_retired(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
        (sensor, reporter): (SensorId, ActorId),
        (bytes, last_arrival_ms): (Arc<[u8]>, Option<i64>),
    ) -> Result<(), SensorsError> {
        let Some(slot) = state.slots.get_mut(&sensor) else { return Ok(()) };
        let Life::Retiring { actor, in_hand, asked_at } = &slot.life else { return Ok(()) };
        let (asked_at, id) = (*asked_at, actor.get_id());
        if id != reporter {
            // Of an incarnation that was killed before this could be handled: its successor knows more.
            return Ok(());
        }
        let (actor, in_hand) = (actor.clone(), in_hand.clone());
        state.retiring -= 1;
        slot.report(bytes, asked_at, last_arrival_ms);
        slot.life = Life::Passive;
        if slot.last_routed >= asked_at || state.journal.waits_for(&sensor) {
            state.park(&sensor);
        } else {
            state.drop_unknown(&sensor);
        }
        let may_stay = state.actors.len() <= state.share.max();
        match if may_stay { state.parked.pop_front() } else { None } {
            Some(next) => state.succeed(&next, &actor, in_hand)?,
            None => {
                state.actors.remove(&id);
                actor.stop(Some(RETIRED.into()));
            }
        }
        self.revive_parked(state, myself).await
    }

    async fn revive_parked(&self, state: &mut SensorsState, myself: &ActorRef<SensorsMsg>) -> Result<(), SensorsError> {
        let mut n = 0;
        while state.actors.len() < state.share.max() {
            let Some(sensor) = state.parked.pop_front() else { break };
            breathe(n).await;
            n += 1;
            self.revive(state, myself, &sensor).await?;
        }
        state.make_room();
        Ok(())
    }
}

impl SensorsState {
    /// A sensor as its last known state says.
    pub(super) fn core(&self, sensor: &SensorId) -> Result<SensorCore, SensorsError> {
        let slot = &self.slots[sensor];
        if slot.base.is_empty() || self.context.faults.lacks(Mechanism::SensorState) {
            return Ok(SensorCore::new(sensor.clone(), self.rules.clone()));
        }
        let core = SensorCore::decode(sensor.clone(), self.rules.clone(), &slot.base);
        core.map_err(|source| SensorsError::State { sensor: sensor.clone(), source })
    }

    /// A sensor has an actor.
    pub(super) fn lives(&mut self, sensor: &SensorId, actor: &ActorRef<SensorMsg>, in_hand: Arc<InHand>) {
        self.actors.insert(actor.get_id(), sensor.clone());
        let slot = self.slots.get_mut(sensor).expect("only known sensors are revived");
        slot.parked = false;
        slot.life = Life::Live { actor: actor.clone(), in_hand };
        if !std::mem::replace(&mut slot.queued, true) {
            self.idle.add(sensor.clone(), slot.last_touched);
        }
    }

    /// A sensor takes over the actor of one that has retired.
    fn succeed(
        &mut self,
        sensor: &SensorId,
        actor: &ActorRef<SensorMsg>,
        in_hand: Arc<InHand>,
    ) -> Result<(), SensorsError> {
        in_hand.lay_ready(sensor.clone(), self.core(sensor)?);
        let _ = actor.send_message(SensorMsg::Become);
        self.lives(sensor, actor, in_hand);
        self.catch_up(sensor, actor);
        Ok(())
    }

    /// Hands a sensor everything that was routed to it since its last known state.
    pub(super) fn catch_up(&self, sensor: &SensorId, actor: &ActorRef<SensorMsg>) {
        let slot = &self.slots[sensor];
        for message in self.journal.replay(sensor, slot.base_at, &slot.routed) {
            let _ = actor.send_message(message);
        }
    }

    /// Lets a sensor wait for an actor.
    pub(super) fn park(&mut self, sensor: &SensorId) {
        let slot = self.slots.get_mut(sensor).expect("only known sensors are parked");
        if !std::mem::replace(&mut slot.parked, true) {
            self.parked.push_back(sensor.clone());
        }
    }

    /// Retires as many sensors as wait for an actor, the longest untouched first. Each finishes what it has before.
    pub(super) fn make_room(&mut self) {
        let wanted = self.parked.len().min(RETIRING_MAX).saturating_sub(self.retiring);
        let asked_at = self.journal.next_number();
        for _ in 0..wanted {
            if !self.retire_oldest(None, asked_at) {
                break;
            }
        }
    }

    /// Retires the longest untouched sensor, if it was touched before `until` (or at all, without one).
    pub(super) fn retire_oldest(&mut self, until: Option<Instant>, asked_at: u64) -> bool {
        let slots = &mut self.slots;
        let oldest = self.idle.next(until, |sensor| match slots.get_mut(sensor) {
            Some(slot) if matches!(slot.life, Life::Live { .. }) => Found::Touched(slot.last_touched),
            Some(slot) => {
                slot.queued = false;
                Found::Gone
            }
            None => Found::Gone,
        });
        let Some(sensor) = oldest else { return false };
        let slot = self.slots.get_mut(&sensor).expect("it was looked at just now");
        slot.queued = false;
        self.retiring += usize::from(slot.retire(asked_at));
        true
    }
}
