//! GOAL    COPY loads what a manifest lists, whole or not at all, and refuses what Redshift refuses.

use std::io::Write;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use serde_json::json;

use crate::{World, parquet};

fn numbers(n: &[i64], names: &[&str]) -> Vec<u8> {
    let columns: Vec<(&str, ArrayRef)> =
        vec![("x", Arc::new(Int64Array::from(n.to_vec()))), ("y", Arc::new(StringArray::from(names.to_vec())))];
    parquet(columns)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn furnished() -> World {
    let world = World::new();
    world.all(&["CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR(5), at TIMESTAMP)"]);
    world
}

fn copy(url: &str, rest: &str) -> String {
    format!("COPY t (id, name) FROM '{url}' IAM_ROLE DEFAULT {rest}")
}

#[test]
fn parquet_goes_by_place() {
    let world = furnished();
    let other: Vec<(&str, ArrayRef)> =
        vec![("p", Arc::new(Int64Array::from(vec![3]))), ("q", Arc::new(StringArray::from(vec!["c"])))];
    let urls = [
        world.put("year=2026/a.parquet", &numbers(&[1], &["a"])),
        world.put("b''*.parquet", &numbers(&[2], &["b"])),
        world.put("c.parquet", &parquet(other)),
    ];
    let [a, b, c] = [&urls[0], &urls[1], &urls[2]].map(String::as_str);
    let manifest = world.manifest("m", &[a, b, c, a]);
    world.all(&[&copy(&manifest, "FORMAT AS PARQUET MANIFEST"), &copy(a, "PARQUET STATUPDATE OFF")]);
    assert_eq!(world.rows("SELECT id, name FROM t ORDER BY id"), ["1,a", "1,a", "2,b", "3,c"]);
}

#[test]
fn a_time_is_the_same_moment_with_and_without_a_zone() {
    let world = furnished();
    let moment = TimestampMillisecondArray::from(vec![1_767_225_600_123]);
    for at in [moment.clone(), moment.with_timezone("UTC")] {
        let columns: Vec<(&str, ArrayRef)> = vec![("x", Arc::new(Int64Array::from(vec![1]))), ("z", Arc::new(at))];
        let url = world.put("at", &parquet(columns));
        world.all(&[&format!("COPY t (id, at) FROM '{url}' IAM_ROLE DEFAULT PARQUET")]);
    }
    assert_eq!(world.rows("SELECT DISTINCT at FROM t"), ["2026-01-01 00:00:00.123"]);
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let world = furnished();
    let good = world.put("good", &numbers(&[1], &["a"]));
    let long = world.put("long", &numbers(&[1], &["sixsix"]));
    let narrow: Vec<(&str, ArrayRef)> =
        vec![("x", Arc::new(Int32Array::from(vec![1]))), ("y", Arc::new(StringArray::from(vec!["a"])))];
    let narrow = world.put("narrow", &parquet(narrow));
    let one: Vec<(&str, ArrayRef)> = vec![("x", Arc::new(Int64Array::from(vec![1])))];
    let one = world.put("one", &parquet(one));
    let junk = world.put("junk", b"this is no parquet");
    let cases = [
        (long, "length of the data column name"),
        (narrow, "incompatible Parquet schema for column x"),
        (one, "Unmatched number of columns"),
        (junk, "Spectrum Scan Error"),
        ("s3://lake/missing".to_owned(), "key does not exist"),
        ("s3://lake".to_owned(), "S3ServiceException"),
    ];
    for (url, expected) in cases {
        let manifest = world.manifest("m", &[&good, &url]);
        let error = world.error(&copy(&manifest, "FORMAT AS PARQUET MANIFEST"));
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("/tmp") && !error.contains(".links"), "{error}");
    }
    let entries = [
        (json!({ "url": good, "mandatory": true }), "content_length is required"),
        (json!({ "url": good, "mandatory": true, "meta": { "content_length": 5 } }), "its manifest says 5"),
        (json!({ "uri": good }), "not valid"),
    ];
    for (entry, expected) in entries {
        let manifest = world.put("m", json!({ "entries": [entry] }).to_string().as_bytes());
        let error = world.error(&copy(&manifest, "FORMAT AS PARQUET MANIFEST"));
        assert!(error.contains(expected), "{error}");
    }
    let optional = json!({ "entries": [{ "url": "s3://lake/missing", "meta": { "content_length": 5 } }] });
    world.all(&[&copy(&world.put("m", optional.to_string().as_bytes()), "FORMAT AS PARQUET MANIFEST")]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM t"), ["0"]);
    let links = std::fs::read_dir(world.dir.path().join("warehouse.links")).unwrap().count();
    assert_eq!(links, 0, "no link is left");
}

/// A file with two columns, written so.
fn written(properties: WriterProperties, at: ArrayRef) -> Vec<u8> {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter([("id", id), ("at", at)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn what_the_documentation_does_not_promise_is_refused_by_copy_and_by_external_tables() {
    let world = furnished();
    world.all(&[
        "CREATE EXTERNAL SCHEMA lake FROM DATA CATALOG DATABASE 'd' IAM_ROLE DEFAULT",
        "CREATE EXTERNAL TABLE lake.t (\"id\" BIGINT, \"at\" TIMESTAMP) PARTITIONED BY (\"day\" INTEGER) \
         STORED AS PARQUET LOCATION 's3://lake/t/'",
    ]);
    let micros = || -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")) };
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_000]));
    let plain = || WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_1_0);
    let delta = plain().set_dictionary_enabled(false).set_column_encoding("at".into(), Encoding::DELTA_BINARY_PACKED);
    let zstd = plain().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let version2 = WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_2_0).build();
    let refused = [
        (written(plain().build(), nanos), "incompatible Parquet schema for column at"),
        (written(delta.build(), micros()), "unsupported encoding in column at: DELTA_BINARY_PACKED"),
        (written(zstd.build(), micros()), "unsupported compression for column id: ZSTD"),
        (written(version2, micros()), "invalid version number: 2"),
    ];
    for (day, (bytes, words)) in refused.iter().enumerate() {
        let url = world.put(&format!("t/day={day}/a.parquet"), bytes);
        let error = world.error(&format!("COPY t (id, at) FROM '{url}' IAM_ROLE DEFAULT PARQUET"));
        assert!(error.contains("Spectrum Scan Error: File") && error.contains(words), "{words}: {error}");
        world.all(&[&format!("ALTER TABLE lake.t ADD PARTITION (\"day\"={day}) LOCATION 's3://lake/t/day={day}/'")]);
        let error = world.error("SELECT COUNT(*) FROM lake.t");
        assert!(error.contains(&format!("'s3://lake/t/day={day}/a.parquet'")) && error.contains(words), "{error}");
        std::fs::remove_file(world.objects().join(format!("lake/t/day={day}/a.parquet"))).unwrap();
    }
    for properties in
        [plain().build(), plain().set_compression(Compression::SNAPPY).set_dictionary_enabled(false).build()]
    {
        let url = world.put("t/day=0/a.parquet", &written(properties, micros()));
        world.all(&[&format!("COPY t (id, at) FROM '{url}' IAM_ROLE DEFAULT PARQUET")]);
        assert_eq!(world.rows("SELECT COUNT(*) FROM lake.t"), ["2"]);
    }
    for option in ["REGION 'eu-west-1'", "COMPUPDATE OFF"] {
        let error = world.error(&copy("s3://lake/t/day=0/a.parquet", &format!("PARQUET {option}")));
        assert!(error.contains("not supported for PARQUET based COPY"), "{error}");
    }
}

#[test]
fn json_goes_by_name_and_counts_what_is_bad() {
    let world = furnished();
    let lines =
        "{\"id\": 1, \"name\": \"a\", \"at\": 1767225600123, \"more\": [1]}\n\n{\"name\": null, \"id\": \"2\"}\n";
    let good = world.put("good.gz", &gzip(lines));
    let manifest = world.manifest("m", &[&good]);
    let form = "FORMAT AS JSON 'auto' GZIP TIMEFORMAT 'epochmillisecs' MANIFEST";
    world.all(&[&format!("COPY t FROM '{manifest}' IAM_ROLE DEFAULT {form}")]);
    assert_eq!(world.rows("SELECT id, name, at FROM t ORDER BY id"), ["1,a,2026-01-01 00:00:00.123", "2,null,null"]);

    let bad = "{\"id\": 3}\n{\"id\": 1.5}\n{\"id\": 4\n{\"name\": \"no id\"}\n{\"id\": 5, \"name\": \"sixsix\"}\n{\"id\": 6, \"name\": 7}\n";
    let bad = world.put("bad", bad.as_bytes());
    let error = world.error(&copy(&bad, "FORMAT JSON 'auto'"));
    assert!(error.contains("stl_load_errors") && error.contains("s3://lake/bad line 3"), "{error}");
    assert!(world.error(&copy(&bad, "FORMAT JSON 'auto' MAXERROR 3")).contains("stl_load_errors"));
    world.all(&[&copy(&bad, "FORMAT JSON 'auto' MAXERROR 4")]);
    assert_eq!(world.rows("SELECT id, name FROM t WHERE id > 2 ORDER BY id"), ["3,null", "6,7"]);
    world.all(&[&copy(&bad, "FORMAT JSON 'auto' MAXERROR 3 TRUNCATECOLUMNS")]);
    assert_eq!(world.rows("SELECT name FROM t WHERE id = 5"), ["sixsi"]);

    world.all(&["CREATE TABLE d (x DOUBLE PRECISION)"]);
    let doubles = ["29.099999999999998", "5e-324", "1.7976931348623157e308", "101325.27392817361", "9007199254740993"];
    let lines: String = doubles.iter().map(|x| format!("{{\"x\": {x}}}\n")).collect();
    let url = world.put("doubles", lines.as_bytes());
    world.all(&[&format!("COPY d FROM '{url}' IAM_ROLE DEFAULT FORMAT JSON 'auto'")]);
    let mut landed: Vec<u64> =
        world.rows("SELECT x FROM d").iter().map(|x| x.parse::<f64>().unwrap().to_bits()).collect();
    let mut nearest = doubles.map(|x| x.parse::<f64>().unwrap().to_bits());
    landed.sort_unstable();
    nearest.sort_unstable();
    assert_eq!(landed, nearest);

    let upper = world.put("upper", b"{\"ID\": 9, \"Name\": \"\xff\"}\n");
    world.all(&[&copy(&upper, "JSON 'auto ignorecase' ACCEPTINVCHARS AS '^'")]);
    assert_eq!(world.rows("SELECT name FROM t WHERE id = 9"), ["^"]);
    assert!(world.error(&copy(&upper, "JSON 'auto ignorecase'")).contains("UTF8"));
}

/// No page says what Redshift makes of it, so nothing here may need it.
#[test]
fn a_text_with_nul_is_refused() {
    let world = furnished();
    let (bad, good) = (world.put("a", &numbers(&[1], &["a\0b"])), world.put("b", &numbers(&[1], &["a b"])));
    let error = world.error(&copy(&bad, "PARQUET"));
    assert!(error.contains("0x00 in column name"), "{error}");
    world.all(&[&copy(&good, "PARQUET")]);
    assert_eq!(world.rows("SELECT id, name FROM t"), ["1,a b"]);
}
