//! GOAL    A sensor that panics restarts alone: no actor of its shard notices, and what landed, the state included, is what
//!         a run without the panic leaves (STATE). A reading that kills its sensor every time ends in quarantine.
//! METHOD  One stream, copied; a calm worker on one copy, workers with fault plans on the others; all columns compared.

use std::path::Path;
use std::time::Duration;

use mangrove_tests::history::{history, sensor_id, setup};
use mangrove_tests::judge::{assert_device_order, assert_same, assert_same_content, assert_whole};
use mangrove_tests::lake::{Lake, Row, bytes, identity, text};
use mangrove_tests::world::{Record, Setup, World, caught_up, copy_folder, finish, stocked};
use tokio::task::JoinSet;

const SENSORS: u64 = 10;
const EPOCHS: u64 = 3;

/// Pages of a few rounds, so that an epoch takes several batches.
fn small_pages() -> Setup {
    Setup { records_max: 60, ..setup() }
}

/// Runs a worker on a copy of the stream; `panics` sensors must have died, and no actor.
async fn run(stock: &Path, to: &Path, setup: Setup, panics: u64) -> Lake {
    copy_folder(stock, to);
    let world = World::new(to, 1).await;
    let worker = world.worker(&setup).await;
    caught_up(&worker).await;
    assert_eq!(worker.restarts(), panics, "restarts under {:?}", setup.faults);
    assert!(worker.tree().nodes().iter().all(|node| node.restarts() == 0), "an actor was restarted");
    finish(worker).await;
    world.lake()
}

async fn assert_like_calm(put: &[Record], cases: Vec<(Setup, u64)>) {
    let dir = tempfile::tempdir().unwrap();
    let stock = dir.path().join("stock");
    stocked(&stock, 1, put).await;
    let calm = run(&stock, &dir.path().join("calm"), small_pages(), 0).await;
    assert_whole(&calm, put);
    assert_device_order(&calm);
    assert_eq!(calm.manifests().len() as u64, EPOCHS + 1, "epochs, and the one that the drain adds");

    let mut runs = JoinSet::new();
    for (n, (setup, panics)) in cases.into_iter().enumerate() {
        let (stock, to) = (stock.clone(), dir.path().join(format!("run-{n}")));
        runs.spawn(async move { run(&stock, &to, setup, panics).await });
    }
    while let Some(lake) = runs.join_next().await {
        let lake = lake.unwrap();
        assert_whole(&lake, put);
        assert_same_content(&lake, &calm);
        assert_same("manifests", &lake.manifests(), &calm.manifests());
    }
}

/// `s-003` has 18 rounds per epoch, each a row, two or three of them twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_panics_restarts_alone() {
    let with = |faults: &str| Setup { faults: faults.into(), ..small_pages() };
    let cases = vec![
        (with("sensor.row[s-003]=panic@1"), 1),
        (with("sensor.row[s-003]=panic@18"), 1),
        // Counted on over the replay of the first: the latest turn stands first, so that each counts every row.
        (with("sensor.row[s-003]=panic@31;sensor.row[s-003]=panic@12"), 2),
        (with("sensor.row[s-003]=panic@30"), 1),
        (with("sensor.row[s-003]=panic@65;sensor.row[s-003]=panic@25"), 2),
        (with("sensor.row[s-003]=panic@14;sensor.row[s-007]=panic@40;sensor.row[s-000]=panic@55"), 3),
    ];
    assert_like_calm(&history(SENSORS, EPOCHS), cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_panics_between_two_retirements_restarts_alone() {
    let mut setup = Setup { faults: "sensor.row[s-003]=panic@30;sensor.row[s-003]=panic@9".into(), ..small_pages() };
    setup.sensors.live_max = 2;
    setup.sensors.idle_timeout = Duration::from_millis(5);
    setup.sensors.scan_interval = Duration::from_millis(5);
    let calm_but_sleepy = Setup { faults: String::new(), ..setup.clone() };
    assert_like_calm(&history(SENSORS, EPOCHS), vec![(setup, 2), (calm_but_sleepy, 0)]).await;
}

/// The tenth row of `s-003` kills it three times: rows since the last cut are judged again each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_that_kills_its_sensor_every_time_is_quarantined() {
    const ROW: u64 = 7;
    let dir = tempfile::tempdir().unwrap();
    let (stock, put) = (dir.path().join("stock"), history(SENSORS, EPOCHS));
    stocked(&stock, 1, &put).await;
    let calm = run(&stock, &dir.path().join("calm"), small_pages(), 0).await;
    let faults = [3, 2, 1].map(|times| format!("sensor.row[s-003]=panic@{}", times * ROW)).join(";");
    let lake = run(&stock, &dir.path().join("run"), Setup { faults, ..small_pages() }, 3).await;
    assert_whole(&lake, &put);

    let poison: Vec<Row> = lake.rows("quarantine").into_iter().filter(|row| text(row, "reason") == "poison").collect();
    let [poison] = poison.as_slice() else { panic!("one reading is poison: {poison:?}") };
    let its_own: Vec<_> = put.iter().filter(|(key, _)| *key == sensor_id(3)).collect();
    assert_eq!(bytes(poison, "data"), its_own[ROW as usize - 1].1);
    assert_eq!(text(poison, "sensor_id"), sensor_id(3));

    // What its sensor found in later readings may differ, since this one is missing from its baseline.
    let of_reading = |lake: &Lake| {
        let mut rows = lake.rows("cleansed");
        rows.retain(|row| identity(row) != identity(poison));
        rows.sort_by_key(identity);
        rows.into_iter().map(|mut row| {
            if text(&row, "sensor_id") == sensor_id(3) {
                row.retain(|column, _| column != "anomaly_score" && column != "anomalies");
            }
            format!("{row:?}")
        })
    };
    assert_same("cleansed", &Vec::from_iter(of_reading(&lake)), &Vec::from_iter(of_reading(&calm)));
    assert_eq!(lake.rows("cleansed").len() + 1, calm.rows("cleansed").len());
    let not_its_own = |lake: &Lake, zone: &str| {
        let rows = lake.rows(zone).into_iter().filter(|row| text(row, "sensor_id") != sensor_id(3));
        rows.map(|row| format!("{row:?}")).collect::<Vec<_>>()
    };
    for zone in ["duplicates", "dimensions", "aggregates/hourly", "aggregates/daily"] {
        assert_same(zone, &not_its_own(&lake, zone), &not_its_own(&calm, zone));
    }
    let of_others = |lake: &Lake| {
        let entries = lake.full_states().into_iter().flat_map(|state| state.entries);
        entries.filter(|entry| entry.sensor.as_str() != sensor_id(3)).collect::<Vec<_>>()
    };
    assert_same("state", &of_others(&lake), &of_others(&calm));
}
