//! Gives a future a place in the tree: for boxes that wait on a socket instead of a mailbox.
//!
//! **Owns** one task.
//! **Promises** the task ends with its actor and the actor with its task; an end that was not asked for is a failure.
//! **Not here**: what the task does.

use std::error::Error;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

use super::task::Task;
use super::{ChildSpec, StartContext};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Hosts one future.
#[derive(Clone, Copy, Debug)]
struct Hosted;

#[derive(Debug)]
enum HostedMsg {
    /// From the task: it has ended.
    Ended(Outcome),
}

/// The live part.
#[derive(Debug)]
struct Hosting {
    task: Task<()>,
    shutdown: watch::Sender<bool>,
}

impl ChildSpec {
    /// A child that is a future, made afresh for every incarnation. It should end soon after its second argument
    /// turns true, and never before.
    pub fn task<F, R, E>(name: impl Into<String>, kind: &'static str, make: F) -> Self
    where
        F: Fn(StartContext, watch::Receiver<bool>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::new(name, kind, move |context| {
            let (shutdown, down) = watch::channel(false);
            let made = make(context.clone(), down);
            let future: BoxFuture<'static, Outcome> = Box::pin(async move { made.await.map_err(Into::into) });
            async move { context.spawn(Hosted, (future, shutdown)).await }
        })
    }
}

impl Actor for Hosted {
    type Msg = HostedMsg;
    type State = Hosting;
    type Arguments = (BoxFuture<'static, Outcome>, watch::Sender<bool>);

    async fn pre_start(
        &self,
        myself: ActorRef<HostedMsg>,
        (future, shutdown): Self::Arguments,
    ) -> Result<Hosting, ActorProcessingErr> {
        // A task inside the task: a panic is an outcome too.
        let inner = Task::spawn(future);
        let task = Task::spawn(async move {
            let outcome = inner.await.unwrap_or_else(|panic| Err(panic.into()));
            // An actor that has stopped asked for this end.
            let _ = myself.send_message(HostedMsg::Ended(outcome));
        });
        Ok(Hosting { task, shutdown })
    }

    async fn handle(
        &self,
        _: ActorRef<HostedMsg>,
        HostedMsg::Ended(outcome): HostedMsg,
        _: &mut Hosting,
    ) -> Result<(), ActorProcessingErr> {
        outcome.and_then(|()| Err("its task ended".into()))
    }

    // The supervisor kills it if this takes too long, and the task with it.
    async fn post_stop(&self, _: ActorRef<HostedMsg>, state: &mut Hosting) -> Result<(), ActorProcessingErr> {
        // The task may have ended already.
        let _ = state.shutdown.send(true);
        let _ = (&mut state.task).await;
        Ok(())
    }
}
