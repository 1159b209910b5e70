//! CHECKPOINT: the checkpoint only grows, and all up to it is durable.
//!
//! **Owns** the chain of each shard's manifests, the history of its lease row held against it, and the row in the end.
//! **Promises** a hole or an overlap between epochs is found, and a commit of what was not prepared, or not written yet.
//! **Fails** never.
//! **Not here**: who wrote the row (`owner.rs`).

use std::collections::BTreeMap;

use super::evidence::{LeaseWrite, Row};
use super::lake::{Epoch, Lake};
use super::place::Pos;
use super::verdict::Findings;

const ID: &str = "CHECKPOINT";

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    findings.checked(ID);
    for (shard, chain) in lake.chains.iter().enumerate() {
        check_chain(lake.shards.name(shard as u32), chain, findings);
    }
    let created = created(lake);
    let mut behind = Behind::default();
    for write in lake.evidence.leases.iter().flatten() {
        findings.verdict.lease_writes += 1;
        if !write.restored {
            check_write(lake, write, behind.is(&write.key), findings);
            check_durable(lake, write, &created, findings);
        }
        behind.follow(write);
    }
    if !lake.evidence.final_rows.is_empty() {
        check_end(lake, findings);
    }
}

fn check_chain(shard: &str, chain: &[Epoch<'_>], findings: &mut Findings) {
    let mut end = Pos::Start;
    let mut state: Option<&str> = None;
    for (n, epoch) in chain.iter().enumerate() {
        if epoch.number != n as u64 + 1 {
            findings.add(ID, || format!("epoch {} of {shard} is number {} of its chain", epoch.number, n + 1));
            return;
        }
        if epoch.from != end {
            findings.add(ID, || format!("epoch {} of {shard} does not begin where the one before ends", n + 1));
        }
        if epoch.to < epoch.from || end == Pos::End {
            findings.add(ID, || format!("epoch {} of {shard} ends before it begins", n + 1));
        }
        // The first one may go on from another shard's states.
        if n > 0 && epoch.plan.previous_state.as_deref() != state {
            findings.add(ID, || format!("epoch {} of {shard} does not go on from the state before", n + 1));
        }
        (end, state) = (epoch.to, epoch.plan.state_key());
    }
}

/// Rows that were put back as of an earlier time, until they are as far as they ever were.
#[derive(Default)]
pub(super) struct Behind<'a> {
    newest: BTreeMap<&'a str, u64>,
    behind: BTreeMap<&'a str, u64>,
}

impl<'a> Behind<'a> {
    pub(super) fn is(&self, key: &str) -> bool {
        self.behind.contains_key(key)
    }

    pub(super) fn follow(&mut self, write: &'a LeaseWrite) {
        let epoch = write.after.as_ref().map_or(0, |row| row.epoch);
        let newest = self.newest.entry(&write.key).or_insert(0);
        *newest = (*newest).max(epoch);
        if write.restored {
            self.behind.insert(&write.key, *newest);
        }
        // What was prepared behind the newest epoch is forgotten by the row as well: one more is as it should be.
        if self.behind.get(&*write.key).is_some_and(|newest| epoch > *newest) {
            self.behind.remove(&*write.key);
        }
    }
}

fn check_write(lake: &Lake<'_>, write: &LeaseWrite, behind: bool, findings: &mut Findings) {
    let LeaseWrite { key, at_ms, client, before, after, .. } = write;
    let mut wrong = |what: String| findings.add(ID, || format!("{key} at {at_ms} ms, client {client}: {what}"));
    let Some(after) = after else {
        if before.as_ref().is_some_and(|row| Pos::parse(&row.checkpoint) != Some(Pos::End)) {
            wrong("the row of a shard that has not ended was deleted".to_owned());
        }
        return;
    };
    let Some(checkpoint) = Pos::parse(&after.checkpoint) else {
        return wrong(format!("{:?} is no checkpoint", after.checkpoint));
    };
    let Some(before) = before else {
        if checkpoint != Pos::Start || after.epoch != 0 {
            wrong("a new row begins with a checkpoint".to_owned());
        }
        return;
    };
    if before != after && after.counter <= before.counter {
        wrong(format!("the counter goes from {} to {}", before.counter, after.counter));
    }
    if Some(checkpoint) < Pos::parse(&before.checkpoint) || after.epoch < before.epoch {
        return wrong(format!("the checkpoint goes back from {} to {}", before.checkpoint, after.checkpoint));
    }
    let committed = (&after.checkpoint, after.epoch) != (&before.checkpoint, before.epoch);
    if committed {
        let covered = lake.shards.number(key).and_then(|shard| lake.epoch(shard, after.epoch));
        if covered.is_none_or(|epoch| epoch.to != checkpoint) {
            wrong(format!("no manifest of epoch {} ends at {}", after.epoch, after.checkpoint));
        }
        let prepared = after.epoch == before.epoch + 1 && before.pending_to.as_ref() == Some(&after.checkpoint);
        if !prepared && !behind {
            wrong(format!("{} was committed and not prepared", after.checkpoint));
        }
    } else if before.pending_to.is_some() && after.pending_to != before.pending_to && !behind {
        wrong("an epoch that was prepared was given up".to_owned());
    }
}

/// When each object was created first.
fn created<'a>(lake: &'a Lake<'_>) -> BTreeMap<&'a str, i64> {
    let mut created = BTreeMap::new();
    for write in lake.evidence.writes.iter().flatten().filter(|write| write.created) {
        created.entry(write.key.as_str()).or_insert(write.at_ms);
    }
    created
}

/// At the moment of a commit every object of its epoch is there.
fn check_durable(lake: &Lake<'_>, write: &LeaseWrite, created: &BTreeMap<&str, i64>, findings: &mut Findings) {
    let epoch_of = |row: &Option<Row>| row.as_ref().map_or(0, |row| row.epoch);
    let number = epoch_of(&write.after);
    if number <= epoch_of(&write.before) || lake.evidence.writes.is_none() {
        return;
    }
    let Some(epoch) = lake.shards.number(&write.key).and_then(|shard| lake.epoch(shard, number)) else { return };
    let keys = epoch.plan.objects.iter().map(|object| object.key.as_str()).chain([epoch.key]);
    for key in keys.filter(|key| created.get(key).is_none_or(|at_ms| *at_ms > write.at_ms)) {
        findings
            .add(ID, || format!("epoch {number} of {} was committed at {} ms before {key}", write.key, write.at_ms));
    }
}

fn check_end(lake: &Lake<'_>, findings: &mut Findings) {
    let rows: BTreeMap<&str, &Row> = lake.evidence.final_rows.iter().map(|row| (row.key.as_str(), row)).collect();
    for (shard, chain) in lake.chains.iter().enumerate() {
        let name = lake.shards.name(shard as u32);
        let (number, end) = chain.last().map_or((0, Pos::Start), |epoch| (epoch.number, epoch.to));
        match rows.get(name) {
            Some(row) if (row.epoch, Pos::parse(&row.checkpoint)) != (number, Some(end)) => findings.add(ID, || {
                format!("{name} ends at epoch {} and {}, its last manifest is {number}", row.epoch, row.checkpoint)
            }),
            Some(row) if row.pending_to.is_some() => {
                findings.add(ID, || format!("{name} ends with an epoch that was prepared and not committed"));
            }
            Some(_) => {}
            // The rows of shards that have ended are cleaned up.
            None if number == 0 || end == Pos::End => {}
            None => findings.add(ID, || format!("{name} has manifests and no row")),
        }
    }
}
