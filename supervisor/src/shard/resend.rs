//! Sends again what the last owner of a shard may not have sent.
//!
//! **Promises** ALERT: nothing counts as sent before all of it was handed over. Beside everything else: after a long
//! outage of the receivers there is much of it, and none of it keeps the shard from being read.
//! **Not here**: reading the zone (`actors/src/recovery.rs`), sending (`actors/src/alerts.rs`).

use std::time::Duration;

use actors::node::{Address, Gone};
use actors::ports::backoff::Backoff;
use actors::ports::leases::LeaseRow;
use actors::ports::objects::Objects;
use actors::recovery::{self, Reads, RecoveryError, Unsent};
use actors::shard::ShardContext;
use messages::{AlertsMsg, Receipts};
use ractor::rpc::CallResult;
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::Unsettled;

/// Old alerts of one shard that are offered at a time. The alerts actor takes what leaves room for new ones, and does not
/// wait for receivers that refuse.
const OFFER_MAX: usize = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Begins to. All of it counts as alerts of the first epoch that is not settled.
pub(super) fn resend(
    context: &ShardContext,
    objects: &Objects,
    row: &LeaseRow,
    alerts: &Address<AlertsMsg>,
) -> (JoinSet<()>, Unsettled) {
    let mut task = JoinSet::new();
    if row.alerts_through >= row.epoch {
        return (task, Unsettled::new());
    }
    let receipts = Receipts::default();
    let unsettled = [(row.alerts_through.next(), receipts.clone())].into();
    let all = receipts.issue();
    let (context, objects, row, alerts) = (context.clone(), objects.clone(), row.clone(), alerts.clone());
    task.spawn(async move {
        let unsent = read(&context, &objects, &row).await;
        // If the alerts have ended, so will, downstream first, this shard: the next incarnation begins again.
        if send(unsent, &alerts, &receipts).await.is_ok() {
            all.settle();
        }
    });
    (task, unsettled)
}

async fn read(context: &ShardContext, objects: &Objects, row: &LeaseRow) -> Unsent {
    let shard = &context.shard;
    let mut backoff = Backoff::new(&context.chance, BACKOFF_MIN, BACKOFF_MAX);
    loop {
        match recovery::unsent_alerts(&Reads::new(objects, &context.chance), row).await {
            Ok(unsent) => {
                if unsent.cut_off {
                    actors::metrics::alerts_not_resent(shard);
                    error!(%shard, through = %row.alerts_through, "older alerts are not sent again; they are in the zone");
                }
                return unsent;
            }
            Err(RecoveryError::Call(error)) if error.may_pass() => {
                warn!(%shard, %error, "alerts that may not have left cannot be read, trying again");
                tokio::time::sleep(backoff.after(&error)).await;
            }
            Err(error) => {
                actors::metrics::alerts_not_resent(shard);
                error!(%shard, %error, "alerts that may not have left are not sent again; they are in the zone");
                return Unsent::default();
            }
        }
    }
}

async fn send(unsent: Unsent, alerts: &Address<AlertsMsg>, receipts: &Receipts) -> Result<(), Gone> {
    let mut alerts_left = unsent.alerts.into_iter().map(|alert| (alert, Some(receipts.issue()))).peekable();
    while alerts_left.peek().is_some() {
        let mut offered: Vec<_> = alerts_left.by_ref().take(OFFER_MAX).collect();
        while !offered.is_empty() {
            let answer = alerts.actor().call(|reply| AlertsMsg::Offer { alerts: offered, reply }, None).await;
            let Ok(CallResult::Success(left)) = answer else { return Err(Gone(alerts.node().path.clone())) };
            if !left.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            offered = left;
        }
    }
    Ok(())
}
