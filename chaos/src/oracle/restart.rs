//! IDEMPOTENT: a restart without new input writes nothing.
//!
//! **Owns** the comparison of two moments.
//! **Promises** a new, lost or changed object is found, and a row whose epoch, checkpoint or state moved. Owners and
//! counters may change: a worker takes and releases its shards; and what was committed last may be loaded by it.
//! **Fails** never.
//! **Not here**: whether either moment is sound.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Row};
use super::manifests::LOADS;
use super::verdict::{Findings, Violation};

const ID: &str = "IDEMPOTENT";

/// What differs between a moment and a later one, though nothing was stored in between.
pub fn nothing_new(before: &Evidence, after: &Evidence) -> Vec<Violation> {
    let mut findings = Findings::default();
    for (key, bytes) in after.objects.iter().filter(|(key, _)| !LOADS.iter().any(|folder| key.starts_with(folder))) {
        match before.objects.get(key) {
            None => findings.add(ID, || format!("{key} is new")),
            Some(old) if old != bytes => findings.add(ID, || format!("{key} has changed")),
            Some(_) => {}
        }
    }
    for key in before.objects.keys().filter(|key| !after.objects.contains_key(*key)) {
        findings.add(ID, || format!("{key} is gone"));
    }
    let then: BTreeMap<&str, &Row> = before.final_rows.iter().map(|row| (row.key.as_str(), row)).collect();
    for row in &after.final_rows {
        let said = |row: &Row| (row.checkpoint.clone(), row.epoch, row.pending_to.clone(), row.state_key.clone());
        match then.get(row.key.as_str()) {
            Some(old) if said(old) != said(row) => findings.add(ID, || format!("the row of {} has moved", row.key)),
            None if row.epoch > 0 => findings.add(ID, || format!("the row of {} is new", row.key)),
            Some(_) | None => {}
        }
    }
    findings.into_violations()
}
