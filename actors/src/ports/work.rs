//! Where long computations run, as a value that is handed down.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::panics::Panicked;

/// Where work for a processor is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// On a pool of threads beside the runtime, so that no actor waits for it.
    Pool,
    /// Here and now: a simulation has one thread, and its order of events must not depend on a second.
    Inline,
}

impl Work {
    /// Runs it. A panic is an error, with its text; so is a pool that is shutting down.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
        let work = move || catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked::with(panic.as_ref()));
        match self {
            Self::Pool => tokio::task::spawn_blocking(work).await.map_err(|error| Panicked(error.to_string()))?,
            Self::Inline => work(),
        }
    }
}

/// Does here what takes a processor long, where nothing can be handed to another thread. The runtime goes on beside it,
/// if it has more than one thread: a heartbeat must not wait for the states of a hundred thousand sensors.
pub fn here<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_text() {
        for work in [Work::Pool, Work::Inline] {
            assert_eq!(work.run(|| 7).await, Ok(7));
            assert_eq!(work.run(|| panic!("no {}", "way")).await, Err::<(), _>(Panicked("no way".to_owned())));
        }
    }
}
