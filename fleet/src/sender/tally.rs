//! The counts of one lane, and of all lanes together.

use std::collections::BTreeMap;

use crate::report::Latency;
use crate::{FleetReport, Kind};

/// What became of the records of one lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub acked: u64,
    pub maybe: u64,
    pub failed: u64,
    pub unsent: u64,
    pub retried: u64,
    pub throttled: u64,
    pub overtaken: u64,
    pub bytes: u64,
    pub latency: Latency,
    pub acked_by_kind: BTreeMap<Kind, u64>,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.acked += other.acked;
        self.maybe += other.maybe;
        self.failed += other.failed;
        self.unsent += other.unsent;
        self.retried += other.retried;
        self.throttled += other.throttled;
        self.overtaken += other.overtaken;
        self.bytes += other.bytes;
        self.latency.merge(&other.latency);
        for (kind, count) in &other.acked_by_kind {
            *self.acked_by_kind.entry(*kind).or_default() += count;
        }
    }

    /// What the sender knows of a report; the caller adds its own counts.
    pub(crate) fn report(&self) -> FleetReport {
        FleetReport {
            acked: self.acked,
            maybe: self.maybe,
            failed: self.failed,
            unsent: self.unsent,
            retried: self.retried,
            throttled: self.throttled,
            overtaken: self.overtaken,
            bytes: self.bytes,
            latency: self.latency.report(),
            acked_by_kind: self.acked_by_kind.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
            ..FleetReport::default()
        }
    }
}
