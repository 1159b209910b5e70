//! OWNER, seen from the stream: whoever has lost a shard stops reading it.
//!
//! A worker that cannot write its heartbeat ends its shards before others take them. One that was asleep has a moment
//! after waking up to find out.

use super::world::{World, violation};
use crate::cloud::RESTORER;
use crate::oracle::Violation;

/// A request that was under way, and a beat of patience.
const GRACE_MS: i64 = 1_000;
/// A worker whose row was put back as of an earlier time finds out when it writes next: an epoch may be that old.
const RESTORED_MS: i64 = 10_000;
/// A reader that goes on asks several times a second.
const LATE_READS: usize = 3;

pub(super) fn check(world: &World) -> Vec<Violation> {
    let history = world.cloud.lease_history();
    let mut violations = Vec::new();
    for shard in world.cloud.shards() {
        let owner = |row: &Option<crate::cloud::Item>| {
            let row = row.as_ref()?;
            row.get("leaseOwner")?.get("S")?.as_str().map(str::to_owned)
        };
        let counter = |row: &Option<crate::cloud::Item>| row.as_ref().and_then(|row| row.get("leaseCounter").cloned());
        let mut takes: Vec<_> = history
            .iter()
            // Not every write of a row is an owner's: parents are told of their children.
            .filter(|write| write.key == shard.id && counter(&write.before) != counter(&write.after))
            .filter(|write| owner(&write.after).is_some())
            // Who reads a shard whose row was put back finds out by its next write.
            .filter(|write| write.client != RESTORER)
            .map(|write| (write.at_ms, write.client))
            .collect();
        takes.dedup_by_key(|(_, client)| *client);
        let restored: Vec<i64> =
            history.iter().filter(|w| w.key == shard.id && w.client == RESTORER).map(|w| w.at_ms).collect();
        let mut late: std::collections::BTreeMap<_, Vec<String>> = std::collections::BTreeMap::new();
        for (client, at_ms) in world.cloud.reads(&shard.id) {
            // Who had last written the row as its owner by then.
            let Some((taken_ms, owner)) = takes.iter().rev().find(|(taken_ms, _)| *taken_ms <= at_ms) else { continue };
            let woken_ms = world.clients.get(&client).and_then(|(_, woken)| *woken).unwrap_or(i64::MIN);
            if restored.iter().any(|restored_ms| (0..RESTORED_MS).contains(&(at_ms - restored_ms))) {
                continue;
            }
            if *owner != client && at_ms - (*taken_ms).max(woken_ms) > GRACE_MS {
                let ago = at_ms - taken_ms;
                let text =
                    format!("client {} read {} {ago} ms after client {} had taken it", client.0, shard.id, owner.0);
                late.entry(client).or_default().push(text);
            }
        }
        // A single one is a request that the network delivered late.
        let going_on = late.into_values().filter(|reads| reads.len() >= LATE_READS);
        violations.extend(going_on.map(|mut reads| violation("OWNER", reads.swap_remove(0))));
    }
    violations
}

/// A worker that says it has lost a lease has lost it: a write of its own whose reply was lost is no such case.
pub(super) fn losses(world: &World) -> Vec<Violation> {
    let said = world.lease_counts.get("losses").copied().unwrap_or(0);
    let mut owners = std::collections::BTreeMap::new();
    let mut taken = 0;
    for write in world.cloud.lease_history().into_iter().filter(|write| write.key.starts_with("shardId-")) {
        let owner = |row: &Option<crate::cloud::Item>| row.as_ref().is_some_and(|row| row.contains_key("leaseOwner"));
        let counter = |row: &Option<crate::cloud::Item>| row.as_ref().and_then(|row| row.get("leaseCounter").cloned());
        if counter(&write.before) == counter(&write.after) {
            continue;
        }
        let before = owners.insert(write.key.clone(), write.client);
        taken += u64::from(owner(&write.before) && before.is_some_and(|before| before != write.client));
    }
    let spurious = said > taken;
    let text = || format!("{said} leases were said to be lost, {taken} were taken by somebody else");
    spurious.then(|| violation("OWNER", text())).into_iter().chain(lost_writes(world, taken)).collect()
}

/// The same of single writes. What a client sent earlier and what arrives late is somebody else's to it.
fn lost_writes(world: &World, taken: u64) -> Option<Violation> {
    let said = world.lease_counts.get("lost writes").copied().unwrap_or(0);
    let late = world.cloud.counts().late_writes;
    let text =
        || format!("{said} writes of leases were said to be lost, {taken} of others and {late} late ones came between");
    (said > taken + late).then(|| violation("OWNER", text()))
}
