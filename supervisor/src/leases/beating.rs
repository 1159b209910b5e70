//! This worker's heartbeat: saying that it lives, and stopping by itself when it cannot.
//!
//! **Promises** OWNER: a worker whose heartbeat cannot be written ends its shards before others may think it dead.
//! **Not here**: who else lives (`observer.rs`).

use actors::ports::leases::{Heartbeat, LeaseError};
use tokio::time::Instant;
use tracing::{error, info};

use super::{LeaseFinding, LeasesConfig, LeasesState, out_of_time, watch_for};
use crate::protocol::{LeasesMsg, ShardsMsg};

impl LeasesState {
    pub(super) fn begin_beat(&mut self, now: Instant, config: &LeasesConfig) {
        let (mut heartbeat, leaving, standing) =
            (self.args.heartbeat.clone(), self.holdings.is_ending(), self.standing(now));
        // Short enough for another try before the worker has to be fenced.
        let limit = config.fence_after() / 4;
        let watch_for = watch_for(config.heartbeat_interval);
        let work = async move {
            let written = heartbeat.beat(leaving, standing, watch_for).await;
            (Some(heartbeat), written)
        };
        self.begin(limit, work, move |outcome| {
            let late = || (None, Err(LeaseError::Call(out_of_time("write the heartbeat"))));
            let (heartbeat, written) = outcome.unwrap_or_else(|_| late());
            LeasesMsg::Beaten(now, heartbeat, written)
        });
    }

    pub(super) fn on_beaten(
        &mut self,
        began: Instant,
        heartbeat: Option<Heartbeat>,
        written: Result<(), LeaseError>,
        config: &LeasesConfig,
    ) -> Result<(), LeaseError> {
        // One that failed is tried again soon: two in a row must not fence a healthy worker.
        let pause = if written.is_ok() { config.heartbeat_interval } else { config.heartbeat_interval / 4 };
        self.beat.ended((began + pause).max(Instant::now()));
        // What it has seen of another process stays with it.
        match heartbeat {
            Some(heartbeat) => self.args.heartbeat = heartbeat,
            None => self.args.heartbeat.gave_up(),
        }
        match written {
            Ok(()) => {
                self.beaten_at = began;
                self.args.figures.beaten(began);
                self.args.figures.call_passed("heartbeat");
                if self.holdings.is_heard() {
                    info!("the heartbeat is written again, working on");
                    self.args.figures.clear(LeaseFinding::Fenced);
                }
            }
            // Another process works under this name: two of them would end each other's shards for ever.
            Err(error @ LeaseError::NameInUse(_)) => {
                self.stop_all();
                return Err(error);
            }
            Err(error) => self.args.figures.call_failed("heartbeat", &error),
        }
        Ok(())
    }

    pub(super) fn fence_if_due(&mut self, now: Instant, config: &LeasesConfig) {
        let silent = now.duration_since(self.beaten_at);
        if self.holdings.is_silent(silent, config) {
            error!(?silent, "the heartbeat is not written: ending all shards before others take them");
            self.args.figures.fenced(silent);
            self.stop_all();
        }
    }

    pub(super) fn stop_all(&mut self) {
        if let Some(shards) = &self.shards {
            // Shards that have ended need no end.
            let _ = shards.send_message(ShardsMsg::StopAll);
        }
    }
}
