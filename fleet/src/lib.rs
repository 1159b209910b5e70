//! The sensor fleet: drives a Kinesis stream with simulated devices or with recorded data.
//!
//! **Owns** the producer's side of every test: what is sent, when, and the ledger of what became of it.
//!
//! **Promises**
//! - The content of event `k` of a sensor depends on the seed only, never on timing.
//! - A slow endpoint never slows the schedule: what does not fit the bounded backlog is shed and counted.
//! - A sensor's events do not overtake each other, whatever is retried.
//! - A record counted as acknowledged is in the ledger, also after `kill -9`.
//!
//! **Fails** with a [`FleetError`] when the stream refuses to be written at all or the ledger cannot be kept.
//! Everything else (throttling, lost replies, rows that do not parse) is counted in the [`FleetReport`].
//!
//! **Not here**: any consumer, any fault, the judgement of what a consumer made of the records.

mod climate;
mod error;
#[cfg(test)]
mod fake;
mod kind;
mod ledger;
mod progress;
mod record;
mod replay;
mod report;
mod rng;
mod sender;
mod target;

pub use climate::{FleetOptions, Shares, broken, run_fleet};
pub use error::FleetError;
pub use kind::{AnomalyKind, BrokenKind, Kind};
pub use ledger::{Completion, Entry, Ledger, LedgerLines, Line, Outcome, SENSOR_BYTES_MAX, Span};
pub use progress::{Progress, Snapshot};
pub use replay::{ReplayMapping, ReplayOptions, run_replay};
pub use report::{FleetReport, LatencyReport};
pub use sender::Delivery;
pub use target::{Target, client};
