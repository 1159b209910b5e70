//! GOAL    Readers that open the files themselves see one type for each partition column on every date, and each window
//!         once.
//! METHOD  A lake with months and days below 10 and above, asked by DuckDB: with the views that ship, and as README says.

use std::time::Duration;

use actors::warehouse::views;
use duckdb::Connection;
use mangrove_tests::world::{BUCKET, Record, Setup, World, finish};
use messages::EventSchema;

/// Readings of any time since 2000.
const SCHEMA: &str = r#"
name = "plain"
[sensor_id]
path = "id"
[event_id]
path = "eid"
[time]
path = "ts"
format = "rfc3339"
not_before = "2000-01-01T00:00:00Z"
[[fields]]
name = "temperature"
type = "float"
[[fields]]
name = "firmware"
type = "text"
[fields.tracked]
"#;
const AGE_MAX: Duration = Duration::from_millis(300);

fn reading(n: usize, time: &str) -> Record {
    let json = format!(r#"{{"id":"s","eid":"{n}","ts":"{time}","temperature":{n}.5,"firmware":"1"}}"#);
    ("s".to_owned(), json.into_bytes())
}

/// The first column of the first row.
fn number(lake: &Connection, sql: &str) -> i64 {
    lake.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partition_columns_are_numbers_on_every_date_and_windows_are_at_their_newest() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let times = [
        "2026-01-01T05:10:00Z",
        "2026-03-25T09:10:00Z",
        "2026-03-25T10:10:00Z",
        "2026-09-30T23:50:00Z",
        "2026-10-01T00:10:00Z",
        "2026-10-29T11:10:00Z",
        "2026-10-29T12:40:00Z",
    ];
    let setup = Setup { age_max: AGE_MAX, schema: EventSchema::parse(SCHEMA).unwrap(), ..Setup::default() };
    let records: Vec<Record> = times.iter().enumerate().map(|(n, time)| reading(n, time)).collect();
    world.put(&records).await;
    finish(world.worker(&setup).await).await;
    // Within the allowed lateness: another revision of a window that is written.
    world.put(&[reading(99, "2026-10-29T11:50:00Z")]).await;
    finish(world.worker(&setup).await).await;

    let lake = Connection::open_in_memory().unwrap();
    let bucket = dir.path().join("s3").join(BUCKET);
    for statement in views::duckdb(&setup.schema, &bucket.display().to_string()).unwrap() {
        let zone = ["quarantine", "duplicates"].iter().find(|zone| statement.contains(&format!("\"{zone}\"")));
        if zone.is_none_or(|zone| bucket.join(zone).exists()) {
            lake.execute_batch(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
    assert_eq!(number(&lake, "SELECT count(*) FROM sensor_readings"), 8);
    let late_hours = "SELECT count(*) FROM sensor_readings WHERE day >= 25 AND hour >= 10";
    assert_eq!(number(&lake, late_hours), 5);
    for (condition, n) in [("month = 1 AND day = 1 AND hour = 5", 1), ("month < 10", 4), ("year = 2026 AND day < 2", 2)]
    {
        assert_eq!(number(&lake, &format!("SELECT count(*) FROM sensor_readings WHERE {condition}")), n, "{condition}");
    }
    for (view, parts) in [("sensor_readings", 4), ("sensor_versions", 4), ("sensor_hourly", 3), ("sensor_daily", 2)] {
        let types = format!(
            "SELECT count(*) FROM (DESCRIBE {view}) WHERE column_name IN ('year', 'month', 'day', 'hour') AND column_type = 'INTEGER'"
        );
        assert_eq!(number(&lake, &types), parts, "{view}");
    }
    let files = format!("'{}/aggregates/hourly/**/*.parquet'", bucket.display());
    let all = format!("SELECT count(*) FROM (SELECT DISTINCT sensor_id, field, window_start FROM {files})");
    assert_eq!(number(&lake, "SELECT count(*) FROM sensor_hourly"), number(&lake, &all));
    assert!(
        number(&lake, &format!("SELECT count(*) FROM {files}")) > number(&lake, &all),
        "a window has two revisions"
    );
    // The one window with two readings counts both.
    let hour = "SELECT max(count) FROM sensor_hourly WHERE field = 'temperature'";
    assert_eq!(number(&lake, hour), 2);

    // What README says, on this lake.
    let readme = include_str!("../../README.md");
    let lines = readme.lines().filter_map(|line| line.strip_prefix("duckdb -c \"")?.strip_suffix('"'));
    let lines: Vec<String> =
        lines.map(|line| line.replace("mangrove-data/s3/mangrove-demo", &bucket.display().to_string())).collect();
    assert!(lines.iter().any(|line| line.contains("day >= 25 and hour >= 10")), "{lines:?}");
    for line in lines.iter().filter(|line| !line.contains("quarantine")) {
        lake.execute_batch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}
