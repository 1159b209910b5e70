//! The ledger survives kills and hostile ids.

use std::io::Write as _;

use super::history::Fate;
use super::*;
use crate::{BrokenKind, Kind};

fn entry(k: Outcome, sensor: &str, n: u64) -> Line {
    Line::Outcome(Entry {
        k,
        sensor: ledger_id(sensor).into_owned(),
        claims: None,
        n,
        kind: Kind::Broken(BrokenKind::QuoteId),
        shard: (k == Outcome::Acked).then(|| "shardId-000000000000".to_owned()),
        seq: (k == Outcome::Acked).then(|| "49".to_owned()),
        sha256: hex(&sha256(b"payload")),
        bytes: 7,
        due_ms: 1,
        acked_ms: (k == Outcome::Acked).then_some(2),
    })
}

fn sending(sensor: &str, first: u64, last: u64) -> Line {
    Line::Sending { sending: vec![Span { sensor: sensor.to_owned(), first, last }] }
}

fn lines(path: &Path) -> Vec<Line> {
    Ledger::read(path).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_torn_last_line_is_ignored_by_readers_and_cut_away_by_the_next_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/ledger.jsonl");
    let first = entry(Outcome::Acked, "s-1", 0);
    Ledger::create(&path).unwrap().append(std::slice::from_ref(&first)).unwrap();
    let torn = vec![b'x'; 200_000];
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&torn).unwrap();
    assert_eq!(lines(&path), std::slice::from_ref(&first));

    let second = entry(Outcome::Maybe, "s-1", 1);
    Ledger::resume(&path).unwrap().append(std::slice::from_ref(&second)).unwrap();
    assert_eq!(lines(&path), [first, second]);
}

#[test]
fn a_ledger_that_is_one_torn_line_becomes_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    std::fs::write(&path, "{\"k\":\"acked\",\"sen").unwrap();
    Ledger::create(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn a_broken_line_in_the_middle_is_an_error_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    std::fs::write(&path, "{\"complete\":true,\"rows\":1,\"bad_rows\":0}\nnonsense\n{}\n").unwrap();
    let error = Ledger::read(&path).unwrap().nth(1).unwrap().unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn a_used_ledger_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    Ledger::create(&path).unwrap().append(&[entry(Outcome::Acked, "s-1", 0)]).unwrap();
    assert!(matches!(Ledger::create(&path), Err(FleetError::LedgerInUse { .. })));
    assert_eq!(lines(&path).len(), 1);
}

#[test]
fn hostile_ids_stay_on_one_line_and_come_back_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let hostile = ["a\nb\r\n{\"k\":\"acked\"}", "\"';--</script>\u{0}\u{2028}", "../../etc", "", "🦀"];
    let written: Vec<_> = hostile.iter().map(|id| entry(Outcome::Failed, id, 3)).collect();
    Ledger::create(&path).unwrap().append(&written).unwrap();
    assert_eq!(lines(&path), written);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches('\n').count(), hostile.len());
}

#[test]
fn long_ids_are_shortened_but_stay_distinct() {
    let crab = "🦀".repeat(16_384);
    let short = ledger_id(&crab);
    assert!(short.len() <= SENSOR_BYTES_MAX && short.starts_with('🦀'));
    assert_ne!(short, ledger_id(&format!("{crab}!")));
    assert_eq!(ledger_id("s-1"), "s-1");
}

#[test]
fn the_history_tells_delivered_from_doubtful() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    assert_eq!(History::read(&path).unwrap().fate("s", 0), None);
    let ledger = Ledger::create(&path).unwrap();
    ledger
        .append(&[
            sending("s", 0, 4),
            entry(Outcome::Acked, "s", 0),
            entry(Outcome::Maybe, "s", 1),
            entry(Outcome::Acked, "s", 1),
            entry(Outcome::Maybe, "s", 2),
            entry(Outcome::Failed, "s", 2),
            entry(Outcome::Failed, "s", 3),
        ])
        .unwrap();
    let history = History::read(&path).unwrap();
    let acked = Some(Fate::Acked(sha256(b"payload")));
    let fates: Vec<_> = (0..6).map(|n| history.fate("s", n)).collect();
    assert_eq!(fates, [acked, acked, Some(Fate::Doubtful), None, Some(Fate::Sending), None]);
    assert_eq!(history.completion(), None);

    let completion = Completion { complete: true, rows: 5, bad_rows: 0 };
    ledger.append(&[Line::Complete(completion)]).unwrap();
    assert_eq!(History::read(&path).unwrap().completion(), Some(completion));
}
