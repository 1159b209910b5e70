//! The supervision tree as JSON, nested by the nodes' paths.
//!
//! **Promises** actors only; a shard's sensors are numbers here and pages on demand, so that the reply grows with the
//! shards, never with the sensors.

use std::sync::Arc;
use std::time::Duration;

use actors::node::{Node, NodeState};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::directory::SensorCounts;
use super::reply::Refusal;
use super::sampler::Sampler;
use super::snapshot::Snapshot;
use super::{OpsState, sensors};
use crate::supervision::tree::ListedNode;

/// In one handler for longer, an actor counts as busy all the time.
const HANDLER_LONG: Duration = Duration::from_secs(1);

/// The tree of one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TreeReply {
    /// The worker's name in the cluster.
    pub worker: String,
    /// Since the worker began.
    pub uptime_s: u64,
    /// The root's children, downstream first.
    pub children: Vec<TreeNode>,
}

/// One node and what is below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TreeNode {
    /// Path from the root.
    pub path: String,
    /// Last part of the path.
    pub name: String,
    /// The actor's name in the map; `group` for a path that only others begin with.
    pub kind: String,
    /// As in `NodeState`, in snake case.
    pub state: String,
    /// Restarts since the worker began.
    pub restarts: u64,
    /// The last failure.
    pub last_error: Option<NodeFailure>,
    /// Since the actor last started.
    pub uptime_s: u64,
    /// Messages sent and not yet taken.
    pub queue: u64,
    /// Messages handled.
    pub handled: u64,
    /// For how long it has been in one handler.
    pub busy_ms: Option<u64>,
    /// Messages handled in a second, as far as somebody looks.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The share of its time that it spends in handlers, waiting for services included.
    #[serde(default)]
    pub busy: Option<f64>,
    /// The restart budget that it shares with its siblings.
    #[serde(default)]
    pub budget: Option<RestartBudgetLine>,
    /// For a shard: its sensors in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<ShardSensors>,
    /// What is below it, downstream first.
    pub children: Vec<TreeNode>,
}

/// How much of a restart budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBudgetLine {
    /// Failures within the window.
    pub spent: u32,
    /// Restarts allowed within the window; the next failure goes to the level above.
    pub restarts_max: u32,
    /// The window.
    pub within_s: u64,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFailure {
    /// In its own words.
    pub message: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// A shard's sensors in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSensors {
    /// Sensors that the shard knows.
    pub total: usize,
    /// Those with an actor.
    pub live: usize,
    /// Those that wait for a restart.
    pub restarting: usize,
}

pub(super) async fn tree(
    State(state): State<Arc<OpsState>>,
    query: Result<Query<sensors::PageQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let query = sensors::query(query)?;
    if let Some(shard) = &query.shard {
        return Ok(Json(sensors::page(&state, shard, &query).await?).into_response());
    }
    let snapshot = Snapshot::of(&state);
    let reply = async {
        let children = nest(snapshot.nodes.clone(), &state.sensors.counts().await);
        let uptime_s = Instant::now().saturating_duration_since(state.started).as_secs();
        TreeReply { worker: state.worker_id.clone(), uptime_s, children }
    };
    Ok(snapshot.tree_reply(reply).await)
}

/// Every actor without what is below it, downstream first.
pub(super) fn flat(listed: &[ListedNode], sampler: &Sampler, now_ms: i64) -> Vec<TreeNode> {
    listed.iter().map(|listed| view(listed, sampler, now_ms)).collect()
}

/// The share of its time that an actor spends in handlers; all of it for one that does not come back.
pub(super) fn busy(node: &Node, sampler: &Sampler, now_ms: i64) -> Option<f64> {
    if node.busy_for().is_some_and(|busy| busy > HANDLER_LONG) {
        return Some(1.0);
    }
    let us = u64::try_from(node.busy_in_all().as_micros()).unwrap_or(u64::MAX);
    sampler.rate(format!("busy {}", node.path), us, now_ms).map(|us| (us / 1e6).min(1.0))
}

fn nest(nodes: Vec<TreeNode>, counts: &[SensorCounts]) -> Vec<TreeNode> {
    let mut roots = Vec::new();
    for node in nodes {
        let place = place(&mut roots, &node.path);
        // The children may have been listed first: a supervisor that restarts is listed anew.
        *place = TreeNode { children: std::mem::take(&mut place.children), ..node };
    }
    for counts in counts {
        let shards = roots.iter_mut().find(|node| node.name == "shards");
        let shard = shards.and_then(|shards| shards.children.iter_mut().find(|shard| shard.name == counts.shard));
        if let Some(shard) = shard {
            let SensorCounts { total, live, restarting, .. } = *counts;
            shard.sensors = Some(ShardSensors { total, live, restarting });
        }
    }
    roots
}

/// The place of a path, with groups made on the way where nobody is listed yet.
fn place<'a>(mut level: &'a mut Vec<TreeNode>, path: &str) -> &'a mut TreeNode {
    let mut ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]).peekable();
    loop {
        let end = ends.next().expect("a path has at least one part, and the loop ends with the last");
        let prefix = &path[..end];
        let found = level.iter().position(|node| node.path == prefix);
        let index = found.unwrap_or_else(|| {
            level.push(group(prefix));
            level.len() - 1
        });
        if ends.peek().is_none() {
            return &mut level[index];
        }
        level = &mut level[index].children;
    }
}

fn group(path: &str) -> TreeNode {
    let kind = "group".to_owned();
    TreeNode { path: path.to_owned(), name: last_part(path), kind: kind.clone(), state: kind, ..TreeNode::default() }
}

fn view(listed: &ListedNode, sampler: &Sampler, now_ms: i64) -> TreeNode {
    let node = &listed.node;
    let budget = listed.intensity.as_ref().map(|intensity| RestartBudgetLine {
        spent: intensity.spent(),
        restarts_max: intensity.restarts_max(),
        within_s: intensity.within().as_secs(),
    });
    TreeNode {
        path: node.path.clone(),
        name: last_part(&node.path),
        kind: node.kind.to_owned(),
        state: state_name(node.state()).to_owned(),
        restarts: node.restarts(),
        last_error: node.last_error().map(|error| NodeFailure { message: error.message, at: error.at_ms }),
        uptime_s: node.uptime().as_secs(),
        queue: node.queued(),
        handled: node.handled(),
        busy_ms: node.busy_for().map(|busy| u64::try_from(busy.as_millis()).unwrap_or(u64::MAX)),
        rate: sampler.rate(format!("handled {}", node.path), node.handled(), now_ms),
        busy: busy(node, sampler, now_ms),
        budget,
        sensors: None,
        children: Vec::new(),
    }
}

fn last_part(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Starting => "starting",
        NodeState::Running => "running",
        NodeState::Draining => "draining",
        NodeState::Stopped => "stopped",
        NodeState::Restarting => "restarting",
        NodeState::GivenUp => "given_up",
    }
}
