//! The bounds without their actor: single decisions, and all orders of pages, cuts, drains and pinned ends.

mod orders;

use std::collections::BTreeSet;

use bytes::Bytes;
use messages::{
    Caution, Cut, CutReason, EpochNumber, EpochPlan, Position, RawRecord, SequenceNumber, ShardId, StreamId, Suspect,
};

use super::{Bounds, BoundsRules, Care, KnownKeys, PinnedEndMissing, ReadBegin, ReadEffect, ReadFrom, ReadTurn};

const ROWS_MAX: u64 = 10;
const BY_KEY: KnownKeys = KnownKeys { whole_aggregates: false, spread: false };
const SPREAD: KnownKeys = KnownKeys { whole_aggregates: true, spread: true };

fn rules() -> BoundsRules {
    BoundsRules { partitions_max: 4, rows_max: ROWS_MAX, crashes_max: 3, pins_keys: true, empty_shard_ends: true }
}

fn at(record: u64) -> Position {
    Position::At(sequence(record))
}

fn sequence(record: u64) -> SequenceNumber {
    SequenceNumber::parse(&record.to_string()).unwrap()
}

fn record(record: u64) -> RawRecord {
    RawRecord { sequence: sequence(record), arrival_ms: 0, partition_key: "k".into(), data: Bytes::new() }
}

fn cut(epoch: u64, from: Position, to: Position, keys: KnownKeys) -> Cut {
    let reason = if to == Position::ShardEnd { CutReason::ShardEnd } else { CutReason::Rows };
    let (epoch, full_state) = (EpochNumber(epoch), to == Position::ShardEnd);
    let KnownKeys { whole_aggregates, spread } = keys;
    Cut { epoch, from, to, reason, full_state, whole_aggregates, spread }
}

fn plan(cut: Cut, poisoned: &[u64]) -> EpochPlan {
    EpochPlan {
        format: EpochPlan::FORMAT,
        stream: None::<StreamId>,
        shard: ShardId::new("shardId-000000000001"),
        cut,
        schema: "schema".to_owned(),
        records: 1,
        readings: 1,
        clean: 1,
        quarantined: 0,
        duplicates: 0,
        reasons: Default::default(),
        alerts: 0,
        poisoned: poisoned.iter().map(|at| (sequence(*at), None)).collect(),
        previous_state: None,
        objects: Vec::new(),
    }
}

fn begin(checkpoint: Position) -> ReadBegin {
    let (begin_inside, start_at_ms, pinned, caution, suspects) = (None, None, None, None, Vec::new());
    ReadBegin { checkpoint, begin_inside, start_at_ms, pinned, caution, suspects }
}

fn pinned(plan: EpochPlan) -> ReadBegin {
    ReadBegin { pinned: Some(Box::new(plan.clone())), ..begin(plan.cut.from) }
}

/// Hands on what may be handed on, every record with one reading in one partition. Answers the numbers of the records
/// that were read, of those that went unread, and what is to be told.
fn hand_on(bounds: &mut Bounds) -> Result<(Vec<u64>, Vec<u64>, Vec<ReadEffect>), PinnedEndMissing> {
    let (mut read, mut unread, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    while bounds.next_batch(true).is_some() {
        bounds.begin_batch();
        let mut rows = 0;
        while let Some((record, is_unread)) = bounds.next_record(rows, rows)? {
            rows += 1;
            let of = if is_unread { &mut unread } else { &mut read };
            of.push(record.sequence.as_str().parse().unwrap());
            bounds.touches(BTreeSet::from([0]));
        }
        effects.push(bounds.handed_on(rows, rows));
    }
    Ok((read, unread, effects))
}

fn grew(rows: u64) -> ReadEffect {
    ReadEffect::Grew { bytes: rows, rows, partitions: 1, ends: false }
}

fn page(records: std::ops::RangeInclusive<u64>) -> Vec<RawRecord> {
    records.map(record).collect()
}

#[test]
fn a_full_epoch_holds_the_rest_until_it_is_cut() {
    let mut bounds = Bounds::new(rules(), begin(Position::TrimHorizon), BY_KEY);
    bounds.fetched(page(1..=15), false);
    assert_eq!(hand_on(&mut bounds), Ok(((1..=10).collect(), vec![], vec![grew(10)])));
    assert_eq!((bounds.turn(true), bounds.next_batch(true)), (ReadTurn::HandOn, None));
    let ended = bounds.cut(EpochNumber(1), CutReason::Rows, false);
    assert_eq!(ended, ReadEffect::Cut(cut(1, Position::TrimHorizon, at(10), BY_KEY)));
    assert_eq!(hand_on(&mut bounds), Ok(((11..=15).collect(), vec![], vec![grew(5)])));
    assert_eq!(bounds.turn(true), ReadTurn::Fetch);
}

#[test]
fn without_room_only_a_pinned_epoch_is_read() {
    let mut open = Bounds::new(rules(), begin(at(1)), BY_KEY);
    let mut pinned = Bounds::new(rules(), pinned(plan(cut(1, at(1), at(3), BY_KEY), &[])), BY_KEY);
    assert_eq!((open.turn(false), pinned.turn(false)), (ReadTurn::NoRoom, ReadTurn::Fetch));
    for bounds in [&mut open, &mut pinned] {
        bounds.fetched(page(2..=3), false);
    }
    assert_eq!((open.next_batch(false), pinned.next_batch(false)), (None, Some(Care::Usual)));
    assert_eq!((open.turn(false), pinned.turn(false)), (ReadTurn::NoRoom, ReadTurn::HandOn));
}

#[test]
fn a_pinned_epoch_ends_at_its_record_with_the_keys_of_its_beginning_and_its_poison_unread() {
    let ended = cut(7, at(1), at(3), SPREAD);
    let mut bounds = Bounds::new(rules(), pinned(plan(ended.clone(), &[2])), BY_KEY);
    assert_eq!(bounds.begin_batch(), SPREAD);
    bounds.fetched(page(2..=5), false);
    let (read, unread, effects) = hand_on(&mut bounds).unwrap();
    assert_eq!((read, unread), (vec![3, 4, 5], vec![2]));
    assert_eq!(effects, [ReadEffect::Cut(ended), grew(2)]);
    let next = bounds.cut(EpochNumber(8), CutReason::Rows, false);
    assert_eq!(next, ReadEffect::Cut(cut(8, at(3), at(5), BY_KEY)));
}

#[test]
fn a_pinned_end_that_is_gone_is_refused() {
    let plan = || plan(cut(1, at(1), at(3), BY_KEY), &[]);
    let mut bounds = Bounds::new(rules(), pinned(plan()), BY_KEY);
    bounds.fetched(page(4..=5), false);
    assert_eq!(hand_on(&mut bounds), Err(PinnedEndMissing { to: at(3), found: at(4) }));
    let mut bounds = Bounds::new(rules(), pinned(plan()), BY_KEY);
    bounds.fetched(page(2..=2), true);
    assert_eq!(hand_on(&mut bounds), Ok((vec![2], vec![], vec![grew(1)])));
    assert!(bounds.is_read_out());
    assert_eq!(bounds.end_shard(), Err(PinnedEndMissing { to: at(3), found: Position::ShardEnd }));
}

#[test]
fn a_pinned_epoch_without_records_ends_where_it_begins_or_with_the_shard() {
    let ended = cut(4, at(9), at(9), BY_KEY);
    let mut bounds = Bounds::new(rules(), pinned(plan(ended.clone(), &[])), SPREAD);
    assert_eq!(bounds.pinned_end(), Some(ReadEffect::Cut(ended)));
    assert_eq!(bounds.pinned_end(), None);

    let ended = cut(4, at(9), Position::ShardEnd, BY_KEY);
    let mut bounds = Bounds::new(rules(), pinned(plan(ended.clone(), &[])), SPREAD);
    assert_eq!(bounds.pinned_end(), None);
    bounds.fetched(Vec::new(), true);
    assert_eq!((bounds.is_read_out(), bounds.end_shard()), (true, Ok(Some(ReadEffect::Cut(ended)))));
    assert_eq!(bounds.turn(true), ReadTurn::Rest);
}

#[test]
fn the_end_of_a_shard_is_said_when_all_is_handed_on_also_of_an_empty_one() {
    let mut bounds = Bounds::new(rules(), begin(at(0)), BY_KEY);
    bounds.fetched(page(1..=12), true);
    hand_on(&mut bounds).unwrap();
    assert!(!bounds.is_read_out(), "two records wait");
    bounds.cut(EpochNumber(1), CutReason::Rows, false);
    hand_on(&mut bounds).unwrap();
    assert!(bounds.is_read_out());
    assert_eq!(bounds.end_shard(), Ok(Some(ReadEffect::Ask(CutReason::ShardEnd))));
    let ended = bounds.cut(EpochNumber(2), CutReason::Age, false);
    assert_eq!(ended, ReadEffect::Cut(cut(2, at(10), Position::ShardEnd, BY_KEY)));

    let mut empty = Bounds::new(rules(), begin(at(0)), BY_KEY);
    empty.fetched(Vec::new(), true);
    assert_eq!(empty.end_shard(), Ok(Some(ReadEffect::Ask(CutReason::ShardEnd))));
    assert_eq!(Bounds::new(rules(), begin(Position::ShardEnd), BY_KEY).turn(true), ReadTurn::Rest);
}

#[test]
fn after_a_drain_nothing_is_handed_on_and_a_pinned_epoch_stays_pinned() {
    let mut bounds = Bounds::new(rules(), pinned(plan(cut(1, at(1), at(3), BY_KEY), &[])), BY_KEY);
    bounds.fetched(page(2..=3), false);
    assert_eq!(bounds.drain(), ReadEffect::Ask(CutReason::Shutdown));
    assert_eq!((bounds.turn(true), bounds.next_batch(true), bounds.pinned_end()), (ReadTurn::Rest, None, None));
}

#[test]
fn what_is_known_of_keys_holds_for_a_whole_epoch() {
    let mut bounds = Bounds::new(rules(), begin(at(0)), BY_KEY);
    // The first record of an epoch may come long after the end of the one before.
    bounds.knows(SPREAD);
    assert_eq!(bounds.begin_batch(), SPREAD);
    bounds.fetched(page(1..=2), false);
    hand_on(&mut bounds).unwrap();
    bounds.knows(BY_KEY);
    assert_eq!(bounds.begin_batch(), SPREAD);
    assert_eq!(bounds.cut(EpochNumber(1), CutReason::Rows, false), ReadEffect::Cut(cut(1, at(0), at(2), SPREAD)));
    assert_eq!(bounds.begin_batch(), BY_KEY);
}

#[test]
fn with_caution_epochs_are_short_until_as_many_records_were_read() {
    let caution = Some(Caution { records_max: 4, lasts: 6 });
    let mut bounds = Bounds::new(rules(), ReadBegin { caution, ..begin(at(0)) }, BY_KEY);
    bounds.fetched(page(1..=15), false);
    let mut read = Vec::new();
    for epoch in 1..=3 {
        read.push(hand_on(&mut bounds).unwrap().0.len());
        let asks = bounds.asks_for_more().is_some();
        assert_eq!(asks, epoch < 3, "records wait for the end of epoch {epoch}");
        bounds.cut(EpochNumber(epoch), CutReason::Bytes, false);
    }
    assert_eq!(read, [4, 4, 7]);
}

#[test]
fn record_by_record_each_is_noted_before_and_goes_unread_after_too_many_tries() {
    let suspects: Vec<Suspect> = [(1, 2), (2, 3)]
        .map(|(record, tries)| Suspect { sequence: sequence(record), sub_sequence: None, tries })
        .to_vec();
    let caution = Some(Caution { records_max: 1, lasts: 100 });
    let mut bounds = Bounds::new(rules(), ReadBegin { caution, suspects: suspects.clone(), ..begin(at(0)) }, BY_KEY);
    bounds.fetched(page(1..=2), false);
    assert_eq!(bounds.next_batch(true), Some(Care::Noted(Suspect { tries: 3, ..suspects[0].clone() })));
    let ends = |rows| ReadEffect::Grew { bytes: rows, rows, partitions: 1, ends: true };
    assert_eq!(hand_on(&mut bounds), Ok((vec![1], vec![], vec![ends(1)])));
    bounds.cut(EpochNumber(1), CutReason::Bytes, false);
    assert_eq!(bounds.next_batch(true), Some(Care::Unread(suspects[1].clone())));
    assert_eq!(hand_on(&mut bounds), Ok((vec![], vec![2], vec![ends(1)])));
}

#[test]
fn reading_begins_where_another_application_stopped_or_where_it_was_told_to() {
    let inside = ReadBegin { begin_inside: Some(sequence(5)), start_at_ms: Some(7), ..begin(at(4)) };
    let mut bounds = Bounds::new(rules(), inside, BY_KEY);
    assert_eq!(bounds.reads_from(), ReadFrom::At(&sequence(5)));
    bounds.fetched(page(5..=5), false);
    hand_on(&mut bounds).unwrap();
    assert_eq!(bounds.reads_from(), ReadFrom::After(&at(5)));
    let since = ReadBegin { start_at_ms: Some(7), ..begin(Position::TrimHorizon) };
    assert_eq!(Bounds::new(rules(), since, BY_KEY).reads_from(), ReadFrom::Since(7));
}
