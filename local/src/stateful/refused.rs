//! What DynamoDB says of a change whose condition failed, and winterbaume does not: the item as it is, for requests with
//! `ReturnValuesOnConditionCheckFailure: ALL_OLD`, and that there is no such table.
//!
//! A client whose answer was lost sends its change again, fails its own condition, and knows by the item that it won.
//!
//! **Owns** nothing; asks the service.
//! **Promises** the item that the condition was checked against: the caller keeps other changes out.
//! **Fails** by leaving the answer as it was.
//! **Not here**: transactions (`CancellationReasons`), PartiQL.

use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use winterbaume_core::{MockResponse, MockService};
use winterbaume_dynamodb::DynamoDbService;

use super::request;

/// Completes the refusal of a PutItem, UpdateItem or DeleteItem; gives any other answer back.
pub(super) async fn complete(
    service: &DynamoDbService,
    region: &str,
    sent: &[u8],
    mut answer: MockResponse,
) -> MockResponse {
    let Some(mut refusal) = refusal(&answer) else { return answer };
    let Ok(sent) = serde_json::from_slice::<Value>(sent) else { return answer };
    let described = ask(service, region, "DescribeTable", &json!({ "TableName": sent["TableName"] })).await;
    if described.status != 200 {
        // winterbaume checks the condition first, against nothing.
        return described;
    }
    if sent["ReturnValuesOnConditionCheckFailure"] != "ALL_OLD" {
        return answer;
    }
    let Ok(described) = serde_json::from_slice::<Value>(&described.body) else { return answer };
    let key = key(&described["Table"]["KeySchema"], if sent["Key"].is_object() { &sent["Key"] } else { &sent["Item"] });
    let found = json!({ "TableName": sent["TableName"], "Key": key, "ConsistentRead": true });
    let found = ask(service, region, "GetItem", &found).await;
    if let Ok(found) = serde_json::from_slice::<Value>(&found.body)
        && let Some(item) = found.get("Item")
    {
        refusal.insert("Item".to_owned(), item.clone());
        answer.body = Bytes::from(Value::Object(refusal).to_string());
    }
    answer
}

fn refusal(answer: &MockResponse) -> Option<Map<String, Value>> {
    if answer.status != 400 {
        return None;
    }
    let Value::Object(body) = serde_json::from_slice(&answer.body).ok()? else { return None };
    body.get("__type")?.as_str()?.ends_with("ConditionalCheckFailedException").then_some(body)
}

fn key(schema: &Value, attributes: &Value) -> Value {
    let names = schema.as_array().into_iter().flatten().filter_map(|element| element["AttributeName"].as_str());
    names.map(|name| (name.to_owned(), attributes[name].clone())).collect::<Map<_, _>>().into()
}

async fn ask(service: &DynamoDbService, region: &str, operation: &str, body: &Value) -> MockResponse {
    let mut headers = HeaderMap::new();
    if let Ok(target) = HeaderValue::from_str(&format!("DynamoDB_20120810.{operation}")) {
        headers.insert(HeaderName::from_static("x-amz-target"), target);
    }
    service.handle(request("dynamodb", region, "POST", &headers, Bytes::from(body.to_string()))).await
}
