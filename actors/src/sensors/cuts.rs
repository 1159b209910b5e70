//! The end of an epoch: what every sensor that it touched has become.
//!
//! **Promises** a cut leaves when every sensor that the epoch touched has reported, with the states of those that have
//! ever had a valid reading, behind all batches before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use messages::{Cut, HashRange, Sample, SensorId, StateEntry};

use super::roster::Roster;
use super::slot::Life;

/// A cut whose sensors are being asked, one after the other.
#[derive(Debug)]
pub(super) struct Cutting {
    /// Its number in the journal, under which they report.
    pub(super) number: u64,
    cut: Cut,
    /// The hash keys of the shard, if sensors are sampled.
    sampled: Option<HashRange>,
    states: BTreeMap<SensorId, StateEntry>,
    waiting: BTreeSet<SensorId>,
    unknown: Vec<SensorId>,
}

impl<A: Clone> Roster<A> {
    /// The epoch ends here. Answers with the sensors that it touched, each of which is cut next. While the stream spreads
    /// them, that sensors are elsewhere too says nothing of their producers: `range` is none then.
    pub(super) fn begin_cut(&mut self, cut: Cut, range: Option<HashRange>) -> (Cutting, BTreeSet<SensorId>) {
        let touched = std::mem::take(&mut self.touched);
        match range {
            Some(_) => self.sample.keep_to(self.arrived_ms),
            None => self.sample = Sample::of_time(self.arrived_ms),
        }
        let mut states = BTreeMap::new();
        if cut.full_state {
            let untouched =
                self.slots.iter().filter(|(sensor, slot)| slot.has_been_valid() && !touched.contains(*sensor));
            states.extend(untouched.map(|(sensor, slot)| (sensor.clone(), slot.entry(sensor, slot.base.clone()))));
        }
        let (number, waiting, unknown) = (self.journal.next_number(), BTreeSet::new(), Vec::new());
        (Cutting { number, cut, sampled: range, states, waiting, unknown }, touched)
    }

    /// The actor that has to be asked for the state of a touched sensor; none if that is known, or comes by itself.
    pub(super) fn cut_one(&mut self, cutting: &mut Cutting, sensor: SensorId) -> Option<&A> {
        let slot = self.slots.get_mut(&sensor).expect("whoever is touched has a slot");
        if let Some(range) = cutting.sampled {
            self.sample.add(&sensor, slot.roams_from(range));
        }
        if matches!(slot.life, Life::Passive) && slot.last_routed < slot.base_at {
            // Retired in the middle of the epoch and not touched since: the state it left is the state now.
            if slot.has_been_valid() {
                slot.cut_ms = slot.base_ms;
                self.silence.watch(&sensor, slot);
                let entry = slot.entry(&sensor, slot.base.clone());
                cutting.states.insert(sensor, entry);
            } else {
                cutting.unknown.push(sensor);
            }
            return None;
        }
        cutting.waiting.insert(sensor);
        match &slot.life {
            Life::Live { actor, .. } => Some(actor),
            // Started again, or waiting for it: then it finds the cut in the journal.
            Life::Passive | Life::Retiring { .. } => None,
        }
    }

    /// Every touched sensor was cut.
    pub(super) fn end_cut(&mut self, cutting: Cutting) {
        let Cutting { cut, states, waiting, unknown, .. } = cutting;
        self.journal.push_cut(cut, states, waiting);
        unknown.iter().for_each(|sensor| self.forget(sensor));
    }

    /// A sensor tells its state as of a cut; empty if it has never had a valid reading. False if that was known.
    pub(super) fn reported(
        &mut self,
        sensor: &SensorId,
        number: u64,
        (bytes, last_arrival_ms): (Arc<[u8]>, Option<i64>),
    ) -> bool {
        let Some(slot) = self.slots.get_mut(sensor) else { return false };
        let entry = (!bytes.is_empty()).then(|| slot.entry(sensor, bytes.clone()));
        // An answer that comes a second time, after a restart, says the same again.
        if !self.journal.complete_cut(number, sensor, entry) {
            return false;
        }
        slot.report(bytes, number + 1, last_arrival_ms);
        slot.cut_ms = slot.base_ms;
        if slot.has_been_valid() {
            self.silence.watch(sensor, slot);
        } else {
            self.forget(sensor);
        }
        true
    }
}
