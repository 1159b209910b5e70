//! What a failure of an actor asks of whoever sees it.
//!
//! **Promises** what becomes of a failure is decided by its error and written once: each error that asks for anything but a
//! restart has a method `verdict`. A supervisor reads [`FailureVerdict::of`] and nothing else of an actor's error.

use std::error::Error;

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureVerdict {
    /// The same may succeed a moment later. Who has no more tries lets the actor end, which starts again.
    Retry,
    /// The actor starts again, within limits: the next incarnation may succeed.
    Restart,
    /// It ends for good, at once: it would fail again, here and elsewhere, until a person has looked.
    Final,
}

impl FailureVerdict {
    /// What a supervisor does about an actor that has ended with this error.
    pub fn of(error: &(dyn Error + Send + Sync + 'static)) -> Self {
        match error.is::<BrokenPromise>() {
            true => Self::Final,
            false => Self::Restart,
        }
    }

    /// The error that an actor ends with, so that its supervisor finds this verdict on it.
    pub fn on(self, error: impl Error + Send + Sync + 'static) -> Box<dyn Error + Send + Sync> {
        match self {
            Self::Final => Box::new(BrokenPromise(Box::new(error))),
            Self::Retry | Self::Restart => Box::new(error),
        }
    }
}

/// Two things that were promised to be the same differ. Going on could store records twice, or lose some.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct BrokenPromise(Box<dyn Error + Send + Sync>);
