//! Statements from their submission to their result: a queue, threads that run it, and a bounded memory.
//!
//! **Owns** every statement that was submitted, until it is forgotten.
//! **Promises** that a token submits once; that what is forgotten is the oldest that has ended, with its results; that a
//! statement which has ended never changes again.
//! **Fails** when the queue is full.
//! **Not here**: what a statement does (`session`); how it is shown (`wire`).

mod batch;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::SqlError;
use crate::session::Session;
use crate::{Shared, WarehouseOptions};

pub(crate) use batch::{Batch, Cancel, Part, Request, Status};

/// From one interrupt of a statement to the next.
const INSIST: Duration = Duration::from_millis(20);

/// What was submitted.
pub(crate) struct Statements {
    state: Mutex<State>,
    /// Something was submitted or has changed, or all ends.
    changed: Condvar,
    /// Something that runs was asked to end, or all ends.
    asked: Condvar,
    queued_max: usize,
    statements_max: usize,
    n_bytes_max: usize,
    /// Batches are numbered, and nobody waits: what runs is somebody else's to say.
    stepped: bool,
}

#[derive(Default)]
struct State {
    batches: HashMap<String, Batch>,
    /// Oldest first.
    order: VecDeque<String>,
    queue: VecDeque<String>,
    tokens: HashMap<String, String>,
    n_result_bytes: usize,
    n_submitted: u128,
    closed: bool,
}

impl State {
    fn start_next(&mut self) -> Option<Batch> {
        let next = self.queue.pop_front();
        let batch = next.and_then(|id| self.batches.get_mut(&id))?;
        batch.start();
        Some(batch.clone())
    }
}

/// Why nothing was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    QueueFull,
    Closed,
}

impl Statements {
    pub(crate) fn new(options: &WarehouseOptions) -> Statements {
        Statements {
            state: Mutex::default(),
            changed: Condvar::new(),
            asked: Condvar::new(),
            queued_max: options.queued_max.max(1),
            statements_max: options.statements_max.max(1),
            n_bytes_max: options.results_mib_max * 1024 * 1024,
            stepped: false,
        }
    }

    /// Those of a simulation.
    pub(crate) fn stepped(options: &WarehouseOptions) -> Statements {
        Statements { stepped: true, ..Statements::new(options) }
    }

    /// Puts a batch into the queue; the one of the same token, if there is one.
    pub(crate) fn submit(&self, request: Request) -> Result<Batch, Refused> {
        let mut state = self.state();
        let known = request.token.as_ref().and_then(|token| state.tokens.get(token));
        if let Some(batch) = known.and_then(|id| state.batches.get(id)) {
            return Ok(batch.clone());
        }
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.queue.len() >= self.queued_max {
            return Err(Refused::QueueFull);
        }
        state.n_submitted += 1;
        let number = if self.stepped { state.n_submitted } else { rand::random() };
        let batch = Batch::new(request, number);
        if let Some(token) = &batch.request.token {
            state.tokens.insert(token.clone(), batch.id.clone());
        }
        state.order.push_back(batch.id.clone());
        state.queue.push_back(batch.id.clone());
        state.batches.insert(batch.id.clone(), batch.clone());
        self.forget(&mut state);
        self.changed.notify_all();
        Ok(batch)
    }

    /// The batch of an id, or of the id of one of its parts.
    pub(crate) fn get(&self, id: &str) -> Option<Batch> {
        self.state().batches.get(batch_id(id)).cloned()
    }

    /// Waits until the batch has ended, but not longer than that.
    pub(crate) fn wait(&self, id: &str, patience: Duration) -> Option<Batch> {
        let until = Instant::now() + patience;
        let mut state = self.state();
        loop {
            let batch = state.batches.get(batch_id(id))?;
            let left = until.saturating_duration_since(Instant::now());
            if batch.status.has_ended() || left.is_zero() || state.closed || self.stepped {
                return Some(batch.clone());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The batches that are remembered, newest first.
    pub(crate) fn list(&self) -> Vec<Batch> {
        let state = self.state();
        state.order.iter().rev().filter_map(|id| state.batches.get(id)).cloned().collect()
    }

    /// Asks a batch to end. `false` when it has ended already.
    pub(crate) fn cancel(&self, id: &str) -> Option<bool> {
        let mut state = self.state();
        let batch = state.batches.get_mut(batch_id(id))?;
        if batch.status.has_ended() {
            return Some(false);
        }
        batch.cancel.ask();
        if batch.status == Status::Submitted {
            batch.end(Status::Aborted, None);
            let id = batch.id.clone();
            state.queue.retain(|queued| *queued != id);
        }
        self.changed.notify_all();
        self.asked.notify_all();
        Some(true)
    }

    /// Takes nothing more, and asks everything to end.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        for batch in state.batches.values_mut().filter(|batch| !batch.status.has_ended()) {
            batch.cancel.ask();
        }
        self.changed.notify_all();
        self.asked.notify_all();
    }

    /// Asks again whatever was asked to end, until it has: DuckDB forgets an interrupt that comes before a query begins.
    /// Returns when all ends.
    pub(crate) fn insist(&self) {
        let mut state = self.state();
        loop {
            let running = state.batches.values().filter(|batch| batch.status == Status::Started);
            let asked: Vec<_> = running.filter(|batch| batch.cancel.asked()).collect();
            asked.iter().for_each(|batch| batch.cancel.ask());
            state = match (asked.is_empty(), state.closed) {
                (true, true) => return,
                (true, false) => self.asked.wait(state).unwrap_or_else(PoisonError::into_inner),
                (false, _) => self.asked.wait_timeout(state, INSIST).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// The next batch to run; `None` when all ends.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(batch) = state.start_next() {
                return Some(batch);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next batch to run, if one waits.
    pub(crate) fn try_next(&self) -> Option<Batch> {
        self.state().start_next()
    }

    /// Notes how a batch ended.
    pub(crate) fn end(&self, batch: &Batch, ran: Result<(), SqlError>) -> Status {
        let (status, error) = match ran {
            Ok(()) => (Status::Finished, None),
            Err(_) if batch.cancel.asked() => (Status::Aborted, None),
            Err(error) => (Status::Failed, Some(error)),
        };
        self.update(&batch.id, |batch| batch.end(status, error.map(|error| error.to_string())));
        status
    }

    /// Notes what happened to a batch.
    fn update(&self, id: &str, change: impl FnOnce(&mut Batch)) {
        let mut state = self.state();
        let Some(batch) = state.batches.get_mut(id) else { return };
        let before = batch.n_result_bytes();
        change(batch);
        let after = batch.n_result_bytes();
        state.n_result_bytes = state.n_result_bytes + after - before;
        self.forget(&mut state);
        self.changed.notify_all();
    }

    fn forget(&self, state: &mut State) {
        while state.order.len() > self.statements_max || state.n_result_bytes > self.n_bytes_max {
            let ended = |id: &String| state.batches.get(id).is_none_or(|batch| batch.status.has_ended());
            // The newest stays: somebody is about to ask for it.
            let Some(at) = state.order.iter().take(state.order.len().saturating_sub(1)).position(ended) else { return };
            let Some(batch) = state.order.remove(at).and_then(|id| state.batches.remove(&id)) else { continue };
            state.n_result_bytes -= batch.n_result_bytes();
            if let Some(token) = &batch.request.token {
                state.tokens.remove(token);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here is left half changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of a batch are `<id>:<n>`.
fn batch_id(id: &str) -> &str {
    id.split(':').next().unwrap_or(id)
}

/// A thread that runs batches until all ends.
pub(crate) fn work(shared: &Arc<Shared>) {
    while let Some(batch) = shared.statements.next() {
        // A panic in here is a bug of ours: it costs this batch, and not the warehouse.
        let ran = catch_unwind(AssertUnwindSafe(|| run(shared, &batch))).unwrap_or_else(|_| {
            tracing::error!(id = batch.id, "a statement panicked");
            Err(SqlError::new("Internal error of the embedded warehouse"))
        });
        shared.statements.end(&batch, ran);
    }
}

fn run(shared: &Arc<Shared>, batch: &Batch) -> Result<(), SqlError> {
    let mut running = Running::new(shared, batch)?;
    while running.step()? {}
    running.session.commit()
}

/// A batch that runs, statement by statement.
pub(crate) struct Running {
    shared: Arc<Shared>,
    pub(crate) batch: Batch,
    pub(crate) session: Session,
    at: usize,
}

impl Running {
    pub(crate) fn new(shared: &Arc<Shared>, batch: &Batch) -> Result<Running, SqlError> {
        let session = Session::new(shared, &batch.cancel, batch.request.sqls.len())?;
        batch.cancel.interrupts(session.connection.interrupt_handle());
        Ok(Running { shared: Arc::clone(shared), batch: batch.clone(), session, at: 0 })
    }

    /// Whether the next statement would not have to wait for a lock.
    pub(crate) fn is_free(&mut self) -> bool {
        let next = self.batch.request.sqls.get(self.at);
        self.batch.cancel.asked() || next.is_none_or(|sql| self.session.is_free(sql))
    }

    /// Runs the next statement; false if there is none. What fails is rolled back.
    pub(crate) fn step(&mut self) -> Result<bool, SqlError> {
        let (at, statements) = (self.at, &self.shared.statements);
        let Some(sql) = self.batch.request.sqls.get(at) else { return Ok(false) };
        let started = Instant::now();
        statements.update(&self.batch.id, |batch| batch.begin_part(at));
        let outcome = if self.batch.cancel.asked() {
            Err(SqlError::new("Query cancelled on user's request"))
        } else {
            self.session.run(sql)
        };
        let took = started.elapsed();
        let failed = outcome.as_ref().err().cloned();
        if failed.is_some() {
            self.session.roll_back();
        }
        statements.update(&self.batch.id, |batch| batch.end_part(at, took, outcome));
        self.at += 1;
        failed.map_or(Ok(true), Err)
    }
}
