//! RAW-ONCE: every record stored is in the raw zone exactly once, byte for byte, in stream order.
//!
//! **Owns** the matching of lines with records. Lines of text carry no identity: a line is the first record with its
//! bytes that lies in its object's epoch (and hour, if the arrival is known) and has no line yet.
//!
//! **Promises** a record whose bytes were altered is told from one that is missing while another is unexpected. Where
//! the evidence is the producer's, lines beyond the records are excused as far as lost answers go; of records of which
//! such a copy may exist no order is demanded, since nobody knows which of the copies was acknowledged.
//!
//! **Fails** never.
//! **Not here**: what the lines mean.

mod lines;
mod matching;

use std::collections::BTreeMap;

use messages::Zone;

use self::lines::{Form, Line, read};
use self::matching::{Found, Matching, Window};
use super::evidence::Evidence;
use super::lake::Lake;
use super::place::{Place, Pos};
use super::verdict::Findings;

const ID: &str = "RAW-ONCE";

/// Lines nobody acknowledged, as far as they may be there.
struct Excuses {
    maybe: BTreeMap<[u8; 32], u64>,
    open: u64,
}

impl Excuses {
    fn of(evidence: &Evidence) -> Self {
        match evidence.exact {
            true => Self { maybe: BTreeMap::new(), open: 0 },
            false => Self { maybe: evidence.maybe.clone(), open: evidence.open },
        }
    }

    fn by_payload(&mut self, sha256: &[u8; 32]) -> bool {
        let Some(left) = self.maybe.get_mut(sha256).filter(|left| **left > 0) else { return false };
        *left -= 1;
        true
    }

    fn any(&mut self) -> bool {
        let left = self.open > 0;
        self.open -= u64::from(left);
        left
    }
}

/// A line that is no record's.
struct Surplus {
    epoch: Option<u64>,
    sha256: [u8; 32],
    object: u32,
    known: bool,
}

/// Holds the raw zone to the records, and reads the other zones of lines.
pub(super) fn check(lake: &mut Lake<'_>, findings: &mut Findings) {
    findings.checked(ID);
    let keys = objects(lake);
    let mut excuses = Excuses::of(lake.evidence);
    let mut shards: Vec<Option<u32>> = (0..lake.shards.len() as u32).map(Some).collect();
    shards.push(None);
    for shard in shards {
        let keys: Vec<&str> = keys.iter().filter(|key| lake.objects[**key].shard == shard).copied().collect();
        let lines = load(lake, &keys, findings);
        findings.verdict.raw += lines.len() as u64;
        check_shard(lake, shard, &keys, &lines, &mut excuses, findings);
    }
    alerts(lake, findings);
}

/// The raw objects: named ones first, so that copies under other names are the ones too many.
fn objects<'a>(lake: &Lake<'a>) -> Vec<&'a str> {
    let raw = lake.objects.iter().filter(|(_, object)| matches!(object.zone, Some(Zone::Raw | Zone::RawEscaped)));
    let mut keys: Vec<&str> = raw.map(|(key, _)| *key).collect();
    keys.sort_by_key(|key| {
        let object = &lake.objects[key];
        (object.named == 0, object.shard, object.epoch, *key)
    });
    keys
}

fn load<'a>(lake: &mut Lake<'a>, keys: &[&'a str], findings: &mut Findings) -> Vec<Line> {
    let mut lines = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let before = lines.len();
        let Some(object) = lake.objects.get_mut(key) else { continue };
        let form = Form::of(key, object.zone == Some(Zone::RawEscaped));
        if let Err(problem) = read(object.bytes, form, number as u32, &mut lines) {
            findings.add(ID, || format!("{key} cannot be read: {problem}"));
        }
        object.found = Some((lines.len() - before) as u64);
    }
    lines
}

fn check_shard(
    lake: &Lake<'_>,
    shard: Option<u32>,
    keys: &[&str],
    lines: &[Line],
    excuses: &mut Excuses,
    findings: &mut Findings,
) {
    let records = shard.map_or(&[][..], |shard| lake.stored_in(shard));
    let mut matching = Matching::new(records, &lake.evidence.records, if lake.evidence.exact { &[] } else { lines });
    let mut surplus = Vec::new();
    let mut last: Option<(u32, Place)> = None;
    for line in lines {
        let key = keys[line.object as usize];
        let object = &lake.objects[key];
        let epoch = shard.zip(object.epoch).and_then(|(shard, number)| lake.epoch(shard, number));
        let window = Window {
            from: epoch.map_or(Pos::Start, |epoch| epoch.from),
            to: epoch.map_or(Pos::End, |epoch| epoch.to),
            hour: object.hour,
        };
        let place = match matching.take(line, &window) {
            Found::Fits(place) => place,
            Found::OtherHour(place) => {
                findings.verdict.out_of_order += 1;
                findings.add(ID, || format!("{place} did not arrive in the hour of {key}"));
                continue;
            }
            Found::OtherEpoch(place) => {
                findings.verdict.out_of_order += 1;
                findings.add(ID, || format!("{place} is not of the epoch of {key}"));
                continue;
            }
            Found::Ambiguous => continue,
            Found::Spent | Found::Unknown if excuses.by_payload(&line.sha256) => {
                findings.verdict.explained += 1;
                continue;
            }
            found @ (Found::Spent | Found::Unknown) => {
                let known = matches!(found, Found::Spent);
                surplus.push(Surplus { epoch: object.epoch, sha256: line.sha256, object: line.object, known });
                continue;
            }
        };
        if last.is_some_and(|(object, before)| object == line.object && place < before) {
            findings.verdict.out_of_order += 1;
            findings.add(ID, || format!("{place} stands behind a later record in {key}"));
        }
        last = Some((line.object, place));
    }
    settle(lake, shard, &matching, (surplus, keys), excuses, findings);
}

/// What is left over on both sides: in one epoch a missing and an unknown line are one that was altered.
fn settle(
    lake: &Lake<'_>,
    shard: Option<u32>,
    matching: &Matching<'_>,
    (surplus, keys): (Vec<Surplus>, &[&str]),
    excuses: &mut Excuses,
    findings: &mut Findings,
) {
    let mut missing: BTreeMap<Option<u64>, Vec<Place>> = BTreeMap::new();
    for place in matching.missing() {
        let epoch = shard.and_then(|shard| lake.epoch_of(shard, place)).map(|epoch| epoch.number);
        missing.entry(epoch).or_default().push(place);
    }
    for line in surplus {
        let key = keys[line.object as usize];
        let place = if line.known { None } else { missing.get_mut(&line.epoch).and_then(Vec::pop) };
        if let Some(place) = place {
            findings.verdict.altered += 1;
            findings.add(ID, || format!("{key} has other bytes than {place}: {}", hex(&line.sha256)));
        } else if excuses.any() {
            findings.verdict.explained += 1;
        } else if line.known {
            findings.verdict.doubled += 1;
            findings.add(ID, || format!("{key} repeats a record that has its line: {}", hex(&line.sha256)));
        } else {
            findings.verdict.unexpected += 1;
            findings.add(ID, || format!("{key} has a line that nobody sent: {}", hex(&line.sha256)));
        }
    }
    for (epoch, places) in missing {
        for place in places {
            findings.verdict.missing += 1;
            let name = shard.map_or("no shard", |shard| lake.shards.name(shard));
            findings.add(ID, || format!("{place} of {name} has no line (epoch {epoch:?})"));
        }
    }
}

/// Alerts are lines too: each has its own id.
fn alerts(lake: &mut Lake<'_>, findings: &mut Findings) {
    let mut ids = BTreeMap::new();
    for (key, object) in lake.objects.iter_mut().filter(|(_, object)| object.zone == Some(Zone::Alerts)) {
        match lines::alert_ids(object.bytes) {
            Ok(found) => {
                object.found = Some(found.len() as u64);
                findings.verdict.alerts += found.len() as u64;
                for id in found {
                    if let Some(other) = ids.insert(id, *key) {
                        findings.add("ALERT", || format!("{key} repeats an alert of {other}"));
                    }
                }
            }
            Err(problem) => findings.add("ALERT", || format!("{key} cannot be read: {problem}")),
        }
    }
    lake.alerts = ids.into_keys().collect();
    findings.checked("ALERT");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
