//! GOAL    The embedded warehouse is Redshift to an unmodified SDK, reads the buckets, fails on demand and is there again.
//! METHOD  The loader's transaction over objects that were put through S3; rules for faults; a restart and a kill.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::error::ProvideErrorMetadata;
use aws_sdk_redshiftdata::operation::describe_statement::DescribeStatementOutput;
use aws_sdk_redshiftdata::types::{Field, StatusString};
use aws_sdk_s3::primitives::ByteStream;
use serde_json::json;

use crate::World;
use crate::faults::{clear, control, control_at, inject};

async fn ended(client: &Client, id: &str) -> DescribeStatementOutput {
    loop {
        let described = client.describe_statement().id(id).send().await.unwrap();
        match described.status() {
            Some(StatusString::Finished | StatusString::Failed | StatusString::Aborted) => return described,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn batch(client: &Client, statements: &[String]) -> DescribeStatementOutput {
    let request = client.batch_execute_statement().workgroup_name("w").database("d");
    let sent = request.set_sqls(Some(statements.to_vec())).send().await.unwrap();
    ended(client, sent.id().unwrap()).await
}

/// The rows of a statement, as texts between commas.
async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let sent = client.execute_statement().workgroup_name("w").database("d").sql(sql).send().await.unwrap();
    let described = ended(client, sent.id().unwrap()).await;
    assert_eq!(described.status(), Some(&StatusString::Finished), "{sql}: {:?}", described.error());
    if described.has_result_set() != Some(true) {
        return Vec::new();
    }
    let mut pages = client.get_statement_result().id(sent.id().unwrap()).into_paginator().send();
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await {
        let text = |field: &Field| match field {
            Field::LongValue(n) => n.to_string(),
            Field::DoubleValue(x) => x.to_string(),
            Field::BooleanValue(b) => b.to_string(),
            Field::StringValue(text) => text.clone(),
            _ => "null".to_owned(),
        };
        let page = page.unwrap();
        rows.extend(page.records().iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(",")));
    }
    rows
}

/// A table, a ledger, and a file of three rows with its manifest in a bucket.
async fn furnished() -> World {
    let world = World::new().await;
    let client = world.redshift();
    rows(&client, "CREATE SCHEMA IF NOT EXISTS \"m\"").await;
    rows(&client, "CREATE TABLE \"m\".\"t\" (\"id\" BIGINT NOT NULL ENCODE AZ64, \"name\" VARCHAR(5)) DISTSTYLE ALL")
        .await;
    rows(&client, "CREATE TABLE \"m\".\"ledger\" (\"epoch\" BIGINT NOT NULL, PRIMARY KEY (\"epoch\"))").await;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("name", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ];
    let records = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, records.schema(), None).unwrap();
    writer.write(&records).unwrap();
    writer.close().unwrap();
    let (key, n_bytes) = ("cleansed/year=2026/month=01/k.parquet", bytes.len());
    let manifest = json!({ "entries": [
        { "url": format!("s3://lake/{key}"), "mandatory": true, "meta": { "content_length": n_bytes } },
    ] });
    world.s3().create_bucket().bucket("lake").send().await.unwrap();
    world.s3().put_object().bucket("lake").key(key).body(ByteStream::from(bytes)).send().await.unwrap();
    let put = world.s3().put_object().bucket("lake").key("m/1.manifest");
    put.body(ByteStream::from(manifest.to_string().into_bytes())).send().await.unwrap();
    world
}

fn load(epoch: u64) -> Vec<String> {
    vec![
        "LOCK \"m\".\"ledger\"".to_owned(),
        format!("CREATE TEMP TABLE \"guard\" AS SELECT 1 AS \"ok\" WHERE NOT EXISTS (SELECT 1 FROM \"m\".\"ledger\" WHERE \"epoch\" >= {epoch})"),
        "CREATE TEMP TABLE \"stg\" (LIKE \"m\".\"t\")".to_owned(),
        "COPY \"stg\" FROM 's3://lake/m/1.manifest' IAM_ROLE DEFAULT FORMAT AS PARQUET MANIFEST".to_owned(),
        "INSERT INTO \"m\".\"t\" (\"id\", \"name\") SELECT \"s\".\"id\", \"s\".\"name\" FROM \"stg\" \"s\", \"guard\" \"g\"".to_owned(),
        format!("INSERT INTO \"m\".\"ledger\" SELECT {epoch} FROM \"guard\""),
    ]
}

const COUNTS: &str = "SELECT (SELECT COUNT(*) FROM m.t), (SELECT COUNT(*) FROM m.ledger)";

#[tokio::test]
async fn a_load_applies_once_and_is_there_again() {
    let world = furnished().await;
    let client = world.redshift();
    for _ in 0..2 {
        let described = batch(&client, &load(1)).await;
        assert_eq!(described.status(), Some(&StatusString::Finished), "{:?}", described.error());
        assert_eq!(described.sub_statements().len(), 6);
        assert_eq!(described.sub_statements()[3].result_rows(), 3);
    }
    let (one, other) = (load(2), load(2));
    let (one, other) = tokio::join!(batch(&client, &one), batch(&client, &other));
    assert_eq!([one.status(), other.status()], [Some(&StatusString::Finished); 2]);
    assert_eq!(rows(&client, COUNTS).await, ["6,2"]);
    let world = world.reopened().await;
    assert_eq!(rows(&world.redshift(), COUNTS).await, ["6,2"]);
    world.cloud.stop().await.unwrap();
    assert!(world.dir.path().join("warehouse.duckdb").exists());
    assert!(!world.dir.path().join("warehouse.duckdb.wal").exists(), "any client of DuckDB opens the file");
}

#[tokio::test]
async fn no_url_leaves_the_buckets() {
    let world = furnished().await;
    std::fs::write(world.dir.path().join("secret"), b"{\"id\": 1}").unwrap();
    for url in
        ["s3://../secret", "s3://lake/../../secret", "s3://./../secret", "s3://lake/a/../../../secret", "s3:///secret"]
    {
        let copy = format!("COPY m.t FROM '{url}' IAM_ROLE DEFAULT FORMAT JSON 'auto'");
        let described = batch(&world.redshift(), &[copy]).await;
        assert_eq!(described.status(), Some(&StatusString::Failed), "{url}");
        assert!(described.error().unwrap().contains("S3ServiceException"), "{:?}", described.error());
    }
    assert_eq!(rows(&world.redshift(), COUNTS).await, ["0,0"]);
}

fn once(world: &World) -> SdkConfig {
    world.sdk.to_builder().retry_config(RetryConfig::disabled()).build()
}

#[tokio::test]
async fn faults_are_those_of_the_service_and_a_lost_reply_is_applied() {
    let world = furnished().await;
    let client = Client::new(&once(&world));
    let send = || client.batch_execute_statement().workgroup_name("w").database("d").set_sqls(Some(load(1))).send();
    for (kind, code) in [("throttle", "ThrottlingException"), ("error", "InternalServerException")] {
        let rule = json!({ "service": "redshift", "operation": "BatchExecuteStatement", "kind": kind, "match": "LOCK \"m\".\"ledger\"" });
        inject(&world, json!([rule])).await;
        let error = send().await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert_eq!(rows(&client, COUNTS).await, ["0,0"]);
    }
    inject(&world, json!([{ "service": "redshift", "kind": "lose_reply", "count": 1 }])).await;
    assert!(send().await.unwrap_err().raw_response().is_none());
    while rows(&client, COUNTS).await != ["3,1"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    clear(&world).await;
    assert_eq!(batch(&client, &load(1)).await.status(), Some(&StatusString::Finished));
    assert_eq!(rows(&client, COUNTS).await, ["3,1"], "what was applied is not applied again");
}

#[tokio::test]
async fn a_paused_warehouse_refuses_until_it_is_resumed() {
    let world = furnished().await;
    let client = Client::new(&once(&world));
    let path = "/_mangrove/warehouse";
    assert_eq!(
        control_at(&world.cloud, path, "POST", r#"{"paused": true}"#).await,
        (200, json!({ "paused": true, "fails": [] }))
    );
    let refused = client.execute_statement().workgroup_name("w").database("d").sql("SELECT 1").send().await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Some("ValidationException"));
    assert!(refused.message().unwrap().contains("PAUSED"));
    assert_eq!(control_at(&world.cloud, path, "POST", r#"{"pause": true}"#).await.0, 400);
    assert_eq!(control_at(&world.cloud, path, "POST", r#"{"paused": false}"#).await.0, 200);
    assert_eq!(control_at(&world.cloud, path, "GET", "").await, (200, json!({ "paused": false, "fails": [] })));
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    assert_eq!(control(&world.cloud, "GET", "").await.0, 200);
}

#[tokio::test]
async fn statements_fail_on_demand_with_the_words_of_a_client() {
    let world = furnished().await;
    let client = Client::new(&once(&world));
    let path = "/_mangrove/warehouse";
    let full = r#"{"fails": [{"match": "SELECT 1", "error": "Disk Full"}]}"#;
    assert_eq!(control_at(&world.cloud, path, "POST", full).await.0, 200);
    let failed = batch(&client, &["SELECT 2".to_owned(), "SELECT 1".to_owned()]).await;
    assert_eq!((failed.status(), failed.error()), (Some(&StatusString::Failed), Some("ERROR: Disk Full")));
    assert_eq!(rows(&client, "SELECT 2").await, ["2"]);
    assert_eq!(control_at(&world.cloud, path, "POST", "{}").await.0, 400);
    assert_eq!(control_at(&world.cloud, path, "POST", r#"{"fails": []}"#).await.0, 200);
    assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
}
