//! The embedded warehouse: Redshift's Data API on DuckDB.
//!
//! ```text
//! wire -> statements -> session -+-> dialect   Redshift's SQL: judged, and written anew for DuckDB
//!         (a queue,              +-> copy      manifests, Parquet and JSON lines from objects
//!          threads)              +-> results   rows as the Data API has them
//!                                +-> locks     LOCK, in the order it was asked for
//! ```
//!
//! [`Stepped`] is the same without the threads, for a simulation.
//!
//! **Owns** one database file, which any client of DuckDB opens once the warehouse is closed.
//! **Promises** that a batch is one transaction, also under `kill -9`; that primary keys are not enforced, lengths of
//! texts and NOT NULL are; that no statement reaches a file, a setting or a function of DuckDB's.
//! **Fails** at opening with a [`WarehouseError`]; a statement fails by itself.
//! **Not here**: HTTP, users and permissions, stored procedures, COPY of anything but Parquet and JSON lines, external
//! tables over anything but Parquet.
//! Workgroups and databases are names that are accepted: there is one database behind all of them.

mod copy;
mod dialect;
mod engine;
mod error;
mod locks;
mod object;
mod results;
mod session;
mod statements;
mod stepped;
mod wire;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::engine::Engine;
use crate::locks::Locks;
use crate::statements::Statements;

pub use crate::error::WarehouseError;
pub use crate::object::{Object, ObjectError, ObjectSource};
pub use crate::stepped::{Step, Stepped};
pub use crate::wire::Answer;

/// A tree as deep as the largest statement that is read must fit, in every walk over it. Only what is used is paid for.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// What to open, and how much it may take.
#[derive(Debug, Clone)]
pub struct WarehouseOptions {
    /// The database file. Created if missing; one process at a time.
    pub path: PathBuf,
    /// Memory of DuckDB, MiB. What does not fit is spilled beside the file.
    pub memory_mib: usize,
    /// Threads of DuckDB, for all statements together.
    pub threads: usize,
    /// Batches that run at once; a batch that waits for a LOCK counts.
    pub running_max: usize,
    /// Batches that wait to run. One more is refused like Redshift's 500 active statements.
    pub queued_max: usize,
    /// Statements that are remembered with their results; the oldest is forgotten first.
    pub statements_max: usize,
    /// The largest result, MiB.
    pub result_mib_max: usize,
    /// All results that are kept, MiB; the oldest is forgotten first.
    pub results_mib_max: usize,
}

impl WarehouseOptions {
    /// What a demo on a laptop needs.
    pub fn new(path: PathBuf) -> WarehouseOptions {
        WarehouseOptions {
            path,
            memory_mib: 512,
            threads: 2,
            running_max: 4,
            queued_max: 500,
            statements_max: 10_000,
            result_mib_max: 64,
            results_mib_max: 256,
        }
    }
}

/// Statements that fail on demand, with somebody else's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fails {
    /// What a statement contains.
    pub matching: String,
    /// Its description.
    pub error: String,
}

/// What all batches share.
struct Shared {
    options: WarehouseOptions,
    engine: Engine,
    objects: Arc<dyn ObjectSource>,
    locks: Arc<Locks>,
    statements: Statements,
    paused: AtomicBool,
    fails: Mutex<Vec<Fails>>,
}

impl Shared {
    fn new(
        options: WarehouseOptions,
        engine: Engine,
        objects: Arc<dyn ObjectSource>,
        statements: Statements,
    ) -> Arc<Shared> {
        let locks = Arc::new(Locks::default());
        let (paused, fails) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Shared { options, engine, objects, locks, statements, paused, fails })
    }
}

/// An open warehouse.
pub struct Warehouse {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Warehouse {
    /// Opens the file, or makes it, and starts the threads that run statements.
    pub fn open(options: WarehouseOptions, objects: Arc<dyn ObjectSource>) -> Result<Warehouse, WarehouseError> {
        let engine = Engine::open(&options, &options.path, &[])?;
        let (running_max, statements) = (options.running_max.max(1), Statements::new(&options));
        let shared = Shared::new(options, engine, objects, statements);
        let warehouse = Warehouse { shared, threads: Mutex::new(Vec::new()) };
        for number in 0..running_max {
            let shared = Arc::clone(&warehouse.shared);
            let thread = std::thread::Builder::new().name(format!("warehouse-{number}")).stack_size(STACK_BYTES);
            let thread = thread.spawn(move || statements::work(&shared)).map_err(WarehouseError::Thread)?;
            warehouse.threads().push(thread);
        }
        let shared = Arc::clone(&warehouse.shared);
        let thread = std::thread::Builder::new().name("warehouse-cancel".to_owned());
        let thread = thread.spawn(move || shared.statements.insist()).map_err(WarehouseError::Thread)?;
        warehouse.threads().push(thread);
        Ok(warehouse)
    }

    /// Answers one request: `operation` is what follows `RedshiftData.` in its target.
    ///
    /// Blocks for as long as the request asks to wait, at most 30 s.
    pub fn handle(&self, operation: &str, body: &[u8]) -> Answer {
        wire::handle(&self.shared, operation, body)
    }

    /// Refuses new statements like a paused cluster, or takes them again. What runs goes on.
    pub fn pause(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::SeqCst);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::SeqCst)
    }

    /// From now on these statements fail, and no others do but for what is wrong with them.
    pub fn fail(&self, fails: Vec<Fails>) {
        *self.shared.fails.lock().unwrap_or_else(PoisonError::into_inner) = fails;
    }

    /// Ends what runs, by rolling back, and writes everything into the file. The first call does it.
    pub fn close(&self) {
        self.shared.statements.close();
        self.shared.locks.wake();
        for thread in std::mem::take(&mut *self.threads()) {
            // Its panic was logged where it happened.
            let _ = thread.join();
        }
        self.shared.engine.close();
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        self.close();
    }
}
