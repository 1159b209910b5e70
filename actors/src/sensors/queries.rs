//! What the router answers about its sensors. Nothing here changes what becomes of a reading.
//!
//! **Promises** a page or a search costs what it lists, not what the shard knows: the router is on the path of data.

use std::ops::Bound;
use std::time::Duration;

use messages::{SensorId, SensorMsg, SensorPage, SensorSummary, SensorView};
use ractor::RpcReplyPort;
use tokio::time::Instant;

use super::SensorsState;
use super::slot::Life;
use crate::sensor::SensorCore;

/// A sensor that takes longer has a long queue; whoever asks may ask again.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(2);

impl SensorsState {
    pub(super) fn on_inspect(&mut self, sensor: &SensorId, reply: RpcReplyPort<Option<SensorView>>) {
        let Some(slot) = self.roster.slots.get(sensor) else {
            let _ = reply.send(None);
            return;
        };
        if self.taps.open(sensor, Instant::now()) {
            // What was judged since the last cut is still here.
            for (number, group) in slot.routed.iter().filter(|(number, _)| *number < self.roster.journal.forwarded()) {
                if let Some(batch) = self.roster.journal.batch(*number) {
                    self.taps.take_group(batch, *group, &self.context.schema);
                }
            }
        }
        let recent = self.taps.recent(sensor);
        let (shard, restarts) = (self.context.shard.to_string(), slot.restarts());
        match &slot.life {
            Life::Live { actor: hand, .. } => {
                let actor = hand.actor.clone();
                // Asked in a task: a sensor with a long queue must not hold up the router.
                tokio::spawn(async move {
                    let timeout = Some(INSPECT_TIMEOUT);
                    let view = actor.call(SensorMsg::Inspect, timeout).await.ok().and_then(|r| r.success_or(()).ok());
                    let _ = reply.send(view.map(|view| SensorView { restarts, recent, ..view }));
                });
            }
            Life::Passive | Life::Retiring { .. } => {
                let core = SensorCore::decode(sensor.clone(), self.rules.clone(), &slot.base);
                let view = core.ok().map(|core| SensorView { state: "passive", restarts, recent, ..core.view(&shard) });
                let _ = reply.send(view);
            }
        }
    }

    /// The sensors behind this id, or the first ones.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> SensorPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.roster.ids.range::<str, _>((from, Bound::Unbounded)).take(limit);
        SensorPage {
            total: self.roster.slots.len(),
            live: self.roster.actors.len(),
            sensors: page.map(|id| self.summary(id)).collect(),
        }
    }

    pub(super) fn find(&self, prefix: &str, limit: usize) -> Vec<SensorSummary> {
        let from = self.roster.ids.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let found = from.take_while(|id| id.as_str().starts_with(prefix)).take(limit);
        found.map(|id| self.summary(id)).collect()
    }

    fn summary(&self, id: &SensorId) -> SensorSummary {
        self.roster.slots[id].summary(id, self.roster.journal.forwarded())
    }
}
