//! What supervisors report: one function per fact, so that log, metric, node and history cannot disagree.

use std::time::Duration;

use actors::metrics;
use actors::node::{Node, NodeState};
use tracing::{debug, error, warn};

use super::GivenUp;
use super::history::{FailureOutcome, FailureRecord, Intensity};
use super::tree::Tree;

/// Where what is said of a child goes.
pub(super) struct ChildFacts<'a> {
    pub(super) node: &'a Node,
    pub(super) tree: &'a Tree,
    pub(super) intensity: &'a Intensity,
    pub(super) now_ms: i64,
}

impl ChildFacts<'_> {
    /// The child failed and will be restarted.
    pub(super) fn restarts(&self, cause: &str, attempt: u32, delay: Duration) {
        let node = self.node;
        node.failed(cause, self.now_ms);
        node.set_state(NodeState::Restarting);
        metrics::actor_restarted(node.kind);
        self.remember(cause, FailureOutcome::Restarted, attempt, Some(delay));
        let cause = cause.escape_debug();
        warn!(path = node.path, kind = node.kind, %cause, attempt, ?delay, "actor failed and restarts");
    }

    /// The child failed while everything is being stopped anyway.
    pub(super) fn failed_at_the_end(&self, cause: &str) {
        let node = self.node;
        node.failed(cause, self.now_ms);
        node.set_state(NodeState::Stopped);
        self.remember(cause, FailureOutcome::Ended, self.intensity.spent(), None);
        let cause = cause.escape_debug();
        warn!(path = node.path, kind = node.kind, %cause, "actor failed while it was to end");
    }

    /// The child failed too often.
    pub(super) fn given_up(&self, given_up: &GivenUp, attempt: u32) {
        let node = self.node;
        node.failed(&given_up.cause, self.now_ms);
        node.set_state(NodeState::GivenUp);
        self.remember(&given_up.cause, FailureOutcome::GivenUp, attempt, None);
        let cause = given_up.cause.escape_debug();
        error!(path = node.path, kind = node.kind, %cause, restarts_max = given_up.restarts_max, "actor given up");
    }

    /// The child is not to run. That is in order, and whoever ordered it says what follows.
    pub(super) fn yields(&self, reason: &str) {
        let node = self.node;
        node.set_state(NodeState::Stopped);
        let reason = reason.escape_debug();
        debug!(path = node.path, kind = node.kind, %reason, "actor is not to run");
    }

    fn remember(&self, cause: &str, outcome: FailureOutcome, attempt: u32, delay: Option<Duration>) {
        self.tree.fell(FailureRecord {
            // Set by the tree.
            number: 0,
            path: self.node.path.clone(),
            kind: self.node.kind,
            at_ms: self.now_ms,
            cause: FailureRecord::cause(cause),
            outcome,
            attempt,
            restarts_max: self.intensity.restarts_max(),
            within_s: self.intensity.within().as_secs(),
            delay_ms: delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        });
    }
}

/// An actor is linked to a supervisor that did not start it, or that no longer waits for its start.
pub(super) fn stranger_killed(supervisor: &str) {
    warn!(supervisor, "killed an actor whose start had failed or timed out");
}
