//! More sensors than may live take turns: who waits for an actor, and who gives one back.
//!
//! **Promises** a sensor that gives its actor back finishes what it has before; the longest untouched goes first, and
//! that costs what is retired, not what is live (BOUNDED).

use std::sync::Arc;
use std::time::Duration;

use messages::SensorId;

use super::idle::IdleFound;
use super::roster::Roster;
use super::slot::Life;

/// Sensors that retire at a time: each that has gone makes room for the next. As many as keep the processors busy; more
/// would only be more that others wait behind.
const RETIRING_MAX: usize = 32;

/// What becomes of an actor whose sensor has retired.
#[derive(Debug)]
pub(super) enum Left<A> {
    /// It ends.
    Ends(A),
    /// It is this sensor from now on, which begins from its last known state.
    Becomes(SensorId, A),
}

impl<A: Clone> Roster<A> {
    /// A sensor has left its state and given its actor back. None if that was of an actor that was killed before this
    /// could be handled: its successor knows more.
    pub(super) fn retired(
        &mut self,
        (sensor, reporter): (&SensorId, u64),
        (bytes, last_arrival_ms): (Arc<[u8]>, Option<i64>),
        live_max: usize,
    ) -> Option<Left<A>> {
        let slot = self.slots.get_mut(sensor)?;
        let Life::Retiring { id, actor, asked_at } = &slot.life else { return None };
        if *id != reporter {
            return None;
        }
        let (asked_at, actor) = (*asked_at, actor.clone());
        self.retiring -= 1;
        slot.report(bytes, asked_at, last_arrival_ms);
        slot.life = Life::Passive;
        if slot.last_routed >= asked_at || self.journal.waits_for(sensor) {
            self.park(sensor);
        } else {
            self.drop_unknown(sensor);
        }
        let may_stay = self.actors.len() <= live_max;
        self.actors.remove(&reporter);
        Some(match if may_stay { self.parked.pop_front() } else { None } {
            Some(next) => {
                self.lives(&next, reporter, actor.clone());
                Left::Becomes(next, actor)
            }
            None => Left::Ends(actor),
        })
    }

    /// The sensor that gets an actor next, as fewer live than may.
    pub(super) fn next_parked(&mut self, live_max: usize) -> Option<SensorId> {
        if self.actors.len() < live_max { self.parked.pop_front() } else { None }
    }

    /// A sensor has an actor.
    pub(super) fn lives(&mut self, sensor: &SensorId, id: u64, actor: A) {
        self.actors.insert(id, sensor.clone());
        let slot = self.slots.get_mut(sensor).expect("only known sensors are revived");
        slot.parked = false;
        slot.life = Life::Live { id, actor };
        if !std::mem::replace(&mut slot.queued, true) {
            self.idle.add(sensor.clone(), slot.last_touched);
        }
    }

    /// Lets a sensor wait for an actor.
    fn park(&mut self, sensor: &SensorId) {
        let slot = self.slots.get_mut(sensor).expect("only known sensors are parked");
        if !std::mem::replace(&mut slot.parked, true) {
            self.parked.push_back(sensor.clone());
        }
    }

    /// The actor that is to retire next, as its sensor is the longest untouched and others wait.
    pub(super) fn makes_room(&mut self) -> Option<&A> {
        if self.retiring >= self.parked.len().min(RETIRING_MAX) { None } else { self.retire_oldest(None) }
    }

    /// Live sensors that are not asked to retire, beyond as many as may live.
    pub(super) fn surplus(&self, live_max: usize) -> usize {
        (self.actors.len() - self.retiring).saturating_sub(live_max)
    }

    /// Retires the longest untouched sensor, if it was touched before `until` (or at all, without one).
    pub(super) fn retire_oldest(&mut self, until: Option<Duration>) -> Option<&A> {
        let slots = &mut self.slots;
        let oldest = self.idle.next(until, |sensor| match slots.get_mut(sensor) {
            Some(slot) if matches!(slot.life, Life::Live { .. }) => IdleFound::Touched(slot.last_touched),
            Some(slot) => {
                slot.queued = false;
                IdleFound::Gone
            }
            None => IdleFound::Gone,
        });
        let asked_at = self.journal.next_number();
        let slot = self.slots.get_mut(&oldest?).expect("it was looked at just now");
        slot.queued = false;
        let retires = slot.retire(asked_at);
        self.retiring += usize::from(retires.is_some());
        retires
    }
}
