//! Which waiting records share the next request.
//!
//! **Owns** the limits of one request.
//! **Promises** that the records of one sensor leave in the order in which they came.
//! **Fails** never.
//! **Not here**: time, I/O.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::record::Record;

/// PutRecords takes no more.
pub(super) const RECORDS_MAX: usize = 500;

/// PutRecords would take 5 MiB, but Base64 and many an HTTP server's default limit of 2 MiB would not.
/// One record of the maximum size always fits.
pub(super) const BYTES_MAX: usize = 1_300_000;

const _: () = assert!(BYTES_MAX >= 1_048_576);

/// Takes the next request's records out of `waiting`, the oldest first.
pub(super) fn take(waiting: &mut VecDeque<Record>, strict_order: bool) -> Vec<Record> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut blocked: HashSet<Arc<str>> = HashSet::new();
    let mut left = VecDeque::with_capacity(waiting.len());
    while let Some(record) = waiting.pop_front() {
        if batch.len() == RECORDS_MAX {
            left.push_back(record);
            break;
        }
        let fits = batch.is_empty() || bytes + record.len_billed() <= BYTES_MAX;
        if !fits || blocked.contains(&record.sensor) {
            // Its later records must wait as well, even where they would fit.
            blocked.insert(record.sensor.clone());
            left.push_back(record);
            continue;
        }
        if strict_order {
            blocked.insert(record.sensor.clone());
        }
        bytes += record.len_billed();
        batch.push(record);
    }
    left.append(waiting);
    *waiting = left;
    batch
}
