//! What the oracle found.
//!
//! **Owns** the counts and the list of violations.
//! **Promises** every violation is counted; of each promise the first [`KEPT_MAX`] are kept, shortened.
//! **Fails** never.
//! **Not here**: looking for violations.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::lake::Lake;
use super::warehouse::Figures;

/// Violations of one promise that are told in full: the rest is likely more of the same.
const KEPT_MAX: u64 = 20;
const TEXT_CHARS_MAX: usize = 500;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The id of the promise.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

/// The oracle's verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// Records that the evidence knows of.
    pub records: u64,
    /// Records in the raw zone.
    pub raw: u64,
    /// Rows of the cleansed zone.
    pub cleansed: u64,
    /// Rows of the quarantine zone.
    pub quarantined: u64,
    /// Rows of the duplicates zone.
    pub duplicates: u64,
    /// Rows of the dimensions zone.
    pub dimensions: u64,
    /// Rows of both aggregates zones.
    pub aggregates: u64,
    /// Lines of the alerts zone.
    pub alerts: u64,
    /// Objects, manifests among them.
    pub objects: u64,
    /// Manifests.
    pub epochs: u64,
    /// Shards with a manifest.
    pub shards: u64,
    /// Sensors with a cleansed row.
    pub sensors: u64,
    /// Sensors whose state was compared with the replay.
    pub states: u64,
    /// Writes to the lease table that were looked at.
    pub lease_writes: u64,
    /// Writes to the bucket that were looked at.
    pub object_writes: u64,

    /// Records without a raw line, and readings without a row.
    pub missing: u64,
    /// Raw lines and rows that are there a second time.
    pub doubled: u64,
    /// Raw lines and rows of nothing that was stored.
    pub unexpected: u64,
    /// Raw lines that are another record's place with other bytes, and rows that say something else than the replay.
    pub altered: u64,
    /// Raw lines and rows out of order or in another epoch than their own.
    pub out_of_order: u64,
    /// Raw lines beyond what was acknowledged that a lost answer explains.
    pub explained: u64,
    /// Sensors on shards that do not descend from one another: no order is promised for them.
    pub unordered_sensors: u64,

    /// What was found in the warehouse; none if nobody looked.
    pub warehouse: Option<Figures>,

    /// The promises that the evidence allowed to check.
    pub checked: BTreeSet<&'static str>,
    /// All violations, by promise.
    pub found: BTreeMap<&'static str, u64>,
    /// The first violations of each promise.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }
}

/// A verdict that is being made.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) verdict: Verdict,
}

impl Findings {
    /// Notes a violation. The text is made only if it is kept.
    pub(super) fn add(&mut self, invariant: &'static str, what: impl FnOnce() -> String) {
        let found = self.verdict.found.entry(invariant).or_default();
        *found += 1;
        if *found <= KEPT_MAX {
            let what = what().chars().take(TEXT_CHARS_MAX).collect();
            self.verdict.violations.push(Violation { invariant, what });
        }
    }

    /// Notes that a promise was checked.
    pub(super) fn checked(&mut self, invariant: &'static str) {
        self.verdict.checked.insert(invariant);
    }

    pub(super) fn into_verdict(self, lake: &Lake<'_>) -> Verdict {
        let mut verdict = self.verdict;
        verdict.records = lake.evidence.records.len() as u64;
        verdict.objects = lake.objects.len() as u64;
        verdict.epochs = lake.chains.iter().map(|chain| chain.len() as u64).sum();
        verdict.shards = lake.chains.iter().filter(|chain| !chain.is_empty()).count() as u64;
        verdict
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.verdict.violations
    }
}
