//! STATE: what comes out depends on the state and the rows, not on batches, restarts or crashes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;

use super::*;
use crate::sensor::detectors;

/// Readings as devices send them: mostly in order, mostly sane, repeated, late, broken.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let heat = prop_oneof![
        8 => (0..60i64).prop_map(|n| Some(noise(n, 1.5))),
        2 => Just(Some(20.0)),
        2 => (30.0..59.0f64).prop_map(Some),
        1 => (-90.0..90.0f64).prop_map(Some),
        1 => prop_oneof![Just(Some(f64::NAN)), Just(Some(f64::INFINITY)), Just(Some(91.0)), Just(None)],
    ];
    let height = prop_oneof![3 => Just(None), 3 => (0.0..1.0f64).prop_map(Some), 1 => any::<f64>().prop_map(Some)];
    let firmware = prop::option::of(prop_oneof![5 => Just("1.0"), 1 => Just("1.1"), 1 => Just("far too long")]);
    let step = prop_oneof![6 => 1..20i64, 1 => Just(0i64), 2 => -30..0i64, 1 => Just(-5000i64)];
    let others = (prop::option::of(any::<i64>()), prop::option::of(any::<bool>()), prop::bool::weighted(0.03));
    let row = (step, heat, prop::option::of(0..30u32), height, firmware, others);
    prop::collection::vec(row, 0..150).prop_map(|drawn| {
        let mut now = 0;
        let row = |(step, heat, event_id, height, firmware, (ticks, mains, poison))| {
            now += i64::max(step, 1);
            let event_id: Option<u32> = event_id;
            let firmware: Option<&str> = firmware;
            Row {
                time_us: START_US + (now + i64::min(step, 0)) * SECOND_US,
                event_id: event_id.map(|n| n.to_string()),
                firmware: firmware.map(str::to_owned),
                heat,
                ticks,
                height,
                serial: ticks.map(|n| n % 3),
                mains,
                poison,
                ..at(now, 0.0)
            }
        };
        drawn.into_iter().map(row).collect()
    })
}

/// Feeds rows that stand at `first` in the stream; rows of changes are counted from the stream's beginning.
fn feed_at(core: &mut SensorCore, rows: &[Row], first: usize, total: &mut GroupOutcome) {
    let outcome = core.apply(&ShardId::new(SHARD), &batch(rows, first), 0, &poison_of(rows), &mut |_| {});
    total.verdicts.extend(outcome.verdicts);
    total.alerts.extend(outcome.alerts);
    total.changes.extend(outcome.changes.into_iter().map(|mut change| {
        change.row += first as u32;
        change
    }));
}

fn again(core: &SensorCore) -> SensorCore {
    SensorCore::decode(id(), core.rules.clone(), &core.encode()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn batches_and_restarts_make_no_difference(
        rows in rows(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12),
        // States of format 2, and of format 3.
        further in any::<bool>(),
    ) {
        let sensor = || SensorCore::new(id(), if further { detectors::tests::further() } else { rules() });
        let mut whole = sensor();
        let mut expected = GroupOutcome::default();
        feed_at(&mut whole, &rows, 0, &mut expected);

        let mut cuts: Vec<(usize, bool)> =
            cuts.into_iter().map(|(cut, restart)| (cut.index(rows.len() + 1), restart)).collect();
        cuts.push((rows.len(), true));
        cuts.sort_unstable();
        let (mut core, mut outcome, mut from) = (sensor(), GroupOutcome::default(), 0);
        for (to, restart) in cuts {
            feed_at(&mut core, &rows[from..to], from, &mut outcome);
            if restart {
                core = again(&core);
            }
            from = to;
        }
        prop_assert_eq!(outcome, expected);
        prop_assert_eq!(core.encode(), whole.encode());
        prop_assert_eq!(
            serde_json::to_string(&core.view(SHARD)).unwrap(),
            serde_json::to_string(&whole.view(SHARD)).unwrap()
        );
    }

    #[test]
    fn a_crash_and_a_replay_make_no_difference(
        rows in rows().prop_filter("a crash needs a row", |rows| !rows.is_empty()),
        saved in any::<prop::sample::Index>(),
        crash in any::<prop::sample::Index>(),
    ) {
        let saved = saved.index(rows.len());
        let crash = crash.index(rows.len() - saved) as u32;
        let mut whole = sensor();
        let mut expected = GroupOutcome::default();
        feed_at(&mut whole, &rows[..saved], 0, &mut expected);
        let bytes = whole.encode();
        expected = GroupOutcome::default();
        feed_at(&mut whole, &rows[saved..], saved, &mut expected);

        let mut core = SensorCore::decode(id(), rules(), &bytes).unwrap();
        let batch = batch(&rows[saved..], saved);
        let poison = poison_of(&rows[saved..]);
        // `resume_unwind` panics without the report that would drown the test's own.
        let mut die = |row| if row >= crash { std::panic::resume_unwind(Box::new("fault")) };
        let died = catch_unwind(AssertUnwindSafe(|| {
            core.apply(&ShardId::new(SHARD), &batch, 0, &poison, &mut die)
        }));
        let killers = (crash..).zip(&rows[saved + crash as usize..]).filter(|(_, row)| !row.poison).count();
        prop_assert_eq!(died.is_err(), killers > 0, "poison is not asked");

        let mut core = SensorCore::decode(id(), rules(), &bytes).unwrap();
        let mut outcome = GroupOutcome::default();
        feed_at(&mut core, &rows[saved..], saved, &mut outcome);
        prop_assert_eq!(outcome, expected);
        prop_assert_eq!(core.encode(), whole.encode());
    }

    #[test]
    fn the_state_is_always_finite_and_bounded(rows in rows()) {
        let mut core = sensor();
        let mut counted = 0;
        for row in &rows {
            let outcome = feed(&mut core, std::slice::from_ref(row));
            // Until its first valid reading there is nothing to remember.
            counted += u64::from(core.has_been_valid());
            prop_assert!(core.has_been_valid() || core.encode() == sensor().encode());
            prop_assert!(core.state.watched.iter().all(|field| field.is_sound()));
            prop_assert!(core.encode().len() < 1_400, "sixteen stretches of four attributes each");
            for verdict in &outcome.verdicts {
                if let Verdict::Clean(assessment) = verdict {
                    prop_assert!(assessment.score.is_finite() && assessment.sensor_version > 0);
                }
            }
        }
        let view = core.view(SHARD);
        prop_assert_eq!(view.readings, counted);
        prop_assert_eq!(view.readings, view.clean + view.duplicates + view.quarantined);
    }
}

#[test]
fn a_row_that_kills_has_changed_nothing() {
    let rows: Vec<Row> = (0..5).map(|n| at(n, noise(n, 1.0))).collect();
    let mut core = sensor();
    let died = catch_unwind(AssertUnwindSafe(|| {
        core.apply(&ShardId::new(SHARD), &batch(&rows, 0), 0, &[], &mut |row| {
            if row == 3 {
                std::panic::resume_unwind(Box::new("fault"));
            }
        })
    }));
    assert!(died.is_err());
    let mut three = sensor();
    feed(&mut three, &rows[..3]);
    assert_eq!(core.encode(), three.encode());
}
