use axum::http::Request;
use axum::http::request::Parts;
use local_engine::Service;
use local_engine::faults::RULES_MAX;

use super::*;
use crate::kinesis::{asking, habits};

fn faults(plan: &str) -> Faults {
    let faults = Faults::default();
    let answer = faults.control(&Method::PUT, plan.as_bytes());
    assert_eq!(answer.status(), StatusCode::OK, "{plan}");
    faults
}

fn wrong(plan: &str) -> String {
    Plan::parse(plan.as_bytes()).unwrap_err().to_string()
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn s3(method: &str, uri: &str) -> Parts {
    parts(method, uri, &[])
}

#[test]
fn a_wrong_plan_names_its_key() {
    let rule = |rule: &str| wrong(&format!(r#"{{"rules": [{{"service": "s3", "kind": "reset"}}, {rule}]}}"#));
    assert!(wrong("{").starts_with("the body: "));
    assert_eq!(wrong("7"), "the body: is not an object");
    assert!(wrong("{}").starts_with("rules: is missing"));
    assert!(wrong(r#"{"rules": 7}"#).starts_with("rules: is not a list"));
    assert!(wrong(r#"{"rules": [], "sead": 1}"#).starts_with("sead: is not known; known are seed, rules"));
    assert!(wrong(r#"{"rules": [], "seed": -1}"#).starts_with("seed: is not a whole number"));
    assert_eq!(rule("7"), "rules[1]: is not an object");
    assert!(rule(r#"{"service": "s3", "knd": 1}"#).starts_with("rules[1].knd: is not known; known are service, "));
    assert_eq!(rule(r#"{"service": "s3"}"#), "rules[1].kind: is missing");
    assert!(rule(r#"{"service": "s3", "kind": "slow"}"#).starts_with("rules[1].kind: is not one of throttle, error, "));
    assert!(rule(r#"{"kind": "reset"}"#).starts_with("rules[1].service: is missing"));
    assert!(
        rule(r#"{"service": "sqs", "kind": "reset"}"#).contains("one of any, kinesis, dynamodb, s3, sns, redshift")
    );
    assert!(rule(r#"{"service": "s3", "kind": "reset", "probability": 1.5}"#).contains("[1].probability: "));
    assert!(rule(r#"{"service": "s3", "kind": "reset", "count": -1}"#).contains("[1].count: "));
    assert!(rule(r#"{"service": "s3", "kind": "reset", "match": ""}"#).contains("[1].match: is not a text"));
    assert!(rule(r#"{"service": "s3", "kind": "reset", "operation": 1}"#).contains("[1].operation: "));
    assert!(rule(r#"{"service": "s3", "kind": "reset", "delay_ms": 5}"#).contains("[1].delay_ms: is for delay"));
    assert!(rule(r#"{"service": "s3", "kind": "delay"}"#).contains("[1].delay_ms: is missing"));
    assert!(rule(r#"{"service": "s3", "kind": "delay", "delay_ms": 600001}"#).contains("[1].delay_ms: is over"));
    let many = vec![r#"{"service": "s3", "kind": "reset"}"#; RULES_MAX + 1].join(",");
    assert!(wrong(&format!(r#"{{"rules": [{many}]}}"#)).starts_with("rules: there are 65"));
}

#[test]
fn a_refused_plan_changes_nothing_and_a_large_one_is_not_read() {
    let faults = faults(r#"{"seed": 7, "rules": [{"service": "any", "kind": "reset"}]}"#);
    assert_eq!(faults.control(&Method::PUT, b"{}").status(), StatusCode::BAD_REQUEST);
    assert_eq!(faults.control(&Method::PUT, &vec![b' '; BODY_BYTES_MAX + 1]).status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(faults.control(&Method::POST, b"").status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        (faults.report()["seed"].as_u64(), faults.report()["rules"][0]["kind"].as_str()),
        (Some(7), Some("reset"))
    );
}

#[test]
fn a_run_can_be_repeated_and_rules_do_not_disturb_each_other() {
    let one = r#"{"service": "s3", "kind": "throttle", "probability": 0.3}"#;
    let other = r#"{"service": "kinesis", "kind": "reset", "probability": 0.5}"#;
    let run = |plan: &str, noise: bool| -> Vec<bool> {
        let faults = faults(plan);
        let (object, stream) = (s3("PUT", "/b/k"), s3("POST", "/"));
        let draw = |_| {
            if noise {
                faults.draw(&Call::of(Service::Kinesis, &stream, b""));
            }
            faults.draw(&Call::of(Service::S3, &object, b"")).is_some()
        };
        (0..1_000).map(draw).collect()
    };
    let first = run(&format!(r#"{{"seed": 7, "rules": [{one}]}}"#), false);
    let n_hits = first.iter().filter(|hit| **hit).count();
    assert!((250..350).contains(&n_hits), "{n_hits} of 1000 at 0.3");
    assert_eq!(run(&format!(r#"{{"seed": 7, "rules": [{one}, {other}]}}"#), true), first);
    assert_ne!(run(&format!(r#"{{"seed": 8, "rules": [{one}]}}"#), false), first);
}

#[test]
fn counts_say_what_was_injected_and_outlive_the_rules() {
    let faults = faults(
        r#"{"rules": [{"service": "s3", "operation": "PutObject", "kind": "lose_reply", "count": 2, "match": "a=1/k"},
                      {"service": "any", "kind": "throttle", "probability": 0}]}"#,
    );
    let (put, get, elsewhere) = (s3("PUT", "/b/a%3D1/k?x-id=PutObject"), s3("GET", "/b/a%3D1/k"), s3("PUT", "/b/k"));
    let draws = [&put, &get, &elsewhere, &put, &put].map(|parts| faults.draw(&Call::of(Service::S3, parts, b"a=1/k")));
    assert_eq!(draws.map(|fault| fault.is_some()), [true, false, false, true, false]);
    assert_eq!((&faults.report()["rules"][0]["hits"], &faults.report()["rules"][1]["hits"]), (&json!(2), &json!(0)));
    faults.control(&Method::DELETE, b"");
    assert_eq!(faults.report(), json!({ "seed": 0, "rules": [], "injected": { "s3": { "lose_reply": 2 } } }));
}

#[test]
fn requests_have_the_names_of_their_operations() {
    let cases = [
        ("GET", "/", "ListBuckets"),
        ("PUT", "/b", "CreateBucket"),
        ("GET", "/b?list-type=2&prefix=x", "ListObjectsV2"),
        ("GET", "/b/?prefix=x", "ListObjects"),
        ("HEAD", "/b", "HeadBucket"),
        ("PUT", "/b/k/l?x-id=PutObject", "PutObject"),
        ("GET", "/b/k?x-id=GetObject", "GetObject"),
        ("HEAD", "/b/k", "HeadObject"),
        ("DELETE", "/b/k", "DeleteObject"),
        ("POST", "/b?delete", "DeleteObjects"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "UploadPart"),
        ("POST", "/b/k?uploadId=u", "CompleteMultipartUpload"),
        ("PATCH", "/b/k", ""),
    ];
    for (method, uri, operation) in cases {
        assert_eq!(Call::of(Service::S3, &s3(method, uri), b"").asked().operation, operation, "{method} {uri}");
    }
    let copy = parts("PUT", "/b/k", &[("x-amz-copy-source", "b/l")]);
    assert_eq!(Call::of(Service::S3, &copy, b"").asked().operation, "CopyObject");
    let update = parts("POST", "/", &[("x-amz-target", "DynamoDB_20120810.UpdateItem")]);
    assert_eq!(Call::of(Service::DynamoDb, &update, b"").asked().operation, "UpdateItem");
    let publish = Call::of(Service::Sns, &update, b"Version=1&Action=Publish&Message=too+hot%21");
    assert!(publish.asked().operation == "Publish" && publish.asked().mentions("too hot!"));
}

#[test]
fn a_read_mentions_its_shard() {
    let mut streams = local_engine::stream::Kinesis::new(habits(false));
    streams.create("s", 4, 1).unwrap();
    let asked = json!({ "StreamName": "s", "ShardId": "shardId-000000000003", "ShardIteratorType": "LATEST" });
    let at = streams.serve(asking(), "GetShardIterator", &asked).unwrap();
    let read = parts("POST", "/", &[("x-amz-target", "Kinesis_20131202.GetRecords")]);
    let call = Call::of(Service::Kinesis, &read, &at.body);
    assert!(call.asked().mentions("s/shardId-000000000003/") && !call.asked().mentions("shardId-000000000004"));
}
