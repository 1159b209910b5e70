//! Validity, its order, duplicates and poison.

use messages::{Reason, ShardId, Verdict};

use super::*;

fn faults(rows: &[Row]) -> Vec<Option<(Reason, String)>> {
    let outcome = feed(&mut sensor(), rows);
    let fault = |verdict: &Verdict| match verdict {
        Verdict::Quarantined { reason, detail } => Some((*reason, detail.clone())),
        Verdict::Clean(_) | Verdict::Duplicate => None,
    };
    outcome.verdicts.iter().map(fault).collect()
}

fn fault(row: Row) -> Option<(Reason, String)> {
    faults(&[row]).remove(0)
}

#[test]
fn clock_bounds_are_inclusive_and_count_from_arrival() {
    let arrived = |time_us: i64| Row { time_us, ..at(0, 20.0) };
    assert_eq!(fault(arrived(START_US - 3600 * SECOND_US)), None);
    assert_eq!(fault(arrived(START_US + 60 * SECOND_US)), None);
    let (reason, detail) = fault(arrived(START_US - 3600 * SECOND_US - 1)).unwrap();
    assert_eq!(reason, Reason::TimeOutOfBounds);
    assert_eq!(
        detail,
        "event time 2025-12-31T22:59:59.999999Z is 3600.000001 s before the record's arrival; at most 3600 s allowed"
    );
    let (_, detail) = fault(arrived(START_US + 61 * SECOND_US)).unwrap();
    assert_eq!(detail, "event time 2026-01-01T00:01:01Z is 61 s after the record's arrival; at most 60 s allowed");
    let (_, detail) = fault(arrived(0)).unwrap();
    assert_eq!(detail, "event time 1970-01-01T00:00:00Z; the earliest believed is 2000-01-01T00:00:00Z");
    for time_us in [i64::MIN, i64::MAX] {
        assert_eq!(fault(arrived(time_us)).unwrap().0, Reason::TimeOutOfBounds);
    }
}

#[test]
fn the_first_fault_in_order_is_the_reason() {
    let long = Some("123456789".to_owned());
    let all = Row { time_us: 0, heat: None, height: Some(f64::NAN), firmware: long.clone(), ..at(0, 0.0) };
    assert_eq!(fault(all.clone()).unwrap().0, Reason::TimeOutOfBounds);
    let on_time = Row { time_us: START_US, ..all };
    assert_eq!(fault(on_time.clone()), Some((Reason::MissingField, "heat is required".to_owned())));
    let present = Row { heat: Some(90.5), ..on_time };
    assert_eq!(fault(present.clone()), Some((Reason::OutOfRange, "heat is 90.5; valid is -90 to 90 Cel".to_owned())));
    let in_range = Row { heat: Some(90.0), ..present };
    assert_eq!(fault(in_range.clone()), Some((Reason::OutOfRange, "height is not a finite number".to_owned())));
    let finite = Row { height: Some(-1e300), ..in_range };
    assert_eq!(
        fault(finite.clone()),
        Some((Reason::OutOfRange, "firmware is 9 bytes long; at most 8 allowed".to_owned()))
    );
    assert_eq!(fault(Row { firmware: Some("12345678".to_owned()), ..finite }), None);
}

#[test]
fn duplicates_are_known_within_the_horizon_only() {
    let named = |n: i64, name: &str| Row { event_id: Some(name.to_owned()), ..at(n, noise(n, 1.0)) };
    let mut core = sensor();
    let names = ["a", "b", "a", "c", "d", "a", "e", "a", "b"];
    let rows: Vec<Row> = (0i64..).zip(names).map(|(n, name)| named(n, name)).collect();
    let duplicates: Vec<bool> = feed(&mut core, &rows).verdicts.iter().map(|v| *v == Verdict::Duplicate).collect();
    // Four are remembered: "e" pushes "a" out, whose repetition in between does not count as new.
    assert_eq!(duplicates, [false, false, true, false, false, true, false, false, false]);
    assert_eq!(core.view(SHARD).duplicates, 2);
    assert!(feed(&mut core, &vec![at(20, 20.0); 3]).verdicts.iter().all(|v| matches!(v, Verdict::Clean(_))));
}

#[test]
fn an_invalid_reading_was_never_seen() {
    let named = |heat| Row { event_id: Some("a".to_owned()), ..at(0, heat) };
    let verdicts = feed(&mut sensor(), &[named(99.0), named(20.0), named(20.0)]).verdicts;
    assert!(matches!(verdicts[..], [Verdict::Quarantined { .. }, Verdict::Clean(_), Verdict::Duplicate]));
}

#[test]
fn poison_is_quarantined_unseen() {
    let rows = [at(0, 20.0), Row { poison: true, ..at(1, 99.0) }, at(2, 21.0)];
    let mut seen = Vec::new();
    let mut core = sensor();
    let outcome = core.apply(&ShardId::new(SHARD), &batch(&rows, 0), 0, &poison_of(&rows), &mut |row| seen.push(row));
    assert_eq!(seen, [0, 2]);
    assert!(matches!(outcome.verdicts[1], Verdict::Quarantined { reason: Reason::Poison, .. }));
    let view = core.view(SHARD);
    assert_eq!((view.readings, view.clean, view.quarantined), (3, 2, 1));
}

#[test]
fn only_the_groups_own_rows_are_judged() {
    let mut batch = batch(&[at(0, 20.0), at(1, 99.0), at(2, 20.0)], 0);
    batch.order = vec![1, 0, 2];
    let group = |sensor, rows| Group { sensor, hash_key: 0, rows };
    batch.groups = vec![group(SensorId::new("other"), 0..1), group(id(), 1..3)];
    let mut rows = Vec::new();
    let outcome = sensor().apply(&ShardId::new(SHARD), &batch, 1, &[], &mut |row| rows.push(row));
    assert_eq!(rows, [0, 2]);
    assert!(outcome.verdicts.iter().all(|v| matches!(v, Verdict::Clean(_))));
}

#[test]
fn rubbish_is_a_sign_of_life_but_no_measurement() {
    let mut core = sensor();
    feed(&mut core, &[at(0, 20.0), at(5, 99.0)]);
    assert_eq!(core.last_arrival_ms(), Some(START_US / 1000 + 5000));
    assert_eq!(core.last_event_time_us(), Some(START_US));
}
