//! What a failure of an actor asks of its supervisor.
//!
//! **Promises** a supervisor reads [`FailureVerdict`] and nothing else of an actor's error: an actor whose failure no restart mends says
//! so once, by wrapping it in [`BrokenPromise`].

use std::error::Error;

/// What is to be done about an actor that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureVerdict {
    /// It starts again, within limits: the next incarnation may succeed.
    Restart,
    /// It ends for good, at once: it would fail again, here and elsewhere, until a person has looked.
    Final,
}

impl FailureVerdict {
    /// The verdict on what an actor has failed with.
    pub fn of(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        match error.is::<BrokenPromise>() {
            true => Self::Final,
            false => Self::Restart,
        }
    }
}

/// Two things that were promised to be the same differ. Going on could store records twice, or lose some.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BrokenPromise(String);

impl BrokenPromise {
    /// What differs, with both sides.
    pub fn new(error: &dyn Error) -> Self {
        Self(error.to_string())
    }
}
