//! STATE: every row, and every sensor's last state, is what a single-threaded replay of all records gives.
//!
//! **Owns** the comparison with the replay, and the way from the lease rows to the states: the newest object first, back
//! to the last full one; a shard that has none for a sensor goes on from its parents, by the sensor's hash key.
//! **Promises** nothing is compared unless all records are known with bytes and arrivals, and the limits are.
//! **Fails** never.
//! **Not here**: the replay.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::lake::decode_state;
use messages::{Reason, SensorId, StateKind};

use super::clean::shown;
use super::evidence::{Limits, Places};
use super::lake::Lake;
use super::replay::{Excused, Judged, Replay, Rulings};
use super::rows::Landed;
use super::verdict::Findings;

const ID: &str = "STATE";
/// Far more than a chain may have between two full objects.
const CHAIN_MAX: usize = 100_000;

/// A sensor's hash key and its state.
type States = BTreeMap<SensorId, (u128, Arc<[u8]>)>;

pub(super) fn check(lake: &Lake<'_>, findings: &mut Findings) {
    let evidence = lake.evidence;
    let whole = evidence.records.iter().all(|record| record.data.is_some() && record.arrival_ms.is_some());
    let Some(limits) = evidence.limits.as_ref().filter(|_| evidence.exact && whole) else { return };
    findings.checked(ID);
    let replay = compare_rows(lake, limits, findings);
    let states = last_states(lake, findings);
    for (sensor, (core, _)) in &replay.sensors {
        if replay.unordered.contains(sensor) || evidence.places != Places::Sensor {
            continue;
        }
        findings.verdict.states += 1;
        match states.get(sensor) {
            // Who has never had a valid reading is forgotten with its epoch.
            None if !core.has_been_valid() => {}
            None => findings.add(ID, || format!("{sensor} has no state")),
            Some((_, found)) if **found != *core.encode() => {
                findings.add(ID, || format!("the state of {sensor} is not that of its replay"));
            }
            Some(_) => {}
        }
    }
    for sensor in states.keys().filter(|sensor| !replay.sensors.contains_key(*sensor)) {
        findings.add(ID, || format!("{sensor} has a state and no reading"));
    }
}

fn compare_rows<'a>(lake: &'a Lake<'_>, limits: &Limits, findings: &mut Findings) -> Replay<'a> {
    let rows = &lake.rows;
    let by_workers = |reason| matches!(reason, Some(Reason::Poison | Reason::TooManySensors));
    let excused = rows.readings.iter().filter(|row| by_workers(row.reason));
    let excused: Excused = excused.filter_map(|row| Some(((row.shard, row.place, row.sub), row.reason?))).collect();
    let mut replay = Replay::new(&lake.shards, lake.schema, limits);
    let mut next = 0;
    let whole = |shard, place| lake.epoch_of(shard, place).is_some_and(|epoch| epoch.plan.cut.whole_aggregates);
    let any = lake.chains.iter().flatten().any(|epoch| epoch.plan.cut.whole_aggregates);
    let rulings = Rulings { excused, whole: any.then_some(&whole) };
    replay.run(&lake.stored, &lake.evidence.records, &rulings, &mut |batch| {
        for judged in batch {
            next = compare(lake, judged, next, findings);
        }
    });
    replay
}

/// Compares a reading with the first row of its identity, from `next` on; gives the row after it.
fn compare(lake: &Lake<'_>, judged: &Judged, mut next: usize, findings: &mut Findings) -> usize {
    let rows = &lake.rows;
    let row = |n: usize| rows.by_place.get(n).map(|n| rows.reading(*n));
    let identity = (judged.shard, judged.place, judged.sub);
    let mut of_record = false;
    while let Some(other) = row(next).filter(|row| (row.shard, row.place, row.sub) < identity) {
        of_record |= (other.shard, other.place) == (judged.shard, judged.place);
        next += 1;
    }
    let Some(found) = row(next).filter(|row| (row.shard, row.place, row.sub) == identity) else {
        // A record without any row was found missing already.
        if of_record || next.checked_sub(1).and_then(row).is_some_and(|row| row.place == judged.place) {
            findings.verdict.missing += 1;
            findings.add("COMPLETE", || format!("{}.{} has no row", judged.place, judged.sub));
        }
        return next;
    };
    let same = (found.zone, found.reason) == (judged.landed, judged.reason)
        && (found.zone != Landed::Cleansed || found.content == judged.content);
    if !same && !rows.unordered.contains(&found.sensor) {
        findings.verdict.altered += 1;
        let Judged { landed, reason, .. } = judged;
        findings.add(ID, || format!("{} is not what a replay gives: {landed:?} {reason:?}", shown(lake, found)));
    }
    next + 1
}

/// The states that the shards without children hold in the end.
fn last_states(lake: &Lake<'_>, findings: &mut Findings) -> States {
    let mut known: BTreeMap<u32, States> = BTreeMap::new();
    // Parents have lower numbers.
    for shard in 0..lake.shards.len() as u32 {
        let (mut states, complete) = own_states(lake, shard, findings);
        let (low, high) = lake.shards.range(shard);
        let parents = lake.shards.parents(shard).iter().filter(|_| !complete);
        for (sensor, (hash_key, bytes)) in parents.flat_map(|parent| &known[parent]) {
            if (low..=high).contains(hash_key) {
                states.entry(sensor.clone()).or_insert_with(|| (*hash_key, bytes.clone()));
            }
        }
        // An entry without bytes says that its owner has forgotten the sensor.
        states.retain(|_, (_, bytes)| !bytes.is_empty());
        known.insert(shard, states);
    }
    lake.shards.leaves().into_iter().filter_map(|leaf| known.remove(&leaf)).flatten().collect()
}

/// The states that a shard has stored itself, and whether those are all it has.
fn own_states(lake: &Lake<'_>, shard: u32, findings: &mut Findings) -> (States, bool) {
    let name = lake.shards.name(shard);
    let row = lake.evidence.final_rows.iter().find(|row| row.key == name);
    let by_chain = || lake.chains[shard as usize].last().and_then(|epoch| epoch.plan.state_key());
    let mut next = row.and_then(|row| row.state_key.as_deref()).or_else(by_chain).map(str::to_owned);
    let mut states = States::new();
    for _ in 0..CHAIN_MAX {
        let Some(key) = next else { return (states, false) };
        let Some(bytes) = lake.evidence.objects.get(&key) else {
            findings.add(ID, || format!("{key} is gone, and the states of {name} with it"));
            return (states, true);
        };
        let Ok(state) = decode_state(bytes) else { return (states, true) };
        if state.header.shard.as_str() != name {
            return (states, false);
        }
        for entry in state.entries.into_iter().filter(|entry| entry.kind == StateKind::Sensor) {
            states.entry(entry.sensor).or_insert((entry.hash_key, entry.bytes));
        }
        if state.header.full {
            return (states, true);
        }
        next = state.header.previous;
    }
    findings.add(ID, || format!("the chain of states of {name} does not end"));
    (states, true)
}
