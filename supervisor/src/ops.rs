//! The worker's HTTP endpoint: is it alive, is it ready, what does it consist of, what does a sensor know.
//!
//! **Owns** one listener.
//!
//! **Promises**
//! - Read only: `GET` and nothing else, and no route changes anything. Builds for tests (`fault-points`) have one that
//!   kills actors (`chaos.rs`); what ships has not.
//! - BOUNDED: connections, heads, pages and times have limits; an idle socket never keeps a request out.
//! - INERT: replies are JSON or plain text, never guessed as anything else, never cached, never shared with a site
//!   (no CORS), and only given to who asks for this host by name (DNS rebinding).
//!
//! **Fails** alone: data does not pass here.
//!
//! **Not here**: authentication and TLS (keep it on a private address), buttons of any kind.

#[cfg(feature = "fault-points")]
mod chaos;
mod connections;
pub mod directory;
mod guard;
mod health;
mod metrics;
mod reply;
mod routes;
mod sensors;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use messages::schema::IdSpec;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use self::directory::SensorDirectory;
pub use self::metrics::{Metrics, Scrape, Scraped, family, install_metrics};
pub use self::tree::{Failure, ShardSensors, TreeNode, TreeReply};
use crate::supervision::task::Task;
use crate::supervision::tree::Tree;

/// Limits and names.
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// Sockets open at a time. At the limit the one that is idle for longest makes room.
    pub connections_max: usize,
    /// A request that takes longer is answered with 503; a socket that sends no request for longer is closed.
    pub request_timeout: Duration,
    /// Names (without port) by which the worker is asked for, besides `localhost` and its own addresses.
    pub hosts: Vec<String>,
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
}

/// Asks everything that readiness depends on.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// What the endpoint shows.
#[derive(Clone)]
pub struct OpsState {
    /// The boxes.
    pub tree: Tree,
    /// This worker's name in the cluster.
    pub worker_id: String,
    /// When the worker began.
    pub started: Instant,
    /// Whether it is ready, and if not, why.
    pub readiness: Readiness,
    /// The sensors.
    pub sensors: Arc<dyn SensorDirectory>,
    /// What a sensor id may look like: others are refused before anybody is asked.
    pub sensor_id: IdSpec,
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

/// Why the endpoint ended.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The listener broke.
    #[error("accept a connection to the ops endpoint")]
    Accept(#[source] std::io::Error),
}

/// Serves until `shutdown` is true or its sender is gone. Requests under way get their time to finish.
pub async fn serve(listener: TcpListener, state: OpsState, shutdown: watch::Receiver<bool>) -> Result<(), OpsError> {
    let limits = state.config.clone();
    let _upkeep = Task::spawn(metrics::upkeep(state.metrics.clone()));
    let router = routes::router(Arc::new(state));
    connections::serve(listener, router, &limits, shutdown).await
}
