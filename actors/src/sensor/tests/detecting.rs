//! Each detector fires, is silent during its excursion, and is armed again after it.

use std::time::Duration;

use messages::{Anomalies, Severity};

use super::*;
use crate::sensor::heartbeat_alert;

#[test]
fn the_band_raises_once_per_excursion() {
    let heats = [59.0, 61.0, 63.0, 58.0, 62.0];
    let rows: Vec<Row> = (0i64..).zip(heats).map(|(n, heat)| at(n, heat)).collect();
    let (assessments, alerts) = assess(&mut sensor(), &rows);
    let marked: Vec<bool> = assessments.iter().map(|a| a.anomalies.0 & Anomalies::RANGE.0 != 0).collect();
    assert_eq!(marked, [false, true, true, false, true]);
    assert_eq!(kinds(&alerts), [AlertKind::Range; 2]);
    assert_eq!(alerts[0].message, "heat is 61 Cel; expected -40 to 60 Cel");
    assert_eq!((alerts[0].value, alerts[0].severity), (Some(61.0), Severity::Critical));
}

#[test]
fn a_jump_there_and_back_is_one_rate_excursion() {
    let heats = [20.0, 22.0, 50.0, 21.0, 22.0, 50.0];
    let rows: Vec<Row> = (0i64..).zip(heats).map(|(n, heat)| at(n, heat)).collect();
    let (assessments, alerts) = assess(&mut sensor(), &rows);
    let marked: Vec<bool> = assessments.iter().map(|a| a.anomalies == Anomalies::RATE).collect();
    assert_eq!(marked, [false, false, true, true, false, true]);
    assert_eq!(kinds(&alerts), [AlertKind::Rate; 2]);
    assert_eq!(
        alerts[0].message,
        "heat is 50 Cel, 28 Cel away from the value 1 s before; expected at most 20 Cel per second"
    );
}

#[test]
fn rate_is_per_event_time_and_needs_a_step_forward() {
    // Two seconds for 30 degrees are enough; two readings at one time and a late one are no step.
    let rows = [at(0, 0.0), at(2, 30.0), at(2, -30.0), at(1, 50.0), at(4, -40.0)];
    assert_eq!(kinds(&assess(&mut sensor(), &rows).1), []);
    // The step is counted from the latest in event time, -40, not from the last in the stream.
    let mut core = sensor();
    assert_eq!(kinds(&assess(&mut core, &[at(4, -40.0), at(3, 20.0), at(5, 0.0)]).1), [AlertKind::Rate]);
}

#[test]
fn a_flat_line_raises_once_per_episode() {
    let heats = [20.0, 20.2, 19.8, 20.4, 20.0, 21.0, 21.1, 21.2];
    let rows: Vec<Row> = (0i64..).zip(heats).map(|(n, heat)| at(n, heat)).collect();
    let (assessments, alerts) = assess(&mut sensor(), &rows);
    let marked: Vec<bool> = assessments.iter().map(|a| a.anomalies == Anomalies::FLAT).collect();
    assert_eq!(marked, [false, false, true, true, true, false, false, true]);
    assert_eq!(kinds(&alerts), [AlertKind::Flat; 2]);
    assert_eq!(alerts[0].message, "heat has stayed within 0.5 Cel of 20 Cel for 3 readings; expected it to vary");
}

#[test]
fn late_readings_do_not_make_or_break_a_flat_line() {
    let rows = [at(5, 20.0), at(6, 20.0), at(1, 35.0), at(7, 20.0)];
    assert_eq!(kinds(&assess(&mut sensor(), &rows).1), [AlertKind::Flat]);
    let rows = [at(5, 20.0), at(4, 20.0), at(3, 20.0), at(6, 21.0)];
    assert_eq!(kinds(&assess(&mut sensor(), &rows).1), []);
}

#[test]
fn a_late_reading_is_held_against_the_band() {
    assert_eq!(kinds(&assess(&mut sensor(), &[at(5, 20.0), at(1, 70.0)]).1), [AlertKind::Range]);
}

#[test]
fn an_alert_names_its_reading_and_keeps_its_id() {
    let (_, alerts) = assess(&mut sensor(), &[at(0, 20.0), at(9, 61.0)]);
    let alert = &alerts[0];
    assert_eq!(alert.field.as_deref(), Some("heat"));
    assert_eq!((alert.event_time_us, alert.arrival_ms), (START_US + 9 * SECOND_US, START_US / 1000 + 9000));
    assert_eq!((alert.shard.as_str(), alert.sequence.as_deref()), (SHARD, Some("1")));
    // Written down: receivers drop repeats by it, also repeats from an older build.
    assert_eq!(alert.id, "8f9e32c86aab930711a2b8c8982118de");
    let (_, elsewhere) = assess(&mut sensor(), &[at(0, 20.0), at(8, 20.0), at(9, 61.0)]);
    assert_ne!(elsewhere[0].id, alert.id);
}

#[test]
fn a_silence_has_one_id_whoever_notices_it() {
    let silence = |shard, arrival_ms, silent_for_ms| {
        heartbeat_alert(&id(), &ShardId::new(shard), None, arrival_ms, silent_for_ms, Duration::from_secs(300))
    };
    let alert = silence("shardId-000000000000", 77_000, 312_500);
    assert_eq!(alert.message, "nothing has arrived for 312.5 s; expected a reading at least every 300 s");
    assert_eq!((alert.severity, alert.field.as_deref(), alert.sequence.as_deref()), (Severity::Critical, None, None));
    assert_eq!((alert.event_time_us, alert.arrival_ms), (77_000_000, 77_000));
    assert_eq!(alert.id, silence("shardId-000000000007", 77_000, 400_000).id);
    assert_ne!(alert.id, silence("shardId-000000000000", 77_001, 312_500).id);
}
