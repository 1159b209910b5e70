//! A sensor dies: alone, and what it died of is remembered.
//!
//! **Promises** it is started again from its last report with its rows since then; a row that kills it again and again is
//! quarantined, and the count outlives the process.

use messages::{CommitterMsg, SensorsMsg};
use ractor::{ActorId, ActorRef};
use tracing::warn;

use super::roster::Death;
use super::slot::Life;
use super::{ABANDONED, SensorsActor, SensorsError, SensorsState};
use crate::metrics;
use crate::shard::SensorFailureRecord;

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
        let row = state.in_hand(id.pid());
        let Some(death) = state.roster.died(id.pid(), row, &error, error == ABANDONED) else { return Ok(()) };
        state.fell(&death, row, &error);
        let Death { sensor, crashes, suspect, is_unstable } = death;
        if let Some(suspect) = suspect {
            state.committer.send(CommitterMsg::Suspect(suspect, None))?;
        }
        if is_unstable {
            return Err(SensorsError::Unstable { sensor, crashes, error });
        }
        self.revive(state, myself, &sensor).await?;
        state.make_room();
        Ok(())
    }
}

impl SensorsState {
    /// The row that an actor has, or had, in hand.
    fn in_hand(&self, id: u64) -> Option<(u64, u32)> {
        match &self.roster.slots[self.roster.actors.get(&id)?].life {
            Life::Passive => None,
            Life::Live { actor, .. } | Life::Retiring { actor, .. } => actor.in_hand.get(),
        }
    }

    /// Says that a sensor has died.
    fn fell(&self, Death { sensor, crashes, .. }: &Death, row: Option<(u64, u32)>, error: &str) {
        metrics::sensor_restarted();
        self.context.figures.sensor_restarted();
        let (cause, at_ms) = (error.chars().take(CAUSE_CHARS_MAX).collect(), self.context.clock.now_ms());
        let failure = SensorFailureRecord { sensor: sensor.to_string(), cause, at_ms, crashes: *crashes };
        self.context.figures.sensor_failed(failure);
        warn!(shard = %self.context.shard, %sensor, ?row, crashes, %error, "sensor restarted");
    }
}
