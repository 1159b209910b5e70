//! Begins to beat under the worker's name, unless another process does.

use std::time::Duration;

use actors::ports::leases::{Heartbeat, LeaseError, LeaseTable};
use tracing::info;

/// Claims the name. A row that is there is watched for this long first: if its beat moves, the name is in use.
/// `mine` is the incarnation that this process had before, which it need not watch.
pub async fn claim(
    table: &LeaseTable,
    worker_id: &str,
    address: &str,
    mine: Option<&str>,
    watch_for: Duration,
) -> Result<Heartbeat, LeaseError> {
    let seen = table.worker(worker_id).await?;
    if let Some(seen) = seen.as_ref().filter(|seen| mine != Some(&*seen.incarnation)) {
        info!(worker_id, ?watch_for, "a worker of this name was here before: watching whether it lives");
        tokio::time::sleep(watch_for).await;
        if table.worker(worker_id).await?.is_some_and(|now| now != *seen) {
            return Err(LeaseError::NameInUse(worker_id.to_owned()));
        }
    }
    table.claim(worker_id, address, seen.as_ref()).await
}
