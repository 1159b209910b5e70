//! OWNER: a worker that lost its lease changes nothing; WRITE-ONCE: nothing is written before its epoch is prepared.
//!
//! **Owns** who holds each shard along the history of the lease table. A client is one incarnation of one worker, and
//! holds a shard from the write by which it became the owner. A later incarnation of the same name takes the shard by
//! the first write that leaves all but the counter as it was.
//!
//! **Promises** every change of checkpoint, epoch or prepared end, and every release, is the holder's. An object that
//! somebody else creates has to be what the holder would write: of the epoch that is prepared at that moment, or one
//! that a manifest names.
//!
//! **Fails** never.
//! **Not here**: what the writes say (`checkpoint.rs`).

use std::collections::BTreeMap;

use super::checkpoint::Behind;
use super::evidence::{LeaseWrite, ObjectWrite, Row};
use super::lake::Lake;
use super::lake::keys::is_claim;
use super::verdict::Findings;

const ID: &str = "OWNER";

/// A shard along its history.
#[derive(Default)]
struct Holding<'a> {
    holder: Option<u32>,
    /// What each client calls itself.
    names: BTreeMap<u32, &'a str>,
    /// Since when which client holds it, and which epoch is prepared.
    history: Vec<Moment>,
    /// When each epoch was prepared first.
    prepared: BTreeMap<u64, i64>,
    /// The writer of the row with each counter: the one it is of when it is put back.
    wrote: BTreeMap<u64, Option<u32>>,
    /// True while the row was not written since it was put back.
    as_put_back: bool,
}

#[derive(Clone, Copy)]
struct Moment {
    at_ms: i64,
    holder: Option<u32>,
    pending: Option<u64>,
}

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    let Some(leases) = &lake.evidence.leases else { return };
    findings.checked(ID);
    let names = names(leases, &lake.evidence.names);
    let mut shards: BTreeMap<&str, Holding<'_>> = BTreeMap::new();
    let mut behind = Behind::default();
    for write in leases {
        shards.entry(&write.key).or_default().write(write, (behind.is(&write.key), &names), findings);
        behind.follow(write);
    }
    for write in lake.evidence.writes.iter().flatten().filter(|write| write.created) {
        created(lake, &shards, write, findings);
    }
}

/// What each client has called itself, on whichever row, or is known to.
fn names<'a>(leases: &'a [LeaseWrite], known: &'a BTreeMap<u32, String>) -> BTreeMap<u32, &'a str> {
    let owner = |row: &'_ Option<Row>| row.as_ref().and_then(|row| row.owner.clone());
    let takes = leases.iter().filter(|write| !write.restored && owner(&write.before) != owner(&write.after));
    let told = takes.filter_map(|write| Some((write.client, write.after.as_ref()?.owner.as_deref()?)));
    known.iter().map(|(client, name)| (*client, name.as_str())).chain(told).collect()
}

impl<'a> Holding<'a> {
    fn write(&mut self, write: &'a LeaseWrite, (behind, names): (bool, &BTreeMap<u32, &str>), findings: &mut Findings) {
        let was = self.holder;
        let wrong = match write.restored {
            true => self.is_put_back(write),
            false => self.follow(write, behind, names),
        };
        self.as_put_back = write.restored;
        if let Some(row) = &write.after {
            self.wrote.insert(row.counter, self.holder);
        }
        if let Some(wrong) = wrong {
            let LeaseWrite { key, at_ms, client, .. } = write;
            findings.add(ID, || format!("client {client} {wrong} {key} at {at_ms} ms, which {was:?} held"));
        }
        let pending = write.after.as_ref().filter(|row| row.pending_to.is_some()).map(|row| row.epoch + 1);
        if let Some(epoch) = pending {
            self.prepared.entry(epoch).or_insert(write.at_ms);
        }
        self.history.push(Moment { at_ms: write.at_ms, holder: self.holder, pending });
    }

    /// The row is again whose it was.
    fn is_put_back(&mut self, write: &LeaseWrite) -> Option<&'static str> {
        self.holder = write.after.as_ref().and_then(|row| self.wrote.get(&row.counter).copied().flatten());
        None
    }

    /// Moves on by one write; says what is wrong with it.
    fn follow(&mut self, write: &'a LeaseWrite, behind: bool, names: &BTreeMap<u32, &str>) -> Option<&'static str> {
        let (before, after) = match (&write.before, &write.after) {
            (Some(before), Some(after)) => (before, after),
            (None, Some(row)) => {
                // A row may be created by anybody, and for its creator.
                self.holder = row.owner.as_ref().map(|_| write.client);
                return None;
            }
            // Whether it may be deleted is a matter of its checkpoint.
            (_, None) => {
                self.holder = None;
                return None;
            }
        };
        if before == after {
            return None;
        }
        let holds = self.holder == Some(write.client);
        let said = |row: &Row| (row.checkpoint.clone(), row.epoch, row.pending_to.clone(), row.state_key.clone());
        // Who takes a row that was put back moves it on to where the manifests are, in the same write.
        let takes = behind && !holds && after.owner.is_some() && after.counter > before.counter;
        if said(before) != said(after) && !takes {
            return (!holds).then_some("moved the epochs of");
        }
        match (&before.owner, &after.owner) {
            (Some(before), None) => {
                // A row may name a process that is gone, an earlier one of this name or one of the past; the one that
                // has its name now, and cannot take the shard, may give it up.
                let is_gone = self.as_put_back || self.holder.is_some_and(|holder| holder < write.client);
                let its_own = is_gone && names.get(&write.client) == Some(&before.as_str());
                self.holder = None;
                (!holds && !its_own).then_some("released")
            }
            (None, None) => None,
            (Some(before), Some(after)) if before == after && !holds => {
                let name = *self.names.entry(write.client).or_insert(after);
                if name != after {
                    return Some("wrote the row of");
                }
                self.holder = Some(write.client);
                None
            }
            (_, Some(after)) => {
                self.names.insert(write.client, after);
                self.holder = Some(write.client);
                None
            }
        }
    }

    /// How it stood at a time; writes of the same moment count as before.
    fn at(&self, at_ms: i64) -> Option<&Moment> {
        let after = self.history.partition_point(|moment| moment.at_ms <= at_ms);
        self.history.get(after.checked_sub(1)?)
    }
}

fn created(lake: &Lake<'_>, shards: &BTreeMap<&str, Holding<'_>>, write: &ObjectWrite, findings: &mut Findings) {
    let ObjectWrite { at_ms, client, key, .. } = write;
    let object = lake.objects.get(key.as_str());
    let Some((shard, epoch)) = object.and_then(|object| object.shard.zip(object.epoch)) else { return };
    let name = lake.shards.name(shard);
    let Some(holding) = shards.get(name) else { return };
    if holding.prepared.get(&epoch).is_none_or(|prepared_ms| prepared_ms > at_ms) {
        findings.add("WRITE-ONCE", || format!("{key} was written at {at_ms} ms, before its epoch was prepared"));
    }
    let moment = holding.at(*at_ms);
    let holds = moment.is_some_and(|moment| moment.holder == Some(*client));
    let pending = moment.and_then(|moment| moment.pending) == Some(epoch);
    // No manifest names a claim; the one of its number says the same.
    let manifest = lake.epoch(shard, epoch).and_then(|epoch| lake.objects.get(epoch.key));
    let kept = || manifest.zip(object).is_some_and(|(manifest, claim)| manifest.bytes == claim.bytes);
    let named = object.is_some_and(|object| object.named > 0) || (is_claim(key) && kept());
    if !holds && !pending && !named {
        findings.add(ID, || format!("client {client} created {key} at {at_ms} ms and did not hold {name}"));
    }
}
