//! INERT

use std::collections::BTreeSet;

use messages::schema::PartitionBy;

use super::fixture::schema;
use crate::warehouse::external::{External, PARTITIONS_MAX};

fn folders(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("cleansed/{name}")).collect()
}

#[test]
fn statements_are_as_redshift_wants_them() {
    let table = External::new(&schema(), "lake", "mangrove", "bucket").unwrap();
    assert_eq!(
        table.create_namespace("").unwrap(),
        "CREATE EXTERNAL SCHEMA IF NOT EXISTS \"lake\" FROM DATA CATALOG DATABASE 'mangrove' IAM_ROLE DEFAULT \
         CREATE EXTERNAL DATABASE IF NOT EXISTS"
    );
    assert!(table.create_namespace("arn:aws:iam::1:role/x").unwrap().contains("IAM_ROLE 'arn:aws:iam::1:role/x' "));
    let create = table.create().unwrap();
    assert!(create.starts_with("CREATE EXTERNAL TABLE \"lake\".\"sensor_readings\" (\n  \"sensor_id\" VARCHAR("));
    assert!(create.ends_with(
        ") PARTITIONED BY (\"year\" INTEGER, \"month\" INTEGER, \"day\" INTEGER, \"hour\" INTEGER) \
         STORED AS PARQUET LOCATION 's3://bucket/cleansed/'"
    ));
    // What Redshift does not take there.
    assert!(!create.contains("NOT NULL") && !create.contains("ENCODE"));
    let some = folders(&["year=2026/month=01/day=02/hour=03", "year=2026/month=01/day=02/hour=04"]);
    assert_eq!(
        table.add(&some).unwrap().unwrap(),
        ["ALTER TABLE \"lake\".\"sensor_readings\" ADD IF NOT EXISTS \
          PARTITION (\"year\"=2026, \"month\"=1, \"day\"=2, \"hour\"=3) \
          LOCATION 's3://bucket/cleansed/year=2026/month=01/day=02/hour=03/' \
          PARTITION (\"year\"=2026, \"month\"=1, \"day\"=2, \"hour\"=4) \
          LOCATION 's3://bucket/cleansed/year=2026/month=01/day=02/hour=04/'"]
    );
}

#[test]
fn many_folders_are_several_statements() {
    let table = External::new(&schema(), "lake", "mangrove", "bucket").unwrap();
    let name = |n: usize| format!("cleansed/year=2026/month=01/day={:02}/hour={:02}", n / 24 + 1, n % 24);
    let many: BTreeSet<String> = (0..2 * PARTITIONS_MAX + 1).map(name).collect();
    let statements = table.add(&many).unwrap().unwrap();
    let counts: Vec<usize> = statements.iter().map(|sql| sql.matches("PARTITION (").count()).collect();
    assert_eq!(counts, [PARTITIONS_MAX, PARTITIONS_MAX, 1]);
    assert!(statements.iter().all(|sql| sql.len() < 100_000));
}

#[test]
fn folders_of_another_form_are_refused() {
    let by_hour = External::new(&schema(), "lake", "mangrove", "bucket").unwrap();
    for bad in ["year=2026", "year=x/month=1/day=1/hour=1", "year=2026/month=1/day=1/hour=1/x=1", "", "a'/b"] {
        assert_eq!(by_hour.add(&folders(&[bad])).unwrap(), None, "{bad}");
    }
    let day = messages::EventSchema { partition_by: PartitionBy::Day, ..schema() };
    let by_day = External::new(&day, "lake", "mangrove", "bucket").unwrap();
    assert_eq!(by_day.depth(), 3);
    assert!(by_day.add(&folders(&["year=2026/month=01/day=02"])).unwrap().is_some());
    assert_eq!(by_day.add(&folders(&["year=2026/month=01/day=02/hour=03"])).unwrap(), None);
}

#[test]
fn a_field_that_is_called_like_a_folder_is_refused() {
    let mut schema = schema();
    schema.fields[0].name = "month".into();
    let error = External::new(&schema, "lake", "mangrove", "bucket").unwrap_err().to_string();
    assert!(error.contains("\"month\"") && error.contains("warehouse.spectrum"), "{error}");
}
