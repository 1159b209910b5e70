//! Counters that a command line can poll while a run goes on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// Live counts of one run. Share it in an `Arc`; reading it costs the run nothing.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records handed to the sender so far.
    pub due: AtomicU64,
    /// Records stored and in the ledger.
    pub acked: AtomicU64,
    /// Records given up.
    pub failed: AtomicU64,
    /// Records whose outcome was unknown at least once.
    pub maybe: AtomicU64,
    /// Record sends that were repeats.
    pub retried: AtomicU64,
    /// Record sends that the stream throttled.
    pub throttled: AtomicU64,
    /// Events that were due while the backlog was full, and so were never made.
    pub shed: AtomicU64,
    /// Rows of a replay that an earlier run had already delivered.
    pub skipped: AtomicU64,
    /// Payload bytes acknowledged.
    pub bytes: AtomicU64,
    /// Records that wait or are in flight.
    pub backlog: AtomicU64,
    /// Bytes read of a replay's files, as stored.
    pub input_bytes: AtomicU64,
    /// Bytes a replay's files have; 0 until they are known.
    pub input_bytes_total: AtomicU64,
}

/// A copy of [`Progress`] at one moment. Each count is right; together they may be a few records apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of `Progress`")]
pub struct Snapshot {
    pub due: u64,
    pub acked: u64,
    pub failed: u64,
    pub maybe: u64,
    pub retried: u64,
    pub throttled: u64,
    pub shed: u64,
    pub skipped: u64,
    pub bytes: u64,
    pub backlog: u64,
    pub input_bytes: u64,
    pub input_bytes_total: u64,
}

impl Progress {
    /// Copies every count.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            due: self.due.load(Relaxed),
            acked: self.acked.load(Relaxed),
            failed: self.failed.load(Relaxed),
            maybe: self.maybe.load(Relaxed),
            retried: self.retried.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            shed: self.shed.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            backlog: self.backlog.load(Relaxed),
            input_bytes: self.input_bytes.load(Relaxed),
            input_bytes_total: self.input_bytes_total.load(Relaxed),
        }
    }
}
