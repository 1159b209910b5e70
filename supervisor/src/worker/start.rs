//! What a worker needs before it can begin: its stream, its bucket, its lease table, its name.
//!
//! **Promises** what will not heal by itself ends the start, with an error that names the key and the fix. A service
//! that is away, or refuses who asks, is asked again with growing pauses, for as long as it takes; how long that has
//! been and why is there to be seen.
//! **Not here**: what is served meanwhile (`run.rs`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::ports::aws::{CallError, Failure};
use actors::ports::backoff::Backoff;
use actors::ports::leases::{Heartbeat, Home, LeaseError};
use actors::shard::HeldUp;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{WorkerConfig, WorkerError, WorkerPorts, home};
use crate::leases;

/// What is not there when its service has come back may follow within this time.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(10);

/// What keeps a worker from beginning; nothing once it has begun.
#[derive(Debug, Default)]
pub(super) struct Starting(Mutex<StartProgress>);

#[derive(Debug, Default)]
struct StartProgress {
    begun: bool,
    waits: Option<HeldUp>,
}

impl Starting {
    /// Whether the actors have been started.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().begun
    }

    /// What it waits for.
    pub(super) fn waits(&self) -> Option<HeldUp> {
        self.lock().waits.clone()
    }

    pub(super) fn begun(&self) {
        *self.lock() = StartProgress { begun: true, waits: None };
    }

    fn failed(&self, error: &WorkerError, now_ms: i64) -> HeldUp {
        let mut progress = self.lock();
        let held = progress.waits.get_or_insert_with(|| HeldUp {
            cause: String::new(),
            since_ms: now_ms,
            attempts: 0,
            failure: Failure::Transient,
        });
        held.cause = error.to_string();
        held.attempts = held.attempts.saturating_add(1);
        held.clone()
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, StartProgress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reaches everything, and begins to beat under the worker's name.
pub(super) async fn reach(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    starting: &Starting,
) -> Result<(Home, Heartbeat), WorkerError> {
    let policy = &config.supervisor.restart;
    let mut backoff = Backoff::new(&ports.chance, policy.backoff_min, policy.backoff_max);
    let mut missing_since = None;
    loop {
        let error = match try_to_reach(config, ports).await {
            Ok(reached) => {
                if let Some(waited) = starting.waits() {
                    info!(attempts = waited.attempts, "all services answer: the worker begins");
                }
                return Ok(reached);
            }
            Err(error) if error.may_heal() => {
                missing_since = None;
                error
            }
            // Whoever has just come back may not have everything yet.
            Err(error) if error.is_missing() && starting.waits().is_some() => {
                if missing_since.get_or_insert_with(Instant::now).elapsed() > COMES_BACK_WITHIN {
                    return Err(error);
                }
                error
            }
            Err(error) => return Err(error),
        };
        let now_ms = ports.clock.now_ms();
        let held = starting.failed(&error, now_ms);
        let waited_s = now_ms.saturating_sub(held.since_ms) / 1000;
        warn!(%error, attempts = held.attempts, waited_s, "the worker cannot begin yet, trying again");
        let soon = ports.chance.spread(COMES_BACK_WITHIN / 10);
        let pause = backoff.pause();
        tokio::time::sleep(if missing_since.is_some() { pause.min(soon) } else { pause }).await;
    }
}

async fn try_to_reach(config: &WorkerConfig, ports: &WorkerPorts) -> Result<(Home, Heartbeat), WorkerError> {
    ports.stream.shards().await.map_err(|error| match error.failure {
        Failure::NotFound => WorkerError::NoStream(error),
        _ => unreachable_service("stream.name", error),
    })?;
    ports.objects.check().await.map_err(|error| match error.failure {
        Failure::NotFound => WorkerError::NoBucket(error),
        _ => unreachable_service("bucket.name", error),
    })?;
    ports.leases.ensure().await.map_err(|error| unreachable_service("leases.table", error))?;
    // Before anything is written under the worker's name: the table may be another stream's.
    let home = home::settle(ports).await?;
    // Here, so that a name in use is told at once and not after all restarts.
    Ok((home, claim_name(config, ports, None).await?))
}

pub(super) fn unreachable_service(key: &'static str, error: CallError) -> WorkerError {
    const FIX: &str = "Check the network, the credentials, aws.region and aws.endpoint_url";
    WorkerError::Unreachable { key, error, fix: FIX }
}

pub(super) async fn claim_name(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    mine: Option<&str>,
) -> Result<Heartbeat, WorkerError> {
    let watch_for = leases::watch_for(config.leases.heartbeat_interval);
    let claimed = leases::claim(&ports.leases, &config.worker_id, &config.address, mine, watch_for).await;
    claimed.map_err(|error| match error {
        LeaseError::Call(error) => unreachable_service("leases.table", error),
        error => WorkerError::Name(error),
    })
}
