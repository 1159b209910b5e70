//! The lines of a ledger.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Kind;

/// Longer ids are shortened in the ledger; an attacker's 64 KB id must not fill the disk.
pub const SENSOR_BYTES_MAX: usize = 128;
/// How much of a long id stays readable before its hash.
const SENSOR_BYTES_KEPT: usize = 64;

/// One line. The three forms differ in their fields: `k` with a payload, `sending`, `complete`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// What became of one record.
    Outcome(Entry),
    /// Records that are about to be sent. Without an outcome later on they may be stored or not.
    Sending {
        /// Runs of consecutive numbers.
        sending: Vec<Span>,
    },
    /// The last line of a replay that has delivered everything.
    Complete(Completion),
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The outcome.
    pub k: Outcome,
    /// The sender (partition key), shortened if long.
    pub sensor: String,
    /// The `sensor_id` in the payload, shortened if long, where it is not the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// Counts the sensor's events from 0; a duplicate carries its original's number.
    pub n: u64,
    /// What was sent.
    pub kind: Kind,
    /// The shard that holds it, if acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// Its sequence number, if acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<String>,
    /// Hex digest of the payload.
    pub sha256: String,
    /// Length of the payload.
    pub bytes: u64,
    /// When the schedule wanted it sent, in milliseconds since 1970.
    pub due_ms: i64,
    /// When the acknowledgement came, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_ms: Option<i64>,
}

/// What is known about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Stored, under the shard and sequence number of the line.
    Acked,
    /// The reply was lost: a copy may be stored, besides one that is acknowledged later.
    Maybe,
    /// Given up. Not stored, unless a `maybe` line came before.
    Failed,
}

/// Records `first..=last` of one sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The sender, shortened if long.
    pub sensor: String,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
}

/// The mark of a finished replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Always true.
    pub complete: bool,
    /// Rows delivered, over all runs.
    pub rows: u64,
    /// Rows that did not parse.
    pub bad_rows: u64,
}

/// The form an id takes in a ledger.
pub(crate) fn ledger_id(id: &str) -> Cow<'_, str> {
    if id.len() <= SENSOR_BYTES_MAX {
        return Cow::Borrowed(id);
    }
    let mut kept = SENSOR_BYTES_KEPT;
    while !id.is_char_boundary(kept) {
        kept -= 1;
    }
    let digest = hex(&sha256(id.as_bytes()));
    Cow::Owned(format!("{}~{}", &id[..kept], &digest[..32]))
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
