//! What is remembered of records that something died on, so that a death is not repeated for ever.

use serde::{Deserialize, Serialize};

use crate::SequenceNumber;

/// A record, or one of its readings, during whose processing something died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The record.
    pub sequence: SequenceNumber,
    /// Which reading of it; none if the process died with the record as a whole.
    pub sub_sequence: Option<u32>,
    /// How often it was tried.
    pub tries: u32,
}

/// How carefully a shard is read after deaths that nobody can explain: few records at a time, so that each death says
/// more about who caused it.
///
/// An incarnation that dies before any epoch of its own is prepared has died on something between the checkpoint and
/// what it had read. The next one reads less at once; where it dies, the one after that reads less again, until single
/// records are tried, each noted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caution {
    /// Records in one epoch.
    pub records_max: u64,
    /// Records after which there is no more reason for caution: the death was caused by one before.
    pub lasts: u64,
}

impl Caution {
    /// How to read after this many incarnations without progress; none is as usual.
    pub fn after(tries: u32) -> Option<Self> {
        match tries {
            0..2 => None,
            // Whatever was in flight may have been the cause.
            2 => Some(Self { records_max: 256, lasts: 20_000 }),
            // Two epochs can be under way at once.
            3 => Some(Self { records_max: 16, lasts: 2 * 256 }),
            _ => Some(Self { records_max: 1, lasts: 2 * 16 }),
        }
    }

    /// Whether records are tried one by one.
    pub fn is_strict(self) -> bool {
        self.records_max == 1
    }
}
