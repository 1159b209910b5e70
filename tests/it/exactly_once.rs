//! GOAL    Every record is in the raw zone once, byte for byte; every reading is in the cleansed zone once, or has a
//!         row that says why not (RAW-ONCE, CLEAN-ONCE, COMPLETE); also when the worker is restarted.
//! METHOD  A worker in this process on the local cloud; what landed is compared with what was put.

use std::collections::BTreeSet;

use mangrove_tests::lake::{integer, text};
use mangrove_tests::world::{Setup, World, an_hour_ago, caught_up, finish};

fn event(sensor: u32, n: u64) -> (String, Vec<u8>) {
    let id = format!("s-{sensor:03}");
    let time = an_hour_ago(n as i64 * 1000);
    let json = format!(
        r#"{{"sensor_id":"{id}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":{}.5,"firmware":"1.0"}}"#,
        20 + n % 3
    );
    (id, json.into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_is_there_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    let first: Vec<_> = (0..2_000u64).map(|n| event((n % 50) as u32, n / 50)).collect();
    let second: Vec<_> = (2_000..3_000u64).map(|n| event((n % 50) as u32, n / 50)).collect();

    world.put(&first).await;
    let worker = world.worker(&Setup::default()).await;
    caught_up(&worker).await;
    finish(worker).await;
    world.put(&second).await;
    finish(world.worker(&Setup::default()).await).await;

    let lake = world.lake();
    let mut put: Vec<Vec<u8>> = first.into_iter().chain(second).map(|(_, data)| data).collect();
    let mut raw = lake.raw();
    put.sort();
    raw.sort();
    assert_eq!(raw.len(), put.len());
    assert!(raw == put, "the raw zone holds other bytes than were put");
    let rows = lake.rows("cleansed");
    let ids: BTreeSet<String> = rows.iter().map(|row| text(row, "event_id")).collect();
    assert_eq!((rows.len(), ids.len()), (3_000, 3_000));
    assert!(rows.iter().all(|row| integer(row, "sensor_version") == 1));
    assert_eq!(lake.rows("dimensions").len(), 50);
    assert_eq!(lake.rows("quarantine").len(), 0);
}
