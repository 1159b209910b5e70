//! All that the page shows of one worker, made from one look: every route shows a part of it, the stream of events what
//! changes in it. So no two of them can disagree.
//!
//! **Owns** the last snapshot.
//! **Promises** one snapshot every `snapshot_every`, shared by all requests of that time; each reply of it is written once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actors::alerts::AlertLine;
use actors::shard::EpochLine;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use messages::ShardId;
use metrics::counter;
use serde::Serialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::OpsState;
use super::diagnosis::{self, Diagnosis, Observed};
use super::flow::{self, FlowStage};
use super::history::{self, RestartLine};
use super::shards::{self, ShardLine};
use super::status::WorkerStatus;
use super::tree::{self, TreeNode, TreeReply};

/// The last snapshot, and how many there have been.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    last: Mutex<Option<(Instant, Arc<Snapshot>)>>,
    made: AtomicU64,
}

impl Snapshots {
    fn make(&self, state: &OpsState) -> (Instant, Arc<Snapshot>) {
        self.made.fetch_add(1, Ordering::Relaxed);
        counter!("mangrove_ops_pictures_total").increment(1);
        (Instant::now(), Arc::new(Snapshot::make(state)))
    }

    #[cfg(test)]
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

/// Replies as they are sent, made when somebody asks for the first time.
#[derive(Debug, Default)]
struct Replies {
    overview: OnceLock<Bytes>,
    shards: OnceLock<Bytes>,
    tree: OnceCell<Bytes>,
}

/// One worker.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) at_ms: i64,
    pub(super) overview: Overview,
    /// Actors without what is below them.
    pub(super) nodes: Vec<TreeNode>,
    pub(super) shards: Vec<ShardLine>,
    pub(super) workers: Vec<WorkerLine>,
    /// Newest first.
    pub(super) restarts: Vec<RestartLine>,
    /// Newest first.
    pub(super) alerts: Vec<AlertLine>,
    pub(super) alerts_raised: u64,
    /// The last epochs of each shard that is worked on here.
    pub(super) epochs: Vec<(ShardId, Vec<EpochLine>)>,
    replies: Replies,
}

/// The worker in a few lines.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    worker: String,
    version: &'static str,
    started_ms: i64,
    #[serde(flatten)]
    diagnosis: Diagnosis,
    flow: Vec<FlowStage>,
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
    /// What it may be given.
    pub(super) standing: &'static str,
    pub(super) silent_ms: u64,
    /// Shards that it owns.
    pub(super) owns: usize,
}

impl Snapshot {
    /// The snapshot of this moment, made if there is none yet.
    pub(super) fn of(state: &OpsState) -> Arc<Self> {
        let snapshots = &state.memory.snapshots;
        // Held while it is made, so that whoever comes meanwhile gets the same. It is written whole.
        let mut last = snapshots.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, snapshot)) = last.as_ref().filter(|(made, _)| made.elapsed() < state.config.snapshot_every) {
            return snapshot.clone();
        }
        last.insert(snapshots.make(state)).1.clone()
    }

    /// A new snapshot, also for whoever asks from now on.
    pub(super) fn anew(state: &OpsState) -> Arc<Self> {
        let snapshots = &state.memory.snapshots;
        let mut last = snapshots.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(snapshots.make(state)).1.clone()
    }

    fn make(state: &OpsState) -> Self {
        let look = state.status.status();
        let listed = state.tree.listed();
        let (failures, sampler) = (state.tree.failures(), &state.memory.sampler);
        let shards = shards::lines(&look, &listed, sampler, &state.worker_id);
        let evidence = Observed { status: &look, listed: &listed, failures: &failures, shards: &shards, sampler };
        let sum = |of: fn(&super::status::OwnedStatus) -> u64| look.owned.iter().map(of).sum();
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
        let (workers, restarts) = (workers(&look), history::restarts(&failures, &look));
        sampler.sweep(look.at_ms);
        Self {
            at_ms: look.at_ms,
            overview,
            nodes,
            shards,
            workers,
            restarts,
            alerts: look.alerts,
            alerts_raised: look.alerts_raised,
            epochs: look.owned.into_iter().map(|owned| (owned.shard, owned.epochs)).collect(),
            replies: Replies::default(),
        }
    }

    /// The shards, as they are sent.
    pub(super) fn shards_reply(&self, worker: &str) -> Response {
        let reply = || written(&shards::ShardsReply { worker, at_ms: self.at_ms, shards: &self.shards });
        sent(self.replies.shards.get_or_init(reply))
    }

    /// The tree, as it is sent.
    pub(super) async fn tree_reply(&self, reply: impl Future<Output = TreeReply>) -> Response {
        sent(self.replies.tree.get_or_init(|| async { written(&reply.await) }).await)
    }
}

pub(super) fn workers(look: &WorkerStatus) -> Vec<WorkerLine> {
    let owned = |id: &str| look.seen.shards.iter().filter(|shard| shard.owner.as_deref() == Some(id)).count();
    let line = |worker: &crate::leases::WorkerSeen| WorkerLine {
        worker: worker.id.clone(),
        address: worker.address.clone(),
        me: worker.me,
        alive: worker.alive,
        leaving: worker.leaving,
        standing: worker.standing.name(),
        silent_ms: worker.silent.as_millis() as u64,
        owns: owned(&worker.id),
    };
    look.seen.workers.iter().map(line).collect()
}

pub(super) async fn overview(State(state): State<Arc<OpsState>>) -> Response {
    let snapshot = Snapshot::of(&state);
    sent(snapshot.replies.overview.get_or_init(|| written(&snapshot.overview)))
}

fn written(reply: &impl Serialize) -> Bytes {
    // As for `Json`: no reply has a key that is no text.
    Bytes::from(serde_json::to_vec(reply).unwrap_or_default())
}

fn sent(reply: &Bytes) -> Response {
    ([(CONTENT_TYPE, "application/json")], reply.clone()).into_response()
}
