//! Ends one actor, by force if it has to be; and ends a whole list of them backwards.
//!
//! **Promises** both return in bounded time, whatever the actor does.
//! **Fails** by abandoning: an actor that blocks its thread cannot be preempted. Its helpers are killed, it is
//! unlinked, and it ends by itself (its kill is pending) as soon as its handler returns or awaits. Until then it
//! occupies one thread of the runtime; the liveness probe is the net below that.

use std::sync::Arc;
use std::time::Duration;

use actors::node::{Node, NodeState};
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
/// so a small share is kept back for each. Of the rest an equal part is kept for each that has a way of its own, or what it
/// needs if that is less; what a child leaves over, the others may use. Returns the paths of those that did not finish.
pub(super) async fn drain_in_turn(last_first: Vec<Leaving>, deadline: Instant) -> Vec<String> {
    let mut late = Vec::new();
    for (done, child) in last_first.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if !child.drain(share(left, &last_first[done..])).await {
            late.push(child.node.path.clone());
        }
    }
    late
}

/// What the first of these has of the time that is left for all.
fn share(left: Duration, rest: &[Leaving]) -> Duration {
    let own: Vec<&Leaving> = rest.iter().filter(|child| child.spec.drain.is_some()).collect();
    let (n_own, n_plain) = (own.len() as u32, (rest.len() - own.len()) as u32);
    let reserve = left / RESERVED_PARTS;
    match rest.first().is_some_and(|child| child.spec.drain.is_some()) {
        _ if n_own == 0 => left / n_plain.max(1),
        false => reserve,
        true => {
            let left = left.saturating_sub(reserve * n_plain);
            let kept = |child: &&Leaving| child.spec.drain_need.unwrap_or(Duration::MAX).min(left / n_own);
            left.saturating_sub(own[1..].iter().map(kept).sum())
        }
    }
}

/// The part of the time left that is kept back for each child that only empties its mailbox.
const RESERVED_PARTS: u32 = 20;

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
