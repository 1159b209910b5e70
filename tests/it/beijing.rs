//! GOAL    280,512 recorded readings of eight stations: every record is in the raw zone once, every reading lands as it
//!         was recorded, in order, and the hourly and daily aggregates are right (RAW-ONCE, CLEAN-ONCE, COMPLETE, ORDER).
//!         The same replay once more says that there is nothing left to do, and adds no object. The warehouse answers a
//!         question about every station and month as the files do.
//! METHOD  The files go through the replayer, the local cloud and a worker. The raw zone is held against the ledger,
//!         the cleansed zone against the files, the aggregates against SQL over the files in an engine of its own.

mod landed;
mod reference;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::warehouse::Cell;
use fleet::{FleetReport, Ledger, Line, Outcome, Progress, ReplayMapping, ReplayOptions, Target, run_replay};
use mangrove_tests::lake::Lake;
use mangrove_tests::world::{STREAM, Setup, World, finish};
use messages::EventSchema;
use sha2::{Digest, Sha256};

use self::landed::{Windows, cleansed_rows, tables};
use self::reference::{FIELDS, Reference};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/beijing-air");
const ROWS: u64 = 280_512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_stations_land_once_and_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger.jsonl");
    let world = World::new(dir.path(), 4).await;
    let setup = Setup {
        schema: EventSchema::built_in("air-quality").unwrap(),
        age_max: Duration::from_secs(2),
        ..Setup::default()
    };

    let began = Instant::now();
    let worker = world.worker(&setup).await;
    let report = replay(&world, &ledger).await;
    let put = began.elapsed();
    assert_eq!((report.acked, report.bad_rows, report.maybe, report.failed), (ROWS, 0, 0, 0));
    finish(worker).await;
    let landed = began.elapsed();
    let lake = world.lake();
    let objects = lake.files("", "");
    println!(
        "{ROWS} rows put in {put:.1?}, landed in {landed:.1?} ({:.0} rows/s), {} objects",
        ROWS as f64 / landed.as_secs_f64(),
        objects.len()
    );

    let began = Instant::now();
    let again = replay(&world, &ledger).await;
    assert!(again.already_complete);
    assert_eq!((again.acked, again.skipped), (0, ROWS));
    finish(world.worker(&setup).await).await;
    assert!(lake.files("", "") == objects, "the second replay has added objects");
    println!("the same once more in {:.1?}", began.elapsed());

    let began = Instant::now();
    let loading = world.loading(&setup.schema, "");
    loading.ensure_tables().await.unwrap();
    loading.load_all(Duration::from_secs(120)).await.unwrap();
    println!("loaded in {:.1?}", began.elapsed());
    let months = months_in_warehouse(&world).await;

    // The hourly windows take about as long as everything else.
    std::thread::scope(|threads| {
        threads.spawn(|| timed("hourly aggregates", || aggregates_are_right(&lake, &recorded(), "hourly", 3_600)));
        let reference = recorded();
        timed("raw zone", || raw_is_what_was_acknowledged(&lake, &ledger));
        timed("cleansed zone", || cleansed_is_what_was_recorded(&lake, &reference));
        timed("daily aggregates", || aggregates_are_right(&lake, &reference, "daily", 86_400));
        timed("months", || months_are_right(&months, &reference));
    });
}

/// Station and month: readings, readings with a value, and their sum, least and greatest.
async fn months_in_warehouse(world: &World) -> Vec<(String, i64, [i64; 2], [f64; 3])> {
    let month = "CAST(EXTRACT(year FROM event_time) * 100 + EXTRACT(month FROM event_time) AS BIGINT)";
    let sql = format!(
        "SELECT sensor_id, {month} AS month, COUNT(*) AS n, COUNT(pm25) AS measured, SUM(CAST(pm25 AS DOUBLE PRECISION)) AS total, \
         MIN(pm25) AS least, MAX(pm25) AS most FROM mangrove.sensor_readings GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let rows = world.analyst().ask(&sql).await;
    let row = |row: &Vec<Cell>| {
        let float = |n: usize| match &row[n] {
            Cell::Float(x) => *x,
            other => panic!("no number: {other:?}"),
        };
        let whole = |n: usize| row[n].as_i64().unwrap();
        (row[0].as_str().unwrap().to_owned(), whole(1), [whole(2), whole(3)], [float(4), float(5), float(6)])
    };
    rows.iter().map(row).collect()
}

fn months_are_right(found: &[(String, i64, [i64; 2], [f64; 3])], reference: &Reference) -> usize {
    let expected = reference.months("pm25");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.0, found.1, found.2), (&expected.0, expected.1, expected.2));
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs();
        assert!(found.3.iter().zip(&expected.3).all(close), "{found:?} is not {expected:?}");
    }
    found.len()
}

/// Runs a check that tells how much it has checked.
fn timed(what: &str, check: impl FnOnce() -> usize) {
    let began = Instant::now();
    let n = check();
    println!("{what}: {n} compared in {:.1?}", began.elapsed());
}

async fn replay(world: &World, ledger: &Path) -> FleetReport {
    let client = fleet::client(Some(&world.cloud.endpoint_url()), "us-east-1").await;
    let target = Target { stream: STREAM.to_owned(), client };
    let mapping = ReplayMapping::named("air-quality").unwrap();
    let options = ReplayOptions::new(format!("{DATA}/*.csv.gz"), mapping, ledger);
    let (_go_on, stop) = tokio::sync::watch::channel(false);
    run_replay(target, options, Arc::new(Progress::default()), stop).await.unwrap()
}

/// The files in an engine of their own. No value is out of range: all of it has to be in the cleansed zone.
fn recorded() -> Reference {
    let reference = Reference::load(Path::new(DATA));
    assert_eq!(reference.number("SELECT count(*) FROM recorded"), ROWS as i64);
    assert_eq!(reference.n_out_of_range(), 0);
    reference
}

fn raw_is_what_was_acknowledged(lake: &Lake, ledger: &Path) -> usize {
    let acked = Ledger::read(ledger).unwrap().filter_map(|line| match line.unwrap() {
        Line::Outcome(entry) if entry.k == Outcome::Acked => Some(entry.sha256),
        _ => None,
    });
    let mut acked: Vec<String> = acked.collect();
    acked.sort_unstable();
    let records = lake.raw();
    let digest = |record: &Vec<u8>| Sha256::digest(record).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut raw: Vec<String> = records.iter().map(digest).collect();
    raw.sort_unstable();
    assert_eq!((raw.len(), acked.len()), (ROWS as usize, ROWS as usize));
    assert!(raw == acked, "the raw zone holds other bytes than the ledger says");
    raw.dedup();
    assert_eq!(raw.len(), ROWS as usize, "two records of the files are the same: the comparison would not see a swap");
    stations_are_in_order(&records);
    records.len()
}

/// Objects sort by arrival and epoch, so a station's numbers have to go up by one from object to object.
fn stations_are_in_order(records: &[Vec<u8>]) {
    let mut last: HashMap<String, u64> = HashMap::new();
    for record in records {
        let event: serde_json::Value = serde_json::from_slice(record).unwrap();
        let (station, n) = (event["station"].as_str().unwrap(), event["seq"].as_u64().unwrap());
        let before = last.insert(station.to_owned(), n).unwrap_or(0);
        assert_eq!(n, before + 1, "of {station}");
    }
    assert_eq!(last.len(), 8);
}

fn cleansed_is_what_was_recorded(lake: &Lake, reference: &Reference) -> usize {
    let files = lake.files("cleansed", ".parquet");
    let batches = tables(&files);
    reference.add_landed(batches.flat_map(|batch| cleansed_rows(&batch)));
    let n_clean = reference.number("SELECT count(*) FROM landed") as u64;
    let n_quarantined = lake.rows("quarantine").len() as u64;
    let n_duplicates = lake.rows("duplicates").len() as u64;
    assert_eq!((n_clean, n_quarantined, n_duplicates), (ROWS, 0, 0));
    for manifest in lake.manifests() {
        let count = |name: &str| manifest[name].as_u64().unwrap();
        assert_eq!(count("clean") + count("quarantined") + count("duplicates"), count("readings"), "{manifest}");
        assert_eq!(count("records"), count("readings"), "a record of these files is one reading: {manifest}");
    }
    for (one, other) in [("recorded", "landed"), ("landed", "recorded")] {
        let sql = format!("SELECT count(*) FROM (SELECT * FROM {one} EXCEPT SELECT * FROM {other})");
        assert_eq!(reference.number(&sql), 0, "rows that are {one} but not {other}");
    }
    // Counted with another tool once: so many cells of the files say `NA`, and one holds a blank.
    let nulls = |field: &str| reference.number(&format!("SELECT count(*) FROM landed WHERE {field} IS NULL"));
    assert_eq!(["pm25", "so2", "co", "wd"].map(nulls), [6_071, 5_362 + 1, 14_288, 1_059]);
    n_clean as usize
}

fn aggregates_are_right(lake: &Lake, reference: &Reference, kind: &str, length_s: i64) -> usize {
    let mut landed = Windows::read(&lake.files(&format!("aggregates/{kind}"), ".parquet"));
    let n_windows = landed.len();
    for (_, field, ..) in FIELDS {
        reference.windows(field, length_s, |station, start_s, expected| {
            let found = landed.take(station, field, start_s);
            let agrees = found.is_some_and(|found| expected.agrees(&found));
            assert!(agrees, "{kind}: {station} {field} at {start_s}: {found:?}, expected {expected:?}");
        });
    }
    assert_eq!(landed.len(), 0, "{kind}: windows of nothing recorded");
    n_windows
}
