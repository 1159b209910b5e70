//! What supervisors report: one function per fact, so that log, metric and node cannot disagree.

use std::time::Duration;

use actors::metrics;
use actors::node::{Node, NodeState};
use tracing::{error, warn};

use super::GivenUp;

/// A child failed and will be restarted.
pub(super) fn restarts(node: &Node, cause: &str, delay: Duration, now_ms: i64) {
    node.failed(cause, now_ms);
    node.set_state(NodeState::Restarting);
    metrics::actor_restarted(node.kind);
    let cause = cause.escape_debug();
    warn!(path = node.path, kind = node.kind, %cause, ?delay, "actor failed and restarts");
}

/// A child failed while everything is being stopped anyway.
pub(super) fn failed_at_the_end(node: &Node, cause: &str, now_ms: i64) {
    node.failed(cause, now_ms);
    node.set_state(NodeState::Stopped);
    let cause = cause.escape_debug();
    warn!(path = node.path, kind = node.kind, %cause, "actor failed while it was to end");
}

/// A child failed too often.
pub(super) fn given_up(node: &Node, given_up: &GivenUp, now_ms: i64) {
    node.failed(&given_up.cause, now_ms);
    node.set_state(NodeState::GivenUp);
    let cause = given_up.cause.escape_debug();
    error!(path = node.path, kind = node.kind, %cause, restarts_max = given_up.restarts_max, "actor given up");
}

/// An actor is linked to a supervisor that did not start it, or that no longer waits for its start.
pub(super) fn stranger_killed(supervisor: &str) {
    warn!(supervisor, "killed an actor whose start had failed or timed out");
}
