//! Keeps a list of actors running: the one generic supervisor that every level of the tree is made of.
//!
//! **Owns** its children, listed downstream first. That one list is start order, crash scope (whoever stands after a
//! failed child may hold its address, so it restarts too) and, backwards, stop and drain order.
//!
//! **Promises**
//! - A child starts when all before it run, and sees their current addresses.
//! - Its mailbox is never blocked: starts, stops, drains and back-offs are tasks that message back.
//! - Restarts are limited, for all children together; each is logged and counted once, with its cause.
//! - An end that nobody asked for is a failure: an error, a panic, a kill, a cancelled task, a stop of its own.
//!
//! **Fails** beyond its budget with [`GivenUp`], which names child and cause, once its children have stopped: its own
//! supervisor decides then. Its children never outlive it.
//!
//! **Not here**: children that come and go (`sensors`, `shards`); what the actors do.

mod child;
mod facts;
mod halt;
pub mod history;
mod prepared;
pub mod restart;
mod root;
mod state;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod watchdog;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actors::ports::clock::Clock;
use actors::verdict::FailureVerdict;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::oneshot;

pub use self::child::{ChildSpec, Drain, Start, StartContext, StartError};
use self::prepared::Prepare;
pub use self::prepared::{Prepared, StartOnce};
pub use self::restart::RestartPolicy;
pub use self::root::{Root, RootError};
use self::state::{SupervisorState, WorkDone};
use self::tree::Tree;

/// The children that restart with a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that stand after it in the list.
    RestForOne,
    /// All.
    OneForAll,
}

/// Fixed for the life of a supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorConfig {
    /// How many restarts, how fast.
    pub restart: RestartPolicy,
    /// The children that restart with a failed one.
    pub scope: Scope,
    /// A child that takes longer to start has failed.
    pub start_timeout: Duration,
    /// A child that takes longer to stop is killed.
    pub stop_timeout: Duration,
    /// A child that takes longer to die of a kill is abandoned.
    pub kill_grace: Duration,
}

/// What a supervisor needs from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// Where its nodes are listed.
    pub tree: Tree,
    /// For the time of failures.
    pub clock: Clock,
    /// Numbers in `[0, 1)` that spread restarts.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("tree", &self.tree).finish_non_exhaustive()
    }
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct SupervisorArgs {
    /// Its own path; empty for the root. Its children's paths begin with it.
    pub path: String,
    /// The children, downstream first.
    pub children: Vec<ChildSpec>,
    prepare: Option<Prepare>,
    /// Limits and times.
    pub config: SupervisorConfig,
    /// Tree, clock, chance.
    pub surroundings: Surroundings,
    outcome: Option<oneshot::Sender<Result<(), GivenUp>>>,
}

impl SupervisorArgs {
    /// A supervisor of these children.
    pub fn new(
        path: impl Into<String>,
        children: Vec<ChildSpec>,
        config: SupervisorConfig,
        surroundings: Surroundings,
    ) -> Self {
        Self { path: path.into(), children, prepare: None, config, surroundings, outcome: None }
    }

    /// All of its children start with what this function has made for one incarnation of them. They fail together,
    /// whatever the configured scope: what is left of an incarnation is of no use to the next.
    pub fn prepared_by<F, R>(mut self, prepare: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Prepared, StartError>> + Send + 'static,
    {
        self.config.scope = Scope::OneForAll;
        self.prepare = Some(Prepare::new(prepare));
        self
    }
}

/// A child failed too often.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gave up on {child} after {restarts_max} restarts within {within:?}: {cause}")]
pub struct GivenUp {
    /// The path of the child that failed last.
    pub child: String,
    /// Why it failed.
    pub cause: String,
    /// The restarts that were allowed.
    pub restarts_max: u32,
    /// The window.
    pub within: Duration,
    /// Final if it was given up at once, because it would fail again, here and elsewhere.
    pub verdict: FailureVerdict,
}

/// The protocol of a supervisor.
#[derive(Debug)]
pub enum SupervisorMsg {
    /// Let the children finish what they have, last of the list first, then stop. Answers with the paths of those
    /// that did not finish in time. Asked a second time, it drops the reply.
    Drain {
        /// Time for all of them together.
        within: Duration,
        /// Where the answer goes.
        reply: RpcReplyPort<Vec<String>>,
    },
    /// Stop now, children first. What mailboxes hold is lost.
    Stop,
    /// Answer as soon as every child runs.
    AwaitUp(RpcReplyPort<()>),
    /// Kill a child as if it had failed with this cause. From the watchdog.
    Kill {
        /// The child's path.
        path: String,
        /// Why.
        cause: String,
    },
    /// From the supervisor's own tasks and timers.
    Step(WorkDone),
}

/// The behaviour; it has no settings of its own.
#[derive(Clone, Copy, Debug)]
pub struct Supervisor;

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        args: SupervisorArgs,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        Ok(SupervisorState::new(myself, args)?)
    }

    // Not in `pre_start`: children cannot link to an actor that is not linked itself, and starts may be slow.
    async fn post_start(
        &self,
        _: ActorRef<SupervisorMsg>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        Ok(state.advance()?)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::Drain { within, reply } => state.on_drain(within, reply)?,
            SupervisorMsg::Stop => myself.stop(None),
            SupervisorMsg::AwaitUp(reply) => state.on_await_up(reply),
            SupervisorMsg::Kill { path, cause } => state.on_kill(&path, cause),
            SupervisorMsg::Step(step) => state.on_step(step)?,
        }
        Ok(())
    }

    // Never ractor's default: it stops the supervisor when any child ends.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorStarted(cell) => state.on_started(&cell),
            SupervisionEvent::ActorFailed(cell, error) => {
                state.on_ended(&cell, chain(error.as_ref()), Some(FailureVerdict::of(error.as_ref())))?;
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => state.on_ended(&cell, unexpected(reason), None)?,
            SupervisionEvent::ProcessGroupChanged(_) => (),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<SupervisorMsg>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.halt_all().await;
        Ok(())
    }
}

fn unexpected(reason: Option<String>) -> String {
    match reason {
        Some(reason) => format!("it ended unexpectedly: {reason}"),
        None => "it ended unexpectedly".to_owned(),
    }
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    const CAUSES_MAX: usize = 16;
    let causes = std::iter::successors(Some(error), |&error| error.source()).take(CAUSES_MAX);
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
