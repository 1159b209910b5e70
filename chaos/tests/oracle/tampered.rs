//! Whatever is done to a lake or its histories is found, under the name of the promise that it breaks.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytes::Bytes;
use chaos::oracle::{Evidence, LeaseWrite, Verdict, judge};
use messages::EpochPlan;

use crate::lake::{Tamper, family};
use crate::parquet::{gzip, lines, rows, table};

/// The verdict over a lake that this was done to.
fn done(change: impl FnOnce(&mut Evidence)) -> Verdict {
    let (mut evidence, schema) = family(None);
    change(&mut evidence);
    judge(&evidence, &schema)
}

#[track_caller]
fn broken(verdict: &Verdict, invariants: &[&str]) {
    for invariant in invariants {
        assert!(verdict.found.contains_key(invariant), "{invariant} is not in {:#?}", verdict.violations);
    }
}

/// The `n`-th key that contains all of these.
fn key(evidence: &Evidence, parts: &[&str], n: usize) -> String {
    let all = |key: &&String| parts.iter().all(|part| key.contains(part));
    evidence.objects.keys().filter(all).nth(n).unwrap_or_else(|| panic!("{parts:?}")).clone()
}

fn change_lines(evidence: &mut Evidence, key: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut all = lines(&evidence.objects[key]);
    change(&mut all);
    evidence.objects.insert(key.to_owned(), gzip(&all));
}

fn change_rows(evidence: &mut Evidence, key: &str, change: impl FnOnce(RecordBatch) -> Vec<RecordBatch>) {
    let changed = change(rows(&evidence.objects[key]));
    evidence.objects.insert(key.to_owned(), table(&changed));
}

fn change_manifest(evidence: &mut Evidence, key: &str, change: impl FnOnce(&mut EpochPlan)) {
    let mut plan: EpochPlan = serde_json::from_slice(&evidence.objects[key]).unwrap();
    change(&mut plan);
    evidence.objects.insert(key.to_owned(), Bytes::from(serde_json::to_vec(&plan).unwrap()));
}

const RAW: [&str; 2] = ["raw/", ".jsonl.gz"];

#[test]
fn an_object_that_is_gone() {
    for zone in ["cleansed/", "quarantine/", "duplicates/"] {
        let verdict = done(|e| drop(e.objects.remove(&key(e, &[zone], 1))));
        broken(&verdict, &["COMPLETE", "MANIFEST"]);
        assert!(verdict.missing > 0);
    }
    let verdict = done(|e| drop(e.objects.remove(&key(e, &RAW, 0))));
    broken(&verdict, &["RAW-ONCE", "MANIFEST"]);
    assert!(verdict.missing > 5);
    let verdict = done(|e| drop(e.objects.remove(&key(e, &["state/", "000000000003"], 2))));
    broken(&verdict, &["STATE", "MANIFEST"]);
}

#[test]
fn one_row_that_is_gone() {
    let verdict = done(|e| {
        let key = key(e, &["cleansed/"], 1);
        change_rows(e, &key, |all| vec![all.slice(0, 3), all.slice(4, all.num_rows() - 4)]);
    });
    broken(&verdict, &["COMPLETE", "MANIFEST"]);
    assert_eq!(verdict.missing, 1);
}

#[test]
fn an_object_under_a_second_key() {
    for (parts, invariant) in [(RAW, "RAW-ONCE"), (["cleansed/", "-0.parquet"], "CLEAN-ONCE")] {
        let verdict = done(|e| {
            let key = key(e, &parts, 1);
            let copy = e.objects[&key].clone();
            e.objects.insert(key.replace("-0.", "-1."), copy);
        });
        broken(&verdict, &[invariant, "MANIFEST"]);
        assert!(verdict.doubled > 5, "{}", verdict.doubled);
        assert_eq!(verdict.missing, 0);
    }
}

#[test]
fn a_byte_of_a_raw_line() {
    for parts in [RAW, ["raw/", ".ndjson.gz"]] {
        let verdict = done(|e| {
            let key = key(e, &parts, 0);
            change_lines(e, &key, |all| {
                let line = &mut all[1];
                let at = line.windows(8).position(|w| w == b"\"data\":\"").map_or(line.len() - 3, |at| at + 12);
                line[at] = if line[at] == b'A' { b'B' } else { b'A' };
            });
        });
        broken(&verdict, &["RAW-ONCE"]);
        assert_eq!((verdict.altered, verdict.missing, verdict.unexpected), (1, 0, 0), "{:#?}", verdict.violations);
    }
}

#[test]
fn two_raw_lines_that_change_places() {
    let verdict = done(|e| {
        let key = key(e, &RAW, 0);
        change_lines(e, &key, |all| {
            // Lines that stand there once: copies of one event can change places unseen.
            let once = |line: &Vec<u8>| all.iter().filter(|other| *other == line).count() == 1;
            let at = (0..all.len() - 1).find(|at| once(&all[*at]) && once(&all[at + 1])).unwrap();
            all.swap(at, at + 1);
        });
    });
    broken(&verdict, &["RAW-ONCE"]);
    assert_eq!((verdict.out_of_order, verdict.altered, verdict.missing), (1, 0, 0), "{:#?}", verdict.violations);
}

#[test]
fn a_line_and_a_row_that_move_to_another_epoch() {
    let verdict = done(|e| {
        let (from, to) = (key(e, &RAW, 0), key(e, &RAW, 1));
        let mut moved = Vec::new();
        change_lines(e, &from, |all| moved.push(all.remove(4)));
        change_lines(e, &to, |all| all.insert(0, moved.remove(0)));
    });
    broken(&verdict, &["RAW-ONCE", "MANIFEST"]);
    for (first, other) in [("0000-00000001-", "0000-00000002-"), ("/hour=00/", "/hour=01/")] {
        let verdict = done(|e| {
            let (from, to) = (key(e, &["cleansed/", first], 0), key(e, &["cleansed/", other], 0));
            let moved = rows(&e.objects[&from]).slice(0, 1);
            change_rows(e, &from, |all| vec![all.slice(1, all.num_rows() - 1)]);
            change_rows(e, &to, |all| vec![moved, all]);
        });
        broken(&verdict, &["COMPLETE", "MANIFEST"]);
        assert_eq!((verdict.missing, verdict.doubled), (0, 0));
        assert!(verdict.out_of_order > 0);
    }
}

#[test]
fn rows_of_an_object_in_another_order() {
    let verdict = done(|e| {
        let key = key(e, &["cleansed/"], 1);
        change_rows(e, &key, |all| vec![all.slice(5, 1), all.slice(0, 5), all.slice(6, all.num_rows() - 6)]);
    });
    broken(&verdict, &["ORDER"]);
}

#[test]
fn a_manifest_that_is_gone() {
    let verdict = done(|e| drop(e.objects.remove(&key(e, &["manifests/", "000000000000", ".json"], 1))));
    broken(&verdict, &["CHECKPOINT", "MANIFEST"]);
    let last = done(|e| drop(e.objects.remove(&key(e, &["manifests/", "000000000003", ".json"], 2))));
    broken(&last, &["CHECKPOINT", "MANIFEST"]);
}

#[test]
fn a_manifest_that_says_something_else() {
    let manifest = |e: &Evidence| key(e, &["manifests/", "000000000000", ".json"], 1);
    let verdict = done(|e| change_manifest(e, &manifest(e), |plan| plan.objects[0].rows += 1));
    broken(&verdict, &["MANIFEST"]);
    let verdict = done(|e| change_manifest(e, &manifest(e), |plan| plan.records += 1));
    broken(&verdict, &["COMPLETE"]);
    let verdict = done(|e| change_manifest(e, &manifest(e), |plan| drop(plan.reasons.pop_first())));
    broken(&verdict, &["COMPLETE"]);
    let verdict = done(|e| change_manifest(e, &manifest(e), |plan| plan.cut.from = plan.cut.to.clone()));
    broken(&verdict, &["CHECKPOINT"]);
    let verdict = done(|e| drop(e.objects.insert(manifest(e), Bytes::from_static(b"{}"))));
    broken(&verdict, &["MANIFEST"]);
}

#[test]
fn poison_that_nobody_knows_of() {
    broken(&done(|e| drop(put_aside(e))), &["CLEAN-ONCE"]);
    let verdict = done(|e| e.deadly = put_aside(e).into_iter().collect());
    assert!(!verdict.found.contains_key("CLEAN-ONCE"), "{:#?}", verdict.violations);
}

/// Calls everything poison that stands in one object of the quarantine; returns whose it was.
fn put_aside(e: &mut Evidence) -> Vec<String> {
    let mut sequences = Vec::new();
    let key = key(e, &["quarantine/"], 0);
    change_rows(e, &key, |all| {
        let column = |name| all.schema().index_of(name).unwrap();
        sequences = text(all.column(column("sequence"))).iter().flatten().map(str::to_owned).collect();
        let mut columns = all.columns().to_vec();
        columns[column("reason")] = Arc::new(StringArray::from(vec!["poison"; all.num_rows()]));
        vec![RecordBatch::try_new(all.schema(), columns).unwrap()]
    });
    sequences
}

fn text(column: &ArrayRef) -> &StringArray {
    column.as_any().downcast_ref().unwrap()
}

#[test]
fn content_that_does_not_follow_from_the_records() {
    let tampers: [(Tamper, &str); 4] = [
        (|content| content.aggregates.iter_mut().for_each(|row| row.sum += 0.001), "AGGREGATE"),
        (|content| content.aggregates.iter_mut().for_each(|row| row.revision += 1), "AGGREGATE"),
        (|content| drop(content.aggregates.pop()), "AGGREGATE"),
        (|content| content.states.iter_mut().take(1).for_each(|entry| entry.bytes = [1, 2, 3].into()), "STATE"),
    ];
    for (tamper, invariant) in tampers {
        let (evidence, schema) = family(Some(tamper));
        broken(&judge(&evidence, &schema), &[invariant]);
    }
}

#[test]
fn a_record_that_nobody_read_and_one_that_nobody_sent() {
    let verdict = done(|e| {
        let mut record = e.records[50].clone();
        record.sequence.replace_range(55.., "9");
        record.sha256 = [7; 32];
        e.records.push(record);
    });
    broken(&verdict, &["RAW-ONCE", "COMPLETE"]);
    assert_eq!(verdict.missing, 2, "a line and a row");
    let verdict = done(|e| drop(e.records.remove(50)));
    broken(&verdict, &["RAW-ONCE", "CLEAN-ONCE"]);
    assert_eq!(verdict.unexpected + verdict.doubled, 2, "a line and a row");
}

#[test]
fn what_devices_count_goes_back() {
    let verdict = done(|e| {
        e.limits = None;
        let ascending = |n: &u64| *n;
        let numbers: Vec<u64> = e.records.iter().filter_map(|record| record.n).collect();
        assert!(numbers.iter().map(ascending).max() > Some(100));
        let (from, to) = (key(e, &["cleansed/"], 0), key(e, &["cleansed/"], 1));
        // The values of one hour under the identities of another.
        let (a, b) = (rows(&e.objects[&from]), rows(&e.objects[&to]));
        let n = a.num_rows().min(b.num_rows());
        let (a, b) = (a.slice(0, n), b.slice(0, n));
        let device = a.schema().index_of("device_sequence").unwrap();
        let mut columns = a.columns().to_vec();
        columns[device] = b.column(device).clone();
        e.objects.insert(from, table(&[RecordBatch::try_new(a.schema(), columns).unwrap()]));
    });
    broken(&verdict, &["ORDER"]);
}

#[test]
fn a_key_that_is_written_again() {
    let verdict = done(|e| {
        let mut again = e.writes.as_ref().unwrap()[3].clone();
        (again.created, again.replaced) = (false, true);
        e.writes.as_mut().unwrap().push(again);
    });
    broken(&verdict, &["WRITE-ONCE"]);
    let early = done(|e| e.writes.as_mut().unwrap()[3].at_ms = 0);
    broken(&early, &["WRITE-ONCE"]);
    let late = done(|e| e.writes.as_mut().unwrap()[3].at_ms += 10_000_000);
    broken(&late, &["CHECKPOINT"]);
}

/// The writes of a shard to its row.
fn writes<'a>(evidence: &'a mut Evidence, shard: &str) -> Vec<&'a mut LeaseWrite> {
    evidence.leases.as_mut().unwrap().iter_mut().filter(|write| write.key.ends_with(shard)).collect()
}

#[test]
fn a_worker_that_writes_what_it_does_not_own() {
    // Create, take, two epochs of two writes each, taken by client 2.
    let stolen = done(|e| writes(e, "00")[6].client = 7);
    broken(&stolen, &["OWNER"]);
    let verdict = done(|e| writes(e, "00")[7].client = 1);
    broken(&verdict, &["OWNER"]);
    let renewed = done(|e| {
        let mut write = writes(e, "00")[6].clone();
        let row = write.after.clone().unwrap();
        write.client = 1;
        write.after.as_mut().unwrap().counter += 1;
        write.before = Some(row);
        e.leases.as_mut().unwrap().push(write);
    });
    broken(&renewed, &["OWNER"]);
    let orphan = done(|e| {
        let (key, at_ms) = (key(e, &RAW, 0).replace("-0.", "-1."), e.leases.as_ref().unwrap()[3].at_ms);
        e.objects.insert(key.clone(), e.objects.values().next().unwrap().clone());
        let mut write = e.writes.as_ref().unwrap()[0].clone();
        (write.key, write.client, write.at_ms) = (key, 9, at_ms + 100_000);
        e.writes.as_mut().unwrap().push(write);
    });
    broken(&orphan, &["OWNER", "MANIFEST"]);
}

#[test]
fn a_checkpoint_that_goes_back_or_ahead() {
    let back = done(|e| {
        let old = writes(e, "00")[3].after.clone().unwrap();
        writes(e, "00")[9].after.as_mut().unwrap().checkpoint = old.checkpoint;
    });
    broken(&back, &["CHECKPOINT"]);
    let counter = done(|e| writes(e, "00")[9].after.as_mut().unwrap().counter = 1);
    broken(&counter, &["CHECKPOINT"]);
    let ahead = done(|e| writes(e, "00")[3].after.as_mut().unwrap().checkpoint = "SHARD_END".into());
    broken(&ahead, &["CHECKPOINT"]);
    let unprepared = done(|e| writes(e, "00")[3].before.as_mut().unwrap().pending_to = None);
    broken(&unprepared, &["CHECKPOINT"]);
    let pending = done(|e| e.final_rows[3].pending_to = Some("SHARD_END".into()));
    broken(&pending, &["CHECKPOINT"]);
    let behind = done(|e| e.final_rows[0].checkpoint = "TRIM_HORIZON".into());
    broken(&behind, &["CHECKPOINT"]);
    let deleted = done(|e| {
        let mut write = writes(e, "00")[4].clone();
        write.before = write.after.take();
        e.leases.as_mut().unwrap().push(write);
    });
    broken(&deleted, &["CHECKPOINT"]);
}

#[test]
fn a_child_that_starts_before_its_parent_has_ended() {
    let verdict = done(|e| {
        let leases = e.leases.as_mut().unwrap();
        let created = leases.iter().position(|write| write.key.ends_with("01")).unwrap();
        let moved: Vec<LeaseWrite> = leases.drain(created..created + 2).collect();
        leases.splice(5..5, moved);
    });
    assert_eq!(verdict.found.into_keys().collect::<Vec<_>>(), ["LINEAGE"]);
}
