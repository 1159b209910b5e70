//! What happened, as a hash, as counts, and as the last lines.
//!
//! **Promises** two runs with equal hashes had the same requests with the same outcomes at the same times.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Arguments, Write};

use xxhash_rust::xxh3::Xxh3;

use super::wire::Call;
use super::{ClientId, Fault, Service};

/// Lines that are kept for people.
const TAIL_MAX: usize = 1_000;

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that came to an outcome, by service and operation.
    pub calls: BTreeMap<(Service, String), u64>,
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Writes to the lease table that were late.
    pub late_writes: u64,
}

pub(super) struct Trace {
    hash: Xxh3,
    tail: VecDeque<String>,
    pub(super) counts: Counts,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { hash: Xxh3::new(), tail: VecDeque::with_capacity(TAIL_MAX), counts: Counts::default() }
    }

    pub(super) fn call(&mut self, at_ms: i64, client: ClientId, call: &Call, outcome: &str) {
        let Call { service, operation, key, .. } = call;
        // The names of all operations are few: after the first request each is found.
        *self.counts.calls.entry((*service, operation.clone())).or_default() += 1;
        self.feed(format_args!("{at_ms} {} {} {operation} {key} {outcome}", client.0, service.as_str()));
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        *self.counts.faults.entry(fault).or_default() += 1;
    }

    pub(super) fn feed(&mut self, line: Arguments<'_>) {
        // The oldest line's memory serves the newest.
        let mut text = if self.tail.len() == TAIL_MAX { self.tail.pop_front() } else { None }.unwrap_or_default();
        text.clear();
        text.write_fmt(line).expect("a String takes everything");
        self.hash.update(text.as_bytes());
        self.hash.update(b"\n");
        self.tail.push_back(text);
    }

    pub(super) fn hash(&self) -> String {
        format!("{:032x}", self.hash.digest128())
    }

    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
