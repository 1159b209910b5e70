//! One submission: a statement, or a batch of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use duckdb::InterruptHandle;
use serde_json::{Map, Value};

use crate::error::SqlError;
use crate::results::ResultSet;
use crate::session::Outcome;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) sqls: Arc<Vec<String>>,
    /// By BatchExecuteStatement, also when it is one.
    pub(crate) is_batch: bool,
    pub(crate) name: Option<String>,
    pub(crate) token: Option<String>,
    /// The workgroup, the database and so on, as they were told.
    pub(crate) target: Map<String, Value>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Submitted,
    Started,
    Finished,
    Failed,
    Aborted,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Submitted => "SUBMITTED",
            Status::Started => "STARTED",
            Status::Finished => "FINISHED",
            Status::Failed => "FAILED",
            Status::Aborted => "ABORTED",
        }
    }

    pub(crate) fn has_ended(self) -> bool {
        match self {
            Status::Submitted | Status::Started => false,
            Status::Finished | Status::Failed | Status::Aborted => true,
        }
    }
}

/// A statement of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) took: Duration,
    pub(crate) n_rows: u64,
    pub(crate) result: Option<ResultSet>,
    pub(crate) updated: f64,
}

/// A submission.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) id: String,
    pub(crate) request: Request,
    pub(crate) status: Status,
    pub(crate) error: Option<String>,
    pub(crate) parts: Vec<Part>,
    /// Seconds since the epoch.
    pub(crate) created: f64,
    pub(crate) updated: f64,
    pub(crate) took: Duration,
    started: Option<Instant>,
    pub(crate) cancel: Arc<Cancel>,
}

impl Batch {
    /// `number` is the only one of its kind.
    pub(crate) fn new(request: Request, number: u128) -> Batch {
        let created = now();
        let part = Part {
            status: Status::Submitted,
            error: None,
            took: Duration::ZERO,
            n_rows: 0,
            result: None,
            updated: created,
        };
        Batch {
            id: id(number),
            parts: vec![part; request.sqls.len()],
            request,
            status: Status::Submitted,
            error: None,
            created,
            updated: created,
            took: Duration::ZERO,
            started: None,
            cancel: Arc::new(Cancel::default()),
        }
    }

    pub(super) fn start(&mut self) {
        self.status = Status::Started;
        self.started = Some(Instant::now());
        self.updated = now();
    }

    pub(super) fn begin_part(&mut self, at: usize) {
        self.parts[at].status = Status::Started;
        self.parts[at].updated = now();
    }

    pub(super) fn end_part(&mut self, at: usize, took: Duration, outcome: Result<Outcome, SqlError>) {
        let part = &mut self.parts[at];
        part.took = took;
        part.updated = now();
        match outcome {
            Ok(outcome) => {
                part.status = Status::Finished;
                part.n_rows = outcome.n_rows;
                part.result = outcome.result;
            }
            Err(error) => {
                part.status = Status::Failed;
                part.error = Some(error.to_string());
            }
        }
    }

    /// The end. What did not run was aborted; of a failed batch nothing can be fetched.
    pub(super) fn end(&mut self, status: Status, error: Option<String>) {
        self.status = status;
        self.error = error;
        self.updated = now();
        self.took = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        for part in self.parts.iter_mut().filter(|_| status != Status::Finished) {
            part.result = None;
            if !part.status.has_ended() {
                part.status = Status::Aborted;
            }
        }
    }

    pub(super) fn n_result_bytes(&self) -> usize {
        self.parts.iter().filter_map(|part| part.result.as_ref()).map(|result| result.n_bytes).sum()
    }
}

/// A wish that a batch ends.
#[derive(Default)]
pub(crate) struct Cancel {
    asked: AtomicBool,
    interrupt: Mutex<Option<Arc<InterruptHandle>>>,
}

impl Cancel {
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        if let Some(handle) = &*self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }

    pub(super) fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    pub(super) fn interrupts(&self, handle: Arc<InterruptHandle>) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel").field("asked", &self.asked()).finish_non_exhaustive()
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_millis() as f64) / 1_000.0
}

/// In the form of a UUID, like the service's.
fn id(number: u128) -> String {
    let n = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &n[..8], &n[8..12], &n[12..16], &n[16..20], &n[20..])
}
