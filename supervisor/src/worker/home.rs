//! That a worker and its lease table are of the same stream and bucket, before anything else of the table is believed.
//!
//! **Promises** one table is of one stream, in one incarnation, and of one bucket. Of two streams that name the same
//! table by mistake the one that came first has it; the other one does not start, and says whose table it is.
//! **Not here**: the single row (`actors/src/agreement.rs`).

use actors::agreement::is_home;
use actors::lake::is_state_of;
use actors::ports::leases::{Home, OtherHome};
use messages::StreamId;

use super::start::unreachable_service;
use super::{WorkerError, WorkerPorts};

const PERMIT: &str = "The worker needs the permission kinesis:DescribeStreamSummary (deploy/iam/worker.json)";

/// Says in the table where this worker belongs, or finds that it belongs elsewhere.
pub(super) async fn settle(ports: &WorkerPorts) -> Result<Home, WorkerError> {
    let described = ports.stream.describe().await.map_err(|error| match error.may_pass() {
        true => unreachable_service("stream.name", error),
        false => WorkerError::Unreachable { key: "stream.name", error, fix: PERMIT },
    })?;
    let stream = StreamId { arn: described.arn, created_ms: described.created_ms };
    let home = Home { stream, bucket: ports.objects.bucket().to_owned() };
    let table = format!("the lease table {:?}", ports.leases.name());
    let unreadable = |error| unreachable_service("leases.table", error);
    if ports.leases.home().await.map_err(unreadable)?.is_none() {
        has_no_other(ports, &table, &home).await?;
    }
    let settled = ports.leases.settle(&home).await.map_err(unreadable)?;
    is_home(&home, &table, &settled, &ports.faults).map_err(WorkerError::Home)?;
    Ok(home)
}

/// A table of an earlier version does not say whose it is, but its rows name states of a stream.
async fn has_no_other(ports: &WorkerPorts, table: &str, home: &Home) -> Result<(), WorkerError> {
    let rows = ports.leases.scan().await.map_err(|error| unreachable_service("leases.table", error))?;
    let stream = ports.stream.name();
    let other = rows.leases.values().find_map(|row| {
        let state = row.state_key.as_deref()?;
        (!is_state_of(state, stream, &row.shard)).then(|| state.to_owned())
    });
    match other {
        Some(state) => Err(WorkerError::Home(OtherHome::Stream {
            what: table.to_owned(),
            theirs: format!("{} (by its states, {state})", state.split('/').nth(1).unwrap_or_default()),
            ours: home.stream.to_string(),
        })),
        None => Ok(()),
    }
}
