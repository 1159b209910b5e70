//! Every call of a load: refused, failed, cut off, and applied without an answer.

use std::path::Path;

use actors::loading::{LoadError, Loading};
use actors::ports::objects::{Objects, Put};
use actors::ports::warehouse::WarehouseFailure;
use actors::warehouse::batch::LoadBatch;
use actors::warehouse::metadata::MetadataColumns;
use actors::warehouse::tables::StarSchema;
use actors::warehouse::{Load, Mode};
use aws_sdk_redshiftdata::Client;
use aws_sdk_redshiftdata::types::StatusString;
use mangrove_tests::history::setup;
use mangrove_tests::world::BUCKET;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{AT_ONCE, PATIENCE, assert_whole, copy_of, loading, stock, until};

/// When the call is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// When the ledger is asked and the lake is listed.
    Looking,
    /// When a batch is sent and waited for.
    Loading,
}

/// A call, what becomes of it, how often, and what the loader must make of it.
type Case = (When, (&'static str, &'static str, &'static str), &'static str, u64, Option<WarehouseFailure>);

fn cases() -> Vec<Case> {
    use WarehouseFailure::{Unavailable, Unknown};
    use When::{Loading, Looking};

    let question = ("redshift", "ExecuteStatement", "load_ledger");
    let (state, result) = (("redshift", "DescribeStatement", "Id"), ("redshift", "GetStatementResult", "Id"));
    let (list, head) = (("s3", "ListObjectsV2", "manifests/"), ("s3", "HeadObject", ".parquet"));
    let (read, put) = (("s3", "GetObject", "manifests/"), ("s3", "PutObject", "warehouse/"));
    let send = ("redshift", "BatchExecuteStatement", "sensor_readings");
    let mut cases = vec![
        (Looking, list, "error", 1, Some(Unavailable)),
        (Looking, read, "lose_reply", 1, Some(Unavailable)),
        (Looking, head, "throttle", 1, Some(Unavailable)),
        (Loading, put, "throttle", 1, Some(Unavailable)),
        (Loading, put, "error", 1, Some(Unavailable)),
        (Loading, put, "reset", 1, Some(Unavailable)),
        // Applied: the next load finds its own manifest.
        (Loading, put, "lose_reply", 1, Some(Unavailable)),
        (Loading, put, "lose_reply", 2, Some(Unavailable)),
        (Loading, send, "delay", 1, None),
    ];
    for (when, call) in [(Looking, question), (Loading, send)] {
        cases.push((when, call, "throttle", 1, Some(Unavailable)));
        for kind in ["error", "reset", "timeout_before", "lose_reply"] {
            cases.push((when, call, kind, 1, Some(Unknown)));
        }
    }
    for when in [Looking, Loading] {
        for kind in ["throttle", "error", "lose_reply"] {
            // It is asked again, but not for ever.
            cases.push((when, state, kind, 1, None));
            cases.push((when, state, kind, 5, Some(Unknown)));
        }
        cases.push((when, result, "throttle", 1, Some(Unavailable)));
        cases.push((when, result, "lose_reply", 1, Some(Unknown)));
    }
    cases
}

fn rule((service, operation, matching): (&str, &str, &str), kind: &str, count: u64) -> Value {
    let mut rule =
        json!({ "service": service, "operation": operation, "match": matching, "kind": kind, "count": count });
    if ["delay", "timeout_before"].contains(&kind) {
        rule["delay_ms"] = json!(200);
    }
    rule
}

async fn next_batch(loading: &Loading) -> Result<LoadBatch, LoadError> {
    Ok(loading.next_batch(2).await?.expect("something waits").0)
}

/// The call is hit, the loader says what may be true now, and all comes right.
async fn befalls(stock: &Path, name: &str, case: Case) {
    let (when, call, kind, count, expected) = case;
    let world = copy_of(stock, name).await;
    let (loading, faults) = (loading(&world), world.faults());
    loading.ensure_tables().await.unwrap();
    let rules = [rule(call, kind, count)];
    let told = |result: Result<(), LoadError>| {
        let failure = result.as_ref().err().map(LoadError::failure);
        assert_eq!(failure, expected, "{case:?}: {result:?}");
    };
    let batch = match when {
        When::Looking => {
            faults.set(1, &rules).await;
            told(next_batch(&loading).await.map(drop));
            None
        }
        When::Loading => {
            let batch = next_batch(&loading).await.unwrap();
            faults.set(1, &rules).await;
            // As often as the fault lasts.
            while faults.hits().await[0] < count {
                told(loading.load(&batch, Mode::New).await.map(drop));
            }
            Some(batch)
        }
    };
    assert_eq!(faults.end().await, [count], "{case:?}");
    loading.load_all(PATIENCE).await.unwrap();
    if let Some(batch) = batch {
        assert!(!loading.load(&batch, Mode::New).await.unwrap().fresh, "{case:?}");
    }
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_or_whose_answer_is_lost_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let stock = stock(dir.path()).await;
    let cases: Vec<(usize, Case)> = cases().into_iter().enumerate().collect();
    for few in cases.chunks(AT_ONCE) {
        let mut runs = JoinSet::new();
        for (n, case) in few.iter().copied() {
            let stock = stock.clone();
            runs.spawn(async move { befalls(&stock, &format!("call-{n}"), case).await });
        }
        runs.join_all().await;
    }
}

/// The service knows a token again, for a while; nothing may depend on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_is_sent_again_changes_nothing_whatever_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let world = copy_of(&stock(dir.path()).await, "token").await;
    let loading = loading(&world);
    loading.ensure_tables().await.unwrap();
    let batch = next_batch(&loading).await.unwrap();
    let (schema, manifests) = (setup().schema, batch.manifests(BUCKET));
    let objects = Objects::new(world.sdk(), BUCKET);
    for manifest in &manifests {
        let body = manifest.body.clone().into();
        let put = objects.put_new(&manifest.key, body, &manifest.digest, manifest.rows).await.unwrap();
        assert_eq!(put, Put::Created);
    }
    let star = StarSchema::new(&schema, "mangrove", &MetadataColumns::default()).unwrap();
    let load = Load {
        star: &star,
        schema: &schema,
        batch: &batch,
        manifests: &manifests,
        bucket: BUCKET,
        iam_role: "",
        mode: Mode::New,
        now_ms: 0,
    };
    let sql = load.statements().unwrap().sql;
    let client = Client::new(world.sdk());
    let send = async |token: &str| {
        let request = client.batch_execute_statement().database("dev").workgroup_name("local");
        let sent = request.set_sqls(Some(sql.clone())).client_token(token).send().await.unwrap();
        let id = sent.id().unwrap().to_owned();
        let finished = || async {
            let said = client.describe_statement().id(&id).send().await.unwrap();
            assert_ne!(said.status(), Some(&StatusString::Failed), "{:?}", said.error());
            said.status() == Some(&StatusString::Finished)
        };
        until("the end of a load", finished).await;
        id
    };
    let first = send("token-1").await;
    assert_eq!(send("token-1").await, first);
    assert_ne!(send("token-2").await, first);
    let known = world.analyst().count("SELECT COUNT(*) FROM mangrove.load_ledger").await;
    assert_eq!(known, batch.epochs.len() as i64);
    assert!(!loading.load(&batch, Mode::New).await.unwrap().fresh);
    loading.load_all(PATIENCE).await.unwrap();
    assert_whole(&world).await;
}
