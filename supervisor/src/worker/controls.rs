//! Carries out what an operator orders.
//!
//! **Promises** nothing here is a way of its own: a hand-over is the leases', a split the stream's, a drain the process's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::ports::stream::Stream;
use futures_util::future::BoxFuture;
use messages::ShardId;
use ractor::ActorRef;
use ractor::rpc::CallResult;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::ops::admin::Controls;
use crate::protocol::{LeasesMsg, NotHandedOver};

/// The leases answer between two looks at the table.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the leases' current incarnation is.
#[derive(Clone, Debug, Default)]
pub(super) struct LeasesAddress(Arc<Mutex<Option<ActorRef<LeasesMsg>>>>);

impl LeasesAddress {
    pub(super) fn set(&self, leases: ActorRef<LeasesMsg>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(leases);
    }

    fn get(&self) -> Option<ActorRef<LeasesMsg>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The worker's controls.
#[derive(Clone, Debug)]
pub(super) struct WorkerControls {
    pub(super) stream: Stream,
    pub(super) leases: LeasesAddress,
    pub(super) drain: Arc<watch::Sender<bool>>,
    /// The data's: a connection of the SDK lives on the runtime that opened it, and others use it afterwards.
    pub(super) runtime: Handle,
}

impl WorkerControls {
    async fn on_data_threads<T: Send + 'static>(
        &self,
        order: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        self.runtime.spawn(order).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Controls for WorkerControls {
    fn hand_over(&self, shard: ShardId) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let restarting = || NotHandedOver::Restarting("leases").to_string();
            let leases = self.leases.get().ok_or_else(restarting)?;
            match leases.call(|reply| LeasesMsg::HandOver(shard, reply), Some(ASK_TIMEOUT)).await {
                Ok(CallResult::Success(answer)) => answer.map_err(|refusal| refusal.to_string()),
                Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => Err(restarting()),
            }
        })
    }

    fn split(&self, shard: ShardId) -> BoxFuture<'_, Result<String, String>> {
        let stream = self.stream.clone();
        Box::pin(self.on_data_threads(async move { stream.split(&shard).await.map_err(|error| error.to_string()) }))
    }

    fn merge(&self, shard: ShardId, with: ShardId) -> BoxFuture<'_, Result<(), String>> {
        let stream = self.stream.clone();
        let order = async move { stream.merge(&shard, &with).await.map_err(|error| error.to_string()) };
        Box::pin(self.on_data_threads(order))
    }

    fn drain(&self) {
        self.drain.send_replace(true);
    }
}
