//! GOAL    Metadata from the bucket is in the warehouse as it is in the objects, whatever is in them, and loading goes on
//!         beside it (CLEAN-ONCE, BOUNDED, INERT).
//! METHOD  Objects of three formats, with hostile cells; changed, taken away, too large; put in force by two at once, by
//!         one that dies, by one that comes late.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actors::loading::{Loading, MetadataWatch, Turn};
use actors::warehouse::metadata::{Limits, MetadataColumn};
use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int64Array, RecordBatch, StringArray};
use mangrove_tests::history::{history, setup};
use mangrove_tests::warehouse::Analyst;
use mangrove_tests::world::{BUCKET, STREAM, Setup, World, finish, stocked};
use tempfile::TempDir;

/// A world with a lake, and a folder for metadata.
struct Place {
    dir: TempDir,
    world: World,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { world: World::new(dir.path(), 1).await, dir }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join("s3").join(BUCKET).join(key)
    }

    fn put(&self, key: &str, body: impl AsRef<[u8]>) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }

    fn loading(&self, faults: &str) -> Loading {
        self.loading_of(STREAM, "reference/", faults)
    }

    /// What loads another stream, whose metadata lies elsewhere in the bucket.
    fn loading_of(&self, stream: &str, folder: &str, faults: &str) -> Loading {
        mangrove_tests::warehouse::loading(self.world.sdk(), stream, BUCKET, &setup().schema, faults, |config| {
            let metadata = &mut config.metadata;
            (metadata.sensors, metadata.locations) = (format!("{folder}sensors/"), format!("{folder}sites/"));
            metadata.refresh = Duration::ZERO;
            metadata.limits = Limits { objects_max: 5, bytes_max: 100_000, rows_max: 1_000 };
            let columns = |names: [&str; 3]| names.map(|name| MetadataColumn::parse(name).unwrap()).to_vec();
            metadata.columns.sensors = columns(["owner:text", "built:integer", "indoor:boolean"]);
            metadata.columns.locations = columns(["region:text", "level:integer", "area:float"]);
            metadata.columns.text_bytes_max = 64;
        })
    }

    fn analyst(&self) -> Analyst {
        self.world.analyst()
    }
}

async fn furnished(place: &Place) -> Loading {
    let loading = place.loading("");
    loading.ensure_tables().await.unwrap();
    loading
}

const OWNERS: &str = "SELECT sensor_id || ' ' || NVL(owner, '-') FROM mangrove.dim_sensors ORDER BY 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_objects_say_is_in_the_warehouse() {
    let place = Place::new().await;
    let loading = furnished(&place).await;
    let hostile = "a';\" --\\ \u{1f980}\tb";
    let line = serde_json::json!({ "sensor_id": "json", "owner": format!("{hostile}\n"), "indoor": false });
    place.put("reference/sensors/a.jsonl", line.to_string());
    place.put("reference/sensors/b.csv", format!("sensor_id,owner\ncsv,\"{}\"\n", hostile.replace('"', "\"\"")));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("sensor_id", Arc::new(StringArray::from(vec!["parquet", "bad id", "parquet"]))),
        ("owner", Arc::new(StringArray::from(vec![Some(hostile), None, None]))),
        ("built", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)]))),
        ("indoor", Arc::new(BooleanArray::from(vec![Some(true), None, None]))),
        ("valid_from", Arc::new(Date32Array::from(vec![None, None, Some(20_000)]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    place.put("reference/sensors/c.parquet", bytes);
    place.put("reference/sites/all.csv", "site,region,level,area\nsite-0,north,3,12.5\n,x,,\n");
    let mut watch = MetadataWatch::default();
    loading.refresh(&mut watch).await;

    let analyst = place.analyst();
    let owners = analyst.rows(OWNERS).await;
    let expected = [
        format!("csv {hostile}"),
        format!("json {hostile}\n"),
        format!("parquet {hostile}"),
        // It leaves the owner out, and so says nothing about it.
        format!("parquet {hostile}"),
    ];
    assert_eq!(owners, expected);
    let built = "SELECT version || ' ' || built || CASE WHEN indoor THEN ' in' ELSE ' out' END FROM mangrove.dim_sensors WHERE sensor_id = 'parquet' ORDER BY valid_from";
    assert_eq!(analyst.rows(built).await, [format!("-1 {} in", i64::MIN), "-2 7 in".into()]);
    let sites = "SELECT site || ' ' || region || ' ' || level || ' ' || area FROM mangrove.location_metadata";
    assert_eq!(analyst.rows(sites).await, ["site-0 north 3 12.5"]);
    let refused = "SELECT object || ' ' || line || ' ' || reason FROM mangrove.metadata_refused ORDER BY 1";
    assert_eq!(
        analyst.rows(refused).await,
        [
            "reference/sensors/c.parquet 2 sensor_id: has the character ' ', which no id may have",
            "reference/sites/all.csv 3 site: is missing",
        ]
    );

    // The same again changes nothing; the content lies in the bucket for ever.
    let first = loading.metadata_in_force().await.unwrap();
    assert_eq!(first.number, 1);
    loading.refresh(&mut watch).await;
    loading.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(loading.metadata_in_force().await.unwrap(), first);
    assert!(place.path(&format!("metadata/{}/sensors.jsonl", first.digest)).exists());

    // What is gone from the objects is gone from the dimension.
    fs::remove_file(place.path("reference/sensors/c.parquet")).unwrap();
    place.put("reference/sensors/b.csv", "sensor_id,owner\ncsv,me\n");
    loading.refresh(&mut watch).await;
    assert_eq!(analyst.rows(OWNERS).await, ["csv me".to_owned(), format!("json {hostile}\n")]);
    assert_eq!(loading.metadata_in_force().await.unwrap().number, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_is_too_much_stays_out_and_loading_goes_on() {
    let place = Place::new().await;
    let loading = furnished(&place).await;
    place.put("reference/sensors/a.csv", "sensor_id,owner\ns-000,me\n");
    let mut watch = MetadataWatch::default();
    loading.refresh(&mut watch).await;
    let before = loading.metadata_in_force().await.unwrap();
    let rows: String = (0..2_000).map(|n| format!("s-{n},x\n")).collect();
    let files: Vec<String> = (0..6).map(|n| format!("reference/sensors/b{n}.csv")).collect();
    let small = "sensor_id\ns-1\n".to_owned();
    for (name, keys, body) in [
        ("rows", &files[..1], format!("sensor_id,owner\n{rows}")),
        ("bytes", &files[..1], "x".repeat(100_001)),
        ("objects", &files[..], small),
    ] {
        keys.iter().for_each(|key| place.put(key, &body));
        loading.refresh(&mut MetadataWatch::default()).await;
        assert_eq!(loading.metadata_in_force().await.unwrap(), before, "{name}");
        assert_eq!(loading.turn(&mut loading.policy()).await.unwrap(), Turn::Idle);
        keys.iter().for_each(|key| fs::remove_file(place.path(key)).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_put_in_force_once_by_whoever_comes() {
    let place = Place::new().await;
    let loading = furnished(&place).await;
    place.put("reference/sensors/a.csv", "sensor_id,owner\ns-1,me\n");
    // It dies before, and after, the warehouse has heard of it.
    for (point, number) in [("loader.describing", 0), ("loader.described", 1)] {
        let dying = place.loading(&format!("{point}=panic@1"));
        let died = tokio::spawn(async move { dying.refresh(&mut MetadataWatch::default()).await }).await;
        assert!(died.is_err(), "{point} was not met");
        assert_eq!(loading.metadata_in_force().await.unwrap().number, number, "{point}");
    }
    let (one, other) = (place.loading(""), place.loading(""));
    for n in 2..6 {
        place.put("reference/sensors/a.csv", format!("sensor_id,owner\ns-1,owner {n}\n"));
        let (mut first, mut second) = (MetadataWatch::default(), MetadataWatch::default());
        tokio::join!(one.refresh(&mut first), other.refresh(&mut second));
        assert_eq!(loading.metadata_in_force().await.unwrap().number, n);
    }
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-1 owner 5"]);
    assert_eq!(place.analyst().count("SELECT COUNT(*) FROM mangrove.metadata_versions").await, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_share_a_schema_do_not_wipe_each_others_metadata() {
    let place = Place::new().await;
    let loading = furnished(&place).await;
    place.put("reference/sensors/a.csv", "sensor_id,owner\ns-1,me\n");
    let mut watch = MetadataWatch::default();
    loading.refresh(&mut watch).await;
    let before = loading.metadata_in_force().await.unwrap();
    assert_eq!((before.number, before.stream.as_str(), before.rows), (1, STREAM, 1));

    // Neither by saying nothing, nor by saying something else.
    let other = place.loading_of("another", "elsewhere/", "");
    other.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(loading.metadata_in_force().await.unwrap(), before);
    place.put("elsewhere/sensors/a.csv", "sensor_id,owner\ns-2,you\n");
    other.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(loading.metadata_in_force().await.unwrap(), before);
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-1 me"]);

    // The one whose it is goes on, and when it has taken its own away, the other's is in force.
    fs::remove_file(place.path("reference/sensors/a.csv")).unwrap();
    loading.refresh(&mut watch).await;
    other.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-2 you"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_say_which_metadata_was_in_force() {
    let dir = tempfile::tempdir().unwrap();
    stocked(dir.path(), 1, &history(4, 2)).await;
    let place = Place { world: World::new(dir.path(), 1).await, dir };
    finish(place.world.worker(&Setup { age_max: Duration::from_millis(300), ..setup() }).await).await;
    let loading = furnished(&place).await;
    let (first, _) = loading.next_batch(1).await.unwrap().unwrap();
    loading.load(&first, actors::warehouse::Mode::New).await.unwrap();
    place.put("reference/sensors/a.csv", "sensor_id,owner\ns-000,me\n");
    place.put("reference/sites/a.csv", "site,region\nsite-0,north\n");
    loading.load_all(Duration::from_secs(60)).await.unwrap();
    let digest = loading.metadata_in_force().await.unwrap().digest;
    let ledger = "SELECT NVL(metadata, '-') FROM mangrove.load_ledger ORDER BY epoch";
    let found = place.analyst().rows(ledger).await;
    assert_eq!(found[0], "-");
    assert!(found.len() > 1 && found[1..].iter().all(|metadata| *metadata == digest), "{found:?}");
    // Every version of the sensor has its owner, and every reading a version.
    let versions = "SELECT COUNT(*) FROM mangrove.dim_sensors WHERE sensor_id = 's-000' AND NVL(owner, '-') <> 'me'";
    assert_eq!(place.analyst().count(versions).await, 0);
    let joined = "SELECT COUNT(*) FROM mangrove.sensor_readings r JOIN mangrove.dim_sensors d \
                  ON d.sensor_id = r.sensor_id AND d.version = r.sensor_version";
    let all = "SELECT COUNT(*) FROM mangrove.sensor_readings";
    assert_eq!(place.analyst().count(joined).await, place.analyst().count(all).await);
    let region = "SELECT DISTINCT region FROM mangrove.dim_locations WHERE site = 'site-0'";
    assert_eq!(place.analyst().rows(region).await, ["north"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_read_keeps_its_last_good_content() {
    let place = Place::new().await;
    let loading = furnished(&place).await;
    let (key, other) = ("reference/sensors/a.csv", "reference/sensors/b.csv");
    let good = "sensor_id,owner\ns-1,ann\ns-2,bob\n";
    place.put(key, good);
    place.put(other, "sensor_id,owner\ns-3,eve\n");
    loading.refresh(&mut MetadataWatch::default()).await;
    let held = ["s-1 ann", "s-2 bob", "s-3 eve"];
    assert_eq!(place.analyst().rows(OWNERS).await, held);

    let refused = "SELECT reason FROM mangrove.metadata_refused WHERE line = 0";
    let forms: [(&[u8], &str); 8] = [
        (b"", "is empty"),
        (b"sensor_id,owner\n", "has no row that can be used, and had 2"),
        (b"id,owner\ns-1,x\n", "has no column sensor_id"),
        (b"sensor_id,owner\ns-1,J\xf6rg\ns-2,bob\n", "is not UTF-8 in line 2"),
        (b"PK\x03\x04", "is a ZIP archive"),
        (b"sensor_id,owner\ns-1,ann\ns-2", "ends within line 3"),
        (b"sensor_id,owner\ns-1,ann\ns-2,bo", "ends within a line"),
        (b"sensor_id,owner\n\"s-1,ann\ns-2,bob\n", "ends within the quotes"),
    ];
    for (body, reason) in forms {
        place.put(key, body);
        // Each by a worker that has seen nothing: what was good must be known from the bucket.
        let fresh = place.loading("");
        fresh.refresh(&mut MetadataWatch::default()).await;
        assert_eq!(place.analyst().rows(OWNERS).await, held, "{reason}");
        let found = place.analyst().rows(refused).await;
        assert!(found.len() == 1 && found[0].starts_with(reason), "{reason}: {found:?}");
        assert!(found[0].ends_with("; what it said before stays in force"), "{found:?}");
        let told = fresh.figures().status().metadata.unwrap().what;
        assert!(told.contains(key) && told.contains(reason), "{told}");
        let number = fresh.metadata_in_force().await.unwrap().number;
        place.loading("").refresh(&mut MetadataWatch::default()).await;
        assert_eq!(fresh.metadata_in_force().await.unwrap().number, number, "nothing has changed");
    }
    // The others go on, and so does this one when it is put right, in whatever form a spreadsheet gives it.
    place.put(other, "sensor_id,owner\ns-3,max\n");
    loading.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-1 ann", "s-2 bob", "s-3 max"]);
    place.put(key, "\u{feff}sensor_id;owner;built\r\ns-1;zoe;2020.0\r\ns-2;bob;soon\r\n");
    loading.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-1 zoe", "s-2 bob", "s-3 max"]);
    assert_eq!(loading.figures().status().metadata, None);
    let cells = "SELECT line || ' ' || reason FROM mangrove.metadata_refused";
    let cell = "3 built: must be a whole number of 64 bits: the cell is left out";
    assert_eq!(place.analyst().rows(cells).await, [cell], "a bad cell costs the cell");

    // A content of an older build does not say what came from where: then all of it stays.
    let digest = loading.metadata_in_force().await.unwrap().digest;
    fs::remove_file(place.path(&format!("metadata/{digest}/sources.json"))).unwrap();
    place.put(key, "");
    place.put(other, "sensor_id,owner\ns-3,new\n");
    loading.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-1 zoe", "s-2 bob", "s-3 max"]);
    assert!(loading.figures().status().metadata.unwrap().what.contains("is not taken over"));
    // What is deleted is meant.
    fs::remove_file(place.path(key)).unwrap();
    loading.refresh(&mut MetadataWatch::default()).await;
    assert_eq!(place.analyst().rows(OWNERS).await, ["s-3 new"]);
}
