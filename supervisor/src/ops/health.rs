//! Is the worker alive, is it ready.
//!
//! **Promises** `/livez` fails only for what a restart of the process cures: an actor right below the root that was given
//! up, one that hangs and could not be replaced, a runtime that stands still. An outage of a service makes the worker
//! not ready, never dead; so does a shard that was given up, which others take.

use std::sync::Arc;
use std::time::Duration;

use actors::node::{Node, NodeState};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{Check, OpsState};

#[derive(Debug, Serialize)]
struct Health {
    ok: bool,
    worker: String,
    checks: Vec<Check>,
}

pub(super) async fn livez(State(state): State<Arc<OpsState>>) -> Response {
    let hang_timeout = state.config.hang_timeout;
    let mut checks: Vec<Check> = state.tree.nodes().iter().filter_map(|node| failing(node, hang_timeout)).collect();
    let still = state.pulse.still_for().filter(|still| *still > hang_timeout);
    checks.extend(still.map(|still| Check::fails("runtime", format!("nothing has run for {still:.1?}"))));
    reply(&state, checks)
}

pub(super) async fn readyz(State(state): State<Arc<OpsState>>) -> Response {
    let checks = (state.readiness)().await;
    reply(&state, checks)
}

fn failing(node: &Node, hang_timeout: Duration) -> Option<Check> {
    // What hangs is killed and started again; twice the time says that it could not be.
    let busy = node.busy_for().filter(|busy| *busy > hang_timeout * 2);
    let why = match (node.state(), busy) {
        (NodeState::GivenUp, _) if !node.path.contains('/') => match node.last_error() {
            Some(error) => format!("given up: {}", error.message),
            None => "given up".to_owned(),
        },
        (_, Some(busy)) => format!("in one handler for {busy:.1?}"),
        _ => return None,
    };
    Some(Check::fails(node.path.clone(), why))
}

fn reply(state: &OpsState, checks: Vec<Check>) -> Response {
    let ok = checks.iter().all(|check| check.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { ok, worker: state.worker_id.clone(), checks })).into_response()
}
