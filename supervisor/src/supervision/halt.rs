//! Ends one actor, by force if it has to be; and ends a whole list of them backwards.
//!
//! **Promises** both return in bounded time, whatever the actor does.
//! **Fails** by abandoning: an actor that blocks its thread cannot be preempted. Its helpers are killed, it is
//! unlinked, and it ends by itself (its kill is pending) as soon as its handler returns or awaits. Until then it
//! occupies one thread of the runtime; the liveness probe is the net below that.

use std::sync::Arc;
use std::time::Duration;

use actors::node::{Node, NodeState};
use futures_util::future::join_all;
use ractor::ActorCell;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::ChildSpec;

/// How an actor ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halted {
    /// It stopped when told.
    Stopped,
    /// It had to be killed.
    Killed,
    /// It did not even end when killed.
    Abandoned,
}

/// One child that is to be ended.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) cell: ActorCell,
    pub(super) node: Arc<Node>,
    pub(super) spec: Arc<ChildSpec>,
    pub(super) supervisor: ActorCell,
    pub(super) stop_timeout: Duration,
    pub(super) kill_grace: Duration,
}

impl Leaving {
    /// Stops the actor; what its mailbox holds is lost.
    pub(super) async fn halt(&self) -> Halted {
        self.halt_within(self.stop_timeout).await
    }

    /// Drains the actor, then stops it. True if it finished within its share.
    pub(super) async fn drain(&self, share: Duration) -> bool {
        self.node.set_state(NodeState::Draining);
        let deadline = Instant::now() + share;
        let drained = match &self.spec.drain {
            Some(drain) => timeout(share, drain(self.cell.clone(), share)).await.is_ok(),
            // An error means that it has ended already: nothing is left to drain.
            None => self.cell.drain().is_err() || self.cell.wait(Some(share)).await.is_ok(),
        };
        // A drained actor has nothing to lose, so it gets no less than the usual time to stop.
        let left = deadline.saturating_duration_since(Instant::now()).max(self.stop_timeout);
        let halted = self.halt_within(if drained { left } else { Duration::ZERO }).await;
        self.node.set_state(NodeState::Stopped);
        drained && halted == Halted::Stopped
    }

    async fn halt_within(&self, stop_timeout: Duration) -> Halted {
        self.cell.stop(None);
        if self.cell.wait(Some(stop_timeout)).await.is_ok() {
            return Halted::Stopped;
        }
        self.cell.kill();
        if self.cell.wait(Some(self.kill_grace)).await.is_ok() {
            warn!(path = self.node.path, ?stop_timeout, "actor did not stop in time and was killed");
            return Halted::Killed;
        }
        abandon(&self.cell, &self.supervisor, &self.node);
        Halted::Abandoned
    }
}

/// Drains children one after the other, last of the list first. What drains by merely emptying its mailbox needs little,
/// so a small share is kept back for each, and the others may use what is left. Returns the paths of those that did
/// not finish.
pub(super) async fn drain_in_turn(last_first: Vec<Leaving>, deadline: Instant) -> Vec<String> {
    let mut late = Vec::new();
    for (done, child) in last_first.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let rest = &last_first[done..];
        let n_own = rest.iter().filter(|child| child.spec.drain.is_some()).count();
        let n_plain = rest.len() - n_own;
        let part = |time: Duration, n: usize| time / u32::try_from(n.max(1)).unwrap_or(u32::MAX);
        let reserve = left / RESERVED_PARTS;
        let share = match (n_own, child.spec.drain.is_some()) {
            (0, _) => part(left, n_plain),
            (_, false) => reserve,
            (_, true) => part(left.saturating_sub(reserve * n_plain as u32), n_own),
        };
        if !child.drain(share).await {
            late.push(child.node.path.clone());
        }
    }
    late
}

/// Of the time left, the part that is kept back for each child that only empties its mailbox.
const RESERVED_PARTS: u32 = 20;

/// Drains children that do not touch each other, all at once. Returns the paths of those that did not finish.
pub(super) async fn drain_together(children: Vec<Leaving>, deadline: Instant) -> Vec<String> {
    let left = deadline.saturating_duration_since(Instant::now());
    let drained = join_all(children.iter().map(|child| child.drain(left))).await;
    let late = children.iter().zip(drained).filter(|(_, drained)| !drained);
    late.map(|(child, _)| child.node.path.clone()).collect()
}

/// Lets go of an actor that does not react to its kill.
pub(super) fn abandon(cell: &ActorCell, supervisor: &ActorCell, node: &Node) {
    warn!(path = node.path, "actor blocks its thread and was abandoned");
    cell.kill();
    // It would kill its helpers itself if it could; they hold what its successor is about to own.
    let mut pending = cell.get_children();
    while let Some(helper) = pending.pop() {
        pending.extend(helper.get_children());
        helper.kill();
    }
    cell.unlink(supervisor.clone());
}
