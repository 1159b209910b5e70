//! Finds sensors for the ops endpoint: asks the routers of the owned shards.

use std::time::Duration;

use futures_util::future::BoxFuture;
use messages::{AlertsMsg, SensorId, SensorPage, SensorView, SensorsMsg};
use ractor::rpc::CallResult;
use ractor::{ActorCell, ActorRef};
use tracing::warn;

use crate::ops::directory::{FoundSensor, SearchFound, SensorCounts, SensorDirectory, Unanswered};
use crate::owned::Owned;
use crate::shard::Shard;

/// A router that does not answer in time is busy or restarting: the caller may ask again.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// The sensors of the owned shards.
#[derive(Clone, Debug)]
pub struct Directory(Owned);

impl Directory {
    /// The directory of these shards.
    pub fn new(owned: Owned) -> Self {
        Self(owned)
    }
}

impl SensorDirectory for Directory {
    fn find(&self, id: SensorId) -> BoxFuture<'_, Result<Option<SensorView>, Unanswered>> {
        Box::pin(async move {
            for shard in self.0.all() {
                let found = ask(&shard, |reply| SensorsMsg::Inspect(id.clone(), reply)).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            Ok(None)
        })
    }

    fn page<'a>(
        &'a self,
        shard: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<SensorPage>, Unanswered>> {
        Box::pin(async move {
            match self.0.all().iter().find(|owned| owned.context.shard.short() == shard) {
                Some(shard) => {
                    let after = after.map(str::to_owned);
                    ask(shard, |reply| SensorsMsg::Page { after, limit, reply }).await.map(Some)
                }
                None => Ok(None),
            }
        })
    }

    fn search<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, SearchFound> {
        Box::pin(async move {
            let mut found = SearchFound::default();
            for shard in self.0.all() {
                let name = shard.context.shard.short().to_owned();
                match ask(&shard, |reply| SensorsMsg::Find { prefix: prefix.to_owned(), limit, reply }).await {
                    Ok(sensors) => found
                        .sensors
                        .extend(sensors.into_iter().map(|summary| FoundSensor { shard: name.clone(), summary })),
                    Err(Unanswered { shard }) => found.unanswered.push(shard),
                }
            }
            found
        })
    }

    #[cfg(feature = "fault-points")]
    fn kill(&self, id: SensorId) -> BoxFuture<'_, Result<bool, Unanswered>> {
        Box::pin(async move {
            let mut killed = false;
            for shard in self.0.all() {
                killed |= ask(&shard, |reply| SensorsMsg::Kill(id.clone(), reply)).await?;
            }
            Ok(killed)
        })
    }

    fn counts(&self) -> BoxFuture<'_, Vec<SensorCounts>> {
        let count = |shard: &Shard| {
            let (total, live) = shard.context.figures.sensors();
            SensorCounts {
                shard: shard.context.shard.short().to_owned(),
                total: total as usize,
                live: live as usize,
                // A sensor is started again within the handler that learns of its death.
                restarting: 0,
            }
        };
        let counts = self.0.all().iter().map(count).collect();
        Box::pin(async move { counts })
    }
}

async fn ask<T: Send + 'static>(
    shard: &Shard,
    question: impl FnOnce(ractor::RpcReplyPort<T>) -> SensorsMsg,
) -> Result<T, Unanswered> {
    let unanswered = || Unanswered { shard: shard.context.shard.short().to_owned() };
    let sensors = shard.sensors().ok_or_else(unanswered)?;
    match sensors.actor().call(question, Some(ASK_TIMEOUT)).await {
        Ok(CallResult::Success(answer)) => Ok(answer),
        Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => Err(unanswered()),
    }
}

/// Waits until no alert is queued or under way. A receiver that is away must not hold up a drain, and says who it is:
/// what is left is stored with its epochs, and whoever has the shard next sends it again.
pub(super) async fn flush_alerts(alerts: ActorCell, within: Duration) {
    let alerts = ActorRef::<AlertsMsg>::from(alerts);
    if let Ok(CallResult::Success(())) = alerts.call(AlertsMsg::Flush, Some(within)).await {
        return;
    }
    if let Ok(CallResult::Success(left)) = alerts.call(AlertsMsg::Left, Some(ASK_TIMEOUT)).await {
        let left: Vec<String> = left.into_iter().map(|(receiver, n)| format!("{n} for {receiver}")).collect();
        let left = left.join(", ");
        warn!(?within, left, "alerts are left to whoever has their shards next: these receivers did not take them");
    }
}
