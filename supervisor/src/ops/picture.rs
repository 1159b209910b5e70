//! All that the page shows of one worker, made from one look: every route shows a part of it, the stream of events what
//! changes in it. So no two of them can disagree.

use std::sync::Arc;

use actors::alerts::AlertLine;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::OpsState;
use super::diagnosis::{self, Diagnosis, Evidence};
use super::flow::{self, Stage};
use super::history::{self, RestartLine};
use super::shards::{self, ShardLine};
use super::sight::Look;
use super::tree::{self, TreeNode};

/// One worker.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) at_ms: i64,
    pub(super) overview: Overview,
    /// Boxes without what is below them.
    pub(super) nodes: Vec<TreeNode>,
    pub(super) shards: Vec<ShardLine>,
    pub(super) workers: Vec<WorkerLine>,
    /// Newest first.
    pub(super) restarts: Vec<RestartLine>,
    /// Newest first.
    pub(super) alerts: Vec<AlertLine>,
}

/// The worker in a few lines.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    worker: String,
    version: &'static str,
    started_ms: i64,
    #[serde(flatten)]
    diagnosis: Diagnosis,
    flow: Vec<Stage>,
    budget_taken: u64,
    budget_max: u64,
    sensors: u64,
    sensors_live: u64,
    alerts_raised: u64,
    /// From arrival to handed over: the median and the 99th percentile, in milliseconds.
    alert_latency_ms: [Option<u64>; 2],
}

/// A worker as the lease table shows it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WorkerLine {
    pub(super) worker: String,
    pub(super) address: String,
    pub(super) me: bool,
    pub(super) alive: bool,
    pub(super) leaving: bool,
    pub(super) silent_ms: u64,
    /// Shards that it owns.
    pub(super) owns: usize,
}

impl Picture {
    pub(super) fn of(state: &OpsState) -> Self {
        let look = state.sight.look();
        let listed = state.tree.listed();
        let (falls, sampler) = (state.tree.falls(), &state.memory.sampler);
        let shards = shards::lines(&look, &listed, sampler, &state.worker_id);
        let evidence = Evidence { look: &look, listed: &listed, falls: &falls, shards: &shards, sampler };
        let sum = |of: fn(&super::sight::OwnedLook) -> u64| look.owned.iter().map(of).sum();
        let overview = Overview {
            worker: state.worker_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_ms: sampler.steady("worker", look.at_ms - state.started.elapsed().as_millis() as i64, look.at_ms),
            diagnosis: diagnosis::diagnosis(&evidence),
            flow: flow::stages(&evidence),
            budget_taken: look.budget_taken,
            budget_max: look.budget_max,
            sensors: sum(|owned| owned.sensors),
            sensors_live: sum(|owned| owned.sensors_live),
            alerts_raised: look.alerts_raised,
            alert_latency_ms: look.alert_latency_ms,
        };
        let nodes = tree::flat(&listed, sampler, look.at_ms);
        let (workers, restarts) = (workers(&look), history::restarts(&falls, &look));
        sampler.sweep(look.at_ms);
        Self { at_ms: look.at_ms, overview, nodes, shards, workers, restarts, alerts: look.alerts }
    }
}

pub(super) fn workers(look: &Look) -> Vec<WorkerLine> {
    let owned = |id: &str| look.seen.shards.iter().filter(|shard| shard.owner.as_deref() == Some(id)).count();
    let line = |worker: &crate::leases::WorkerSeen| WorkerLine {
        worker: worker.id.clone(),
        address: worker.address.clone(),
        me: worker.me,
        alive: worker.alive,
        leaving: worker.leaving,
        silent_ms: worker.silent.as_millis() as u64,
        owns: owned(&worker.id),
    };
    look.seen.workers.iter().map(line).collect()
}

pub(super) async fn overview(State(state): State<Arc<OpsState>>) -> Json<Overview> {
    Json(Picture::of(&state).overview)
}
