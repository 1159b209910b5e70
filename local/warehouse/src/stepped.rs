//! The warehouse of a simulation: in memory, and a statement at a time.
//!
//! **Owns** the batches under way.
//! **Promises** no clock, thread or chance of its own decides anything: whoever holds it says which batch runs its next
//! statement, so that transactions meet each other in any order, and in the same order again. Batches are numbered.
//! **Fails** as the warehouse does.
//! **Not here**: waiting. A request that asks to wait is answered at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use duckdb::Connection;

use crate::engine::Engine;
use crate::error::SqlError;
use crate::statements::{Running, Statements};
use crate::{Answer, ObjectSource, Shared, WarehouseError, WarehouseOptions, wire};

/// Tables of a simulation are small: a better plan costs more than it saves, and nothing is read ahead.
const SETTINGS: [(&str, &str); 2] = [("enable_optimizer", "false"), ("async_threads", "1")];

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A statement ran.
    Ran,
    /// The next statement is a LOCK, and another batch holds it.
    Waits,
    /// The batch has ended: its status, as the Data API has it.
    Ended(&'static str),
}

/// A warehouse that runs nothing by itself.
pub struct Stepped {
    under_way: BTreeMap<String, Running>,
    shared: Arc<Shared>,
}

impl Stepped {
    /// An empty one. Links to objects lie in the folder while COPY reads them, so the objects must be on its disk.
    pub fn open(folder: &Path, objects: Arc<dyn ObjectSource>) -> Result<Stepped, WarehouseError> {
        let options = WarehouseOptions { threads: 1, ..WarehouseOptions::new(folder.join("warehouse.duckdb")) };
        let engine = Engine::open(&options, Path::new(":memory:"), &SETTINGS)?;
        let statements = Statements::stepped(&options);
        Ok(Stepped { under_way: BTreeMap::new(), shared: Shared::new(options, engine, objects, statements) })
    }

    /// Answers one request, as [`Warehouse::handle`](crate::Warehouse::handle) does.
    pub fn handle(&self, operation: &str, body: &[u8]) -> Answer {
        wire::handle(&self.shared, operation, body)
    }

    /// Takes the oldest batch that was submitted and has not begun; its id is what it is stepped by.
    pub fn begin(&mut self) -> Option<String> {
        let batch = self.shared.statements.try_next()?;
        match Running::new(&self.shared, &batch) {
            Ok(running) => drop(self.under_way.insert(batch.id.clone(), running)),
            Err(error) => drop(self.shared.statements.end(&batch, Err(error))),
        }
        Some(batch.id)
    }

    /// Runs the next statement of a batch, or commits it after the last.
    pub fn step(&mut self, id: &str) -> Step {
        let Some(running) = self.under_way.get_mut(id) else { return Step::Ended("ABORTED") };
        if !running.is_free() {
            return Step::Waits;
        }
        let ran = running.step();
        if ran == Ok(true) {
            return Step::Ran;
        }
        self.end(id, ran.map(drop))
    }

    fn end(&mut self, id: &str, ran: Result<(), SqlError>) -> Step {
        let Some(running) = self.under_way.remove(id) else { return Step::Ended("ABORTED") };
        let ran = ran.and_then(|()| running.session.commit());
        Step::Ended(self.shared.statements.end(&running.batch, ran).as_str())
    }

    /// Another session, for whoever judges what is stored; none once it is closed.
    pub fn connection(&self) -> Option<Connection> {
        self.shared.engine.session().ok()
    }
}
