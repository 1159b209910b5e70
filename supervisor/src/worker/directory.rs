//! Finds sensors for the ops endpoint: asks the routers of the owned shards.

use std::sync::Arc;
use std::time::Duration;

use messages::{AlertsMsg, SensorId, SensorPage, SensorView, SensorsMsg};
use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorRef};

use crate::shard::Shard;

/// A router that does not answer in time is busy or restarting: the caller may ask again.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// The sensors of the owned shards.
#[derive(Clone, Debug)]
pub struct Directory(Arc<[Shard]>);

impl Directory {
    /// The directory of these shards.
    pub fn new(shards: Arc<[Shard]>) -> Self {
        Self(shards)
    }

    /// The live state of one sensor; none if no owned shard knows it.
    pub async fn find(&self, id: &str) -> Option<SensorView> {
        for sensors in self.0.iter().filter_map(Shard::sensors) {
            let ask = |reply| SensorsMsg::Inspect(SensorId::new(id), reply);
            if let Ok(CallResult::Success(Some(view))) = sensors.actor().call(ask, Some(ASK_TIMEOUT)).await {
                return Some(view);
            }
        }
        None
    }

    /// One page of a shard's sensors; none if the shard is not owned or does not answer.
    pub async fn page(&self, shard: &str, offset: usize, limit: usize) -> Option<SensorPage> {
        let owned = self.0.iter().find(|owned| owned.context.shard.short() == shard)?;
        let ask = |reply| SensorsMsg::Page { offset, limit, reply };
        match owned.sensors()?.actor().call(ask, Some(ASK_TIMEOUT)).await {
            Ok(CallResult::Success(page)) => Some(page),
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => None,
        }
    }

    /// Per owned shard: its short id, and how many sensors it knows and how many have an actor.
    pub fn counts(&self) -> Vec<(String, u64, u64)> {
        let count = |shard: &Shard| {
            let (known, live) = shard.context.figures.sensors();
            (shard.context.shard.short().to_owned(), known, live)
        };
        self.0.iter().map(count).collect()
    }
}

/// Waits until no alert is queued or under way.
pub(super) async fn flush_alerts(alerts: ActorCell, within: Duration) {
    // Out of time: what is left is stored with its epochs and sent at the next start.
    let _ = ActorRef::<AlertsMsg>::from(alerts).call(AlertsMsg::Flush, Some(within)).await;
}
