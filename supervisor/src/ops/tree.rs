//! The supervision tree as JSON, nested by the nodes' paths.
//!
//! **Promises** boxes only; a shard's sensors are numbers here and pages on demand, so that the reply grows with the
//! shards, never with the sensors.

use std::sync::Arc;

use actors::node::{Node, NodeState};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::directory::SensorCounts;
use super::reply::Refusal;
use super::{OpsState, sensors};

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
    /// The box's name in the picture; `group` for a path that only others begin with.
    pub kind: String,
    /// As in `NodeState`, in snake case.
    pub state: String,
    /// Restarts since the worker began.
    pub restarts: u64,
    /// The last failure.
    pub last_error: Option<Failure>,
    /// Since the actor last started.
    pub uptime_s: u64,
    /// Messages sent and not yet taken.
    pub queue: u64,
    /// Messages handled.
    pub handled: u64,
    /// For how long it has been in one handler.
    pub busy_ms: Option<u64>,
    /// For a shard: its sensors in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<ShardSensors>,
    /// What is below it, downstream first.
    pub children: Vec<TreeNode>,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
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
    let children = nest(&state.tree.nodes(), &state.sensors.counts().await);
    let uptime_s = Instant::now().saturating_duration_since(state.started).as_secs();
    Ok(Json(TreeReply { worker: state.worker_id.clone(), uptime_s, children }).into_response())
}

fn nest(nodes: &[Arc<Node>], counts: &[SensorCounts]) -> Vec<TreeNode> {
    let mut roots = Vec::new();
    for node in nodes {
        let place = place(&mut roots, &node.path);
        // The children may have been listed first: a supervisor that restarts is listed anew.
        *place = TreeNode { children: std::mem::take(&mut place.children), ..view(node) };
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

fn view(node: &Node) -> TreeNode {
    TreeNode {
        path: node.path.clone(),
        name: last_part(&node.path),
        kind: node.kind.to_owned(),
        state: state_name(node.state()).to_owned(),
        restarts: node.restarts(),
        last_error: node.last_error().map(|error| Failure { message: error.message, at: error.at_ms }),
        uptime_s: node.uptime().as_secs(),
        queue: node.queued(),
        handled: node.handled(),
        busy_ms: node.busy_for().map(|busy| u64::try_from(busy.as_millis()).unwrap_or(u64::MAX)),
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
