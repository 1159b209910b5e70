//! One worker of the run, over all its processes.
//!
//! **Owns** its process, if it has one now.
//! **Promises** every process of a worker has a name of its own in logs and figures: `w-1#3` is the third one of `w-1`.
//! **Fails** with what the system says.
//! **Not here**: when it is broken (`driver.rs`).

use std::time::Instant;

use supervisor::exit::CliError;

use super::child::{Child, Signal};
use super::scene::Scene;

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: String,
    starts: u32,
    pub(super) child: Option<Child>,
    pub(super) state: State,
}

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has a process that should run.
    Up,
    /// Its process is stopped until then.
    Paused(Instant),
    /// Its process was asked then to end.
    Ending(Instant),
    /// It gets a new process then.
    Down(Instant),
}

impl Worker {
    pub(super) fn start(n: usize, scene: &Scene) -> Result<Self, CliError> {
        let mut worker = Self { id: format!("w-{n}"), starts: 0, child: None, state: State::Down(Instant::now()) };
        worker.start_again(scene)?;
        Ok(worker)
    }

    /// Gives it a new process.
    pub(super) fn start_again(&mut self, scene: &Scene) -> Result<(), CliError> {
        self.starts += 1;
        self.child = Some(scene.worker(&self.id, &self.incarnation())?);
        self.state = State::Up;
        Ok(())
    }

    pub(super) fn incarnation(&self) -> String {
        format!("{}#{}", self.id, self.starts)
    }

    /// Whether it works, as far as anybody has been told.
    pub(super) fn is_at_work(&self, scene: &Scene) -> bool {
        self.state == State::Up && scene.journal.ops(&self.incarnation()).is_some()
    }

    pub(super) fn kill(&mut self, start_at: Instant) {
        if let Some(child) = self.child.take() {
            child.kill();
        }
        self.state = State::Down(start_at);
    }

    pub(super) fn signal(&mut self, signal: Signal, state: State) -> Result<(), CliError> {
        if let Some(child) = &self.child {
            child.signal(signal)?;
        }
        self.state = state;
        Ok(())
    }
}
