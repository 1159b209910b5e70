//! One line of a supervisor's list: how a child is started and how it is drained.
//!
//! **Promises** a start sees its earlier siblings as they run now, so that no address outlives a restart.
//! **Not here**: when a child is started or stopped (`state.rs`).

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actors::node::{Address, Node};
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef, Message, SpawnErr};

use super::tree::TreeFull;

/// A start under way.
pub(super) type ChildStart = BoxFuture<'static, Result<ActorCell, StartError>>;
/// How a child starts.
pub enum Start {
    /// By this function, every time.
    Own(Box<dyn Fn(StartContext) -> ChildStart + Send + Sync>),
    /// As its supervisor has prepared it.
    Prepared,
}

/// Lets a child finish what it has, within the time given.
pub type Drain = Box<dyn Fn(ActorCell, Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// Is told the cause of a failure.
pub(super) type OnFailure = Box<dyn Fn(&str) + Send + Sync>;

/// One child of a supervisor.
pub struct ChildSpec {
    /// The last part of its path; unique among its siblings.
    pub name: String,
    /// The actor's name in the map: the label of its metrics.
    pub kind: &'static str,
    /// How it starts.
    pub start: Start,
    /// Drains it; without, it handles what its mailbox holds.
    pub drain: Option<Drain>,
    /// How long it may take to stop, if that differs from its siblings. A subtree needs its children's times in sum.
    pub stop_timeout: Option<Duration>,
    /// What its own way to drain needs at the most; none for as much as can be had.
    pub drain_need: Option<Duration>,
    /// The one that remembers its failures, besides the tree.
    pub(super) told: Option<OnFailure>,
}

impl ChildSpec {
    /// A child that is started by this function.
    pub fn new<F, R>(name: impl Into<String>, kind: &'static str, start: F) -> Self
    where
        F: Fn(StartContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<ActorCell, StartError>> + Send + 'static,
    {
        Self::starting(name.into(), kind, Start::Own(Box::new(move |context| Box::pin(start(context)))))
    }

    /// A child that starts as its supervisor has prepared it ([`SupervisorArgs::prepared_by`](super::SupervisorArgs)).
    pub fn prepared(name: impl Into<String>, kind: &'static str) -> Self {
        Self::starting(name.into(), kind, Start::Prepared)
    }

    fn starting(name: String, kind: &'static str, start: Start) -> Self {
        Self { name, kind, start, drain: None, stop_timeout: None, drain_need: None, told: None }
    }

    /// Drains it by this function. It need not stop the actor: the supervisor does so afterwards.
    pub fn draining_by<F, R>(mut self, drain: F) -> Self
    where
        F: Fn(ActorCell, Duration) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.drain = Some(Box::new(move |cell, within| Box::pin(drain(cell, within))));
        self
    }

    /// Leaves to its siblings what it does not need of the time of a drain.
    pub fn needing(mut self, need: Duration) -> Self {
        self.drain_need = Some(need);
        self
    }

    /// Tells this function of every failure.
    pub fn telling(mut self, told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// Gives it this long to stop.
    pub fn stopping_within(mut self, stop_timeout: Duration) -> Self {
        self.stop_timeout = Some(stop_timeout);
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What a start is given.
#[derive(Clone, Debug)]
pub struct StartContext {
    /// The supervisor to link the new actor to.
    pub supervisor: ActorCell,
    /// The child's own node; the same for every incarnation.
    pub node: Arc<Node>,
    pub(super) earlier: Vec<Sibling>,
}

#[derive(Clone, Debug)]
pub(super) struct Sibling {
    pub(super) name: String,
    pub(super) cell: ActorCell,
    pub(super) node: Arc<Node>,
}

impl StartContext {
    /// The address of a sibling that stands earlier in the list.
    pub fn address<M: Message>(&self, name: &str) -> Result<Address<M>, StartError> {
        let found = self.earlier.iter().find(|sibling| sibling.name == name);
        let sibling = found.ok_or_else(|| StartError::NoSibling(name.to_owned()))?;
        if sibling.cell.is_message_type_of::<M>() == Some(false) {
            return Err(StartError::OtherProtocol { name: name.to_owned(), protocol: std::any::type_name::<M>() });
        }
        Ok(Address::new(ActorRef::from(sibling.cell.clone()), sibling.node.clone()))
    }

    /// Spawns the child's actor, linked and without a name: ractor's registry of names is process-wide.
    pub async fn spawn<A: Actor>(&self, actor: A, arguments: A::Arguments) -> Result<ActorCell, StartError> {
        let (actor, _) = A::spawn_linked(None, actor, arguments, self.supervisor.clone()).await?;
        Ok(actor.get_cell())
    }
}

/// Why a child did not start. All of them are failures of the child; restarts are limited as for any other.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its own code refused.
    #[error("it could not start")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// Its own code refused, and will refuse again: it is given up at once.
    #[error("it cannot start")]
    Final(#[source] Box<dyn Error + Send + Sync>),
    /// It is not to run, which is no failure: another one is where it was to be. Its supervisor ends.
    #[error("it is not to run")]
    Yields(#[source] Box<dyn Error + Send + Sync>),
    /// Its own code panicked outside of the actor.
    #[error("its start panicked: {0}")]
    Panicked(String),
    /// Its supervisor has prepared fewer starts than it has children.
    #[error("nothing is prepared for it")]
    NotPrepared,
    /// It did not start in time.
    #[error("it did not start within {0:?}")]
    TimedOut(Duration),
    /// The list is in the wrong order, or the name is misspelt.
    #[error("no sibling called {0:?} runs before it")]
    NoSibling(String),
    /// The sibling takes other messages.
    #[error("the sibling {name:?} does not take {protocol}")]
    OtherProtocol {
        /// The sibling.
        name: String,
        /// The messages that it was to take.
        protocol: &'static str,
    },
    /// Too many actors.
    #[error(transparent)]
    TreeFull(#[from] TreeFull),
}

impl StartError {
    /// Wraps the child's own error.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }

    /// Wraps the child's own error, which no restart will mend.
    pub fn is_final(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Final(error.into())
    }

    /// Wraps the reason why the child is not to run.
    pub fn yields(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Yields(reason.into())
    }
}

impl From<SpawnErr> for StartError {
    // ractor's own wording calls every refusal a panic and hides the chain of causes.
    fn from(error: SpawnErr) -> Self {
        match error {
            SpawnErr::StartupFailed(cause) => Self::Failed(cause),
            other => Self::Failed(Box::new(other)),
        }
    }
}
