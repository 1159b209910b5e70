//! GOAL    The transaction of a loader applies once, whoever sends it and however often.
//! METHOD  The loader's own forms: lock, guard, stage, COPY, INSERT, UPDATE, DELETE, ledger; sent twice, by two clients
//!         at once, with a statement in it that fails.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, TimestampMicrosecondArray};
use serde_json::Value;

use crate::{World, batch, parquet};

const TABLES: [&str; 4] = [
    "CREATE SCHEMA IF NOT EXISTS \"mangrove\"",
    "CREATE TABLE IF NOT EXISTS \"mangrove\".\"load_ledger\" (\"stream\" VARCHAR(128) NOT NULL ENCODE ZSTD, \
     \"shard\" VARCHAR(128) NOT NULL ENCODE ZSTD, \"epoch\" BIGINT NOT NULL ENCODE AZ64, \"loaded_at\" TIMESTAMP NOT NULL ENCODE AZ64, \
     PRIMARY KEY (\"stream\", \"shard\", \"epoch\")) DISTSTYLE ALL COMPOUND SORTKEY (\"stream\", \"shard\", \"epoch\")",
    "CREATE TABLE IF NOT EXISTS \"mangrove\".\"sensor_readings\" (\"sensor_id\" VARCHAR(512) NOT NULL ENCODE ZSTD, \
     \"event_time\" TIMESTAMP NOT NULL ENCODE RAW, \"value\" DOUBLE PRECISION ENCODE ZSTD, \"late\" BOOLEAN NOT NULL ENCODE ZSTD, \
     \"quality\" VARCHAR(16) ENCODE BYTEDICT) DISTSTYLE KEY DISTKEY (\"sensor_id\") COMPOUND SORTKEY (\"event_time\", \"sensor_id\")",
    "CREATE TABLE IF NOT EXISTS \"mangrove\".\"sensor_hourly\" (\"sensor_id\" VARCHAR(512) NOT NULL, \"n\" BIGINT, \"revision\" BIGINT)",
];

fn file(sensors: &[&str]) -> Vec<u8> {
    let n = sensors.len() as i64;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(StringArray::from(sensors.to_vec()))),
        ("b", Arc::new(TimestampMicrosecondArray::from_iter_values((0..n).map(|n| n * 1_000_000)))),
        ("c", Arc::new(Float64Array::from_iter((0..n).map(|n| (n > 0).then_some(n as f64))))),
        ("d", Arc::new(BooleanArray::from_iter((0..n).map(|n| Some(n == 1))))),
    ];
    parquet(columns)
}

/// The statements that load one epoch.
fn load(manifest: &str, shard: &str, epoch: u64) -> Vec<String> {
    let known = format!("\"stream\" = 's' AND ((\"shard\" = '{shard}' AND \"epoch\" BETWEEN {epoch} AND {epoch}))");
    let ledger = "\"mangrove\".\"load_ledger\"";
    let zone = "\"sensor_id\", \"event_time\", \"value\", \"late\"";
    vec![
        format!("LOCK {ledger}"),
        format!(
            "CREATE TEMP TABLE \"load_guard\" AS SELECT 1 AS \"ok\" WHERE NOT EXISTS (SELECT 1 FROM {ledger} WHERE {known})"
        ),
        "CREATE TEMP TABLE \"stg\" (\"sensor_id\" VARCHAR(512), \"event_time\" TIMESTAMP, \"value\" DOUBLE PRECISION, \"late\" BOOLEAN)"
            .to_owned(),
        format!("COPY \"stg\" FROM '{manifest}' IAM_ROLE 'arn:aws:iam::1:role/x' FORMAT AS PARQUET MANIFEST"),
        format!(
            "INSERT INTO \"mangrove\".\"sensor_readings\" ({zone}, \"quality\") SELECT \"s\".\"sensor_id\", \"s\".\"event_time\", \
             \"s\".\"value\", \"s\".\"late\", CASE WHEN \"s\".\"late\" THEN 'late' ELSE 'good' END FROM \"stg\" \"s\", \"load_guard\" \"g\""
        ),
        "DELETE FROM \"mangrove\".\"sensor_hourly\" USING \"stg\" \"s\", \"load_guard\" \"g\" WHERE \"sensor_hourly\".\"sensor_id\" = \"s\".\"sensor_id\""
            .to_owned(),
        format!(
            "INSERT INTO \"mangrove\".\"sensor_hourly\" (\"sensor_id\", \"n\", \"revision\") SELECT \"t\".\"sensor_id\", 1, {epoch} \
             FROM (SELECT \"sensor_id\", ROW_NUMBER() OVER (PARTITION BY \"sensor_id\" ORDER BY \"event_time\" DESC) AS \"place\" FROM \"stg\") \"t\" \
             CROSS JOIN \"load_guard\" \"g\" LEFT JOIN \"mangrove\".\"sensor_hourly\" \"w\" ON \"w\".\"sensor_id\" = \"t\".\"sensor_id\" \
             WHERE \"t\".\"place\" = 1 AND \"w\".\"sensor_id\" IS NULL"
        ),
        "UPDATE \"mangrove\".\"sensor_hourly\" SET \"n\" = \"c\".\"n\" FROM (SELECT \"sensor_id\", COUNT(*) AS \"n\" FROM \
         \"mangrove\".\"sensor_readings\" GROUP BY \"sensor_id\") \"c\", \"load_guard\" \"g\" WHERE \"sensor_hourly\".\"sensor_id\" = \"c\".\"sensor_id\""
            .to_owned(),
        format!(
            "INSERT INTO {ledger} (\"stream\", \"shard\", \"epoch\", \"loaded_at\") SELECT 's', '{shard}', {epoch}, GETDATE() FROM \"load_guard\" \"g\""
        ),
        "SELECT COUNT(*) AS \"fresh\" FROM \"load_guard\"".to_owned(),
    ]
}

fn furnished() -> World {
    let world = World::new();
    world.all(&TABLES);
    world.all(&TABLES);
    world
}

fn fresh(world: &World, ended: &Value) -> String {
    assert_eq!(ended["Status"], "FINISHED", "{ended}");
    let last = ended["SubStatements"].as_array().unwrap().last().unwrap();
    let page = crate::ask(&world.warehouse, "GetStatementResult", serde_json::json!({ "Id": last["Id"] }));
    crate::shown(&page["Records"][0][0])
}

fn counts(world: &World) -> Vec<String> {
    world.rows(
        "SELECT (SELECT COUNT(*) FROM mangrove.sensor_readings), (SELECT SUM(n) FROM mangrove.sensor_hourly), \
         (SELECT COUNT(*) FROM mangrove.load_ledger)",
    )
}

#[test]
fn a_load_applies_once() {
    let world = furnished();
    let url = world.put("cleansed/year=2026/a*b?[c]'d.parquet", &file(&["x", "y", "x"]));
    let manifest = world.manifest("m/1.manifest", &[&url]);
    let statements = load(&manifest, "a", 5);
    let ended = world.batch(&statements);
    assert_eq!(fresh(&world, &ended), "1");
    let rows: Vec<i64> =
        ended["SubStatements"].as_array().unwrap().iter().map(|s| s["ResultRows"].as_i64().unwrap()).collect();
    assert_eq!(rows[3..], [3, 3, 0, 2, 2, 1, 1]);
    assert_eq!(counts(&world), ["3,3,1"]);
    assert_eq!(fresh(&world, &world.batch(&statements)), "0");
    assert_eq!(counts(&world), ["3,3,1"]);
    assert_eq!(fresh(&world, &world.batch(&load(&manifest, "b", 5))), "1");
    assert_eq!(counts(&world), ["6,6,2"]);
    let readings =
        "SELECT sensor_id, event_time, value, late, quality FROM mangrove.sensor_readings ORDER BY 2, 1 LIMIT 3";
    assert_eq!(
        world.rows(readings),
        [
            "x,1970-01-01 00:00:00,null,false,good",
            "x,1970-01-01 00:00:00,null,false,good",
            "y,1970-01-01 00:00:01,1.0,true,late"
        ]
    );
}

#[test]
fn two_loaders_at_once_load_once() {
    let world = furnished();
    let url = world.put("k.parquet", &file(&["x", "y"]));
    let manifest = world.manifest("m.manifest", &[&url]);
    let send = |epoch: u64| {
        let (warehouse, statements) = (Arc::clone(&world.warehouse), load(&manifest, "a", epoch));
        std::thread::spawn(move || batch(&warehouse, &statements))
    };
    for epoch in 0..10 {
        let both = [send(epoch), send(epoch)].map(|thread| thread.join().unwrap());
        let mut fresh = both.map(|ended| fresh(&world, &ended));
        fresh.sort();
        assert_eq!(fresh, ["0", "1"], "the second sees what the first has done");
    }
    assert_eq!(counts(&world), ["20,20,10"]);
}

#[test]
fn a_batch_that_fails_leaves_nothing() {
    let world = furnished();
    let url = world.put("k.parquet", &file(&["x"]));
    let manifest = world.manifest("m.manifest", &[&url]);
    for bad in [
        "SELECT CAST('x' AS INTEGER)",
        "SELECT * FROM mangrove.nothing",
        "INSERT INTO mangrove.load_ledger (epoch) VALUES (1)",
        "COPY x",
    ] {
        let mut statements = load(&manifest, "a", 1);
        statements.push(bad.to_owned());
        statements.push("SELECT 2".to_owned());
        let ended = world.batch(&statements);
        assert_eq!(ended["Status"], "FAILED");
        let parts: Vec<&str> =
            ended["SubStatements"].as_array().unwrap().iter().map(|s| s["Status"].as_str().unwrap()).collect();
        assert_eq!(parts[9..], ["FINISHED", "FAILED", "ABORTED"], "{ended}");
        assert!(ended["Error"].as_str().unwrap().starts_with("ERROR: "), "{ended}");
        assert_eq!(counts(&world), ["0,null,0"]);
    }
    assert_eq!(fresh(&world, &world.batch(&load(&manifest, "a", 1))), "1", "its locks were given back");
}

#[test]
fn a_guard_of_a_thousand_shards_is_read() {
    let world = furnished();
    let shards: Vec<String> =
        (0..1_000).map(|n| format!("(\"shard\" = 'shardId-{n:012}' AND \"epoch\" BETWEEN 5 AND 9)")).collect();
    let sql = format!("SELECT COUNT(*) FROM mangrove.load_ledger WHERE \"stream\" = 's' AND ({})", shards.join(" OR "));
    assert!(sql.len() < 100_000);
    assert_eq!(world.rows(&sql), ["0"]);
    let rows: Vec<String> = (0..2_000).map(|n| format!("('s', 'shardId-{n:09}', {n}, GETDATE())")).collect();
    let insert = format!("INSERT INTO mangrove.load_ledger VALUES {}", rows.join(", "));
    assert!(insert.len() < 100_000);
    world.all(&[&insert]);
    assert_eq!(world.rows("SELECT COUNT(*), MAX(epoch) FROM mangrove.load_ledger"), ["2000,1999"]);
}
