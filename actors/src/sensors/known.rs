//! Which sensors the shard knows.
//!
//! **Owns** the count that `sensors.known_max` limits: the sensors that have ever had a valid reading, as of the last
//! cut, and those that the open epoch has touched since.
//!
//! **Promises**
//! - An id whose readings were all refused is forgotten when its epoch ends: it takes nobody's place, has no state in the
//!   lake and is never missed.
//! - Who is refused depends on the state at the beginning of the epoch and on its records alone: the same after every
//!   restart.

use std::sync::Arc;

use messages::{Batch, Group, GroupOutcome, InFlight, Reason, SensorId, Settled, Verdict};

use super::roster::Roster;
use super::slot::Slot;

impl<A: Clone> Roster<A> {
    /// Whether a batch must wait for the cut that is under way. Near the limit it matters which sensors that will forget:
    /// whoever is refused before that is known might be taken when the same records are judged again.
    pub(super) fn must_wait(&self, batch: &Batch) -> bool {
        let known_max = self.rules.known_max;
        if self.known + batch.groups.len() <= known_max || !self.journal.has_cut() {
            return false;
        }
        let counted = |sensor| self.slots.get(sensor).is_some_and(|slot| slot.counted);
        let new = batch.groups.iter().filter(|group| !counted(&group.sensor)).count();
        self.known + new > known_max
    }

    /// Takes in a sensor that is not counted yet. False if there are as many as may be.
    pub(super) fn admit(&mut self, group: &Group) -> bool {
        if self.known >= self.rules.known_max {
            return false;
        }
        self.known += 1;
        match self.slots.get_mut(&group.sensor) {
            Some(slot) => {
                // As for one that was never seen: its place is where it was found first in this epoch.
                slot.counted = true;
                slot.hash_key = group.hash_key;
            }
            None => {
                let slot = Slot::passive(group.hash_key, Arc::from([]), None);
                self.slots.insert(group.sensor.clone(), Box::new(slot));
                self.ids.insert(group.sensor.clone());
            }
        }
        true
    }

    /// A sensor has reported for a cut that it has never had a valid reading. What came for it since is of the next
    /// epoch, where it is new.
    pub(super) fn forget(&mut self, sensor: &SensorId) {
        let Some(slot) = self.slots.get_mut(sensor) else { return };
        match slot.routed.first() {
            Some(&(number, group)) => {
                let batch = &self.journal.batch(number).expect("what was routed since a cut is kept").batch;
                slot.hash_key = batch.groups[group].hash_key;
            }
            None => {
                self.known -= usize::from(std::mem::replace(&mut slot.counted, false));
                self.drop_unknown(sensor);
            }
        }
    }

    /// Gives back what a sensor that is not known any more has held, unless it has an actor.
    pub(super) fn drop_unknown(&mut self, sensor: &SensorId) {
        if self.slots.get(sensor).is_some_and(|slot| slot.is_unknown()) {
            self.slots.remove(sensor);
            self.ids.remove(sensor);
        }
    }

    /// The shard knows as many sensors as it may: the rows of a further one are quarantined.
    pub(super) fn refuse(&self, in_flight: &InFlight, group: usize) {
        let detail = format!("the shard knows {} sensors already (sensors.known_max)", self.rules.known_max);
        let verdict = Verdict::Quarantined { reason: Reason::TooManySensors, detail };
        let verdicts = vec![verdict; in_flight.batch.group_rows(group).len()];
        match in_flight.settle(group, GroupOutcome { verdicts, ..GroupOutcome::default() }) {
            Settled::Now { outcome, .. } => in_flight.batch.credit.grow(outcome.held_bytes()),
            Settled::Already => unreachable!("the group was routed to nobody"),
        }
    }
}
