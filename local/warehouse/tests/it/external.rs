//! GOAL    An external table has the rows of the objects under its registered folders, as they are when it is asked.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use serde_json::json;

use crate::{World, open, parquet, run};

const TABLE: &str = "CREATE EXTERNAL TABLE lake.t (\"id\" BIGINT, \"name\" VARCHAR(9)) \
    PARTITIONED BY (\"year\" INTEGER, \"day\" INTEGER) STORED AS PARQUET LOCATION 's3://lake/t/'";

fn file(ids: &[i64], names: &[&str]) -> Vec<u8> {
    let columns: Vec<(&str, ArrayRef)> =
        vec![("name", Arc::new(StringArray::from(names.to_vec()))), ("id", Arc::new(Int64Array::from(ids.to_vec())))];
    parquet(columns)
}

fn furnished() -> World {
    let world = World::new();
    world.all(&[
        "CREATE EXTERNAL SCHEMA IF NOT EXISTS lake FROM DATA CATALOG DATABASE 'd' IAM_ROLE DEFAULT CREATE EXTERNAL DATABASE IF NOT EXISTS",
        "CREATE EXTERNAL SCHEMA IF NOT EXISTS \"lake\" FROM DATA CATALOG DATABASE 'd' REGION 'eu-west-1' IAM_ROLE 'arn:aws:iam::1:role/x'",
        TABLE,
    ]);
    world
}

fn add(day: u32) -> String {
    format!(
        "ALTER TABLE \"lake\".\"t\" ADD IF NOT EXISTS PARTITION (\"year\"=2026, \"day\"={day}) LOCATION 's3://lake/t/day={day}/'"
    )
}

#[test]
fn registered_folders_are_read_as_they_are() {
    let world = furnished();
    assert_eq!(world.rows("SELECT COUNT(*) FROM lake.t"), ["0"]);
    world.put("t/day=1/a.parquet", &file(&[1, 2], &["a", "b"]));
    world.put("t/day=2/a.parquet", &file(&[3], &["c"]));
    world.put("t/day=2/_temporary", b"no parquet");
    assert_eq!(world.rows("SELECT COUNT(*) FROM lake.t"), ["0"], "nothing is registered");
    world.all(&[&add(1), &add(2), &add(2), &add(3)]);
    let all = "SELECT id, name, \"year\", \"day\" FROM lake.t ORDER BY id";
    assert_eq!(world.rows(all), ["1,a,2026,1", "2,b,2026,1", "3,c,2026,2"]);
    assert_eq!(world.rows("SELECT id FROM lake.t WHERE \"day\" = 2"), ["3"]);
    // Objects come, go, and are replaced.
    world.put("t/day=3/b.parquet", &file(&[4], &["d"]));
    world.put("t/day=1/a.parquet", &file(&[5], &["e"]));
    std::fs::remove_file(world.objects().join("lake/t/day=2/a.parquet")).unwrap();
    assert_eq!(world.rows(all), ["4,d,2026,3", "5,e,2026,1"]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM svv_external_partitions WHERE tablename = 't'"), ["3"]);
    assert_eq!(world.rows("SELECT location FROM svv_external_tables"), ["s3://lake/t/"]);
    let columns = "SELECT columnname, external_type, part_key FROM svv_external_columns ORDER BY columnnum";
    assert_eq!(world.rows(columns), ["id,bigint,0", "name,character varying,0", "year,integer,1", "day,integer,2"]);
}

#[test]
fn a_table_without_partitions_is_its_folder() {
    let world = furnished();
    world.all(&[
        "CREATE EXTERNAL TABLE lake.flat (id BIGINT, name VARCHAR(9)) STORED AS PARQUET LOCATION 's3://lake/flat'",
    ]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM lake.flat"), ["0"]);
    world.put("flat/a.parquet", &file(&[1], &["a"]));
    assert_eq!(world.rows("SELECT id, name FROM lake.flat"), ["1,a"]);
}

#[test]
fn it_is_there_after_a_restart_and_can_be_made_anew() {
    let World { dir, warehouse } = furnished();
    std::fs::create_dir_all(dir.path().join("s3/lake/t/day=1")).unwrap();
    std::fs::write(dir.path().join("s3/lake/t/day=1/a.parquet"), file(&[1], &["a"])).unwrap();
    run(&warehouse, &add(1)).unwrap();
    drop(warehouse);
    let world = World { warehouse: open(dir.path(), |_| {}), dir };
    assert_eq!(world.rows("SELECT id, name, \"day\" FROM lake.t"), ["1,a,1"]);
    // A file without a column that the table has.
    world.all(&[
        "DROP TABLE IF EXISTS lake.t",
        "DROP TABLE IF EXISTS lake.t",
        &TABLE.replace("\"name\" VARCHAR(9)", "\"name\" VARCHAR(9), \"x\" REAL"),
        &add(1),
    ]);
    assert_eq!(world.rows("SELECT id, x FROM lake.t"), ["1,null"]);
    world.all(&["DROP TABLE lake.t"]);
    assert_eq!(world.rows("SELECT COUNT(*) FROM svv_external_partitions"), ["0"]);
    world.all(&["DROP SCHEMA lake", "CREATE SCHEMA lake", "CREATE TABLE lake.t (a INT)"]);
}

#[test]
fn what_redshift_refuses_is_refused() {
    let world = furnished();
    let refusals = [
        (TABLE, "already exists"),
        ("CREATE EXTERNAL TABLE public.t (a INT) STORED AS PARQUET LOCATION 's3://b/c/'", "no external schema"),
        ("CREATE EXTERNAL TABLE t (a INT) STORED AS PARQUET LOCATION 's3://b/c/'", "must be qualified"),
        ("CREATE EXTERNAL TABLE lake.u (a INT) STORED AS TEXTFILE LOCATION 's3://b/c/'", "not supported"),
        ("CREATE EXTERNAL TABLE lake.u (a INT) STORED AS PARQUET LOCATION '/etc/'", "s3://"),
        ("CREATE EXTERNAL TABLE lake.u (a INT, A INT) STORED AS PARQUET LOCATION 's3://b/c/'", "duplicated"),
        (
            "CREATE EXTERNAL TABLE lake.u (a INT) PARTITIONED BY (\"../x\" INT) STORED AS PARQUET LOCATION 's3://b/c/'",
            "other characters",
        ),
        ("ALTER TABLE lake.u ADD PARTITION (\"year\"=1) LOCATION 's3://b/c/'", "does not exist"),
        ("ALTER TABLE lake.t ADD PARTITION (\"year\"=1) LOCATION 's3://b/c/'", "do not match"),
        ("ALTER TABLE lake.t ADD PARTITION (\"year\"='../..', \"day\"=1) LOCATION 's3://b/c/'", "other characters"),
        ("ALTER TABLE lake.t ADD PARTITION (\"year\"=1, \"day\"=1) LOCATION 's3://b/c/' x", "syntax error"),
        ("CREATE TABLE lake.u (a INT)", "external schema"),
        ("INSERT INTO lake.t (id) VALUES (1)", "ERROR"),
        ("CREATE EXTERNAL SCHEMA lake FROM DATA CATALOG DATABASE 'd' IAM_ROLE DEFAULT", "already exists"),
        ("CREATE EXTERNAL SCHEMA other FROM HIVE METASTORE DATABASE 'd'", "syntax error"),
    ];
    for (statement, reason) in refusals {
        let error = world.error(statement);
        assert!(error.contains(reason), "{statement}: {error}");
    }
    world.all(&["ALTER TABLE lake.t ADD PARTITION (\"year\"=1, \"day\"=1) LOCATION 's3://lake/none'"]);
    let twice = "ALTER TABLE lake.t ADD PARTITION (\"year\"=1, \"day\"=1) LOCATION 's3://lake/other/'";
    assert!(world.error(twice).contains("already exists"));
    for alone in [&add(7), TABLE] {
        let shown = world.batch(&["SELECT 1".to_owned(), (*alone).to_owned()]);
        assert_eq!(shown["Status"], json!("FAILED"));
        assert!(shown["Error"].as_str().unwrap().contains("cannot run inside a transaction block"), "{shown}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_without_a_path_of_this_machine() {
    let world = furnished();
    world.put("t/day=1/a.parquet", b"not parquet at all");
    world.all(&[&add(1)]);
    let error = world.error("SELECT * FROM lake.t");
    assert!(error.starts_with("ERROR") && !error.contains(&world.dir.path().display().to_string()), "{error}");
    assert_eq!(world.rows("SELECT 1"), ["1"]);
}
