//! The router's regular look around: hanging sensors are killed, idle ones retired, silent ones reported.

use messages::{AlertsMsg, SensorId, SensorMsg, SensorsMsg};
use ractor::ActorRef;
use tokio::time::Instant;
use tracing::warn;

use super::slot::Life;
use super::{ABANDONED, SensorsActor, SensorsError, SensorsState};
use crate::sensor::heartbeat_alert;

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
        self.report_silent(state)?;
        state.context.figures.set_sensors(state.slots.len(), state.actors.len());
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
            if std::mem::replace(&mut slot.looked_at, seen) != seen {
                continue;
            }
            if slot.killed == Some(actor.get_id()) {
                immortal.push(actor.clone());
            } else {
                warn!(shard = %state.context.shard, sensor = %members.sensor, "sensor hangs, killed");
                actor.kill();
                slot.killed = Some(actor.get_id());
            }
        }
        immortal
    }

    /// Retires sensors that have been idle for long enough, and the longest idle beyond the limit of live ones.
    fn retire_idle(&self, state: &mut SensorsState, now: Instant) {
        let mut idle: Vec<(Instant, SensorId)> = state.live().collect();
        idle.sort();
        let surplus = state.actors.len().saturating_sub(self.config.live_max);
        let asked_at = state.journal.next_number();
        for (n, (last_touched, sensor)) in idle.into_iter().enumerate() {
            if n >= surplus && now.duration_since(last_touched) < self.config.idle_timeout {
                break;
            }
            state.retire(&sensor, asked_at);
        }
    }

    fn report_silent(&self, state: &mut SensorsState) -> Result<(), SensorsError> {
        let (Some(timeout), Some(stream_ms)) = (state.context.schema.heartbeat, state.stream_ms) else {
            return Ok(());
        };
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        for (sensor, slot) in &mut state.slots {
            let Some(last) = slot.last_arrival_ms else { continue };
            let silent_ms = stream_ms.saturating_sub(last);
            if slot.silent || silent_ms < timeout_ms {
                continue;
            }
            slot.silent = true;
            let alert = heartbeat_alert(sensor, &state.context.shard, None, last, silent_ms, timeout);
            // No receipt: whoever owns the shard next finds the silence again by itself.
            state.alerts.send(AlertsMsg::Send { alert, receipt: None, trace: None })?;
        }
        Ok(())
    }
}
