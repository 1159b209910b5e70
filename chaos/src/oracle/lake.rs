//! The bucket as a consumer lists it, and what the manifests say of it.
//!
//! **Owns** which object belongs to which zone, shard and epoch, by its key and by the manifest that names it.
//! **Promises** every object of the bucket has an entry; chains are ordered by epoch.
//! **Fails** never: a manifest that cannot be read is a violation, and its objects are named by nobody.
//! **Not here**: what is in the objects.

pub(super) mod keys;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use messages::{EpochPlan, EventSchema, Zone};

use self::keys::Key;
use super::evidence::{Evidence, Record};
use super::place::{Place, Pos};
use super::rows::Rows;
use super::shards::Shards;
use super::verdict::Findings;

/// The evidence in order.
#[derive(Debug)]
pub(super) struct Lake<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) schema: &'a EventSchema,
    pub(super) shards: Shards,
    /// Per shard its epochs, in order.
    pub(super) chains: Vec<Vec<Epoch<'a>>>,
    /// By key.
    pub(super) objects: BTreeMap<&'a str, Object<'a>>,
    /// The records by shard and place; those of which no place can be read are left out.
    pub(super) stored: Vec<Stored>,
    /// The ids of all alerts.
    pub(super) alerts: BTreeSet<String>,
    /// The rows of all tables.
    pub(super) rows: Rows,
}

/// A record's place, and its number in the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stored {
    pub(super) shard: u32,
    pub(super) place: Place,
    pub(super) record: u32,
}

/// A manifest.
#[derive(Debug)]
pub(super) struct Epoch<'a> {
    pub(super) key: &'a str,
    pub(super) plan: EpochPlan,
    pub(super) number: u64,
    pub(super) from: Pos,
    pub(super) to: Pos,
}

/// An object of the bucket.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub(super) bytes: &'a Bytes,
    /// By its key; none if that is not a name that the product gives.
    pub(super) zone: Option<Zone>,
    /// By the manifest that names it, or by its key.
    pub(super) shard: Option<u32>,
    /// By the manifest that names it, or by its key.
    pub(super) epoch: Option<u64>,
    /// The start of the hour in its key, in hours since 1970.
    pub(super) hour: Option<i64>,
    /// Manifests that name it.
    pub(super) named: u32,
    /// Rows (or lines, or entries) that were found in it.
    pub(super) found: Option<u64>,
}

impl<'a> Lake<'a> {
    pub(super) fn open(evidence: &'a Evidence, schema: &'a EventSchema, findings: &mut Findings) -> Self {
        let plans = manifests(evidence, findings);
        let leases = evidence.leases.iter().flatten().map(|write| write.key.as_str());
        let names = evidence.records.iter().map(|record| record.shard.as_str());
        let names = names.chain(plans.iter().map(|(_, plan)| plan.shard.as_str())).chain(leases);
        let names = names.chain(evidence.final_rows.iter().map(|row| row.key.as_str()));
        let shards = Shards::new(&evidence.lineage, names);
        let chains = chains(plans, &shards, findings);
        let objects = objects(evidence, &shards, &chains, findings);
        let stored = stored(evidence, &shards, findings);
        let (alerts, rows) = (BTreeSet::new(), Rows::default());
        Self { evidence, schema, shards, chains, objects, stored, alerts, rows }
    }

    /// The epoch of this number, if there is one.
    pub(super) fn epoch(&self, shard: u32, number: u64) -> Option<&Epoch<'a>> {
        let chain = self.chains.get(shard as usize)?;
        let at = chain.partition_point(|epoch| epoch.number < number);
        chain.get(at).filter(|epoch| epoch.number == number)
    }

    /// The epoch that covers a place.
    pub(super) fn epoch_of(&self, shard: u32, place: Place) -> Option<&Epoch<'a>> {
        let chain = self.chains.get(shard as usize)?;
        let at = chain.partition_point(|epoch| epoch.to < Pos::At(place));
        chain.get(at).filter(|epoch| epoch.to.covers(epoch.from, place))
    }

    /// The records of a shard, in order.
    pub(super) fn stored_in(&self, shard: u32) -> &[Stored] {
        let from = self.stored.partition_point(|stored| stored.shard < shard);
        let to = self.stored.partition_point(|stored| stored.shard <= shard);
        &self.stored[from..to]
    }

    /// The record at a place.
    pub(super) fn stored_at(&self, shard: u32, place: Place) -> Option<u32> {
        let at = self.stored.partition_point(|stored| (stored.shard, stored.place) < (shard, place));
        let stored = self.stored.get(at)?;
        ((stored.shard, stored.place) == (shard, place)).then_some(stored.record)
    }

    /// Records that may be stored though nobody heard of it.
    pub(super) fn unheard(&self) -> u64 {
        self.evidence.open + self.evidence.maybe.values().sum::<u64>()
    }
}

fn manifests<'a>(evidence: &'a Evidence, findings: &mut Findings) -> Vec<(&'a str, EpochPlan)> {
    let mut plans = Vec::new();
    for (key, bytes) in evidence.objects.range(Zone::Manifest.folder().to_owned()..) {
        if keys::zone_of(key) != Some(Zone::Manifest) {
            continue;
        }
        match serde_json::from_slice::<EpochPlan>(bytes) {
            Ok(plan) => plans.push((key.as_str(), plan)),
            Err(error) => findings.add("MANIFEST", || format!("{key} cannot be read: {error}")),
        }
    }
    plans
}

fn chains<'a>(plans: Vec<(&'a str, EpochPlan)>, shards: &Shards, findings: &mut Findings) -> Vec<Vec<Epoch<'a>>> {
    let mut chains: Vec<Vec<Epoch<'a>>> = (0..shards.len()).map(|_| Vec::new()).collect();
    for (key, plan) in plans {
        let shard = shards.number(plan.shard.as_str());
        let bounds = Pos::of(&plan.cut.from).zip(Pos::of(&plan.cut.to));
        match shard.zip(bounds) {
            Some((shard, (from, to))) => {
                chains[shard as usize].push(Epoch { key, number: plan.cut.epoch.0, plan, from, to });
            }
            None => findings.add("MANIFEST", || format!("{key} has bounds that are no sequence numbers")),
        }
    }
    for chain in &mut chains {
        chain.sort_by_key(|epoch| (epoch.number, epoch.to));
    }
    chains
}

fn objects<'a>(
    evidence: &'a Evidence,
    shards: &Shards,
    chains: &[Vec<Epoch<'a>>],
    findings: &mut Findings,
) -> BTreeMap<&'a str, Object<'a>> {
    let mut stems: BTreeMap<&str, u32> = BTreeMap::new();
    for (shard, chain) in chains.iter().enumerate() {
        let planned = chain.iter().flat_map(|epoch| &epoch.plan.objects);
        let keys = planned.map(|object| object.key.as_str()).chain(chain.iter().map(|epoch| epoch.key));
        stems.extend(keys.filter_map(Key::parse).map(|key| (key.stem, shard as u32)));
    }
    let mut objects = BTreeMap::new();
    for (key, bytes) in &evidence.objects {
        let parsed = Key::parse(key);
        let by_name = |key: &Key<'_>| stems.get(key.stem).copied().or_else(|| shards.number(&key.usual_shard()?));
        let object = Object {
            bytes,
            zone: keys::zone_of(key),
            shard: parsed.as_ref().and_then(by_name),
            epoch: parsed.as_ref().map(|key| key.epoch),
            hour: parsed.as_ref().and_then(|key| key.hour),
            named: 0,
            found: None,
        };
        objects.insert(key.as_str(), object);
    }
    for (shard, chain) in chains.iter().enumerate() {
        for epoch in chain {
            let planned = epoch.plan.objects.iter().map(|object| object.key.as_str());
            for key in planned.chain([epoch.key]) {
                let Some(object) = objects.get_mut(key) else { continue };
                if (object.shard, object.epoch) != (Some(shard as u32), Some(epoch.number)) {
                    let name = shards.name(shard as u32);
                    findings
                        .add("MANIFEST", || format!("{key} is of epoch {} of {name}, by its manifest", epoch.number));
                }
                (object.shard, object.epoch) = (Some(shard as u32), Some(epoch.number));
                object.named += 1;
            }
        }
    }
    objects
}

fn stored(evidence: &Evidence, shards: &Shards, findings: &mut Findings) -> Vec<Stored> {
    let mut stored = Vec::with_capacity(evidence.records.len());
    for (record, Record { shard, sequence, .. }) in evidence.records.iter().enumerate() {
        match shards.number(shard).zip(Place::parse(sequence)) {
            Some((shard, place)) => stored.push(Stored { shard, place, record: record as u32 }),
            None => findings.add("RAW-ONCE", || format!("{sequence:?} of {shard} is no sequence number")),
        }
    }
    stored.sort_unstable();
    for pair in stored.windows(2).filter(|pair| (pair[0].shard, pair[0].place) == (pair[1].shard, pair[1].place)) {
        let (shard, place) = (shards.name(pair[0].shard), pair[0].place);
        findings.add("RAW-ONCE", || format!("two records were acknowledged as {place} of {shard}"));
    }
    stored
}
