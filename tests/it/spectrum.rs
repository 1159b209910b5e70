//! GOAL    The cleansed zone can be asked where it lies: the external table has the readings that COPY loads, each once,
//!         by partitions of their hours, and follows the event schema.
//! METHOD  One lake, copied, loaded with Spectrum beside COPY, instead of it, and with a wider schema; asked by SQL.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actors::loading::{Loading, SpectrumConfig};
use actors::ports::warehouse::WarehouseFailure;
use actors::warehouse::external::SpectrumMode;
use mangrove_tests::history::{history, setup};
use mangrove_tests::warehouse::assert_same_as_lake;
use mangrove_tests::world::{Setup, World, copy_folder, finish, stocked};
use messages::EventSchema;

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: &str = "SELECT COUNT(*) FROM svv_external_partitions WHERE schemaname = 'lake'";

/// A folder whose lake holds some epochs, and whose warehouse is empty.
async fn stock(dir: &Path) -> PathBuf {
    let stock = dir.join("stock");
    stocked(&stock, 2, &history(8, 2)).await;
    let world = World::new(&stock, 2).await;
    finish(world.worker(&Setup { age_max: Duration::from_millis(300), ..setup() }).await).await;
    world.stop().await;
    stock
}

async fn copy_of(stock: &Path, name: &str) -> World {
    let to = stock.with_file_name(name);
    copy_folder(stock, &to);
    World::new(&to, 2).await
}

fn loading(world: &World, schema: &EventSchema, mode: SpectrumMode) -> Loading {
    let spectrum = SpectrumConfig { mode, namespace: "lake".into(), database: "mangrove".into() };
    world.loading_with(schema, |config| config.spectrum = Some(spectrum))
}

async fn load_all(loading: &Loading) {
    loading.ensure_tables().await.unwrap();
    loading.load_all(PATIENCE).await.unwrap();
}

/// The folders that readings lie in.
fn folders(world: &World) -> BTreeSet<String> {
    let keys = world.lake().manifests().into_iter().flat_map(|manifest| {
        let objects = manifest["objects"].as_array().unwrap().clone();
        objects.into_iter().map(|object| object["key"].as_str().unwrap().to_owned())
    });
    let readings = keys.filter(|key| key.starts_with("cleansed/"));
    readings.map(|key| key.rsplit_once('/').unwrap().0.to_owned()).collect()
}

fn clean(world: &World) -> i64 {
    world.lake().manifests().iter().map(|manifest| manifest["clean"].as_i64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_copy_it_has_the_same_readings() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "beside").await;
    let schema = setup().schema;
    load_all(&loading(&world, &schema, SpectrumMode::Beside)).await;
    let analyst = world.analyst();
    assert_same_as_lake(&world.lake(), &analyst).await;

    let readings = clean(&world);
    assert!(readings > 0);
    assert_eq!(analyst.count("SELECT COUNT(*) FROM lake.sensor_readings").await, readings);
    let same = "SELECT COUNT(*) FROM lake.sensor_readings e JOIN mangrove.sensor_readings r \
        ON e.shard = r.shard AND e.sequence = r.sequence AND e.sub_sequence = r.sub_sequence \
        WHERE e.sensor_id = r.sensor_id AND e.event_time = r.event_time AND e.arrival_time = r.arrival_time \
        AND (e.temperature = r.temperature OR (e.temperature IS NULL AND r.temperature IS NULL)) AND e.late = r.late";
    assert_eq!(analyst.count(same).await, readings);
    let misplaced = "SELECT COUNT(*) FROM lake.sensor_readings WHERE \"year\" <> EXTRACT(year FROM event_time) \
        OR \"month\" <> EXTRACT(month FROM event_time) OR \"day\" <> EXTRACT(day FROM event_time) \
        OR \"hour\" <> EXTRACT(hour FROM event_time)";
    assert_eq!(analyst.count(misplaced).await, 0);

    // Whoever begins again registers nothing twice.
    let hours = folders(&world).len() as i64;
    assert!(hours > 1);
    assert_eq!(analyst.count(PARTITIONS).await, hours);
    load_all(&loading(&world, &schema, SpectrumMode::Beside)).await;
    assert_eq!(analyst.count(PARTITIONS).await, hours);
    assert_eq!(analyst.count("SELECT COUNT(*) FROM lake.sensor_readings").await, readings);
    let made = "SELECT COUNT(*) FROM mangrove.schema_versions WHERE statement LIKE 'CREATE EXTERNAL TABLE%'";
    assert_eq!(analyst.count(made).await, 1);

    // A wider schema makes the table anew, over all that is there.
    let mut wider = schema.clone();
    let mut field = wider.fields[0].clone();
    (field.name, field.path) = ("one_more".into(), messages::schema::FieldPath(vec!["one_more".into()]));
    wider.fields.push(field);
    loading(&world, &wider, SpectrumMode::Beside).ensure_tables().await.unwrap();
    assert_eq!(analyst.count("SELECT COUNT(*) FROM lake.sensor_readings WHERE one_more IS NULL").await, readings);
    assert_eq!(analyst.count(PARTITIONS).await, hours);
    assert_eq!(analyst.count(made).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instead_of_copy_it_has_the_readings_and_the_rest_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "instead").await;
    let loading = loading(&world, &setup().schema, SpectrumMode::Instead);
    load_all(&loading).await;
    let analyst = world.analyst();
    let readings = clean(&world);
    assert_eq!(analyst.count("SELECT COUNT(*) FROM lake.sensor_readings").await, readings);
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.sensor_readings").await, 0);
    let epochs = world.lake().manifests().len() as i64;
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.load_ledger WHERE state = 'loaded'").await, epochs);
    assert_eq!(analyst.count("SELECT SUM(readings) FROM mangrove.load_ledger").await, readings);
    // The version that holds at a reading's time is one join away (docs/operating.md).
    let versioned = "SELECT COUNT(*) FROM lake.sensor_readings r JOIN mangrove.dim_sensors v ON v.sensor_id = r.sensor_id \
        AND r.event_time >= v.valid_from AND (r.event_time < v.valid_to OR v.valid_to IS NULL)";
    let known = "SELECT COUNT(*) FROM lake.sensor_readings r WHERE EXISTS (SELECT 1 FROM mangrove.dim_sensors v \
        WHERE v.sensor_id = r.sensor_id AND r.event_time >= v.valid_from)";
    let versioned = analyst.count(versioned).await;
    assert!(versioned > 0);
    assert_eq!(versioned, analyst.count(known).await);
    let hourly = "SELECT COUNT(*) FROM (SELECT sensor_id, DATE_TRUNC('hour', event_time) AS start, COUNT(temperature) AS n \
        FROM lake.sensor_readings WHERE NOT late AND temperature IS NOT NULL GROUP BY 1, 2) r \
        JOIN mangrove.sensor_hourly w ON w.sensor_id = r.sensor_id AND w.window_start = r.start \
        WHERE w.field = 'temperature' AND w.\"count\" = r.n";
    let windows = analyst.count("SELECT COUNT(*) FROM mangrove.sensor_hourly WHERE field = 'temperature'").await;
    assert!(windows > 0);
    assert_eq!(analyst.count(hourly).await, windows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_gone_blames_no_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "gone").await;
    let loading = loading(&world, &setup().schema, SpectrumMode::Beside);
    loading.ensure_tables().await.unwrap();
    let analyst = world.analyst();
    analyst.run("DROP TABLE lake.sensor_readings").await;
    let fresh = self::loading(&world, &setup().schema, SpectrumMode::Beside);
    let mut policy = fresh.policy();
    let error = fresh.turn(&mut policy).await.unwrap_err();
    assert_eq!(error.failure(), WarehouseFailure::Denied, "{error}");
    assert!(error.to_string().contains("the external table"), "{error}");
    assert_eq!(analyst.count("SELECT COUNT(*) FROM mangrove.load_ledger").await, 0);
    load_all(&fresh).await;
    assert_eq!(analyst.count("SELECT COUNT(*) FROM lake.sensor_readings").await, clean(&world));
}
