//! GOAL    What is made of readings follows event time as they do themselves: a sensor's versions are those of its
//!         readings in whatever order these come, and every window judges by itself whether a reading is late for it.
//! METHOD  Readings in chance order through a worker that is restarted between; the same in plain lists beside it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use actors::ports::leases::LeaseTable;
use actors::ports::objects::Objects;
use actors::recompute::{Day, Recompute, RecomputeError, Wanted};
use actors::sinks::Encoding;
use mangrove_tests::judge::assert_same;
use mangrove_tests::world::{BUCKET, Record, STREAM, Setup, World, caught_up, finish};
use messages::{EventSchema, SensorId};

const SCHEMA: &str = r#"
name = "plain"
[sensor_id]
path = "id"
[time]
path = "ts"
format = "milliseconds"
[cleansed]
partition_by = "day"
[[fields]]
name = "v"
type = "float"
[[fields]]
name = "site"
type = "text"
[fields.tracked]
[[fields]]
name = "firmware"
type = "text"
[fields.tracked]
"#;

/// 2026-01-01, in milliseconds.
const START_MS: i64 = 1_767_225_600_000;
const MINUTE_MS: i64 = 60_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A reading: the minute, and what it says.
#[derive(Clone, Debug)]
struct Reading {
    sensor: String,
    minute: i64,
    site: Option<String>,
    firmware: Option<String>,
}

impl Reading {
    fn record(&self) -> Record {
        let text = |name: &str, value: &Option<String>| {
            value.as_ref().map_or(String::new(), |value| format!(",\"{name}\":\"{value}\""))
        };
        let (site, firmware) = (text("site", &self.site), text("firmware", &self.firmware));
        let time = START_MS + self.minute * MINUTE_MS;
        let json = format!("{{\"id\":\"{}\",\"ts\":{time},\"v\":1.5{site}{firmware}}}", self.sensor);
        (self.sensor.clone(), json.into_bytes())
    }
}

fn setup() -> Setup {
    Setup { schema: EventSchema::parse(SCHEMA).unwrap(), age_max: Duration::from_millis(100), ..Setup::default() }
}

/// Small numbers by chance, the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_of(&mut self, names: [&str; 3]) -> Option<String> {
        let n = self.below(4) as usize;
        names.get(n).map(|name| (*name).to_owned())
    }
}

/// As many readings of a sensor as it remembers apart, at times of their own, in chance order.
fn readings(chance: &mut Chance) -> Vec<Reading> {
    let mut readings = Vec::new();
    for sensor in 0..30 {
        for n in 0..7 {
            let minute = n * 10 + chance.below(10) as i64;
            let (site, firmware) = (chance.one_of(["a", "b", "c"]), chance.one_of(["1.0", "1.1", "2.0"]));
            readings.push(Reading { sensor: format!("s-{sensor}"), minute, site, firmware });
        }
    }
    for n in (1..readings.len()).rev() {
        readings.swap(n, chance.below(n as u64 + 1) as usize);
    }
    readings
}

/// Minute from which it holds, site, firmware.
type Held = (i64, Option<String>, Option<String>);

/// What holds when, by the readings: from the first that says anything, each change.
fn expected(readings: &[Reading]) -> Vec<String> {
    let mut by_sensor: BTreeMap<&str, Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        by_sensor.entry(&reading.sensor).or_default().push(reading);
    }
    let mut rows = Vec::new();
    for (sensor, mut readings) in by_sensor {
        readings.sort_by_key(|reading| reading.minute);
        let (mut site, mut firmware) = (None, None);
        let mut held: Vec<Held> = Vec::new();
        for reading in readings {
            site = reading.site.clone().or(site);
            firmware = reading.firmware.clone().or(firmware);
            held.push((reading.minute, site.clone(), firmware.clone()));
        }
        rows.extend(changes(sensor, held));
    }
    rows
}

/// One line for each change; what holds first holds before it too.
fn changes(sensor: &str, held: Vec<Held>) -> Vec<String> {
    let mut lines: Vec<(Option<i64>, Option<String>, Option<String>)> = Vec::new();
    for (minute, site, firmware) in held {
        match lines.last() {
            Some((_, known, other)) if (known, other) == (&site, &firmware) => {}
            // Before anything is said there is nothing to differ from.
            None if site.is_none() && firmware.is_none() => {}
            None => lines.push((None, site, firmware)),
            Some(_) => lines.push((Some(minute), site, firmware)),
        }
    }
    lines.into_iter().map(|(minute, site, firmware)| format!("{sensor} {minute:?} {site:?} {firmware:?}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_events_follow_event_time_in_any_order_of_arrival() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    let mut chance = Chance(7);
    // What a sensor says first holds before it too, so let that be the first by event time as well.
    let first = |sensor| Reading {
        sensor: format!("s-{sensor}"),
        minute: -10,
        site: Some("a".into()),
        firmware: Some("1.0".into()),
    };
    let mut all: Vec<Reading> = (0..30).map(first).chain(readings(&mut chance)).collect();
    // The one that was found: 10:00, 12:00, 11:00, 11:30.
    for (minute, site) in [(600, "a"), (720, "c"), (660, "b"), (690, "b")] {
        all.push(Reading { sensor: "found".into(), minute, site: Some(site.into()), firmware: Some("1".into()) });
    }
    for part in all.chunks(80) {
        let worker = world.worker(&setup()).await;
        world.put(&part.iter().map(Reading::record).collect::<Vec<_>>()).await;
        caught_up(&worker).await;
        finish(worker).await;
    }
    let loading = world.loading(&setup().schema, "");
    loading.ensure_tables().await.unwrap();
    loading.load_all(PATIENCE).await.unwrap();
    let analyst = world.analyst();

    let intervals = "SELECT sensor_id, DATEDIFF(second, TIMESTAMP '2026-01-01 00:00:00', valid_from) AS since, site, firmware \
                     FROM mangrove.dim_sensors WHERE valid_to IS NULL OR valid_to > valid_from ORDER BY sensor_id, ordinal";
    let mut held: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for row in analyst.ask(intervals).await {
        let text = |n: usize| row[n].as_str().map(str::to_owned);
        held.entry(text(0).unwrap()).or_default().push((row[1].as_i64().unwrap() / 60, text(2), text(3)));
    }
    let found: Vec<String> = held.into_iter().flat_map(|(sensor, held)| changes(&sensor, held)).collect();
    assert_same("changes", &found, &expected(&all));

    let of_found = "SELECT site || ' ' || CAST(valid_from AS VARCHAR) || ' ' || NVL(CAST(valid_to AS VARCHAR), '-') \
                    FROM mangrove.dim_sensors WHERE sensor_id = 'found' ORDER BY ordinal";
    assert_eq!(
        analyst.rows(of_found).await,
        [
            "a 2026-01-01 10:00:00 2026-01-01 11:00:00",
            "b 2026-01-01 11:00:00 2026-01-01 12:00:00",
            "c 2026-01-01 12:00:00 -"
        ]
    );
    let contradicted = "SELECT COUNT(*) FROM mangrove.sensor_readings r JOIN mangrove.dim_sensors d \
                        ON d.sensor_id = r.sensor_id AND d.version = r.sensor_version \
                        WHERE NVL(r.site, d.site) <> d.site OR NVL(r.firmware, d.firmware) <> d.firmware \
                        OR (r.site IS NOT NULL AND d.site IS NULL)";
    assert_eq!(analyst.count(contradicted).await, 0, "a reading carries what it said");
    let joined = "SELECT COUNT(*) FROM mangrove.sensor_readings r JOIN mangrove.dim_sensors d \
                  ON d.sensor_id = r.sensor_id AND d.version = r.sensor_version";
    assert_eq!(analyst.count(joined).await, all.len() as i64);
    world.stop().await;
}

/// Thirty readings, every ten minutes from 10:00 to 14:50.
fn hours_of(sensor: &str) -> Vec<Record> {
    let minutes = (0..30).map(|n| 600 + n * 10);
    minutes.map(|minute| Reading { sensor: sensor.into(), minute, site: None, firmware: None }.record()).collect()
}

fn windows_in(table: &str) -> String {
    format!(
        "SELECT sensor_id || ' ' || DATE_PART(hour, window_start) || ' ' || \"count\" FROM mangrove.{table} \
         WHERE field = 'v' ORDER BY sensor_id, window_start"
    )
}

/// A device that was offline uploads what it has buffered: its hours are closed, its day is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_is_late_for_its_hour_is_counted_in_its_day() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let worker = world.worker(&setup()).await;
    world.put(&hours_of("live")).await;
    caught_up(&worker).await;
    world.put(&hours_of("offline")).await;
    caught_up(&worker).await;
    finish(worker).await;
    let loading = world.loading(&setup().schema, "");
    loading.ensure_tables().await.unwrap();
    loading.load_all(PATIENCE).await.unwrap();
    let analyst = world.analyst();
    assert_eq!(analyst.rows(&windows_in("sensor_daily")).await, ["live 0 30", "offline 0 30"]);
    // Hour 12 was open until 14:00, and 14:50 was seen.
    let hours = ["live 10 6", "live 11 6", "live 12 6", "live 13 6", "live 14 6", "offline 13 6", "offline 14 6"];
    assert_eq!(analyst.rows(&windows_in("sensor_hourly")).await, hours);
    let late = "SELECT COUNT(*) FROM mangrove.sensor_readings WHERE late AND sensor_id = 'offline'";
    assert_eq!(analyst.count(late).await, 18);
    world.stop().await;
}

fn recompute(world: &World) -> Recompute {
    Recompute {
        objects: Objects::new(world.sdk(), BUCKET),
        leases: LeaseTable::new(world.sdk(), "leases"),
        stream: STREAM.to_owned(),
        schema: Arc::new(setup().schema),
        encoding: Encoding::RECOMMENDED,
        lateness: Duration::from_secs(3_600),
        // So few that a day takes several passes.
        windows_max: 4,
    }
}

/// The first two days of January.
fn two_days(dry_run: bool) -> Wanted {
    let from_us = START_MS * 1_000;
    Wanted { from_us, to_us: from_us + 2 * 24 * 60 * MINUTE_MS * 1_000, sensor: None, dry_run }
}

async fn made_anew(recompute: &Recompute, wanted: &Wanted) -> Day {
    let mut told = Vec::new();
    let days = recompute.run(wanted, &mut |day| told.push(day.clone())).await.unwrap();
    assert_eq!((days.len(), &told), (2, &days), "each is told");
    assert_eq!(days[1].changed, 0);
    days[0].clone()
}

/// What came too late for its hours is made right from the cleansed zone, once, beside a worker that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_windows_are_made_anew_from_the_cleansed_zone() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let recompute = recompute(&world);
    let worker = world.worker(&setup()).await;
    for sensor in ["live", "offline"] {
        world.put(&hours_of(sensor)).await;
        caught_up(&worker).await;
    }
    let loading = world.loading(&setup().schema, "");
    loading.ensure_tables().await.unwrap();
    loading.load_all(PATIENCE).await.unwrap();
    let analyst = world.analyst();
    // 14:50 was seen: what ended by 13:50 is closed. The other hours, and the day, are the worker's.
    let dry = made_anew(&recompute, &two_days(true)).await;
    assert_eq!((dry.changed, dry.open, dry.published.len()), (3, 12, 0));
    let other = Recompute { stream: "another".to_owned(), ..recompute.clone() };
    let nothing = other.run(&two_days(false), &mut |_| {}).await;
    assert!(matches!(nothing, Err(RecomputeError::NothingCommitted { .. })), "{nothing:?}");
    let of_one = Wanted { sensor: Some(SensorId::new("live")), ..two_days(true) };
    assert_eq!(made_anew(&recompute, &of_one).await.changed, 0, "nothing of it was late");
    let folder = dir.path().join("s3").join(BUCKET).join("recomputed");
    assert!(!folder.exists(), "a dry run writes nothing");

    let day = made_anew(&recompute, &two_days(false)).await;
    assert_eq!((day.changed, day.fewer, day.readings), (3, 0, 36));
    assert_eq!(made_anew(&recompute, &two_days(false)).await.changed, 0, "it says so already");
    loading.load_all(PATIENCE).await.unwrap();
    let closed = ["live 10 6", "live 11 6", "live 12 6", "offline 10 6", "offline 11 6", "offline 12 6"];
    let mut found = analyst.rows(&windows_in("sensor_hourly")).await;
    found.retain(|row| !row.contains(" 13 "));
    assert_eq!(found, closed);

    // One that was interrupted before its manifest is made whole by the next, above what it left behind.
    let late = Reading { sensor: "offline".into(), minute: 605, site: None, firmware: None };
    world.put(&[late.record()]).await;
    caught_up(&worker).await;
    let published = made_anew(&recompute, &two_days(false)).await.published;
    assert_eq!(published.len(), 1);
    let files: Vec<_> = fs::read_dir(folder.join(STREAM)).unwrap().map(|file| file.unwrap().path()).collect();
    let last = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "json")).max().unwrap();
    fs::remove_file(last).unwrap();
    let again = made_anew(&recompute, &two_days(false)).await;
    assert_eq!((again.changed, &again.published), (1, &published));
    loading.load_all(PATIENCE).await.unwrap();
    let hour = "SELECT revision || ' ' || \"count\" || ' ' || shard FROM mangrove.sensor_hourly \
                WHERE sensor_id = 'offline' AND DATE_PART(hour, window_start) = 10";
    assert_eq!(analyst.rows(hour).await, ["3 7 shardId-000000000000"]);

    // The worker has gone on meanwhile, and goes on: the open windows are its own, and stay right.
    finish(worker).await;
    loading.load_all(PATIENCE).await.unwrap();
    assert_eq!(analyst.rows(&windows_in("sensor_daily")).await, ["live 0 30", "offline 0 31"]);
    let ledger = "SELECT COUNT(*) FROM mangrove.load_ledger WHERE shard = 'recomputed' AND state = 'loaded'";
    assert_eq!(analyst.count(ledger).await, published[0] as i64);
    let latest = world.lake().latest_aggregates();
    let counted = latest.iter().filter(|((_, sensor, field, ..), _)| sensor == "offline" && field == "v");
    assert_eq!(counted.count(), 6, "five hours and a day: {latest:?}");
    world.stop().await;
}
