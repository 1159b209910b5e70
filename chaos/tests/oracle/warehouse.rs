//! A warehouse that a loader has filled is clean, and whatever is done to its tables is found (CLEAN-ONCE).

use std::fs;
use std::path::Path;
use std::time::Duration;

use actors::warehouse::metadata::{Limits, MetadataColumn};
use chaos::oracle::{Evidence, Figures, Tables, Verdict, judge, tables};
use mangrove_tests::history::{history, setup};
use mangrove_tests::world::{BUCKET, STREAM, Setup, World, finish};
use messages::EventSchema;

use crate::honest::assert_clean;
use crate::worker::evidence;

/// What a worker and a loader have left in this folder.
async fn loaded(dir: &Path) -> (Evidence, EventSchema) {
    loaded_with(dir, "").await
}

/// The same, with rows of metadata about sensors.
async fn loaded_with(dir: &Path, metadata: &str) -> (Evidence, EventSchema) {
    let world = World::new(dir, 2).await;
    world.put(&history(8, 2)).await;
    finish(world.worker(&Setup { age_max: Duration::from_millis(300), ..setup() }).await).await;
    let schema = setup().schema;
    let reference = dir.join("s3").join(BUCKET).join("reference");
    fs::create_dir_all(&reference).unwrap();
    fs::write(reference.join("sensors.csv"), metadata).unwrap();
    let loading = world.loading_with(&schema, |config| {
        if !metadata.is_empty() {
            config.metadata.sensors = "reference/".into();
            config.metadata.limits = Limits { objects_max: 1, bytes_max: 1 << 20, rows_max: 100 };
            config.metadata.columns.sensors = vec![MetadataColumn::parse("owner").unwrap()];
            config.metadata.columns.text_bytes_max = 100;
        }
    });
    loading.ensure_tables().await.unwrap();
    loading.load_all(Duration::from_secs(60)).await.unwrap();
    let mut evidence = evidence(world.sdk()).await;
    world.stop().await;
    // They are somebody else's.
    evidence.objects.retain(|key, _| !key.starts_with("reference/"));
    evidence.warehouse = read(dir, &schema);
    (evidence, schema)
}

fn read(dir: &Path, schema: &EventSchema) -> Option<Tables> {
    tables(&dir.join("warehouse.duckdb"), "mangrove", STREAM, schema).unwrap()
}

/// What is done to tables, under which promise it is found, and how often: missing, doubled, unexpected, altered.
type Case = (&'static str, fn(&mut Tables), &'static str, [u64; 4]);

const CASES: [Case; 27] = [
    ("an epoch is of another manifest", |t| t.ledger[0].content = Some("0".into()), "LEDGER", [0, 0, 0, 1]),
    ("a reading is gone", |t| drop(t.readings.remove(5)), "WAREHOUSE", [1, 0, 0, 0]),
    ("a reading is there twice", |t| t.readings.push(t.readings[7].clone()), "WAREHOUSE", [0, 1, 0, 0]),
    ("a reading says something else", |t| t.readings[9].content ^= 1, "WAREHOUSE", [0, 0, 0, 1]),
    ("two readings have changed places", swap_readings, "WAREHOUSE", [0, 0, 0, 2]),
    ("a reading carries the next version", |t| t.readings[9].version += 1, "WAREHOUSE", [0, 0, 0, 1]),
    ("a reading carries no version", |t| t.readings[9].version = 0, "WAREHOUSE", [0, 0, 0, 1]),
    ("what was said is gone", |t| drop(t.reported.pop()), "INTERVAL", [1, 0, 0, 0]),
    ("what was said was something else", |t| t.reported[1].content ^= 1, "INTERVAL", [0, 0, 0, 1]),
    ("a version is gone", |t| drop(t.intervals.remove(first_of_two(t))), "INTERVAL", [1, 0, 0, 0]),
    ("a version is there twice", |t| t.intervals.push(t.intervals[0].clone()), "INTERVAL", [0, 1, 0, 0]),
    ("a version says something else", |t| t.intervals[0].content ^= 1, "INTERVAL", [0, 0, 0, 1]),
    ("a hole between intervals", |t| *ends(t) -= 1, "INTERVAL", [0, 0, 0, 1]),
    ("intervals overlap", |t| *ends(t) += 1, "INTERVAL", [0, 0, 0, 1]),
    ("no interval is the current one", |t| current(t, true, false), "INTERVAL", [0, 0, 0, 1]),
    ("two intervals are current ones", |t| current(t, false, true), "INTERVAL", [0, 0, 0, 1]),
    ("the last interval ends", last_ends, "INTERVAL", [0, 0, 0, 1]),
    ("a window is gone", |t| drop(t.windows.remove(3)), "WAREHOUSE", [2, 0, 0, 0]),
    ("a window is there twice", |t| t.windows.push(t.windows[3].clone()), "WAREHOUSE", [0, 1, 0, 0]),
    ("a window counts one more", |t| t.windows[3].count += 1, "WAREHOUSE", [0, 0, 0, 2]),
    ("a window is of an earlier revision", |t| t.windows[3].revision -= 1, "WAREHOUSE", [0, 0, 0, 1]),
    ("a window is not what SQL makes of the readings", |t| t.computed[3].values[5] += 1.0, "WAREHOUSE", [0, 0, 0, 1]),
    ("an alert is gone", |t| drop(t.alerts.pop()), "WAREHOUSE", [1, 0, 0, 0]),
    ("an alert is there twice", |t| t.alerts.push(t.alerts[0].clone()), "WAREHOUSE", [0, 1, 0, 0]),
    ("an epoch is not in the ledger", |t| drop(t.ledger.remove(1)), "LEDGER", [1, 0, 0, 0]),
    ("an epoch is in the ledger twice", |t| t.ledger.push(t.ledger[1].clone()), "LEDGER", [0, 1, 0, 0]),
    ("an epoch of the ledger ends elsewhere", |t| t.ledger[1].to = "SHARD_END".into(), "LEDGER", [0, 0, 0, 1]),
];

fn swap_readings(tables: &mut Tables) {
    let (left, right) = tables.readings.split_at_mut(1);
    std::mem::swap(&mut left[0].content, &mut right[0].content);
}

/// The first of several intervals of a sensor.
fn first_of_two(tables: &Tables) -> usize {
    let first =
        |from: i64, sensor: &str| tables.intervals.iter().all(|other| other.sensor != sensor || other.from_us >= from);
    tables.intervals.iter().position(|row| row.to_us.is_some() && first(row.from_us, &row.sensor)).unwrap()
}

fn ends(tables: &mut Tables) -> &mut i64 {
    tables.intervals.iter_mut().find_map(|row| row.to_us.as_mut()).unwrap()
}

fn current(tables: &mut Tables, was: bool, is: bool) {
    tables.intervals.iter_mut().find(|row| row.is_current == was).unwrap().is_current = is;
}

fn last_ends(tables: &mut Tables) {
    let last = tables.intervals.iter_mut().find(|row| row.to_us.is_none()).unwrap();
    last.to_us = Some(last.from_us + 1);
}

#[track_caller]
fn figures(verdict: &Verdict) -> Figures {
    verdict.warehouse.expect("there is a warehouse")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_were_tampered_with_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (honest, schema) = loaded(dir.path()).await;
    let verdict = judge(&honest, &schema);
    assert_clean(&verdict);
    let found = figures(&verdict);
    assert_eq!((found.readings, found.versions), (verdict.cleansed, verdict.dimensions));
    assert_eq!((found.epochs, found.put_aside, found.alerts), (verdict.epochs, 0, verdict.alerts));
    assert!(found.windows > 100 && found.recomputed == found.windows && found.loads > 1, "{found:?}");
    assert!(["WAREHOUSE", "INTERVAL", "LEDGER"].iter().all(|id| verdict.checked.contains(id)));

    for (what, change, promise, counts) in CASES {
        let mut evidence = honest.clone();
        change(evidence.warehouse.as_mut().unwrap());
        let verdict = judge(&evidence, &schema);
        assert_eq!(verdict.found.keys().copied().collect::<Vec<_>>(), [promise], "{what}: {:#?}", verdict.violations);
        let Figures { missing, doubled, unexpected, altered, .. } = figures(&verdict);
        assert_eq!([missing, doubled, unexpected, altered], counts, "{what}: {:#?}", verdict.violations);
    }

    // What the lake does not have.
    let mut evidence = honest.clone();
    let key = evidence.objects.keys().find(|key| key.starts_with("cleansed/")).unwrap().clone();
    evidence.objects.remove(&key);
    let verdict = judge(&evidence, &schema);
    assert!(figures(&verdict).unexpected > 0 && verdict.found.contains_key("WAREHOUSE"), "{:#?}", verdict.found);

    // What was put aside is not missed, but it must be said in both tables.
    let mut evidence = honest.clone();
    let tables = evidence.warehouse.as_mut().unwrap();
    tables.ledger[0].state = "refused".into();
    let aside = (tables.ledger[0].shard.clone(), tables.ledger[0].epoch);
    assert!(judge(&evidence, &schema).found.contains_key("LEDGER"));
    evidence.warehouse.as_mut().unwrap().refused.push(aside);
    let verdict = judge(&evidence, &schema);
    assert_eq!(figures(&verdict).put_aside, 1);
    assert!(figures(&verdict).unexpected > 0, "its readings are there all the same");
}

/// Metadata makes versions too, and readings carry them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_metadata_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = "sensor_id,valid_from,owner\ns-000,,me\ns-000,2999-01-01,you\ns-001,2001-01-01,them\nnobody,,x\n";
    let (honest, schema) = loaded_with(dir.path(), metadata).await;
    let verdict = judge(&honest, &schema);
    assert_clean(&verdict);
    assert_eq!(figures(&verdict).versions, verdict.dimensions + 4);
    let cases: [Case; 4] = [
        ("a version of metadata is gone", |t| drop(t.intervals.remove(described(t))), "INTERVAL", [1, 0, 0, 1]),
        ("it is there twice", |t| t.intervals.push(t.intervals[described(t)].clone()), "INTERVAL", [0, 1, 0, 0]),
        ("metadata says nothing of it", |t| t.described.retain(|row| row.sensor != "nobody"), "INTERVAL", [0, 0, 1, 0]),
        ("a reading carries it too early", |t| t.readings[0].version = -2, "WAREHOUSE", [0, 0, 0, 1]),
    ];
    for (what, change, promise, counts) in cases {
        let mut evidence = honest.clone();
        change(evidence.warehouse.as_mut().unwrap());
        let verdict = judge(&evidence, &schema);
        assert_eq!(verdict.found.keys().copied().collect::<Vec<_>>(), [promise], "{what}: {:#?}", verdict.violations);
        let Figures { missing, doubled, unexpected, altered, .. } = figures(&verdict);
        assert_eq!([missing, doubled, unexpected, altered], counts, "{what}: {:#?}", verdict.violations);
    }
}

/// The last version of a sensor, which metadata has brought.
fn described(tables: &Tables) -> usize {
    tables.intervals.iter().position(|row| row.described && row.version == -2).unwrap()
}

/// Not only the oracle's picture of the tables: the tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_deletes_by_sql_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (mut evidence, schema) = loaded(dir.path()).await;
    let world = World::new(dir.path(), 2).await;
    let one = "(SELECT MIN(sequence) FROM mangrove.sensor_readings WHERE NOT late AND shard = 'shardId-000000000000')";
    let of_one = format!("shard = 'shardId-000000000000' AND sequence = {one}");
    world.analyst().run(&format!("DELETE FROM mangrove.sensor_readings WHERE {of_one}")).await;
    world.analyst().run("UPDATE mangrove.sensor_daily SET mean = mean + 1 WHERE field = 'humidity'").await;
    world.stop().await;
    evidence.warehouse = read(dir.path(), &schema);
    let verdict = judge(&evidence, &schema);
    let found = figures(&verdict);
    assert_eq!((found.missing, found.doubled, found.unexpected), (1, 0, 0), "{:#?}", verdict.violations);
    // Its hour and its day count it for each field, and every day of one field has another mean.
    assert!(found.altered > 4, "{:#?}", verdict.violations);
    assert_eq!(verdict.found.into_keys().collect::<Vec<_>>(), ["WAREHOUSE"]);
}
