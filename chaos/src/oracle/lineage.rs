//! LINEAGE: a child shard starts after every parent has ended.
//!
//! **Owns** the walk along the history of the lease table: the first owner and the first epoch of each child.
//! **Promises** parents are those of the stream and those that the row names. One that never had a row, an epoch or a
//! record is taken for expired.
//! **Fails** never.
//! **Not here**: the states that a child starts from (`state.rs`).

use std::collections::BTreeSet;

use super::evidence::Row;
use super::lake::Lake;
use super::place::Pos;
use super::verdict::Findings;

const ID: &str = "LINEAGE";

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    let Some(leases) = &lake.evidence.leases else { return };
    findings.checked(ID);
    let known: BTreeSet<&str> = leases.iter().map(|write| write.key.as_str()).collect();
    let lives = |parent: &str| {
        known.contains(parent)
            || lake
                .shards
                .number(parent)
                .is_some_and(|shard| !lake.chains[shard as usize].is_empty() || !lake.stored_in(shard).is_empty())
    };
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut started: BTreeSet<&str> = BTreeSet::new();
    for write in leases {
        let Some(row) = &write.after else { continue };
        if Pos::parse(&row.checkpoint) == Some(Pos::End) {
            ended.insert(&write.key);
        }
        let starts = row.owner.is_some() || row.pending_to.is_some() || row.epoch > 0;
        if !starts || !started.insert(&write.key) {
            continue;
        }
        for parent in parents(lake, row) {
            if lives(&parent) && !ended.contains(parent.as_str()) {
                let (key, at_ms) = (&write.key, write.at_ms);
                findings.add(ID, || format!("{key} was started at {at_ms} ms, before the end of {parent}"));
            }
        }
    }
}

fn parents(lake: &Lake<'_>, row: &Row) -> BTreeSet<String> {
    let by_stream = lake.shards.number(&row.key).map(|shard| lake.shards.parents(shard)).unwrap_or_default();
    let by_stream = by_stream.iter().map(|parent| lake.shards.name(*parent).to_owned());
    by_stream.chain(row.parents.iter().cloned()).collect()
}
