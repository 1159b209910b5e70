//! Begins to beat under the worker's name, unless another process does.

use std::time::Duration;

use actors::ports::leases::{Heartbeat, LeaseError, LeaseTable, MOVES_OF_THE_LIVING};
use tracing::info;

/// For how long a row is watched: long enough for a living namesake to beat.
pub fn watch_for(heartbeat_interval: Duration) -> Duration {
    heartbeat_interval.mul_f64(1.5)
}

/// Claims the name. A row that is there is watched for this long first: if it keeps moving, the name is in use.
/// `mine` is the incarnation that this process had before, which it need not watch.
pub async fn claim(
    table: &LeaseTable,
    worker_id: &str,
    address: &str,
    mine: Option<&str>,
    watch_for: Duration,
) -> Result<Heartbeat, LeaseError> {
    let mut seen = table.worker(worker_id).await?;
    for _ in 0..MOVES_OF_THE_LIVING {
        if seen.as_ref().is_some_and(|row| mine != Some(&*row.incarnation)) {
            info!(worker_id, ?watch_for, "a worker of this name was here before: watching whether it lives");
            tokio::time::sleep(watch_for).await;
            let now = table.worker(worker_id).await?;
            if now != seen {
                seen = now;
                continue;
            }
        }
        match table.claim(worker_id, address, seen.as_ref()).await {
            Err(LeaseError::NameDisputed(_)) => seen = table.worker(worker_id).await?,
            claimed => return claimed,
        }
    }
    Err(LeaseError::NameInUse(worker_id.to_owned()))
}
