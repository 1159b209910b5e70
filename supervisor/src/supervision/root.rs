//! The top of the tree: a supervisor without a supervisor. Its failure ends the worker.

use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef};
use tokio::sync::oneshot;

use super::{GivenUp, StartError, Supervisor, SupervisorArgs, SupervisorMsg};

/// The running tree.
#[derive(Debug)]
pub struct Root {
    actor: ActorRef<SupervisorMsg>,
    outcome: oneshot::Receiver<Result<(), GivenUp>>,
}

/// Why the tree ended.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A child failed too often.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// The root itself was killed or panicked.
    #[error("the root supervisor died")]
    Died,
}

impl Root {
    /// Starts the tree. Its children are on their way up when this returns; see [`Root::up`].
    pub async fn spawn(mut args: SupervisorArgs) -> Result<Self, StartError> {
        let (sender, outcome) = oneshot::channel();
        args.outcome = Some(sender);
        let (actor, _) = Supervisor::spawn(None, Supervisor, args).await?;
        Ok(Self { actor, outcome })
    }

    /// The supervisor.
    pub fn actor(&self) -> &ActorRef<SupervisorMsg> {
        &self.actor
    }

    /// Waits until every child runs. False if the tree ended before.
    pub async fn up(&self) -> bool {
        matches!(self.actor.call(SupervisorMsg::AwaitUp, None).await, Ok(CallResult::Success(())))
    }

    /// Lets everything finish what it has, readers first. Returns the paths of those that did not finish in time.
    pub async fn drain(&self, within: Duration) -> Result<Vec<String>, RootError> {
        let answer = self.actor.call(|reply| SupervisorMsg::Drain { within, reply }, None).await;
        match answer {
            Ok(CallResult::Success(late)) => Ok(late),
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => Err(RootError::Died),
        }
    }

    /// Waits for the end: `Ok` after a drain or a stop, an error that names child and cause otherwise.
    /// Can be used in a `select!` again and again until it has answered.
    pub async fn ended(&mut self) -> Result<(), RootError> {
        match (&mut self.outcome).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(RootError::Died),
        }
    }
}
