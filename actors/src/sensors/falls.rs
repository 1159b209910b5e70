//! A sensor dies: alone, and what it died of is remembered.
//!
//! **Promises** it is started again from its last report with its rows since then; a row that kills it again and again is
//! quarantined, and the count outlives the process.

use messages::{Batch, CommitterMsg, SequenceNumber, Suspect};
use ractor::{ActorId, ActorRef};
use tracing::warn;

use super::slot::Life;
use super::{ABANDONED, SensorsActor, SensorsError, SensorsMsg, SensorsState};
use crate::metrics;
use crate::shard::SensorFall;

/// Causes are remembered with the shard: bounded.
const CAUSE_CHARS_MAX: usize = 200;

impl SensorsActor {
    pub(super) async fn on_death(
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
        let abandoned = slot.trouble().killed == Some(id) && error == ABANDONED;
        slot.life = Life::Passive;
        let mut crashes = match slot.trouble().excused.take() == Some(id) {
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
        state.make_room();
        Ok(())
    }
}

impl SensorsState {
    /// Rows of a batch that killed their sensors too often before this incarnation.
    pub(super) fn poisoned_rows(&self, batch: &Batch, crashes_max: u32) -> Vec<u32> {
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
}
