//! GOAL    The warehouse says what the lake says: every reading once, every window at its latest revision, intervals
//!         of sensors without holes, whatever befalls the loader (CLEAN-ONCE, LIVE).
//! METHOD  One lake, copied. Loads that die at every step, come late, run beside each other, meet files that are refused.
//!         Then both sides are read row by row: the lake's files by a reader of their own, the tables by SQL.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::loading::{Loading, Turn};
use actors::ports::warehouse::WarehouseFailure;
use actors::warehouse::Mode;
use mangrove_tests::history::{history, setup};
use mangrove_tests::warehouse::{assert_loaded, assert_same_as_lake, loader_config};
use mangrove_tests::world::{BUCKET, Setup, World, caught_up, copy_folder, finish, stocked};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder whose lake holds these epochs, and whose warehouse is empty.
async fn lake(dir: &Path) -> PathBuf {
    let stock = dir.join("stock");
    stocked(&stock, 2, &history(8, 2)).await;
    let world = World::new(&stock, 2).await;
    finish(world.worker(&Setup { age_max: Duration::from_millis(300), ..setup() }).await).await;
    world.stop().await;
    stock
}

async fn copy_of(stock: &Path, dir: &Path, name: &str) -> World {
    let to = dir.join(name);
    copy_folder(stock, &to);
    World::new(&to, 2).await
}

fn loading(world: &World, faults: &str) -> Loading {
    world.loading(&setup().schema, faults)
}

async fn load_all(loading: &Loading) {
    loading.ensure_tables().await.unwrap();
    loading.load_all(PATIENCE).await.unwrap();
}

/// Every epoch of the lake stands in the ledger once.
async fn assert_ledger(world: &World, refused: i64) {
    let epochs = world.lake().manifests().len() as i64;
    let analyst = world.analyst();
    let rows = "SELECT COUNT(*) FROM mangrove.load_ledger";
    assert_eq!(analyst.count(rows).await, epochs);
    let distinct = "SELECT COUNT(*) FROM (SELECT DISTINCT stream, shard, epoch FROM mangrove.load_ledger) x";
    assert_eq!(analyst.count(distinct).await, epochs);
    assert_eq!(analyst.count(&format!("{rows} WHERE state = 'refused'")).await, refused);
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.load_refused").await, refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warehouse_says_what_the_lake_says() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "run").await;
    let loading = loading(&world, "");
    load_all(&loading).await;
    let analyst = world.analyst();
    assert_same_as_lake(&world.lake(), &analyst).await;
    assert_ledger(&world, 0).await;
    assert!(loading.figures().freshness_ms(0.99).is_some());

    // The windows are what anybody computes from the readings.
    for (table, unit) in [("sensor_hourly", "hour"), ("sensor_daily", "day")] {
        let computed = format!(
            "SELECT sensor_id, DATE_TRUNC('{unit}', event_time) AS start, COUNT(temperature) AS n, AVG(temperature) AS mean \
             FROM mangrove.sensor_readings WHERE NOT late AND temperature IS NOT NULL GROUP BY 1, 2"
        );
        let stored = format!("SELECT * FROM mangrove.{table} WHERE field = 'temperature'");
        let same = format!(
            "SELECT COUNT(*) FROM ({stored}) w JOIN ({computed}) r ON w.sensor_id = r.sensor_id AND w.window_start = r.start \
             WHERE w.\"count\" = r.n AND ABS(w.mean - r.mean) < 0.000001"
        );
        let windows = analyst.count(&format!("SELECT COUNT(*) FROM ({stored}) w")).await;
        assert!(windows > 0);
        assert_eq!(analyst.count(&same).await, windows, "{table}");
        assert_eq!(analyst.count(&format!("SELECT COUNT(*) FROM ({computed}) r")).await, windows, "{table}");
    }
    let places = "SELECT COUNT(*) FROM (SELECT DISTINCT site, latitude, longitude FROM mangrove.dim_sensors) p";
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.dim_locations").await, analyst.count(places).await);

    // Nothing is left to do, which the warehouse is asked once: it may bill for every answer.
    let calls = json!({"service": "redshift", "kind": "delay", "delay_ms": 0});
    let (faults, mut policy) = (world.faults(), loading.policy());
    faults.set(0, &[calls]).await;
    assert_eq!(loading.turn(&mut policy).await.unwrap(), Turn::Idle);
    let asked = faults.hits().await;
    assert_eq!(loading.turn(&mut policy).await.unwrap(), Turn::Idle);
    assert!(asked[0] > 0);
    assert_eq!(faults.end().await, asked);
    assert_eq!(loading.missing().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_dies_at_any_step_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let stock = lake(dir.path()).await;
    let steps = ["listed", "manifest", "manifest@3", "sending", "sending@2", "sent", "sent@2"];
    for step in steps {
        let (point, at) = step.split_once('@').unwrap_or((step, "1"));
        let world = copy_of(&stock, dir.path(), step).await;
        let dying = loading(&world, &format!("loader.{point}=panic@{at}"));
        dying.ensure_tables().await.unwrap();
        let died = tokio::spawn(async move {
            // One epoch at a time, so that there is a second load to die in.
            while let Some((batch, _)) = dying.next_batch(1).await.unwrap() {
                // The points before a batch is made.
                dying.turn(&mut dying.policy()).await.unwrap();
                dying.load(&batch, Mode::New).await.unwrap();
            }
        });
        let died = tokio::time::timeout(PATIENCE, died).await.unwrap();
        assert!(at != "1" || died.is_err(), "{step} was not met");
        load_all(&loading(&world, "")).await;
        assert_same_as_lake(&world.lake(), &world.analyst()).await;
        assert_ledger(&world, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_comes_late_or_beside_another_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "run").await;
    let (one, other) = (loading(&world, ""), loading(&world, ""));
    one.ensure_tables().await.unwrap();
    // It hung here for longer than its lease.
    let (late, _) = one.next_batch(2).await.unwrap().unwrap();
    let (smaller, _) = one.next_batch(1).await.unwrap().unwrap();
    let both = tokio::join!(one.load_all(PATIENCE), other.load_all(PATIENCE));
    both.0.unwrap();
    both.1.unwrap();
    for batch in [late, smaller] {
        assert!(!one.load(&batch, Mode::New).await.unwrap().fresh);
        assert!(!one.load(&batch, Mode::Again).await.unwrap().fresh);
    }
    assert_same_as_lake(&world.lake(), &world.analyst()).await;
    assert_ledger(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_refused_is_put_aside_and_loaded_later() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "run").await;
    let files = world.lake().files("cleansed", ".parquet");
    let (broken, missing) = (&files[0], files.last().unwrap());
    let (was, gone) = (fs::read(broken).unwrap(), fs::read(missing).unwrap());
    world.replace(broken, vec![0; was.len()]).await;
    fs::remove_file(missing).unwrap();
    let epoch_of = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().split('-').nth(2).unwrap().to_owned();
    let shard_of = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().split('-').nth(1).unwrap().to_owned();
    let at_fault: BTreeSet<_> = [broken, missing].map(|file| (shard_of(file), epoch_of(file))).into_iter().collect();

    let loading = loading(&world, "");
    load_all(&loading).await;
    assert_ledger(&world, at_fault.len() as i64).await;
    let refusals = loading.refusals().await.unwrap();
    assert!(refusals.iter().all(|epoch| !epoch.error.is_empty()), "{refusals:?}");

    world.replace(broken, was).await;
    world.replace(missing, gone).await;
    for epoch in refusals {
        assert!(loading.load_again(&epoch.manifest).await.unwrap().fresh);
    }
    assert_same_as_lake(&world.lake(), &world.analyst()).await;
    assert_ledger(&world, 0).await;
    assert!(fs::exists(dir.path().join("run/s3").join(BUCKET)).unwrap());
}

/// Where the manifests of the n-th shard are, as keys begin with it.
fn prefix(shard: u32) -> String {
    format!("manifests/events/{shard:012}/")
}

/// The manifests of a shard, in order.
fn manifests(world: &World, shard: u32) -> Vec<PathBuf> {
    let files = fs::read_dir(world.objects().join(prefix(shard))).unwrap().map(|file| file.unwrap().path());
    let mut manifests: Vec<_> = files.filter(|file| file.extension().is_some_and(|ending| ending == "json")).collect();
    manifests.sort();
    manifests
}

/// The epochs of a shard that are in the warehouse.
async fn loaded(world: &World, shard: u32) -> Vec<u64> {
    let epochs = "SELECT epoch FROM mangrove.load_ledger WHERE state = 'loaded' AND shard =";
    let rows = world.analyst().rows(&format!("{epochs} 'shardId-{shard:012}' ORDER BY epoch")).await;
    rows.iter().map(|epoch| epoch.parse().unwrap()).collect()
}

/// Loads all that can be; the first shard stops before this epoch, the second does not. Returns why.
async fn stops_before(world: &World, loading: &Loading, epoch: u64) -> String {
    load_all(loading).await;
    let (first, second) = (manifests(world, 0).len() as u64, manifests(world, 1).len() as u64);
    assert_eq!(loaded(world, 0).await, Vec::from_iter(1..epoch));
    assert_eq!(loaded(world, 1).await, Vec::from_iter(1..=second));
    assert!(epoch <= first && second > 1, "{first} {second}");
    let look = loading.figures().status();
    let [stopped] = &look.stopped[..] else { panic!("{look:?}") };
    assert_eq!(stopped.prefix, prefix(0));
    stopped.why.clone()
}

/// What stopped it is as it was: it goes on by itself.
async fn goes_on(world: &World, loading: &Loading) {
    load_all(loading).await;
    let look = loading.figures().status();
    assert_eq!((look.stopped, look.waiting), (Vec::new(), 0));
    assert_loaded(&world.lake(), &world.analyst()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_damaged_stops_its_shard_alone() {
    let dir = tempfile::tempdir().unwrap();
    let stock = lake(dir.path()).await;
    for (name, cut) in [("half", true), ("other", false)] {
        let world = copy_of(&stock, dir.path(), name).await;
        let damaged = &manifests(&world, 0)[1];
        let was = fs::read(damaged).unwrap();
        let content = if cut { was[..was.len() / 2].to_vec() } else { b"{}".to_vec() };
        world.replace(damaged, content).await;
        let loading = loading(&world, "");
        let why = stops_before(&world, &loading, 2).await;
        assert!(why.contains(&format!("{}00000002.json: is no manifest", prefix(0))), "{why}");
        assert_eq!(loading.figures().status().waiting, manifests(&world, 0).len() as u64 - 1);
        world.replace(damaged, was).await;
        goes_on(&world, &loading).await;
    }
}

/// The number of an epoch does not say what was loaded under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_of_other_content_than_was_loaded_stops_its_shard_alone() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "run").await;
    let before = loading(&world, "");
    before.ensure_tables().await.unwrap();
    // One of each shard.
    let (batch, _) = before.next_batch(2).await.unwrap().unwrap();
    assert!(before.load(&batch, Mode::New).await.unwrap().fresh);
    assert_eq!((loaded(&world, 0).await, loaded(&world, 1).await), (vec![1], vec![1]));

    let manifest = &manifests(&world, 0)[0];
    let was = fs::read(manifest).unwrap();
    let mut other: Value = serde_json::from_slice(&was).unwrap();
    other["readings"] = (other["readings"].as_u64().unwrap() + 1).into();
    world.replace(manifest, serde_json::to_vec(&other).unwrap()).await;
    let after = loading(&world, "");
    let why = stops_before(&world, &after, 2).await;
    assert!(why.contains("the ledger has epoch 1 to") && why.contains("two histories"), "{why}");
    world.replace(manifest, was).await;
    goes_on(&world, &after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_filled_in_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "run").await;
    let (loading, analyst) = (loading(&world, ""), world.analyst());
    load_all(&loading).await;
    // The first epoch of every shard, and all its rows.
    let of_first = "FROM mangrove.sensor_readings USING (SELECT shard, to_position FROM mangrove.load_ledger WHERE epoch = 1) l \
                    WHERE sensor_readings.shard = l.shard AND (LEN(sequence) < LEN(l.to_position) \
                    OR (LEN(sequence) = LEN(l.to_position) AND sequence <= l.to_position))";
    analyst.run(&format!("DELETE {of_first}")).await;
    for table in ["sensor_versions", "alerts"] {
        analyst.run(&format!("DELETE {}", of_first.replace("sensor_readings", table))).await;
    }
    analyst.run("DELETE FROM mangrove.load_ledger WHERE epoch = 1").await;
    let now_us = chrono::Utc::now().timestamp_micros();
    let (from_us, to_us) = (now_us - 7_200_000_000, now_us + 3_600_000_000);
    let done = loading.backfill(from_us, to_us).await.unwrap();
    assert!(done.loaded > 0 && done.known > 0 && done.left == 0, "{done:?}");
    assert_same_as_lake(&world.lake(), &analyst).await;
    let again = loading.backfill(from_us, to_us).await.unwrap();
    assert_eq!((again.loaded, again.known), (0, done.found), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_loads_and_another_follows() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 2).await;
    let put = history(6, 2);
    let (first, second) = put.split_at(put.len() / 3);
    let (second, third) = second.split_at(put.len() / 3);
    let of = |worker_id, faults: &str| Setup {
        worker_id,
        loads: Some(loader_config()),
        faults: faults.into(),
        age_max: Duration::from_millis(300),
        ..setup()
    };
    // It dies in its first load, as an actor, and goes on.
    let one = world.worker(&of("worker-a", "loader.sent=panic@1")).await;
    let active = |worker: &supervisor::worker::Worker| worker.loader_figures().unwrap().is_active();
    until("a loader", || active(&one)).await;
    let other = world.worker(&of("worker-b", "")).await;
    world.put(first).await;
    let restarts =
        || one.tree().nodes().iter().filter(|node| node.restarts() > 0).map(|n| n.path.clone()).collect::<Vec<_>>();
    until("a death", || !restarts().is_empty()).await;
    world.put(second).await;
    until("a load", || one.loader_figures().unwrap().epochs() > 0).await;
    assert!(!active(&other));
    assert_eq!(restarts(), ["loader"]);
    world.put(third).await;
    caught_up(&other).await;
    assert_eq!(one.drain(Duration::from_secs(30)).await.unwrap(), Vec::<String>::new());
    until("the other", || active(&other)).await;
    finish(other).await;
    load_all(&loading(&world, "")).await;
    assert_same_as_lake(&world.lake(), &world.analyst()).await;
    assert_ledger(&world, 0).await;
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warehouse_from_before_versions_had_a_table_keeps_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "before").await;
    load_all(&loading(&world, "")).await;
    let analyst = world.analyst();
    let versions = analyst.count("SELECT COUNT(*) FROM mangrove.sensor_versions").await;
    assert!(versions > 0);
    for statement in [
        "DROP TABLE mangrove.sensor_versions",
        "ALTER TABLE mangrove.dim_sensors DROP COLUMN \"source\"",
        "ALTER TABLE mangrove.dim_sensors DROP COLUMN \"ordinal\"",
    ] {
        analyst.run(statement).await;
    }
    load_all(&loading(&world, "")).await;
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.sensor_versions").await, versions);
    assert_same_as_lake(&world.lake(), &analyst).await;
    assert_eq!(loading(&world, "").missing().await.unwrap(), Vec::<String>::new());
}

/// Redshift alters no column of a key: what is said to do about a table of an older version does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_too_narrow_is_refused_with_the_statements_that_make_the_table_anew() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&lake(dir.path()).await, dir.path(), "narrow").await;
    let (loading, analyst) = (loading(&world, ""), world.analyst());
    loading.ensure_tables().await.unwrap();
    let made = loading.ddl().unwrap();
    let create = made.iter().find(|sql| sql.contains("EXISTS \"mangrove\".\"dim_sensors\"")).unwrap().clone();
    let narrow = create.replace("\"sensor_id\" VARCHAR(1024)", "\"sensor_id\" VARCHAR(5)");
    assert_ne!(narrow, create);
    analyst.run("DROP TABLE mangrove.dim_sensors").await;
    analyst.run(&narrow).await;
    let altered = "ALTER TABLE mangrove.dim_sensors ALTER COLUMN sensor_id TYPE VARCHAR(1024)";
    assert!(analyst.refused(altered).await.contains("unexpected dependency for column"));

    let error = loading.ensure_tables().await.unwrap_err();
    assert_eq!(error.failure(), WarehouseFailure::Denied);
    let told = error.to_string();
    let (_, steps) = told.split_once("give its grants again: ").unwrap();
    let (steps, _) = steps.split_once(". Or load").unwrap();
    let steps: Vec<&str> = steps.split("; ").collect();
    assert_eq!(steps.len(), 5, "{steps:?}");
    for step in steps {
        analyst.run(if step.starts_with("then what") { &create } else { step }).await;
    }
    loading.ensure_tables().await.unwrap();
    load_all(&loading).await;
    assert_same_as_lake(&world.lake(), &analyst).await;
    assert_ledger(&world, 0).await;
}
