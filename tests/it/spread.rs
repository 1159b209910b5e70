//! GOAL    Where a sensor's records are spread over shards, what needs one place for each sensor is right over all of them:
//!         windows add up, a change is one version, aggregates are whole; and somebody says so (CLEAN-ONCE, COMPLETE).
//! METHOD  Readings under keys that nobody has used before, and in a stream that heeds none, with a split and a merge
//!         between. The warehouse, loaded a few epochs at a time, against sums over what was put.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use actors::warehouse::views;
use duckdb::Connection;
use mangrove_tests::judge::assert_whole;
use mangrove_tests::lake::{Lake, text};
use mangrove_tests::warehouse::{Analyst, assert_loaded};
use mangrove_tests::world::{BUCKET, Record, Setup, World, an_hour_ago, caught_up, finish, hour_start_ms, rfc3339};
use tokio::time::Instant;

use super::alert_transports::Inbox;
use super::kpl::aggregate;

const SENSORS: u64 = 3;
const READINGS: u64 = 240;
/// A new firmware comes with every so many readings; none comes back.
const FIRMWARE: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);

fn value(sensor: u64, n: u64) -> f64 {
    // A level far above its spread, where sums of squares would cancel each other out.
    [20.0, 45.5, -12.25][sensor as usize] + (n * (sensor + 7) % 23) as f64 * 0.001
}

fn time_ms(n: u64) -> i64 {
    hour_start_ms(3) + n as i64 * 45_000
}

fn event(sensor: u64, n: u64) -> Vec<u8> {
    let (time, firmware, value) = (rfc3339(time_ms(n)), n / FIRMWARE, value(sensor, n));
    format!(
        r#"{{"sensor_id":"g{sensor}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":{value},"firmware":"1.{firmware}"}}"#
    )
    .into_bytes()
}

/// All readings, each under a key of its own.
fn readings() -> Vec<Record> {
    let all = (0..READINGS).flat_map(|n| (0..SENSORS).map(move |sensor| (sensor, n)));
    all.map(|(sensor, n)| (format!("random-{sensor}-{n}"), event(sensor, n))).collect()
}

/// Count, least, largest, first and last exactly; sum, mean and deviation to nine digits.
async fn assert_windows(analyst: &Analyst) {
    let mut values: BTreeMap<(u64, i64), Vec<f64>> = BTreeMap::new();
    for n in 0..READINGS {
        for sensor in 0..SENSORS {
            let hour = (time_ms(n) - hour_start_ms(3)) / 3_600_000;
            values.entry((sensor, hour)).or_default().push(value(sensor, n));
        }
    }
    let sql = format!(
        "SELECT sensor_id, DATEDIFF(hour, TIMESTAMP '{}', window_start), \"count\", \"min\", \"max\", \"first\", \"last\", \
         \"sum\", \"mean\", \"stddev\", \"shards\" FROM mangrove.sensor_hourly WHERE field = 'temperature' ORDER BY 1, 2",
        rfc3339(hour_start_ms(3)).replace('T', " ").trim_end_matches('Z')
    );
    let found = analyst.ask(&sql).await;
    assert_eq!(found.len(), values.len());
    let mut most = 0;
    for (row, ((sensor, hour), values)) in found.iter().zip(values) {
        let number = |at: usize| row[at].as_f64().unwrap_or_else(|| panic!("{row:?}"));
        assert_eq!((row[0].as_str(), row[1].as_i64()), (Some(format!("g{sensor}").as_str()), Some(hour)));
        let n = values.len() as f64;
        assert_eq!(row[2].as_i64(), Some(values.len() as i64), "{row:?}");
        let exact = [
            values.iter().copied().fold(f64::INFINITY, f64::min),
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            values[0],
            values[values.len() - 1],
        ];
        assert_eq!([3, 4, 5, 6].map(number), exact, "{row:?}");
        let sum: f64 = values.iter().sum();
        let mean = sum / n;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        for (at, is) in [(7, sum), (8, mean), (9, deviation)] {
            assert!((number(at) - is).abs() <= 1e-9 * is.abs(), "column {at} of {row:?} is not {is}");
        }
        most = most.max(row[10].as_i64().unwrap());
    }
    assert!(most > 1, "no window was counted by several shards");
}

/// A change stands once, from its earliest reading on.
async fn assert_versions(analyst: &Analyst) {
    let sql = format!(
        "SELECT sensor_id || ' ' || version || ' ' || firmware || ' ' || DATEDIFF(second, TIMESTAMP '{}', valid_from) || ' ' || \
         changed FROM mangrove.dim_sensors",
        rfc3339(hour_start_ms(3)).replace('T', " ").trim_end_matches('Z')
    );
    let mut found = analyst.rows(&sql).await;
    found.sort();
    let version = |sensor: u64, n: u64| format!("g{sensor} {} 1.{n} {} firmware", n + 1, n * FIRMWARE * 45);
    let expected = (0..SENSORS).flat_map(|sensor| (0..READINGS / FIRMWARE).map(move |n| version(sensor, n)));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let wrong = "SELECT COUNT(*) FROM mangrove.sensor_readings r JOIN mangrove.dim_sensors d ON d.sensor_id = r.sensor_id \
        AND d.version = r.sensor_version WHERE d.firmware <> r.firmware";
    assert_eq!(analyst.count(wrong).await, 0, "readings carry the version of their firmware");
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.sensor_readings WHERE sensor_version = 0").await, 0);
}

/// The views over the files say what the tables say.
async fn assert_views(dir: &Path, setup: &Setup, analyst: &Analyst) {
    let lake = Connection::open_in_memory().unwrap();
    let bucket = dir.join("s3").join(BUCKET).display().to_string();
    for view in views::duckdb(&setup.schema, &bucket).unwrap().iter().filter(|sql| sql.contains("\"sensor_hourly\"")) {
        lake.execute_batch(view).unwrap_or_else(|error| panic!("{view}: {error}"));
    }
    const COLUMNS: &str = "sensor_id || ' ' || field || ' ' || CAST(window_start AS VARCHAR) || ' ' || \"count\" || ' ' || \"shards\" \
        || ' ' || \"min\" || ' ' || \"max\" || ' ' || \"first\" || ' ' || \"last\"";
    let sql = format!("SELECT replace({COLUMNS}, '+00', ''), mean, stddev, sum FROM sensor_hourly ORDER BY 1");
    let mut statement = lake.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, [row.get(1)?, row.get(2)?, row.get(3)?])));
    let rows: Vec<(String, [f64; 3])> = rows.unwrap().map(Result::unwrap).collect();
    let found =
        analyst.ask(&format!("SELECT {COLUMNS}, mean, stddev, \"sum\" FROM mangrove.sensor_hourly ORDER BY 1")).await;
    assert_eq!(rows.len(), found.len());
    for ((text, numbers), row) in rows.iter().zip(found) {
        assert_eq!(Some(text.as_str()), row[0].as_str());
        for (n, said) in numbers.iter().enumerate() {
            let stored = row[n + 1].as_f64().unwrap();
            assert!((said - stored).abs() <= 1e-9 * stored.abs(), "{text}: {said} and {stored}");
        }
    }
}

async fn load(world: &World, setup: &Setup) -> Analyst {
    let loading = world.loading(&setup.schema, "");
    loading.ensure_tables().await.unwrap();
    loading.load_all(PATIENCE).await.unwrap();
    world.analyst()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_keys_leave_windows_and_versions_right() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 4).await;
    let setup = Setup { age_max: Duration::from_millis(200), ..Setup::default() };
    let worker = world.worker(&setup).await;
    let put = readings();
    for (n, wave) in put.chunks(put.len() / 4).enumerate() {
        world.put(wave).await;
        caught_up(&worker).await;
        match n {
            0 => world.split_first_shard().await,
            1 => world.merge_last_shards().await,
            _ => {}
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while worker.keys().seen().is_none() {
        assert!(Instant::now() < deadline, "nobody has noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(worker.keys().are_heeded(), "the stream itself goes by keys");
    finish(worker).await;
    assert_whole(&world.lake(), &put);
    let analyst = load(&world, &setup).await;
    assert_windows(&analyst).await;
    assert_versions(&analyst).await;
    assert_views(dir.path(), &setup, &analyst).await;
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.sensor_readings").await, put.len() as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sensors_that_keep_to_their_shards_are_nothing_to_notice() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 4).await;
    let setup = Setup { age_max: Duration::from_millis(200), ..Setup::default() };
    let worker = world.worker(&setup).await;
    let all = (0..READINGS).flat_map(|n| (0..SENSORS).map(move |sensor| (sensor, n)));
    let put: Vec<Record> = all.map(|(sensor, n)| (format!("g{sensor}"), event(sensor, n))).collect();
    let (first, second) = put.split_at(put.len() / 2);
    world.put(first).await;
    caught_up(&worker).await;
    world.split_first_shard().await;
    world.put(second).await;
    caught_up(&worker).await;
    // Longer than two listings.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!((worker.keys().seen(), worker.keys().unknown()), (None, None));
    finish(worker).await;
    let analyst = load(&world, &setup).await;
    assert_loaded(&world.lake(), &analyst).await;
    assert_versions(&analyst).await;
}

/// What went into quarantine because its key belongs elsewhere.
fn outside(lake: &Lake) -> usize {
    lake.rows("quarantine").iter().filter(|row| text(row, "reason") == "outside_hash_range").count()
}

/// Aggregates of many sensors, each user record under its sensor's key.
fn aggregates(n: u64) -> Vec<Record> {
    let of = |m: u64| {
        let users: Vec<Record> = (0..20).map(|sensor| (format!("k{sensor}"), user(sensor, 1_000 * n + m))).collect();
        (format!("any-{n}-{m}"), aggregate(&users))
    };
    (0..10).map(of).collect()
}

fn user(sensor: u64, n: u64) -> Vec<u8> {
    let time = an_hour_ago(0);
    format!(r#"{{"sensor_id":"k{sensor}","event_id":"{n}","ts":"{time}","temperature":21.5}}"#).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_over_many_keys_are_whole_where_keys_decide_nothing_or_are_not_asked() {
    for whole_aggregates in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path(), 4).await;
        let setup = Setup { age_max: Duration::from_millis(100), whole_aggregates, ..Setup::default() };
        let worker = world.worker(&setup).await;
        let (before, after) = (aggregates(0), aggregates(1));
        world.put(&before).await;
        caught_up(&worker).await;
        let refused = outside(&world.lake());
        assert_eq!(refused == 0, whole_aggregates, "{refused} of other shards");

        // It can be switched at any time.
        world.spread(true).await;
        let deadline = Instant::now() + PATIENCE;
        while worker.keys().are_heeded() {
            assert!(Instant::now() < deadline, "nobody has asked");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The epochs that were open then end.
        let plain: Vec<Record> = (0..40).map(|n| (format!("p{n}"), user(n, 7))).collect();
        world.put(&plain).await;
        caught_up(&worker).await;
        world.put_keyless(&after).await;
        caught_up(&worker).await;
        finish(worker).await;
        let lake = world.lake();
        assert_eq!(outside(&lake), refused, "no more than before");
        assert_whole(&lake, &[before, plain, after].concat());
        let said = lake.manifests().iter().filter(|manifest| manifest["cut"]["whole_aggregates"] == true).count();
        assert!(said > 0, "the manifests say how aggregates were read");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_reported_silent_where_keys_decide_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    let (inbox, address) = Inbox::open(0).await;
    let mut setup = Setup { transports: world.transports(&address).await, ..Setup::default() };
    setup.schema.heartbeat = Some(Duration::from_millis(700));
    world.spread(true).await;
    let worker = world.worker(&setup).await;
    world.put_keyless(&readings()[..60]).await;
    caught_up(&worker).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let silent = || inbox.bodies("/hook").iter().filter(|body| body["kind"] == "heartbeat").count();
    assert_eq!(silent(), 0);
    // Keys decide again: who speaks now has a place, and is missed there.
    world.spread(false).await;
    let deadline = Instant::now() + PATIENCE;
    while !worker.keys().are_heeded() {
        assert!(Instant::now() < deadline, "nobody has asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.put(&[("g0".to_owned(), event(0, 100))]).await;
    while silent() == 0 {
        assert!(Instant::now() < deadline, "no heartbeat alert");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let named: Vec<_> = inbox.bodies("/hook").into_iter().filter(|body| body["kind"] == "heartbeat").collect();
    assert!(named.len() == 1 && named[0]["sensor_id"] == "g0", "{named:?}");
    finish(worker).await;
}
