//! One record on its way to the stream.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;

use crate::Kind;

/// A payload with everything the ledger wants to know about it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Partition key: the device that sends, also when the payload names another one or none.
    pub sensor: Arc<str>,
    /// The sensor the payload claims to be from, where that is not the sender.
    pub claims: Option<String>,
    /// Counts the sensor's events from 0; a duplicate carries the number of its original.
    pub n: u64,
    pub kind: Kind,
    pub data: Bytes,
    /// When the schedule wanted it sent; latency is measured from here.
    pub due: Instant,
    pub due_ms: i64,
}

impl Record {
    /// What counts against the limits of a request.
    pub(crate) fn len_billed(&self) -> usize {
        self.data.len() + self.sensor.len()
    }
}

/// Wall clock in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
