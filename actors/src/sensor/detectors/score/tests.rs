//! The baseline: spikes leave it alone, shifts are learnt.

use messages::AlertKind;
use messages::schema::Score;

use super::{Baseline, Rule};
use crate::sensor::SensorCore;
use crate::sensor::tests::*;

const SCORE: Score = Score { threshold: 10.0, half_life: 64.0, warmup: 32, scale_min: 0.05 };

/// Approximately normal, deviation 1, the same in every run.
fn gaussian(n: u64) -> f64 {
    let draws = (0..12u64).map(|k| xxhash_rust::xxh3::xxh3_64(&(n * 12 + k).to_le_bytes()) as f64 / u64::MAX as f64);
    draws.sum::<f64>() - 6.0
}

fn learnt(rule: &Rule, values: u64) -> Baseline {
    let mut baseline = Baseline::default();
    (0..values).for_each(|n| baseline.learn(rule, gaussian(n)));
    baseline
}

fn estimate(baseline: &Baseline) -> (f64, f64) {
    match baseline {
        Baseline::Learnt(estimate) => (estimate.location, estimate.scale),
        Baseline::Starting(_) => panic!("nothing has been learnt yet"),
    }
}

#[test]
fn normal_values_are_learnt_as_they_are() {
    let (location, scale) = estimate(&learnt(&Rule::new(&SCORE), 2000));
    assert!(location.abs() < 0.3, "{location}");
    assert!((0.75..1.25).contains(&scale), "{scale}");
}

#[test]
fn a_spike_scores_high_and_does_not_drag_the_baseline() {
    let rule = Rule::new(&SCORE);
    let mut baseline = learnt(&rule, 500);
    let (location, scale) = estimate(&baseline);
    assert!(baseline.score(&rule, 1e6) > 1e5);
    baseline.learn(&rule, 1e6);
    let (moved, widened) = estimate(&baseline);
    assert!((moved - location).abs() < 0.03 * scale, "{location} -> {moved}");
    assert!(widened < 1.01 * scale, "{scale} -> {widened}");
}

#[test]
fn wild_values_among_the_first_do_not_spoil_the_start() {
    let rule = Rule::new(&SCORE);
    let mut baseline = Baseline::default();
    (0..100).for_each(|n| baseline.learn(&rule, if n < 15 && n % 3 == 0 { 1e9 } else { gaussian(n) }));
    let (location, scale) = estimate(&baseline);
    assert!(location.abs() < 1.0 && scale < 2.0, "{location} {scale}");
}

#[test]
fn nothing_is_scored_before_the_warm_up_is_over() {
    let rule = Rule::new(&SCORE);
    assert_eq!(learnt(&rule, 31).score(&rule, 1e6), 0.0);
    assert_ne!(learnt(&rule, 32).score(&rule, 1e6), 0.0);
}

/// How many values at the new level until scores there are ordinary again, for good.
fn relearnt_after(rule: &Rule, shift: f64) -> u64 {
    let mut baseline = learnt(rule, 500);
    let mut last_strange = 0;
    for n in 0..2000 {
        let value = shift + gaussian(500 + n);
        let learning = matches!(&baseline, Baseline::Starting(_)) || baseline.score(rule, 1e9) == 0.0;
        if learning || baseline.score(rule, value).abs() > 5.0 {
            last_strange = n + 1;
        }
        baseline.learn(rule, value);
    }
    last_strange
}

#[test]
fn a_level_shift_is_learnt_again_within_the_promised_number_of_readings() {
    let rule = Rule::new(&SCORE);
    let (run, warmup) = (64, 32);
    for shift in [30.0, -100.0, 1e3, -1e6, 1e12] {
        assert_eq!(relearnt_after(&rule, shift), run + warmup, "a shift of {shift}");
    }
    let followed_max = (1.9 * 64.0 * (2.0f64 + 0.64 * 10.0).ln()).ceil() as u64;
    for shift in [3.0, -6.0, 9.0, -12.0, 15.0] {
        let after = relearnt_after(&rule, shift);
        assert!(after <= followed_max, "a shift of {shift} took {after} of {followed_max}");
    }
}

#[test]
fn wild_values_on_both_sides_are_no_new_level() {
    let rule = Rule::new(&SCORE);
    let mut baseline = learnt(&rule, 500);
    let wild = |n: u64| if n.is_multiple_of(63) { -1e6 } else { 1e6 };
    (0..63).for_each(|n| baseline.learn(&rule, wild(n)));
    (63..126).for_each(|n| baseline.learn(&rule, wild(n)));
    assert!(matches!(baseline, Baseline::Learnt(_)));
    baseline.learn(&rule, -1e6);
    (0..64).for_each(|_| baseline.learn(&rule, 1e6));
    assert_eq!(baseline, Baseline::default());
}

#[test]
fn extreme_values_leave_every_number_finite() {
    for scale_min in [5e-324, 1.0, 1.7e308] {
        let rule = Rule::new(&Score { scale_min, half_life: 1e-300, warmup: 2, ..SCORE });
        let mut baseline = Baseline::default();
        for n in 0..5000u64 {
            let value = [f64::MAX, f64::MIN, 0.0, 5e-324, -1e-300][(gaussian(n).abs() * 40.0) as usize % 5];
            let score = baseline.score(&rule, value);
            assert!(score.is_finite() && (score as f32).is_finite());
            baseline.learn(&rule, value);
            assert!(baseline.is_sound(), "{baseline:?}");
        }
    }
}

#[test]
fn the_score_raises_once_and_is_armed_again() {
    let mut core = sensor();
    let mut rows: Vec<Row> = (0..40).map(|n| at(n * 10, noise(n, 1.0))).collect();
    // Out, out, back for a while, out on the other side.
    rows.extend([(40, 55.0), (41, 55.5), (42, 20.3), (43, 19.0), (44, -20.0)].map(|(n, heat)| at(n * 10, heat)));
    let (assessments, alerts) = assess(&mut core, &rows);
    assert_eq!(kinds(&alerts), [AlertKind::Score; 2], "{alerts:#?}");
    assert!(assessments[..40].iter().all(|a| a.score < 10.0));
    assert!(assessments[40].score > 10.0 && assessments[41].score > 10.0 && assessments[42].score < 5.0);
    assert!(alerts[0].message.starts_with("heat is 55 Cel, "), "{}", alerts[0].message);
}

#[test]
fn a_value_that_hovers_around_the_threshold_raises_once() {
    let mut core = sensor();
    assess(&mut core, &(0..40).map(|n| at(n * 10, noise(n, 1.0))).collect::<Vec<_>>());
    let Baseline::Learnt(usual) = &core.state.watched[0].detectors.score.baseline else {
        panic!("forty values are enough")
    };
    let (location, scale) = (usual.location, usual.scale);
    // 8 deviations are within the threshold, but not within its half: the excursion goes on until the 0.
    let rows = [(40, 12.0), (41, 14.0), (42, 8.0), (43, 20.0), (44, 0.0), (45, 30.0)];
    let rows = rows.map(|(n, deviations)| at(n * 10, location + deviations * scale));
    let (assessments, alerts) = assess(&mut core, &rows);
    let over: Vec<bool> = assessments.iter().map(|a| a.score > 10.0).collect();
    assert_eq!(over, [true, true, false, true, false, true], "{assessments:?}");
    assert_eq!(kinds(&alerts), [AlertKind::Score; 2]);
}

#[test]
fn restarts_while_a_shift_is_learnt_make_no_difference() {
    let rows: Vec<Row> = (0..40).map(|n| at(n * 10, noise(n, 1.0))).collect();
    let shifted: Vec<Row> = (40..80).map(|n| at(n * 10, noise(n, 0.6) + 38.0)).collect();
    let (mut whole, mut restarted) = (sensor(), sensor());
    let mut dropped = 0;
    for row in rows.iter().chain(&shifted) {
        let row = std::slice::from_ref(row);
        assert_eq!(feed(&mut whole, row), feed(&mut restarted, row));
        restarted = SensorCore::decode(id(), rules(), &restarted.encode()).unwrap();
        assert_eq!(restarted.encode(), whole.encode());
        dropped += u32::from(whole.state.watched[0].detectors.score.baseline == Baseline::default());
    }
    assert_eq!(dropped, 1);
}

#[test]
fn integers_are_scored_and_the_largest_score_counts() {
    let mut core = sensor();
    let ticking = |n: i64, ticks| Row { ticks: Some(ticks), ..at(n * 10, noise(n, 1.0)) };
    let rows: Vec<Row> = (0..40).map(|n| ticking(n, 1000 + n % 3)).collect();
    assess(&mut core, &rows);
    let (assessments, alerts) = assess(&mut core, &[ticking(40, i64::MAX)]);
    assert_eq!(kinds(&alerts), [AlertKind::Score]);
    assert_eq!(assessments[0].score, 1e6);
}

#[test]
fn late_readings_are_scored_but_teach_nothing() {
    let mut core = sensor();
    assess(&mut core, &(0..40).map(|n| at(n * 10, noise(n, 1.0))).collect::<Vec<_>>());
    let before = core.state.watched[0].detectors.score.baseline.clone();
    let (assessments, alerts) = assess(&mut core, &[at(5, 55.0)]);
    assert!(assessments[0].score > 10.0);
    assert_eq!(kinds(&alerts), [AlertKind::Score]);
    assert_eq!(core.state.watched[0].detectors.score.baseline, before);
}
