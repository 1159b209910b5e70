//! The router's regular look around: hanging sensors are killed, idle ones retired, silent ones reported.

use messages::{SensorMsg, SensorsMsg};
use ractor::ActorRef;
use tokio::time::Instant;
use tracing::warn;

use super::slot::Life;
use super::{ABANDONED, SensorsActor, SensorsError, SensorsState};

/// Sensors that one scan retires.
const IDLE_MAX: usize = 5_000;

impl SensorsActor {
    pub(super) async fn on_scan(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
    ) -> Result<(), SensorsError> {
        let now = Instant::now();
        for actor in self.kill_hanging(state, now) {
            // A handler that never awaits cannot be killed. Its actor is left to itself; what it may still say about
            // its batch is what its successor says.
            actor.get_cell().unlink(myself.get_cell());
            self.on_death(state, myself, actor.get_id(), ABANDONED.into()).await?;
        }
        self.retire_idle(state, now);
        state.report_silent();
        state.context.figures.set_sensors(state.known, state.actors.len());
        state.myself.send_after(self.config.scan_interval, SensorsMsg::Scan);
        Ok(())
    }

    /// Kills sensors that have been at one batch for too long; answers with those that a kill did not end.
    fn kill_hanging(&self, state: &mut SensorsState, now: Instant) -> Vec<ActorRef<SensorMsg>> {
        let Some(in_flight) = state.journal.overdue(now, self.config.hang_timeout) else { return Vec::new() };
        let mut immortal = Vec::new();
        for (group, members) in in_flight.batch.groups.iter().enumerate() {
            let Some(slot) = state.slots.get_mut(&members.sensor) else { continue };
            let actor = match &slot.life {
                Life::Live { actor, .. } => actor,
                // Asked to retire after it was given this batch.
                Life::Retiring { actor, asked_at, .. } if in_flight.number < *asked_at => actor,
                Life::Retiring { .. } | Life::Passive => continue,
            };
            // Only who has had the same row in hand since the last look: the others wait for a processor.
            let Some(row) = slot.life.in_hand().filter(|_| in_flight.outcome(group).is_none()) else { continue };
            let seen = Some((actor.get_id(), row));
            let actor = actor.clone();
            let trouble = slot.trouble();
            if std::mem::replace(&mut trouble.looked_at, seen) != seen {
                continue;
            }
            if trouble.killed == Some(actor.get_id()) {
                immortal.push(actor);
            } else {
                warn!(shard = %state.context.shard, sensor = %members.sensor, "sensor hangs, killed");
                actor.kill();
                trouble.killed = Some(actor.get_id());
            }
        }
        immortal
    }

    /// Retires sensors that have been idle for long enough, and the longest idle beyond the limit of live ones.
    fn retire_idle(&self, state: &mut SensorsState, now: Instant) {
        let asked_at = state.journal.next_number();
        let surplus = (state.actors.len() - state.retiring).saturating_sub(state.share.max());
        for _ in 0..surplus.min(IDLE_MAX) {
            state.retire_oldest(None, asked_at);
        }
        // The rest of many that fell silent together has its turn at the next scan.
        let until = now.checked_sub(self.config.idle_timeout);
        for _ in 0..IDLE_MAX {
            if until.is_none() || !state.retire_oldest(until, asked_at) {
                break;
            }
        }
    }
}
