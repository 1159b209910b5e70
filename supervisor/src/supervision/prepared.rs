//! Starts that are made for one incarnation of all children at once, from a value that none of them outlives.
//!
//! **Promises** every start is used once, in the order of the list; what an incarnation has left is dropped with it.
//! **Not here**: when a child is started (`state.rs`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ractor::ActorCell;

use super::child::{ChildSpec, ChildStart, Start, StartContext, StartError};

/// Starts one incarnation of one child with what was made for it alone.
pub type StartOnce = Box<dyn FnOnce(StartContext) -> ChildStart + Send>;

/// The starts of one incarnation, in the order of the list.
#[derive(Default)]
pub struct Prepared(VecDeque<StartOnce>);

/// Makes them. Its failure is one of the first child.
#[derive(Clone)]
pub(super) struct Prepare(Arc<dyn Fn() -> BoxFuture<'static, Result<Prepared, StartError>> + Send + Sync>);

/// How the next child starts.
pub(super) enum NextStart {
    Own(Arc<ChildSpec>),
    First(Prepare),
    Next(Prepared),
}

impl Prepare {
    pub(super) fn new<F, R>(prepare: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Prepared, StartError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(prepare())))
    }
}

impl NextStart {
    /// The actor, and what is prepared for those after it.
    pub(super) async fn run(self, context: StartContext) -> Result<(ActorCell, Prepared), StartError> {
        let mut prepared = match self {
            Self::Own(spec) => match &spec.start {
                Start::Own(start) => return Ok((start(context).await?, Prepared::default())),
                Start::Prepared => return Err(StartError::NotPrepared),
            },
            Self::First(prepare) => (prepare.0)().await?,
            Self::Next(prepared) => prepared,
        };
        let start = prepared.0.pop_front().ok_or(StartError::NotPrepared)?;
        Ok((start(context).await?, prepared))
    }
}

impl FromIterator<StartOnce> for Prepared {
    fn from_iter<I: IntoIterator<Item = StartOnce>>(starts: I) -> Self {
        Self(starts.into_iter().collect())
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prepared").field(&self.0.len()).finish()
    }
}

impl fmt::Debug for Prepare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepare").finish_non_exhaustive()
    }
}
