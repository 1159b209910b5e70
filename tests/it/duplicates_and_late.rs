//! GOAL    A producer's duplicate is recognised within the horizon, and only there. A late reading revises its window; one
//!         beyond the allowed lateness of its hour is marked and counted in no hour, but in its day, which is open. A
//!         restart in between changes neither.
//! METHOD  The same steps with one worker and with a new worker for each step.

use std::time::Duration;

use mangrove_tests::judge::assert_whole;
use mangrove_tests::lake::{Lake, flag, float, identity, integer, text};
use mangrove_tests::world::{Record, Setup, World, caught_up, finish, hour_start_ms, rfc3339};

const MINUTE_MS: i64 = 60_000;

fn event(sensor: &str, event_id: &str, time_ms: i64, temperature: f64) -> Record {
    let time = rfc3339(time_ms);
    let json =
        format!(r#"{{"sensor_id":"{sensor}","event_id":"{event_id}","ts":"{time}","temperature":{temperature:.1}}}"#);
    (sensor.to_owned(), json.into_bytes())
}

/// Puts one step after the other, each when the one before is committed.
async fn run(steps: &[Vec<Record>], restart: bool) -> Lake {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let setup = Setup { age_max: Duration::from_millis(100), ..Setup::default() };
    let mut worker = world.worker(&setup).await;
    for (n, step) in steps.iter().enumerate() {
        if restart && n > 0 {
            finish(worker).await;
            worker = world.worker(&setup).await;
        }
        world.put(step).await;
        caught_up(&worker).await;
    }
    finish(worker).await;
    let lake = world.lake();
    assert_whole(&lake, &steps.concat());
    // The folder must outlive the judgement.
    lake.keeping(dir)
}

fn event_ids(lake: &Lake, zone: &str, sensor: &str) -> Vec<u32> {
    let mut rows = lake.rows(zone);
    rows.retain(|row| text(row, "sensor_id") == sensor);
    rows.sort_by_key(identity);
    rows.iter().map(|row| text(row, "event_id").parse().unwrap()).collect()
}

/// The horizon is 32 ids: the last 32 that were new.
async fn duplicates(restart: bool) {
    let start_ms = hour_start_ms(3);
    let sent = |sensor: &str, ids: &[u32]| -> Vec<Record> {
        ids.iter().map(|id| event(sensor, &id.to_string(), start_ms + i64::from(*id) * 1000, 20.0)).collect()
    };
    let ids: Vec<u32> = (0..40).collect();
    let steps = [
        // After 39 the horizon is 8 to 39. What 7 brings in pushes 8 out.
        [sent("s-1", &ids), sent("s-1", &[39, 8, 7])].concat(),
        // Now it is 9 to 39 and 7.
        [sent("s-1", &[9, 8, 7]), sent("s-2", &[7, 39, 7])].concat(),
    ];
    let lake = run(&steps, restart).await;
    assert_eq!(event_ids(&lake, "cleansed", "s-1"), [ids.as_slice(), &[7, 8]].concat());
    assert_eq!(event_ids(&lake, "duplicates", "s-1"), [39, 8, 9, 7]);
    assert_eq!(event_ids(&lake, "cleansed", "s-2"), [7, 39], "each sensor has its own horizon");
    assert_eq!(event_ids(&lake, "duplicates", "s-2"), [7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_recognised_within_the_horizon_only() {
    duplicates(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_recognised_across_a_restart() {
    duplicates(true).await;
}

/// Revision, count and sum of the windows of one sensor's temperature.
fn windows(lake: &Lake, zone: &str, sensor: &str, start_ms: i64) -> Vec<(i64, i64, f64)> {
    let mut rows = lake.rows(zone);
    rows.retain(|row| text(row, "sensor_id") == sensor && text(row, "field") == "temperature");
    rows.retain(|row| integer(row, "window_start") == start_ms * 1000);
    let figures = |row| (integer(row, "revision"), integer(row, "count"), float(row, "sum").unwrap());
    let mut figures: Vec<_> = rows.iter().map(figures).collect();
    figures.sort_by_key(|(revision, ..)| *revision);
    figures
}

/// The allowed lateness is an hour: the window of hour 0 takes readings until the watermark reaches the end of hour 1.
async fn late(restart: bool) {
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    // In the morning of a day that is past: two hours later it is the same day, at whatever time this runs.
    let day_ms = hour_start_ms(26).div_euclid(24 * HOUR_MS) * 24 * HOUR_MS;
    let start_ms = day_ms + 8 * HOUR_MS;
    let at = |sensor: &str, id: u32, minute: i64, value: f64| {
        event(sensor, &id.to_string(), start_ms + minute * MINUTE_MS, value)
    };
    let steps = [
        // The last one closes hour 0.
        vec![at("s-1", 0, 10, 20.0), at("s-1", 1, 20, 22.0), at("s-2", 2, 65, 30.0)],
        // Late, and in time.
        vec![at("s-1", 3, 30, 24.0)],
        // At the last moment.
        vec![at("s-2", 4, 119, 31.0), at("s-1", 5, 0, 26.0)],
        // Too late.
        vec![at("s-2", 6, 120, 32.0), at("s-1", 7, 40, 80.0)],
    ];
    let lake = run(&steps, restart).await;
    let rows = lake.rows("cleansed");
    let marked: Vec<String> = rows.iter().filter(|row| flag(row, "late")).map(|row| text(row, "event_id")).collect();
    assert_eq!((rows.len(), marked.as_slice()), (8, &["7".to_owned()][..]));
    assert_eq!(windows(&lake, "aggregates/hourly", "s-1", start_ms), [(1, 2, 42.0), (2, 3, 66.0), (3, 4, 92.0)]);

    let daily = windows(&lake, "aggregates/daily", "s-1", day_ms);
    let (_, count, sum) = *daily.last().unwrap();
    assert_eq!((count, sum), (5, 172.0), "the day is open still, and counts what came too late for its hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_reading_revises_its_window_and_one_too_late_is_marked() {
    late(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_readings_are_told_apart_across_restarts() {
    late(true).await;
}
