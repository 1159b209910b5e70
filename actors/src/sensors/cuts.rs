//! The end of an epoch: what every sensor that it touched has become.
//!
//! **Promises** a cut leaves when every sensor that the epoch touched has reported, with the states of those that have
//! ever had a valid reading, behind all batches before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use messages::{AggregatorMsg, Cut, SensorId, SensorMsg};
use tokio::time::Instant;

use super::journal::Entry;
use super::slot::Life;
use super::{SensorsError, SensorsState, breathe};
use crate::keys::Sample;

impl SensorsState {
    pub(super) async fn on_cut(&mut self, cut: Cut) -> Result<(), SensorsError> {
        self.context.faults.hit("sensors.cut", self.context.shard.short());
        let number = self.journal.next_number();
        let touched = std::mem::take(&mut self.touched);
        // While the stream spreads them, that sensors are elsewhere too says nothing of their producers.
        let (heeded, range) = (self.context.keys.are_heeded(), self.context.hash_range);
        match heeded {
            true => self.sample.keep_to(self.arrived_ms),
            false => self.sample = Sample::of_time(self.arrived_ms),
        }
        let mut states = BTreeMap::new();
        if cut.full_state {
            let untouched =
                self.slots.iter().filter(|(sensor, slot)| slot.has_been_valid() && !touched.contains(*sensor));
            states.extend(untouched.map(|(sensor, slot)| (sensor.clone(), slot.entry(sensor, slot.base.clone()))));
        }
        let (mut waiting, mut unknown) = (BTreeSet::new(), Vec::new());
        for (n, sensor) in touched.into_iter().enumerate() {
            breathe(n).await;
            let slot = self.slots.get_mut(&sensor).expect("whoever is touched has a slot");
            if heeded {
                self.sample.add(&sensor, slot.roams_from(range));
            }
            match &slot.life {
                Life::Live { actor, .. } => {
                    let _ = actor.send_message(SensorMsg::Snapshot(number));
                }
                // Retired in the middle of the epoch and not touched since: the state it left is the state now.
                Life::Passive if slot.last_routed < slot.base_at => {
                    if slot.has_been_valid() {
                        slot.cut_ms = slot.base_ms;
                        self.silence.watch(&sensor, slot);
                        states.insert(sensor.clone(), slot.entry(&sensor, slot.base.clone()));
                    } else {
                        unknown.push(sensor);
                    }
                    continue;
                }
                // Started again, or waiting for it: then it finds the cut in the journal.
                Life::Passive | Life::Retiring { .. } => {}
            }
            waiting.insert(sensor);
        }
        self.context.figures.sampled(self.sample.clone());
        self.journal.push_cut(cut, states, waiting);
        unknown.iter().for_each(|sensor| self.forget(sensor));
        self.forward()
    }

    /// A sensor tells its state as of a cut; empty if it has never had a valid reading.
    pub(super) fn on_snapshot(
        &mut self,
        sensor: &SensorId,
        number: u64,
        (bytes, last_arrival_ms): (Arc<[u8]>, Option<i64>),
    ) -> Result<(), SensorsError> {
        let Some(slot) = self.slots.get_mut(sensor) else { return Ok(()) };
        let entry = (!bytes.is_empty()).then(|| slot.entry(sensor, bytes.clone()));
        // An answer that comes a second time, after a restart, says the same again.
        if self.journal.complete_cut(number, sensor, entry) {
            slot.report(bytes, number + 1, last_arrival_ms);
            slot.cut_ms = slot.base_ms;
            if slot.has_been_valid() {
                self.silence.watch(sensor, slot);
            } else {
                self.forget(sensor);
            }
            self.context.figures.came_closer();
        }
        self.forward()
    }

    /// Sends on whatever is complete, in stream order.
    pub(super) fn forward(&mut self) -> Result<(), SensorsError> {
        while let Some(entry) = self.journal.next_complete() {
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
}
