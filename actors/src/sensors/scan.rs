//! The router's regular look around: hanging sensors are killed, idle ones retired, silent ones reported.

use std::time::Duration;

use messages::SensorsMsg;
use ractor::ActorRef;
use tracing::warn;

use super::roster::Hanging;
use super::{ABANDONED, Hand, SensorsActor, SensorsError, SensorsState, retire};

/// Sensors that one scan retires.
const IDLE_MAX: usize = 5_000;

impl SensorsActor {
    pub(super) async fn on_scan(
        &self,
        state: &mut SensorsState,
        myself: &ActorRef<SensorsMsg>,
    ) -> Result<(), SensorsError> {
        let now = state.began.elapsed();
        for Hanging { sensor, actor: Hand { actor, .. }, is_immortal } in
            state.roster.hanging(now, self.config.hang_timeout, |hand| hand.in_hand.get())
        {
            if is_immortal {
                // A handler that never awaits cannot be killed. Its actor is left to itself; what it may still say about
                // its batch is what its successor says.
                actor.get_cell().unlink(myself.get_cell());
                self.on_death(state, myself, actor.get_id(), ABANDONED.into()).await?;
            } else {
                warn!(shard = %state.context.shard, %sensor, "sensor hangs, killed");
                actor.kill();
            }
        }
        self.retire_idle(state, now);
        state.report_silent();
        state.context.figures.set_sensors(state.roster.known, state.roster.actors.len());
        state.myself.send_after(self.config.scan_interval, SensorsMsg::Scan);
        Ok(())
    }

    /// Retires sensors that have been idle for long enough, and the longest idle beyond the limit of live ones.
    fn retire_idle(&self, state: &mut SensorsState, now: Duration) {
        for _ in 0..state.roster.surplus(state.share.max()).min(IDLE_MAX) {
            retire(state.roster.retire_oldest(None));
        }
        // The rest of many that fell silent together has its turn at the next scan.
        let until = now.checked_sub(self.config.idle_timeout);
        for _ in 0..IDLE_MAX {
            if until.is_none() || !retire(state.roster.retire_oldest(until)) {
                break;
            }
        }
    }
}
