//! MANIFEST and WRITE-ONCE: what the manifests say is what the bucket holds, and nothing was ever replaced; INERT: the
//! keys are plain.
//!
//! **Owns** the comparison of manifests with objects, both ways, and of their counts with what was found (COMPLETE).
//! **Promises** an object that no manifest names is found, and a manifest's object that is not there.
//! **Fails** never.
//! **Not here**: whether the epochs follow on one another (`checkpoint.rs`).

use std::collections::BTreeMap;

use actors::lake::decode_state;
use messages::{EpochPlan, PlannedObject, Reason, Zone};

use super::lake::keys::is_claim;
use super::lake::{Epoch, Lake, Object};
use super::rows::Landed;
use super::verdict::Findings;

const ID: &str = "MANIFEST";
/// Where loaders put their own manifests, and metadata as they have understood it.
pub(super) const LOADS: [&str; 2] = ["warehouse/", "metadata/"];

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    for id in [ID, "COMPLETE", "INERT"] {
        findings.checked(id);
    }
    let reasons = reasons(lake);
    for (shard, chain) in lake.chains.iter().enumerate() {
        for epoch in chain {
            let found = objects(lake, epoch, findings);
            counts(epoch, &found, findings);
            let none = BTreeMap::new();
            let reasons = reasons.get(&(shard as u32, epoch.number)).unwrap_or(&none);
            if *reasons != epoch.plan.reasons {
                findings.add("COMPLETE", || {
                    format!("{} counts {:?}, its quarantine holds {reasons:?}", epoch.key, epoch.plan.reasons)
                });
            }
        }
    }
    for (key, object) in &lake.objects {
        named_once(lake, key, object, findings);
    }
    written_once(lake, findings);
}

/// Rows found in an epoch's objects, by zone.
fn objects(lake: &Lake<'_>, epoch: &Epoch<'_>, findings: &mut Findings) -> BTreeMap<Zone, u64> {
    let mut found = BTreeMap::new();
    for planned in &epoch.plan.objects {
        let PlannedObject { key, zone, rows, .. } = planned;
        let Some(object) = lake.objects.get(key.as_str()) else {
            findings.add(ID, || format!("{} names {key}, which is not there", epoch.key));
            continue;
        };
        if object.zone != Some(*zone) {
            findings.add(ID, || format!("{} says that {key} is of zone {zone:?}", epoch.key));
        }
        let here = match zone {
            Zone::State => states(key, object, findings),
            _ => object.found,
        };
        let Some(here) = here else { continue };
        *found.entry(*zone).or_default() += here;
        if here != *rows {
            findings.add(ID, || format!("{} says that {key} has {rows} rows, it has {here}", epoch.key));
        }
    }
    found
}

fn states(key: &str, object: &Object<'_>, findings: &mut Findings) -> Option<u64> {
    match decode_state(object.bytes) {
        Ok(state) => Some(state.entries.len() as u64),
        Err(error) => {
            findings.add("STATE", || format!("{key} cannot be read: {error}"));
            None
        }
    }
}

fn counts(epoch: &Epoch<'_>, found: &BTreeMap<Zone, u64>, findings: &mut Findings) {
    let of = |zones: &[Zone]| zones.iter().filter_map(|zone| found.get(zone)).sum::<u64>();
    let EpochPlan { records, readings, clean, quarantined, duplicates, alerts, .. } = epoch.plan;
    let pairs = [
        ("records", records, of(&[Zone::Raw, Zone::RawEscaped])),
        ("cleansed rows", clean, of(&[Zone::Cleansed])),
        ("quarantined rows", quarantined, of(&[Zone::Quarantine])),
        ("duplicates", duplicates, of(&[Zone::Duplicates])),
        ("alerts", alerts, of(&[Zone::Alerts])),
        ("readings", readings, clean + quarantined + duplicates),
    ];
    for (what, said, held) in pairs.into_iter().filter(|(_, said, held)| said != held) {
        findings.add("COMPLETE", || format!("{} counts {said} {what}, there are {held}", epoch.key));
    }
}

type Reasons = BTreeMap<String, u64>;

/// Refused readings by shard, epoch and reason.
fn reasons(lake: &Lake<'_>) -> BTreeMap<(u32, u64), Reasons> {
    let mut all: BTreeMap<(u32, u64), Reasons> = BTreeMap::new();
    for objects in lake.rows.readings.chunk_by(|a, b| a.object == b.object) {
        let object = &lake.objects[lake.rows.key(objects[0].object)];
        let place =
            object.shard.zip(object.epoch).filter(|_| objects[0].zone == Landed::Quarantine && object.named > 0);
        let Some(place) = place else { continue };
        let reasons = all.entry(place).or_default();
        for reason in objects.iter().filter_map(|row| row.reason).map(Reason::as_str) {
            match reasons.get_mut(reason) {
                Some(count) => *count += 1,
                None => drop(reasons.insert(reason.to_owned(), 1)),
            }
        }
    }
    all
}

/// What was claimed under a number is what the manifest of that number says.
fn claimed(lake: &Lake<'_>, key: &str, claim: &Object<'_>, findings: &mut Findings) {
    let epoch = claim.shard.zip(claim.epoch).and_then(|(shard, number)| lake.epoch(shard, number));
    match epoch.and_then(|epoch| lake.objects.get(epoch.key)) {
        Some(manifest) if manifest.bytes == claim.bytes => {}
        Some(_) => findings.add(ID, || format!("{key} claims something else than its manifest says")),
        None => findings.add(ID, || format!("{key} was claimed, and no manifest says so")),
    }
}

fn named_once(lake: &Lake<'_>, key: &str, object: &Object<'_>, findings: &mut Findings) {
    match object.named {
        // What a loader has told the warehouse to read; which epochs are loaded is not said there.
        0 if is_claim(key) => claimed(lake, key, object, findings),
        0 if LOADS.iter().any(|folder| key.starts_with(folder)) => {}
        0 => findings.add(ID, || format!("no manifest names {key}")),
        1 => {}
        n => findings.add(ID, || format!("{n} manifests name {key}")),
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"=_/.-".contains(&b);
    if !key.bytes().all(plain) || key.contains("..") {
        findings.add("INERT", || format!("{key:?} is no plain key"));
    }
}

fn written_once(lake: &Lake<'_>, findings: &mut Findings) {
    let Some(writes) = &lake.evidence.writes else { return };
    findings.checked("WRITE-ONCE");
    findings.verdict.object_writes = writes.len() as u64;
    for write in writes.iter().filter(|write| write.replaced) {
        findings.add("WRITE-ONCE", || {
            format!("{} was replaced by client {} at {} ms", write.key, write.client, write.at_ms)
        });
    }
}
