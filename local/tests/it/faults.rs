//! GOAL    Every kind of fault does what it says, is seen by an unmodified SDK as the real service's, and is counted.
//! METHOD  Rules are set over HTTP; SDKs without retries see each fault by itself, and with retries what it leads to.

use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::ShardIteratorType;
use aws_sdk_s3::primitives::ByteStream;
use mangrove_local::{LocalCloud, LocalOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kinesis::{create, iterator, read_all, shards};
use crate::tables::text;
use crate::{World, options, s3};

/// One request for the rules; returns the status and the body.
pub(crate) async fn control(cloud: &LocalCloud, method: &str, body: &str) -> (u16, Value) {
    control_at(cloud, "/_mangrove/faults", method, body).await
}

pub(crate) async fn control_at(cloud: &LocalCloud, path: &str, method: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(cloud.addr()).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

pub(crate) async fn inject(world: &World, rules: Value) {
    let (status, answer) = control(&world.cloud, "PUT", &json!({ "seed": 7, "rules": rules }).to_string()).await;
    assert_eq!(status, 200, "{answer}");
}

async fn injected(world: &World) -> Value {
    control(&world.cloud, "GET", "").await.1["injected"].take()
}

pub(crate) async fn clear(world: &World) {
    assert_eq!(control(&world.cloud, "DELETE", "").await.0, 200);
}

/// A cloud with one stream, one bucket, one table and one topic.
async fn furnished() -> (World, String) {
    let world = World::new().await;
    create(&world.kinesis(), "s", 2).await;
    world.s3().create_bucket().bucket("lake").send().await.unwrap();
    crate::tables::create(&world.dynamodb(), "t").await;
    let topic = world.sns().create_topic().name("alerts").send().await.unwrap();
    (world, topic.topic_arn.unwrap())
}

/// An SDK that shows every single answer.
fn once(world: &World) -> SdkConfig {
    world.sdk.to_builder().retry_config(RetryConfig::disabled()).build()
}

/// What an SDK says of one change at each service: the status and the code, or nothing when no answer came.
async fn change_everything(sdk: &SdkConfig, topic: &str) -> [Option<(u16, String)>; 4] {
    fn said<T, E: ProvideErrorMetadata>(result: Result<T, SdkError<E>>) -> Option<(u16, String)> {
        let error = match result {
            Ok(_) => return Some((200, String::new())),
            Err(error) => error,
        };
        let status = error.raw_response()?.status().as_u16();
        Some((status, error.code().unwrap_or_default().to_owned()))
    }
    let kinesis = aws_sdk_kinesis::Client::new(sdk);
    let put = kinesis.put_record().stream_name("s").partition_key("k").data(Blob::new("x")).send().await;
    let table = aws_sdk_dynamodb::Client::new(sdk);
    let item = table.put_item().table_name("t").item("leaseKey", text("k")).send().await;
    let object = s3(sdk).put_object().bucket("lake").key("a=1/k").body(ByteStream::from_static(b"x")).send().await;
    let publish = aws_sdk_sns::Client::new(sdk).publish().topic_arn(topic).message("x").send().await;
    [said(put), said(item), said(object), said(publish)]
}

/// What is there of these changes, by a client that no fault touches: rules are cleared first.
async fn applied(world: &World) -> [usize; 3] {
    clear(world).await;
    let records = read_all(&world.kinesis(), "s").await.values().map(Vec::len).sum();
    let items = world.dynamodb().scan().table_name("t").send().await.unwrap().items().len();
    let objects = world.s3().list_objects_v2().bucket("lake").send().await.unwrap().contents().len();
    [records, items, objects]
}

fn codes(answers: [Option<(u16, String)>; 4]) -> [String; 4] {
    answers.map(|answer| answer.map_or("none".to_owned(), |(status, code)| format!("{status} {code}")))
}

#[tokio::test]
async fn without_the_option_there_are_no_faults() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = LocalCloud::start(LocalOptions { faults: false, ..options(dir.path()) }).await.unwrap();
    for method in ["GET", "PUT", "DELETE"] {
        let (status, answer) = control(&cloud, method, "").await;
        assert_eq!(status, 404);
        assert!(answer["error"].as_str().unwrap().contains("--faults"), "{answer}");
    }
}

#[tokio::test]
async fn rules_are_set_shown_and_cleared() {
    let (world, topic) = furnished().await;
    let (status, wrong) = control(&world.cloud, "PUT", r#"{"rules": [{"service": "s3", "knd": "error"}]}"#).await;
    assert_eq!(status, 400);
    assert!(wrong["error"].as_str().unwrap().starts_with("rules[0].knd: is not known"), "{wrong}");
    let (status, _) = control(&world.cloud, "PUT", &" ".repeat(65 * 1024)).await;
    assert_eq!(status, 413);
    assert_eq!(codes(change_everything(&once(&world), &topic).await), ["200 ", "200 ", "200 ", "200 "]);

    inject(&world, json!([{ "service": "s3", "kind": "delay", "delay_ms": 0, "match": "a=1/", "count": 3 }])).await;
    change_everything(&once(&world), &topic).await;
    let (_, shown) = control(&world.cloud, "GET", "").await;
    let rule = json!({
        "service": "s3", "operation": null, "kind": "delay", "probability": 1.0, "count": 3, "delay_ms": 0,
        "match": "a=1/", "hits": 1,
    });
    assert_eq!(shown, json!({ "seed": 7, "rules": [rule], "injected": { "s3": { "delay": 1 } } }));
    clear(&world).await;
    let (_, shown) = control(&world.cloud, "GET", "").await;
    assert_eq!(shown, json!({ "seed": 7, "rules": [], "injected": { "s3": { "delay": 1 } } }));
}

#[tokio::test]
async fn throttling_and_errors_are_those_of_the_services_and_apply_nothing() {
    let (world, topic) = furnished().await;
    inject(&world, json!([{ "service": "any", "kind": "throttle" }])).await;
    let throughput = "400 ProvisionedThroughputExceededException";
    let throttled = [throughput, throughput, "503 SlowDown", "400 Throttling"];
    assert_eq!(codes(change_everything(&once(&world), &topic).await), throttled);
    assert_eq!(applied(&world).await, [0, 0, 0]);

    inject(&world, json!([{ "service": "any", "kind": "error" }])).await;
    let failed = ["500 InternalFailure", "500 InternalServerError", "500 InternalError", "500 InternalError"];
    assert_eq!(codes(change_everything(&once(&world), &topic).await), failed);
    let one = json!({ "error": 1 });
    assert_eq!(injected(&world).await, json!({ "kinesis": one, "dynamodb": one, "s3": one, "sns": one }));
    assert_eq!(applied(&world).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_cut_connection_applies_nothing_and_a_lost_reply_everything() {
    let (world, topic) = furnished().await;
    for kind in ["reset", "timeout_before"] {
        let delay_ms = (kind == "timeout_before").then_some(20);
        inject(&world, json!([{ "service": "any", "kind": kind, "delay_ms": delay_ms }])).await;
        assert_eq!(codes(change_everything(&once(&world), &topic).await), ["none"; 4], "{kind}");
        assert_eq!(applied(&world).await, [0, 0, 0], "{kind}");
    }
    for delay_ms in [0, 20] {
        inject(&world, json!([{ "service": "any", "kind": "lose_reply", "delay_ms": delay_ms }])).await;
        assert_eq!(codes(change_everything(&once(&world), &topic).await), ["none"; 4]);
    }
    let one = json!({ "lose_reply": 1 });
    assert_eq!(injected(&world).await, json!({ "kinesis": one, "dynamodb": one, "s3": one, "sns": one }));
    assert_eq!(applied(&world).await, [2, 1, 1], "a record is stored twice; an item and an object replace themselves");
}

#[tokio::test]
async fn silence_lasts_until_the_client_gives_up() {
    let (world, topic) = furnished().await;
    let patience = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300)).build();
    let sdk = once(&world).to_builder().timeout_config(patience).build();
    inject(&world, json!([{ "service": "dynamodb", "operation": "PutItem", "kind": "timeout_before" }])).await;
    let put = aws_sdk_dynamodb::Client::new(&sdk).put_item().table_name("t").item("leaseKey", text("k")).send().await;
    assert!(matches!(put, Err(SdkError::TimeoutError(_))), "{put:?}");
    assert_eq!(applied(&world).await, [0, 0, 0]);

    inject(&world, json!([{ "service": "any", "kind": "delay", "delay_ms": 50 }])).await;
    let started = Instant::now();
    assert_eq!(codes(change_everything(&once(&world), &topic).await), ["200 ", "200 ", "200 ", "200 "]);
    assert!(started.elapsed() >= 4 * Duration::from_millis(50));
    assert_eq!(applied(&world).await, [1, 1, 1]);
    world.cloud.stop().await.unwrap();
}

#[tokio::test]
async fn a_lost_reply_is_sent_again_and_meets_itself() {
    let (world, _) = furnished().await;
    inject(&world, json!([{ "service": "any", "kind": "lose_reply", "count": 1, "operation": "PutObject" }])).await;
    let put = world.s3().put_object().bucket("lake").key("k").if_none_match("*").metadata("digest", "mine");
    let refused = put.body(ByteStream::from_static(b"x")).send().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 412);
    let head = world.s3().head_object().bucket("lake").key("k").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["digest"], "mine", "the first attempt was ours");

    let tables = world.dynamodb();
    tables.put_item().table_name("t").item("leaseKey", text("k")).item("owner", text("old")).send().await.unwrap();
    inject(&world, json!([{ "service": "any", "kind": "lose_reply", "count": 1, "operation": "UpdateItem" }])).await;
    let take = tables.update_item().table_name("t").key("leaseKey", text("k"));
    let take = take.update_expression("SET nonce = :n, #o = :me").condition_expression("#o = :old");
    let take = take.expression_attribute_names("#o", "owner").expression_attribute_values(":n", text("n-1"));
    let take = take.expression_attribute_values(":me", text("me")).expression_attribute_values(":old", text("old"));
    let take = take.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match take.send().await.unwrap_err().into_service_error() {
        UpdateItemError::ConditionalCheckFailedException(failed) => {
            assert_eq!(failed.item().unwrap()["nonce"], text("n-1"), "the first attempt was ours");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn retries_get_through_a_bounded_number_of_faults() {
    let (world, topic) = furnished().await;
    for kind in ["throttle", "error", "reset"] {
        inject(&world, json!([{ "service": "any", "kind": kind, "count": 2, "operation": "PutItem" }])).await;
        world.dynamodb().put_item().table_name("t").item("leaseKey", text("k")).send().await.unwrap();
        assert_eq!(injected(&world).await, json!({ "dynamodb": { kind: 2 } }));
    }
    inject(&world, json!([{ "service": "sns", "kind": "throttle", "count": 2 }])).await;
    world.sns().publish().topic_arn(&topic).message("x").send().await.unwrap();
}

#[tokio::test]
async fn a_rule_can_be_about_one_shard_or_one_zone() {
    let (world, _) = furnished().await;
    let client = aws_sdk_kinesis::Client::new(&once(&world));
    let shards = shards(&client, "s").await;
    inject(
        &world,
        json!([
            { "service": "kinesis", "operation": "GetRecords", "kind": "throttle", "match": shards[1] },
            { "service": "s3", "operation": "PutObject", "kind": "error", "match": "zone=raw/" },
        ]),
    )
    .await;
    let mut ends = Vec::new();
    for shard in &shards {
        let at = iterator(&client, "s", shard, ShardIteratorType::TrimHorizon).await;
        ends.push(client.get_records().set_shard_iterator(at).send().await.is_ok());
    }
    assert_eq!(ends, [true, false]);
    let objects = s3(&once(&world));
    let put = |key: &str| objects.put_object().bucket("lake").key(key).body(ByteStream::from_static(b"x")).send();
    assert!(put("zone=raw/1").await.is_err() && put("zone=clean/1").await.is_ok());
    assert!(
        objects
            .get_object()
            .bucket("lake")
            .key("zone=raw/1")
            .send()
            .await
            .unwrap_err()
            .into_service_error()
            .is_no_such_key()
    );
}
