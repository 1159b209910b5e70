//! What is honest is found to be so, and how much of it was looked at is said.

use chaos::oracle::{Evidence, Verdict, judge, ledger, nothing_new, reference_states};
use fleet::{Entry, Kind, Ledger, Line, Outcome, Span};

use crate::lake::family;

#[track_caller]
pub(crate) fn assert_clean(verdict: &Verdict) {
    assert!(verdict.is_clean(), "{:#?}", (&verdict.found, &verdict.violations));
    assert_eq!((verdict.missing, verdict.doubled, verdict.unexpected), (0, 0, 0));
    assert_eq!((verdict.altered, verdict.out_of_order), (0, 0));
}

#[test]
fn a_family_of_shards_is_clean_and_all_of_it_was_looked_at() {
    let (evidence, schema) = family(None);
    let verdict = judge(&evidence, &schema);
    assert_clean(&verdict);
    assert_eq!(verdict.raw, evidence.records.len() as u64);
    assert_eq!((verdict.shards, verdict.states, verdict.unordered_sensors), (4, 8, 0));
    assert_eq!(verdict.objects, evidence.objects.len() as u64);
    for (what, count) in [
        ("cleansed", verdict.cleansed),
        ("quarantined", verdict.quarantined),
        ("duplicates", verdict.duplicates),
        ("dimensions", verdict.dimensions),
        ("aggregates", verdict.aggregates),
        ("lease writes", verdict.lease_writes),
        ("object writes", verdict.object_writes),
    ] {
        assert!(count > 20, "{count} {what}");
    }
    let checked: Vec<&str> = verdict.checked.into_iter().collect();
    let all = "AGGREGATE ALERT CHECKPOINT CLEAN-ONCE COMPLETE DIMENSION INERT LINEAGE MANIFEST ORDER OWNER RAW-ONCE STATE \
               WRITE-ONCE";
    assert_eq!(checked.join(" "), all);
}

#[test]
fn what_a_lost_answer_explains_is_no_violation() {
    let (mut evidence, schema) = family(None);
    evidence.exact = false;
    for record in &mut evidence.records {
        (record.arrival_ms, record.data) = (None, None);
    }
    let forgotten: Vec<_> = evidence.records.drain(100..110).collect();
    for record in &forgotten[..8] {
        *evidence.maybe.entry(record.sha256).or_default() += 1;
    }
    evidence.open = 2;
    let verdict = judge(&evidence, &schema);
    assert_clean(&verdict);
    assert_eq!(verdict.explained, 10);
    assert!(!verdict.checked.contains("STATE"), "nothing is replayed without bytes");

    evidence.open = 1;
    let verdict = judge(&evidence, &schema);
    assert_eq!(verdict.found.keys().copied().collect::<Vec<_>>(), ["CLEAN-ONCE", "RAW-ONCE"]);
}

#[test]
fn the_copy_that_was_acknowledged_may_be_any_of_them() {
    let (mut evidence, schema) = family(None);
    evidence.exact = false;
    // The same bytes twice, and the answer to the first put was lost.
    let twin = (1..evidence.records.len())
        .find(|n| evidence.records[*n].sha256 == evidence.records[n - 1].sha256)
        .expect("duplicates were put");
    let lost = evidence.records.remove(twin - 1);
    evidence.maybe.insert(lost.sha256, 1);
    let verdict = judge(&evidence, &schema);
    assert_clean(&verdict);
    assert_eq!(verdict.explained, 1);
}

#[test]
fn open_windows_are_not_demanded_of_a_worker_that_was_killed() {
    let (mut evidence, schema) = family(None);
    let last = evidence.objects.keys().filter(|key| key.contains("000000000003-00000003")).cloned();
    let last: Vec<String> = last.chain(evidence.objects.keys().filter(|k| k.contains("3/00000003")).cloned()).collect();
    assert!(last.len() > 2, "{last:?}");
    evidence.objects.retain(|key, _| !last.contains(key));
    let (leases, writes) = (evidence.leases.take().unwrap(), evidence.writes.take().unwrap());
    assert!(leases.len() > writes.len() / 100);
    evidence.final_rows.clear();
    let found = |evidence: &Evidence| judge(evidence, &schema).found.into_keys().collect::<Vec<_>>();
    assert_eq!(found(&evidence), ["AGGREGATE"]);
    evidence.drained = false;
    assert_eq!(found(&evidence), Vec::<&str>::new());
}

#[test]
fn the_reference_knows_every_sensor() {
    let (mut evidence, schema) = family(None);
    let limits = evidence.limits.take().unwrap();
    let states = reference_states(&evidence.records, &evidence.lineage, &schema, &limits);
    assert_eq!(states.len(), 8);
    assert!(states.values().all(|state| state.len() > 20));
    let shuffled: Vec<_> = evidence.records.iter().rev().cloned().collect();
    assert_eq!(reference_states(&shuffled, &evidence.lineage, &schema, &limits), states, "records come in any order");
}

#[test]
fn a_restart_that_writes_is_found() {
    let (before, _) = family(None);
    assert_eq!(nothing_new(&before, &before), []);
    let mut after = before.clone();
    after.final_rows[0].owner = Some("somebody".into());
    after.final_rows[0].counter += 2;
    assert_eq!(nothing_new(&before, &after), [], "taking and releasing is no news");
    after.final_rows[1].epoch += 1;
    let key = after.objects.keys().next().unwrap().clone();
    after.objects.insert("raw/x".into(), after.objects[&key].clone());
    after.objects.insert(key, b"other"[..].into());
    let news = nothing_new(&before, &after);
    assert_eq!(news.len(), 3, "{news:?}");
    assert!(news.iter().all(|violation| violation.invariant == "IDEMPOTENT"));
}

#[test]
fn a_ledger_is_read_into_records_and_doubts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let entry = |k, n| {
        Line::Outcome(Entry {
            k,
            sensor: "s-1".into(),
            claims: None,
            n,
            kind: Kind::Reading,
            shard: (k == Outcome::Acked).then(|| "shardId-000000000000".into()),
            seq: (k == Outcome::Acked).then(|| "495".into()),
            sha256: "ab".repeat(32),
            bytes: 7,
            due_ms: 1,
            acked_ms: None,
        })
    };
    let sending = Line::Sending { sending: vec![Span { sensor: "s-1".into(), first: 0, last: 4 }] };
    let lines = [sending, entry(Outcome::Maybe, 0), entry(Outcome::Acked, 0), entry(Outcome::Failed, 1)];
    Ledger::create(&path).unwrap().append(&lines).unwrap();
    let facts = ledger(std::slice::from_ref(&path)).unwrap();
    assert_eq!((facts.records.len(), facts.open, facts.maybe[&[0xab; 32]]), (1, 3, 1));
    let record = &facts.records[0];
    assert_eq!((record.sequence.as_str(), record.n, record.sha256), ("495", Some(0), [0xab; 32]));

    Ledger::resume(&path).unwrap().append(&[entry(Outcome::Acked, 9)]).unwrap();
    assert!(ledger(&[path]).unwrap_err().to_string().contains("without a sending"));
}
