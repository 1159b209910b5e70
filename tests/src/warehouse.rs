//! A warehouse of the local cloud, as the loader and as an analyst sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::loader::LoaderConfig;
use actors::loading::{Loading, LoadingConfig, LoadingPorts, MetadataConfig, RefusalPatience};
use actors::ports::clock::Clock;
use actors::ports::faults::Faults;
use actors::ports::objects::Objects;
use actors::ports::warehouse::{SdkConfig, Warehouse, WarehousePlace, WarehouseTarget};
use actors::sinks::Encoding;
use actors::warehouse::Cell;
use messages::EventSchema;
use parquet::record::Field;

use crate::lake::{Lake, Row, Sequence, identity, integer, text};

const ROWS_MAX: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// One warehouse, seen by whoever asks it.
#[derive(Clone)]
pub struct Analyst(Warehouse);

/// What loads the stream `events` of the bucket into the warehouse.
pub fn loading(
    sdk: &SdkConfig,
    stream: &str,
    bucket: &str,
    schema: &EventSchema,
    faults: &str,
    change: impl FnOnce(&mut LoadingConfig),
) -> Loading {
    loading_in(Objects::new(sdk, bucket), sdk, stream, schema, faults, change)
}

/// The same with a bucket that somebody has opened.
pub fn loading_in(
    objects: Objects,
    sdk: &SdkConfig,
    stream: &str,
    schema: &EventSchema,
    faults: &str,
    change: impl FnOnce(&mut LoadingConfig),
) -> Loading {
    let faults = Faults::parse(faults).unwrap();
    let ports = LoadingPorts {
        objects: objects.with(faults.clone()),
        warehouse: warehouse(sdk),
        clock: Clock::system(),
        faults,
        figures: Arc::default(),
    };
    let mut config = LoadingConfig {
        namespace: "mangrove".into(),
        iam_role: String::new(),
        // Few, so that there is more than one load.
        epochs_max: 2,
        bytes_max: 1 << 30,
        patience: RefusalPatience { attempts_max: 2, alike_max: 3 },
        metadata: MetadataConfig::none(),
        encoding: Encoding::RECOMMENDED,
        spectrum: None,
    };
    change(&mut config);
    Loading::new(config, stream, Arc::new(schema.clone()), ports).unwrap()
}

/// Times that are short enough for a test.
pub fn loader_config() -> LoaderConfig {
    LoaderConfig {
        load_interval: Duration::from_millis(100),
        backoff_max: Duration::from_millis(500),
        failover_after: Duration::from_millis(800),
        // A load of a busy machine, next to others, takes some of it.
        turn_max: Duration::from_secs(10),
    }
}

fn warehouse(sdk: &SdkConfig) -> Warehouse {
    let place = WarehousePlace::Workgroup("local".into());
    let target = WarehouseTarget { place, database: "dev".into(), db_user: None, secret_arn: None };
    Warehouse::new(sdk, target, Duration::from_secs(60))
}

impl Analyst {
    pub fn new(sdk: &SdkConfig) -> Self {
        Self(warehouse(sdk))
    }

    pub async fn ask(&self, sql: &str) -> Vec<Vec<Cell>> {
        self.0.query(sql, "test", ROWS_MAX).await.unwrap_or_else(|e| panic!("{e}: {sql}"))
    }

    /// The first column, as text.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        self.ask(sql).await.iter().map(|row| shown(&row[0])).collect()
    }

    pub async fn run(&self, sql: &str) {
        self.0.execute(sql, "test").await.unwrap_or_else(|e| panic!("{e}: {sql}"));
    }

    /// The words by which a statement is refused.
    pub async fn refused(&self, sql: &str) -> String {
        self.0.execute(sql, "test").await.expect_err(sql).message
    }

    /// A count.
    pub async fn count(&self, sql: &str) -> i64 {
        self.ask(sql).await[0][0].as_i64().unwrap()
    }
}

/// Waits until nothing that is committed is left to load, whoever loads.
pub async fn until_loaded(loading: &Loading) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let waits = loading.next_batch(1).await;
        if matches!(waits, Ok(None)) {
            return;
        }
        assert!(Instant::now() < deadline, "not all is loaded: {waits:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// CLEAN-ONCE: the warehouse says what the lake says, and every epoch of the lake stands in the ledger once.
pub async fn assert_loaded(lake: &Lake, analyst: &Analyst) {
    assert_same_as_lake(lake, analyst).await;
    let known = analyst.ask("SELECT shard, epoch, state, readings FROM mangrove.load_ledger").await;
    let known = known.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|"));
    let expected = lake.manifests().into_iter().map(|manifest| {
        let (shard, epoch) = (manifest["shard"].as_str().unwrap().to_owned(), &manifest["cut"]["epoch"]);
        format!("{shard}|{epoch}|loaded|{}", manifest["clean"])
    });
    crate::judge::assert_same("load_ledger", &sorted(known.collect()), &sorted(expected.collect()));
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.load_refused").await, 0);
}

/// CLEAN-ONCE: the warehouse says what the lake says, table by table.
pub async fn assert_same_as_lake(lake: &Lake, analyst: &Analyst) {
    readings(lake, analyst).await;
    windows(lake, analyst, "aggregates/hourly", "mangrove.sensor_hourly").await;
    windows(lake, analyst, "aggregates/daily", "mangrove.sensor_daily").await;
    sensors(lake, analyst).await;
    let alerts = lake.json_lines("alerts").into_iter().map(|line| line["id"].as_str().unwrap().to_owned());
    let found = analyst.ask("SELECT id FROM mangrove.alerts").await;
    let found = found.iter().map(|row| row[0].as_str().unwrap().to_owned());
    assert_eq!(sorted(found.collect()), sorted(alerts.collect()), "alerts");
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// A value in a form that both sides have. Times are microseconds.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "-".into(),
        Cell::Boolean(b) => b.to_string(),
        Cell::Integer(n) => n.to_string(),
        Cell::Float(x) => format!("{x:e}"),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => format!("{bytes:?}"),
    }
}

fn of_field(field: &Field) -> String {
    match field {
        Field::Null => "-".into(),
        Field::Bool(b) => b.to_string(),
        Field::Int(n) => n.to_string(),
        Field::Long(n) => n.to_string(),
        Field::Float(x) => format!("{x:e}"),
        Field::Double(x) => format!("{x:e}"),
        Field::Str(text) => text.clone(),
        Field::TimestampMicros(us) => us.to_string(),
        Field::TimestampMillis(ms) => (ms * 1_000).to_string(),
        other => panic!("a column of another type: {other:?}"),
    }
}

/// The columns of a zone, and what may follow them.
fn line(cells: &[Cell], like: &Row) -> String {
    let mut zone = like.values();
    let shown = |cell: &Cell| match (cell, zone.next()) {
        // The service answers with the digits that tell it from other numbers of 32 bits.
        (Cell::Float(x), Some(Field::Float(_))) => format!("{:e}", *x as f32),
        _ => shown(cell),
    };
    cells.iter().map(shown).collect::<Vec<_>>().join("|")
}

/// The columns of a zone; times as microseconds.
fn columns(row: &Row) -> String {
    let column = |(name, field): (&String, &Field)| match field {
        Field::TimestampMicros(_) | Field::TimestampMillis(_) => {
            format!("DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', \"{name}\") AS \"{name}\"")
        }
        _ => format!("\"{name}\""),
    };
    row.iter().map(column).collect::<Vec<_>>().join(", ")
}

async fn readings(lake: &Lake, analyst: &Analyst) {
    let mut rows = lake.rows("cleansed");
    // The warehouse may know better which version held at the time of the event.
    rows.iter_mut().for_each(|row| drop(row.remove("sensor_version")));
    let Some(first) = rows.first() else { return };
    let quality = |row: &Row| match (&row["late"], &row["anomalies"]) {
        (Field::Bool(true), _) => "late",
        (_, Field::Int(0)) => "good",
        _ => "suspect",
    };
    let versions = versions(lake);
    // The zone has the version of the arrival, the table that of the event.
    let value = |row: &Row, (name, field): (&String, &Field)| match name.as_str() {
        "sensor_version" => {
            let versions = &versions[&text(row, "sensor_id")];
            let event_time = integer(row, "event_time");
            let holds = versions.iter().rev().find(|(from, ..)| *from <= event_time);
            holds.unwrap_or(&versions[0]).1.to_string()
        }
        _ => of_field(field),
    };
    let expected = rows.iter().map(|row| {
        let values: Vec<String> = row.iter().map(|cell| value(row, cell)).chain([quality(row).to_owned()]).collect();
        values.join("|")
    });
    let sql = format!("SELECT {}, \"quality\" FROM mangrove.sensor_readings", columns(first));
    let found = analyst.ask(&sql).await;
    let found = found.iter().map(|row| line(row, first));
    crate::judge::assert_same("readings", &sorted(found.collect()), &sorted(expected.collect()));
}

/// The windows of one shard are its rows; those of several count what their shards have counted.
async fn windows(lake: &Lake, analyst: &Analyst, zone: &str, table: &str) {
    let mut parts: BTreeMap<(String, String, i64), BTreeMap<String, (i64, i64, String)>> = BTreeMap::new();
    let rows = lake.rows(zone);
    let Some(first) = rows.first() else { return };
    for row in &rows {
        let key = (text(row, "sensor_id"), text(row, "field"), integer(row, "window_start"));
        let (revision, count) = (integer(row, "revision"), integer(row, "count"));
        let values = row.values().map(of_field).collect::<Vec<_>>().join("|");
        let entry = parts.entry(key).or_default().entry(text(row, "shard")).or_default();
        if revision > entry.0 {
            *entry = (revision, count, values);
        }
    }
    let (mut whole, mut counts) = (Vec::new(), Vec::new());
    for ((sensor, field, start), parts) in parts {
        let count: i64 = parts.values().map(|(_, count, _)| count).sum();
        counts.push(format!("{sensor}|{field}|{start}|{count}|{}", parts.len()));
        if let [(_, _, values)] = parts.into_values().collect::<Vec<_>>().as_slice() {
            whole.push(values.clone());
        }
    }
    let found = analyst.ask(&format!("SELECT {} FROM {table} WHERE \"shards\" = 1", columns(first))).await;
    let found = found.iter().map(|row| line(row, first));
    crate::judge::assert_same(table, &sorted(found.collect()), &sorted(whole));
    let sql = format!(
        "SELECT sensor_id, field, DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', window_start), \"count\", \"shards\" \
         FROM {table}"
    );
    let found = analyst.ask(&sql).await;
    let found = found.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|"));
    crate::judge::assert_same(table, &sorted(found.collect()), &sorted(counts));
}

/// A version: since when it holds, its number, and the reading that made it.
type Version = (i64, i64, (String, Sequence, i64));

/// The versions of every sensor, in order.
fn versions(lake: &Lake) -> BTreeMap<String, Vec<Version>> {
    let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for row in lake.rows("dimensions") {
        let from = integer(&row, "valid_from");
        let key = (from, integer(&row, "version"), identity(&row));
        versions.entry(text(&row, "sensor_id")).or_default().push(key);
    }
    for versions in versions.values_mut() {
        versions.sort();
    }
    versions
}

/// Intervals of a sensor lie one behind the other, without a hole; the last is the current one.
async fn sensors(lake: &Lake, analyst: &Analyst) {
    let mut expected = Vec::new();
    for (sensor, versions) in versions(lake) {
        for (n, (from, version, _)) in versions.iter().enumerate() {
            let next = versions.get(n + 1).map(|(from, ..)| from.to_string());
            let current = next.is_none();
            expected.push(format!("{sensor}|{version}|{from}|{}|{current}", next.unwrap_or_else(|| "-".into())));
        }
    }
    let us = |name: &str| format!("DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', {name})");
    let (from, to) = (us("valid_from"), us("valid_to"));
    let sql = format!("SELECT sensor_id, version, {from}, {to}, is_current FROM mangrove.dim_sensors");
    let found = analyst.ask(&sql).await;
    let found = found.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|"));
    crate::judge::assert_same("dim_sensors", &sorted(found.collect()), &sorted(expected));
}
