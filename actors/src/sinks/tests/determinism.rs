use messages::{Anomalies, Assessment, EpochPlan, Reason, Verdict, Zone};
use proptest::prelude::*;

use super::fixture::{Event, HOUR_MS, NOW_MS, Part, Reading, batches, clean, content, context, event};
use crate::sinks::{Codec, Encoding, Encodings, encode_epoch};

fn digests(plan: &EpochPlan) -> Vec<(Zone, &str)> {
    plan.objects.iter().map(|o| (o.zone, o.digest.as_str())).collect()
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => (any::<f32>(), 0..16_u8).prop_map(|(score, set)| Verdict::Clean(Assessment {
            score, anomalies: Anomalies(set), sensor_version: 1,
        })),
        1 => Just(Verdict::Duplicate),
        1 => ".{0,9}".prop_map(|detail| Verdict::Quarantined { reason: Reason::OutOfRange, detail }),
    ]
}

prop_compose! {
    fn reading()(
        sensor in "[a-d]",
        hours_ago in 0..3_i64,
        event_id in prop::option::of("[a-z]{0,3}"),
        temperature in prop::option::of(any::<f64>()),
        firmware in prop::option::of(".{0,5}"),
        verdict in verdict(),
        (late, alerts, change) in (any::<bool>(), 0..3_usize, any::<bool>()),
    ) -> Reading {
        let event_time_us = (NOW_MS - hours_ago * HOUR_MS) * 1000;
        Reading { sensor, event_time_us, event_id, temperature, firmware, verdict, late, alerts, change }
    }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => reading().prop_map(Part::Reading),
        1 => ".{0,9}".prop_map(|detail| Part::Reject(Reason::NotJson, detail)),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let record = (0..2_i64, prop::collection::vec(any::<u8>(), 0..9), prop::collection::vec(part(), 0..4));
    prop::collection::vec(record, 0..20).prop_map(|records| {
        records
            .into_iter()
            .zip(11..)
            .map(|((hours_ago, data, parts), n)| Event {
                sequence: n,
                arrival_ms: NOW_MS - hours_ago * HOUR_MS,
                data,
                parts,
            })
            .collect()
    })
}

proptest! {
    /// The heart of a redo: another worker, whose batches end elsewhere, makes the same bytes.
    #[test]
    fn where_batches_end_changes_nothing(events in events(), batch_len in 1..7_usize) {
        let one = encode_epoch(&context(), &batches(&events, 1000), &content()).unwrap();
        let other = encode_epoch(&context(), &batches(&events, batch_len), &content()).unwrap();
        prop_assert_eq!(one, other);
    }

    /// A worker with another configuration may redo an epoch.
    #[test]
    fn compression_encodings_and_row_groups_change_no_digest(events in events()) {
        let one = encode_epoch(&context(), &batches(&events, 5), &content()).unwrap();
        let mut context = context();
        let (codec, encodings) = (Codec::Zstd, Encodings::V2);
        context.encoding = Encoding { gzip_level: 9, zstd_level: 3, codec, encodings, row_group_rows: 2 };
        let other = encode_epoch(&context, &batches(&events, 5), &content()).unwrap();
        prop_assert_eq!(digests(&one.plan), digests(&other.plan));
        prop_assert_eq!(one.plan, other.plan);
    }
}

fn plan_of(events: &[Event]) -> EpochPlan {
    encode_epoch(&context(), &batches(events, 10), &content()).unwrap().plan
}

fn changed_zones(before: &EpochPlan, after: &EpochPlan) -> Vec<Zone> {
    let pairs = digests(before).into_iter().zip(digests(after));
    pairs.filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0).collect()
}

fn temperatures(values: [f64; 3]) -> Vec<Event> {
    values.iter().zip(11..).map(|(&x, n)| event(n, vec![Part::Reading(clean("a", n as i64, x))])).collect()
}

#[test]
fn any_other_value_or_order_is_another_digest() {
    let before = plan_of(&temperatures([1.0, 2.0, 0.0]));
    assert_eq!(changed_zones(&before, &plan_of(&temperatures([1.0, 2.0, -0.0]))), [Zone::Cleansed]);
    assert_eq!(changed_zones(&before, &plan_of(&temperatures([2.0, 1.0, 0.0]))), [Zone::Cleansed]);

    let mut payload = temperatures([1.0, 2.0, 0.0]);
    payload[1].data = b"{\"n\":99}".to_vec();
    assert_eq!(changed_zones(&before, &plan_of(&payload)), [Zone::Raw]);

    let mut absent = temperatures([1.0, 2.0, 0.0]);
    let Part::Reading(reading) = &mut absent[0].parts[0] else { unreachable!() };
    reading.temperature = None;
    assert_eq!(changed_zones(&before, &plan_of(&absent)), [Zone::Cleansed]);
}

#[test]
fn a_value_cannot_move_to_its_neighbour_unnoticed() {
    let with_ids = |ids: [Option<&str>; 2]| -> Vec<Event> {
        let reading = |n: usize| Reading { event_id: ids[n].map(str::to_owned), ..clean("a", n as i64, 1.0) };
        (0..2).map(|n| event(11 + n as u64, vec![Part::Reading(reading(n))])).collect()
    };
    let forms = [
        [Some("ab"), Some("c")],
        [Some("a"), Some("bc")],
        [Some("abc"), None],
        [None, Some("abc")],
        [Some("abc"), Some("")],
        // The byte that marks a value, within a value.
        [Some("a\u{1}b"), Some("c")],
        [Some("a"), Some("b\u{1}c")],
    ];
    let mut found: Vec<String> = forms
        .iter()
        .map(|ids| digests(&plan_of(&with_ids(*ids))).iter().find(|d| d.0 == Zone::Cleansed).unwrap().1.to_owned())
        .collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), forms.len());
}
