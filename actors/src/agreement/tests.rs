use bytes::Bytes;
use messages::{
    Cut, CutReason, EpochNumber, EpochPlan, PlannedObject, Position, SequenceNumber, ShardId, StreamId, Zone,
};

use super::error::Disagreement;
use super::rule::{Agreement, Evidence, decide, is_row_home};
use super::{FoundPlan, ListedKeys, ReadPlans, pending};
use crate::ports::faults::Faults;
use crate::ports::leases::{Home, LeaseRow, OtherHome, Pending};

const STREAM: &str = "events";
const PREFIX: &str = "manifests/events/000000000000/";

fn shard() -> ShardId {
    ShardId::new("shardId-000000000000")
}

fn home() -> Home {
    let arn = "arn:aws:kinesis:eu-west-1:000000000000:stream/events".to_owned();
    Home { stream: StreamId { arn, created_ms: 1_000 }, bucket: "lake".to_owned() }
}

fn at(n: u64) -> Position {
    if n == 0 { Position::TrimHorizon } else { Position::At(SequenceNumber::parse(&(n * 100).to_string()).unwrap()) }
}

fn state(epoch: u64) -> String {
    format!("state/events/000000000000/{epoch:08}.state")
}

/// Epoch n goes from n - 1 to n.
fn plan(epoch: u64) -> EpochPlan {
    let cut = Cut {
        epoch: EpochNumber(epoch),
        from: at(epoch - 1),
        to: at(epoch),
        reason: CutReason::Age,
        full_state: true,
        whole_aggregates: false,
        spread: false,
    };
    EpochPlan {
        format: EpochPlan::FORMAT,
        stream: Some(home().stream),
        shard: shard(),
        cut,
        schema: String::new(),
        records: 1,
        readings: 1,
        clean: 1,
        quarantined: 0,
        duplicates: 0,
        reasons: Default::default(),
        alerts: 0,
        poisoned: Vec::new(),
        previous_state: (epoch > 1).then(|| state(epoch - 1)),
        objects: vec![PlannedObject { key: state(epoch), zone: Zone::State, rows: 1, digest: String::new() }],
    }
}

fn found(key: &str, plan: &EpochPlan) -> FoundPlan {
    FoundPlan::new(format!("{PREFIX}{key}"), &shard(), serde_json::to_vec(plan).unwrap().into())
}

fn manifest(plan: &EpochPlan) -> FoundPlan {
    found(&format!("{:08}.json", plan.cut.epoch.0), plan)
}

fn claim(plan: &EpochPlan) -> FoundPlan {
    found(&format!("{:08}.claim", plan.cut.epoch.0), plan)
}

fn row(epoch: u64) -> LeaseRow {
    LeaseRow {
        checkpoint: at(epoch),
        epoch: EpochNumber(epoch),
        state_key: (epoch > 0).then(|| state(epoch)),
        ..LeaseRow::fresh(shard(), Vec::new(), Default::default()).at(&home())
    }
}

/// What follows from what is in the bucket, in the order of its keys.
fn judge(row: &LeaseRow, bucket: &[FoundPlan]) -> Result<Agreement, Disagreement> {
    let listed = ListedKeys::of(PREFIX.to_owned(), row.epoch, bucket.iter().map(|found| found.key.clone()).collect());
    let read = |keys: &[String]| bucket.iter().filter(|found| keys.contains(&found.key)).cloned().collect::<Vec<_>>();
    let one = |key: Option<&String>| read(&key.cloned().into_iter().collect::<Vec<_>>()).pop();
    let found = ReadPlans {
        own: read(&listed.own),
        ahead: read(&listed.ahead),
        own_claim: one(listed.claim(row.epoch)),
        next_claim: one(listed.claim(listed.newest(row).next())),
    };
    decide(&Evidence { row, home: &home(), listed: &listed, found: &found }, &Faults::none())
}

fn whole(epochs: std::ops::RangeInclusive<u64>) -> Vec<FoundPlan> {
    epochs.flat_map(|n| [claim(&plan(n)), manifest(&plan(n))]).collect()
}

#[test]
fn a_row_and_a_bucket_that_say_the_same_change_nothing() {
    for epoch in [0, 1, 7] {
        let verdict = judge(&row(epoch), &if epoch == 0 { Vec::new() } else { whole(epoch..=epoch) }).unwrap();
        assert!(verdict.advance.is_none() && verdict.lost.is_none() && verdict.damaged.is_none());
    }
    // A KCL application has gone on behind the last epoch.
    let further = LeaseRow { checkpoint: at(9), ..row(7) };
    assert!(judge(&further, &whole(7..=7)).unwrap().advance.is_none());
    let inside = LeaseRow { checkpoint: at(6), begin_inside: Some(SequenceNumber::parse("700").unwrap()), ..row(7) };
    assert!(judge(&inside, &whole(7..=7)).unwrap().advance.is_none());
}

#[test]
fn what_was_pinned_is_finished_as_ever_whatever_of_it_is_stored() {
    let pinned = LeaseRow { pending: Some(pending(&plan(8))), ..row(7) };
    for behind in [Vec::new(), vec![claim(&plan(8))], whole(8..=8)] {
        let verdict = judge(&pinned, &[whole(7..=7), behind].concat()).unwrap();
        assert!(verdict.advance.is_none());
    }
}

#[test]
fn a_row_that_is_behind_goes_on_from_the_newest_whole_epoch() {
    for at_row in [0, 2] {
        let bucket = if at_row == 0 { whole(1..=5) } else { whole(at_row..=5) };
        let advance = judge(&row(at_row), &bucket).unwrap().advance.unwrap();
        assert_eq!((advance.checkpoint, advance.epoch), (at(5), EpochNumber(5)));
        assert_eq!((advance.state_key, advance.pending), (Some(state(5)), None));
    }
    // What the row has pinned was not what became of it.
    let mut other = plan(3);
    other.cut.to = at(30);
    let pinned = LeaseRow { pending: Some(pending(&other)), ..row(2) };
    let advance = judge(&pinned, &whole(2..=3)).unwrap().advance.unwrap();
    assert_eq!((advance.checkpoint, advance.pending), (at(3), None));
}

#[test]
fn what_was_claimed_behind_the_newest_epoch_is_finished_as_it_was_claimed() {
    let mut other = plan(6);
    other.cut.to = at(60);
    for row in [row(2), row(5), LeaseRow { pending: Some(pending(&other)), ..row(5) }] {
        let bucket = [whole(row.epoch.0..=5), vec![claim(&plan(6))]].concat();
        let advance = judge(&row, &bucket).unwrap().advance.unwrap();
        assert_eq!((advance.checkpoint, advance.epoch), (at(5), EpochNumber(5)));
        assert_eq!(advance.pending, Some(Pending { to: at(6), plan: Box::new(plan(6)) }));
    }
}

#[test]
fn old_names_count_like_new_ones() {
    let old = |n| {
        let plan = EpochPlan { format: EpochPlan::NAMED_BY_END, stream: None, ..plan(n) };
        found(&format!("{n:08}-{}.json", n * 100), &plan)
    };
    let bucket: Vec<FoundPlan> = vec![old(2), old(3), claim(&plan(4)), manifest(&plan(4))];
    assert_eq!(judge(&row(2), &bucket).unwrap().advance.unwrap().epoch, EpochNumber(4));
}

#[test]
fn a_row_that_says_more_than_the_bucket_is_not_believed() {
    let lost = judge(&row(7), &[]).unwrap_err();
    assert!(matches!(&lost, Disagreement::ManifestLost { row: EpochNumber(7), prefix } if prefix.contains("lake")));
    // Its claim says what the manifest said.
    let verdict = judge(&row(7), &[claim(&plan(7))]).unwrap();
    assert_eq!(verdict.lost.unwrap().key, format!("{PREFIX}00000007.claim"));
    // Set back by hand: what is in the epoch would be stored again.
    let back = judge(&LeaseRow { checkpoint: at(3), ..row(7) }, &whole(7..=7)).unwrap_err();
    assert!(matches!(back, Disagreement::SetBack { .. }), "{back}");
    let states = judge(&LeaseRow { state_key: Some(state(6)), ..row(7) }, &whole(7..=7)).unwrap_err();
    assert!(matches!(states, Disagreement::States { .. }), "{states}");
}

#[test]
fn what_does_not_follow_is_refused() {
    let gap = judge(&row(2), &[whole(2..=3), whole(5..=5)].concat()).unwrap_err();
    assert!(matches!(gap, Disagreement::Gap { missing: EpochNumber(4), .. }), "{gap}");
    let beyond = judge(&row(2), &[whole(2..=2), vec![claim(&plan(5))]].concat()).unwrap_err();
    assert!(matches!(beyond, Disagreement::Gap { missing: EpochNumber(3), .. }), "{beyond}");
    let mut other = plan(4);
    other.cut.from = at(2);
    for bucket in [vec![claim(&other), manifest(&other)], vec![claim(&other)]] {
        let fork = judge(&row(2), &[whole(2..=3), bucket].concat()).unwrap_err();
        assert!(matches!(fork, Disagreement::Fork { epoch: EpochNumber(4), .. }), "{fork}");
    }
    let first = found("00000003-300.json", &EpochPlan { format: EpochPlan::NAMED_BY_END, ..plan(3) });
    let twice = judge(&row(2), &[whole(2..=2), vec![first, manifest(&plan(3))]].concat()).unwrap_err();
    assert!(matches!(twice, Disagreement::Twice { epoch: EpochNumber(3), .. }), "{twice}");
}

#[test]
fn what_is_damaged_is_named_and_no_end() {
    let damaged =
        |key: &str, bytes: &'static [u8]| FoundPlan::new(format!("{PREFIX}{key}"), &shard(), Bytes::from_static(bytes));
    let newer = EpochPlan { format: EpochPlan::FORMAT + 1, ..plan(3) };
    let elsewhere = EpochPlan { shard: ShardId::new("shardId-000000000009"), ..plan(3) };
    let misplaced = found("00000003.json", &plan(4));
    for bad in [damaged("00000003.json", b"{\"format"), manifest(&newer), manifest(&elsewhere), misplaced] {
        let error = judge(&row(2), &[whole(2..=2), vec![bad]].concat()).unwrap_err();
        assert!(error.to_string().contains(&format!("{PREFIX}00000003.json")), "{error}");
    }
    let bad_claim = damaged("00000003.claim", b"");
    assert!(judge(&row(2), &[whole(2..=2), vec![bad_claim]].concat()).is_err());
    // The row's own: only its claim can speak for it.
    let own = damaged("00000002.json", b"{}");
    let verdict = judge(&row(2), &[claim(&plan(2)), own.clone()]).unwrap();
    assert_eq!(verdict.damaged, Some(own.key.clone()));
    assert!(matches!(judge(&row(2), &[own]).unwrap_err(), Disagreement::Damaged { .. }));
}

#[test]
fn what_is_another_streams_is_refused_by_both_names() {
    let elsewhere = Home { bucket: "other".to_owned(), ..home() };
    let recreated = Home { stream: StreamId { created_ms: 2_000, ..home().stream }, ..home() };
    let mut another = home();
    another.stream.arn.push('2');
    for theirs in [&elsewhere, &recreated, &another] {
        let error = is_row_home(&home(), STREAM, &row(0).at(theirs), &Faults::none()).unwrap_err();
        let (expected, found) = match &error {
            Disagreement::Home(OtherHome::Bucket { theirs, ours, .. }) => (theirs, ours),
            Disagreement::Home(
                OtherHome::Incarnation { theirs, ours, .. } | OtherHome::Stream { theirs, ours, .. },
            ) => (theirs, ours),
            other => panic!("{other}"),
        };
        assert!(error.to_string().contains(expected) && error.to_string().contains(found), "{error}");
    }
    // Rows of earlier versions do not say it; their states do.
    let unsaid = LeaseRow { home: None, ..row(3) };
    assert_eq!(is_row_home(&home(), STREAM, &unsaid, &Faults::none()), Ok(()));
    assert!(matches!(is_row_home(&home(), "others", &unsaid, &Faults::none()), Err(Disagreement::OtherStates { .. })));
    // Manifests of the stream that was there before.
    let old = EpochPlan { stream: Some(recreated.stream.clone()), ..plan(3) };
    let error = judge(&row(2), &[whole(2..=2), vec![manifest(&old)]].concat()).unwrap_err();
    assert!(matches!(error, Disagreement::Home(OtherHome::Incarnation { .. })), "{error}");
}

#[test]
fn a_row_that_is_too_far_behind_is_refused_and_not_searched_for_ever() {
    let listed = ListedKeys { more: true, ahead: vec![format!("{PREFIX}00000502.json")], ..ListedKeys::default() };
    let evidence = Evidence { row: &row(2), home: &home(), listed: &listed, found: &ReadPlans::default() };
    assert!(matches!(decide(&evidence, &Faults::none()), Err(Disagreement::FarBehind { seen: EpochNumber(502), .. })));
}
