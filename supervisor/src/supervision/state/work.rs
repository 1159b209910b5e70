//! What a supervisor does next, one piece of work at a time.
//!
//! **Promises** at most one piece of work is in flight; it reports by message under its number, so that the report of
//! a piece that was cancelled is told from that of its successor.
//! **Not here**: what failures ask for (`state.rs`).

use actors::node::NodeState;
use ractor::ActorRef;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout};

use super::{Child, ChildSlot, SupervisorState, Then, WorkDone, WorkInFlight, WorkKind, WorkReport};
use crate::supervision::halt::{self, Leaving};
use crate::supervision::prepared::NextStart;
use crate::supervision::task::Task;
use crate::supervision::{GivenUp, StartContext, StartError, SupervisorMsg};

impl SupervisorState {
    /// Begins the next step, if nothing is under way and something is to be done.
    pub(in crate::supervision) fn advance(&mut self) -> Result<(), GivenUp> {
        if self.work.is_some() {
            return Ok(());
        }
        if let Some(deadline) = self.drain.as_ref().map(|order| order.deadline) {
            self.begin_drain(deadline);
            return Ok(());
        }
        if let Some(from) = self.recovery.as_ref().map(|recovery| recovery.from) {
            // Backwards: who holds an address stops before whom it belongs to.
            let last_up =
                (from..self.children.len()).rev().find(|&i| matches!(self.children[i].slot, ChildSlot::Up(_)));
            match last_up {
                Some(index) => self.begin_halt(index),
                None => return self.recover(),
            }
            return Ok(());
        }
        match self.children.iter().position(|child| matches!(child.slot, ChildSlot::Down)) {
            Some(index) => self.begin_start(index),
            None => self.tell_waiters(),
        }
        Ok(())
    }

    fn begin_start(&mut self, index: usize) {
        let earlier = self.children[..index].iter().filter_map(Child::sibling).collect();
        let child = &mut self.children[index];
        if child.starts > 0 {
            child.node.restarted();
        }
        child.starts += 1;
        child.node.set_state(NodeState::Starting);
        let context = StartContext { supervisor: self.myself.get_cell(), node: child.node.clone(), earlier };
        let (begin, limit) = (self.begin_with(index), self.config.start_timeout);
        self.begin(WorkKind::Start { index, early: Vec::new() }, move |number| async move {
            // A task of its own: a start that blocks or panics must not silence the report.
            let mut start = Task::spawn(begin.run(context));
            let result = match timeout(limit, &mut start).await {
                Ok(Ok(result)) => result,
                Ok(Err(error)) => Err(StartError::Panicked(panic_text(error))),
                Err(_) => Err(StartError::TimedOut(limit)),
            };
            WorkReport::Started { number, result }
        });
    }

    fn begin_with(&mut self, index: usize) -> NextStart {
        let prepared = std::mem::take(&mut self.prepared);
        match (&self.prepare, index) {
            (Some(prepare), 0) => NextStart::First(prepare.clone()),
            (Some(_), _) => NextStart::Next(prepared),
            (None, _) => NextStart::Own(self.children[index].spec.clone()),
        }
    }

    fn begin_halt(&mut self, index: usize) {
        let Some(leaving) = self.leave(index) else { return };
        self.begin(WorkKind::Halt { index }, move |number| async move {
            let _ = leaving.halt().await;
            leaving.node.set_state(NodeState::Stopped);
            WorkReport::Done { number }
        });
    }

    fn begin_drain(&mut self, deadline: Instant) {
        // Failures from here on are only recorded; what was to recover, drains as far as it runs.
        self.recovery = None;
        let last_first: Vec<Leaving> = (0..self.children.len()).rev().filter_map(|i| self.leave(i)).collect();
        self.begin(WorkKind::Drain, move |number| async move {
            WorkReport::Drained { number, late: halt::drain_in_turn(last_first, deadline).await }
        });
    }

    fn recover(&mut self) -> Result<(), GivenUp> {
        match self.recovery.take().map(|recovery| recovery.then) {
            Some(Then::GiveUp(error)) => {
                if let Some(outcome) = self.outcome.take() {
                    let _ = outcome.send(Err(error.clone()));
                }
                Err(error)
            }
            Some(Then::Restart(delay)) => {
                self.begin(WorkKind::BackOff, move |number| async move {
                    sleep(delay).await;
                    WorkReport::Done { number }
                });
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn begin<R>(&mut self, kind: WorkKind, work: impl FnOnce(u64) -> R)
    where
        R: Future<Output = WorkReport> + Send + 'static,
    {
        self.works += 1;
        let (number, myself) = (self.works, self.myself.clone());
        let work = work(number);
        let task = Task::spawn(async move { report(&myself, work.await) });
        self.work = Some(WorkInFlight { number, kind, _task: task });
    }

    /// Takes the work that has just reported; none if it was cancelled meanwhile.
    pub(super) fn finish(&mut self, number: u64) -> Option<WorkKind> {
        self.work.take_if(|work| work.number == number).map(|work| work.kind)
    }

    pub(super) fn cancel_back_off(&mut self) {
        self.work.take_if(|work| matches!(work.kind, WorkKind::BackOff));
    }

    pub(super) fn leave(&mut self, index: usize) -> Option<Leaving> {
        let child = &mut self.children[index];
        let cell = match std::mem::replace(&mut child.slot, ChildSlot::Down) {
            ChildSlot::Down => return None,
            ChildSlot::Up(cell) | ChildSlot::Leaving(cell) => cell,
        };
        child.slot = ChildSlot::Leaving(cell.clone());
        child.killed_for = None;
        Some(Leaving {
            cell,
            node: child.node.clone(),
            stop_timeout: child.spec.stop_timeout.unwrap_or(self.config.stop_timeout),
            spec: child.spec.clone(),
            supervisor: self.myself.get_cell(),
            kill_grace: self.config.kill_grace,
        })
    }
}

/// Sends a report; a supervisor that has ended needs none.
pub(super) fn report(supervisor: &ActorRef<SupervisorMsg>, report: WorkReport) {
    let _ = supervisor.send_message(SupervisorMsg::Step(WorkDone(report)));
}

fn panic_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "a panic without text".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}
