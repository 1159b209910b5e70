//! The worker's HTTP endpoint: the operator's page, and what it is made of; health and metrics for machines.
//!
//! **Owns** one listener.
//!
//! **Promises**
//! - Read only: `GET` and nothing else, and no route changes anything. Builds for tests (`fault-points`) have one that
//!   kills actors (`chaos.rs`); what ships has not.
//! - BOUNDED: connections, heads, pages, requests at a time and times have limits; an idle socket never keeps a request
//!   out, and no crowd a probe. It has a thread of its own (`apart.rs`): what is asked costs the data at most that.
//! - INERT: replies are JSON or plain text, never guessed as anything else, never cached, never shared with a site
//!   (no CORS), and only given to who asks for this host by name (DNS rebinding).
//!
//! **Fails** alone: data does not pass here.
//!
//! **Not here**: authentication and TLS (keep it on a private address), buttons of any kind: those are on a listener of
//! their own (`admin.rs`).

pub mod admin;
mod apart;
#[cfg(feature = "fault-points")]
mod chaos;
mod cluster;
mod connections;
mod diagnosis;
pub mod directory;
mod events;
mod flow;
mod guard;
mod health;
mod history;
mod keys;
mod metrics;
mod page;
mod rate_limit;
mod reply;
mod routes;
mod sampler;
mod sensors;
mod shards;
mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use messages::schema::IdSpec;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use self::admin::Admin;
pub use self::apart::{Listening, serve_apart};
pub use self::connections::listen;
use self::directory::SensorDirectory;
pub use self::metrics::{Metrics, Scrape, Scraped, family, install_metrics};
use self::status::StatusSource;
pub use self::tree::{NodeFailure, RestartBudgetLine, ShardSensors, TreeNode, TreeReply};
use crate::supervision::task::Task;
use crate::supervision::tree::Tree;
use crate::supervision::watchdog::Pulse;

/// Limits and names.
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// Sockets open at a time. At the limit the one that is idle for longest makes room.
    pub connections_max: usize,
    /// Requests worked on at a time, probes not counted. Whoever comes then is told to come again.
    pub requests_max: usize,
    /// All requests of this time are shown the same snapshot.
    pub snapshot_every: Duration,
    /// A request that takes longer is answered with 503; a socket that sends no request for longer is closed.
    pub request_timeout: Duration,
    /// Names (without port) by which the worker is asked for, besides `localhost` and its own addresses.
    pub hosts: Vec<String>,
    /// Pages that may listen for events at a time.
    pub event_listeners_max: usize,
    /// As for the watchdog: a handler that runs longer hangs, and the worker is not alive.
    pub hang_timeout: Duration,
}

/// One reason to be ready or not.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// Why it does not hold; empty if it does.
    pub why: String,
    /// Since when it does not hold, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
}

impl Check {
    /// All is well.
    pub fn holds(name: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, why: String::new(), since_ms: None }
    }

    /// It is not.
    pub fn fails(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, why: why.into(), since_ms: None }
    }
}

/// Asks everything that readiness depends on.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// What the endpoint remembers from one request to the next; nothing while nobody asks.
#[derive(Debug, Default)]
pub struct Memory {
    sampler: sampler::Sampler,
    events: events::Events,
    peers: cluster::Peers,
    snapshots: snapshot::Snapshots,
    scraped: metrics::LastScrape,
    at_work: guard::AtWork,
    asks: sensors::Asks,
}

/// What the endpoint shows.
pub struct OpsState {
    /// The actors.
    pub tree: Tree,
    /// This worker's name in the cluster.
    pub worker_id: String,
    /// When the worker began.
    pub started: Instant,
    /// Whether the worker's runtime still turns.
    pub pulse: Pulse,
    /// Whether it is ready, and if not, why.
    pub readiness: Readiness,
    /// The sensors.
    pub sensors: Arc<dyn SensorDirectory>,
    /// What a sensor id may look like: others are refused before anybody is asked.
    pub sensor_id: IdSpec,
    /// The worker as it is now.
    pub status: Arc<dyn StatusSource>,
    /// The configuration in effect, with sources, nothing secret.
    pub effective: serde_json::Value,
    /// What is remembered.
    pub memory: Memory,
    /// The metrics.
    pub metrics: Metrics,
    /// Limits and names.
    pub config: OpsConfig,
}

impl fmt::Debug for OpsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsState")
            .field("worker_id", &self.worker_id)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Serves until `shutdown` is true or its sender is gone. Requests under way get their time to finish.
pub async fn serve(listener: TcpListener, state: Arc<OpsState>, shutdown: watch::Receiver<bool>) {
    let limits = state.config.clone();
    let _upkeep = Task::spawn(metrics::upkeep(state.metrics.clone()));
    connections::serve(listener, routes::router(state), &limits, shutdown).await;
}

/// Serves the same, and orders from who has the token, likewise.
pub async fn serve_admin(listener: TcpListener, admin: Admin, shutdown: watch::Receiver<bool>) {
    let limits = admin.ops.config.clone();
    connections::serve(listener, routes::admin_router(Arc::new(admin)), &limits, shutdown).await;
}
