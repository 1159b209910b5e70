//! DynamoDB: winterbaume's, made as strict as the service.
//!
//! ```text
//! request -> params   what it does not heed is refused
//!         -> legacy   conditions from before expressions become expressions
//!         -> checks   keys fit the table, placeholders are used
//!         -> winterbaume -> what it leaves out of its answer
//! ```
//!
//! **Promises** nothing is answered with 200 and not done: neither an operation, nor a parameter, nor a condition.
//! **Fails** with DynamoDB's `ValidationException`, or `UnknownOperationException`.
//! **Not here**: expressions themselves, PartiQL: winterbaume's.

mod checks;
mod legacy;
mod params;

use std::collections::HashMap;
use std::io;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use winterbaume_core::{MockResponse, MockService, StatefulService};
use winterbaume_dynamodb::DynamoDbService;

use super::{Saved, refused, request, response};
use crate::ACCOUNT;

#[async_trait::async_trait]
impl Saved for DynamoDbService {
    const SCOPE: &'static str = "dynamodb";

    fn only_reads(parts: &Parts, _body: &[u8]) -> bool {
        let reads = ["Get", "Query", "Scan", "BatchGet", "TransactGet", "Describe", "List"];
        reads.iter().any(|prefix| operation(parts).starts_with(prefix))
    }

    async fn answer(&self, region: &str, parts: &Parts, body: Bytes) -> Response<Body> {
        let call = Call { service: self, region, operation: operation(parts) };
        match call.answer(&body).await {
            Ok(answer) | Err(answer) => response(answer),
        }
    }

    async fn save(&self, region: &str) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self.snapshot(ACCOUNT, region).await)?)
    }

    async fn load(&self, region: &str, state: &[u8]) -> Result<(), String> {
        let view = serde_json::from_slice(state).map_err(|error| error.to_string())?;
        self.restore(ACCOUNT, region, view).await.map_err(|error| error.to_string())
    }
}

fn operation(parts: &Parts) -> &str {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
    target.split_once('.').map_or("", |(_, operation)| operation)
}

/// One request. Nothing changes meanwhile but by it.
struct Call<'a> {
    service: &'a DynamoDbService,
    region: &'a str,
    operation: &'a str,
}

impl Call<'_> {
    async fn answer(&self, body: &[u8]) -> Result<MockResponse, MockResponse> {
        if !params::is_known(self.operation) {
            let message = format!("the local cloud does not have the operation {:?}", self.operation);
            return Err(error("com.amazon.coral.service#UnknownOperationException", &message));
        }
        let Ok(Value::Object(sent)) = serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) else {
            return Err(error("com.amazon.coral.service#SerializationException", "the body is not a JSON object"));
        };
        if let Some(message) = params::not_understood(self.operation, &sent) {
            return Err(invalid(&message));
        }
        let mut sent = legacy::translated(sent).map_err(|message| invalid(&message))?;
        checks::placeholders(&sent).map_err(|message| invalid(&message))?;
        self.check(&sent).await?;
        match self.operation {
            "UpdateItem" => self.update(sent).await,
            "PutItem" | "DeleteItem" => {
                let body = Value::Object(sent).to_string();
                let answer = self.ask(self.operation, &body).await;
                Ok(refused::complete(self.service, self.region, body.as_bytes(), answer).await)
            }
            "Query" | "Scan" => self.list(sent).await,
            "CreateTable" => {
                let tags = sent.remove("Tags");
                let answer = self.ask(self.operation, &Value::Object(sent).to_string()).await;
                self.tag(answer, tags).await
            }
            _ => Ok(self.ask(self.operation, &Value::Object(sent).to_string()).await),
        }
    }

    async fn ask(&self, operation: &str, body: &str) -> MockResponse {
        let mut headers = HeaderMap::new();
        if let Ok(target) = HeaderValue::from_str(&format!("DynamoDB_20120810.{operation}")) {
            headers.insert(HeaderName::from_static("x-amz-target"), target);
        }
        let body = Bytes::from(body.to_owned());
        self.service.handle(request(DynamoDbService::SCOPE, self.region, "POST", &headers, body)).await
    }

    /// Whether there are the tables that the request is about, and its keys are of them.
    async fn check(&self, sent: &Map<String, Value>) -> Result<(), MockResponse> {
        let mut tables: HashMap<String, Value> = HashMap::new();
        for item in checks::items(self.operation, sent).map_err(|message| invalid(&message))? {
            if !tables.contains_key(&item.table) {
                tables.insert(item.table.clone(), self.table(&item.table).await?);
            }
            checks::keys(item.operation, &item.request, &tables[&item.table]).map_err(|message| invalid(&message))?;
        }
        if let Some(arn) = sent.get("ResourceArn").and_then(Value::as_str) {
            let table = arn.split_once(":table/").map_or(arn, |(_, table)| table);
            self.table(table).await?;
        }
        Ok(())
    }

    /// A table as it is described; the error says that there is none.
    async fn table(&self, name: &str) -> Result<Value, MockResponse> {
        let described = self.ask("DescribeTable", &json!({ "TableName": name }).to_string()).await;
        if described.status != 200 {
            return Err(described);
        }
        Ok(serde_json::from_slice::<Value>(&described.body).unwrap_or_default()["Table"].take())
    }

    /// UpdateItem with every `ReturnValues`; winterbaume knows the whole item afterwards only.
    async fn update(&self, mut sent: Map<String, Value>) -> Result<MockResponse, MockResponse> {
        let wanted = sent.get("ReturnValues").and_then(Value::as_str).unwrap_or("NONE").to_owned();
        let names = match wanted.as_str() {
            "NONE" | "ALL_NEW" | "ALL_OLD" => None,
            "UPDATED_OLD" | "UPDATED_NEW" => Some(checks::updated(&sent).map_err(|message| invalid(&message))?),
            _ => return Err(invalid("ReturnValues must be NONE, ALL_OLD, ALL_NEW, UPDATED_OLD or UPDATED_NEW")),
        };
        sent.remove("ReturnValues");
        let before = if wanted.ends_with("OLD") { self.item(&sent).await } else { None };
        let body = Value::Object(sent.clone()).to_string();
        let mut answer = self.ask("UpdateItem", &body).await;
        if answer.status != 200 {
            return Ok(refused::complete(self.service, self.region, body.as_bytes(), answer).await);
        }
        let item = if wanted.ends_with("NEW") { self.item(&sent).await } else { before };
        if let (Some(Value::Object(mut item)), true) = (item, wanted != "NONE") {
            item.retain(|name, _| names.as_ref().is_none_or(|names| names.contains(name)));
            if !item.is_empty() {
                answer.body = Bytes::from(json!({ "Attributes": item }).to_string());
            }
        }
        Ok(answer)
    }

    async fn item(&self, sent: &Map<String, Value>) -> Option<Value> {
        let get = json!({ "TableName": sent.get("TableName"), "Key": sent.get("Key"), "ConsistentRead": true });
        let found = self.ask("GetItem", &get.to_string()).await;
        serde_json::from_slice::<Value>(&found.body).ok()?.get_mut("Item").map(Value::take)
    }

    /// Query and Scan: counts without items, and segments. Everything is in the first one.
    async fn list(&self, mut sent: Map<String, Value>) -> Result<MockResponse, MockResponse> {
        let select = sent.remove("Select");
        let (segment, total) = (sent.remove("Segment"), sent.remove("TotalSegments"));
        let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64);
        match (number(&segment), number(&total)) {
            (None, None) if segment.is_none() && total.is_none() => {}
            (Some(segment), Some(total)) if segment < total => {
                if segment > 0 {
                    let nothing = json!({ "Items": [], "Count": 0, "ScannedCount": 0 });
                    return Ok(MockResponse::json(200, nothing.to_string()));
                }
            }
            _ => return Err(invalid("Segment must be less than TotalSegments, and one needs the other")),
        }
        checks::select(select.as_ref(), &sent).map_err(|message| invalid(&message))?;
        let mut answer = self.ask(self.operation, &Value::Object(sent).to_string()).await;
        if answer.status == 200
            && select.as_ref().and_then(Value::as_str) == Some("COUNT")
            && let Ok(Value::Object(mut counted)) = serde_json::from_slice(&answer.body)
        {
            counted.remove("Items");
            answer.body = Bytes::from(Value::Object(counted).to_string());
        }
        Ok(answer)
    }

    async fn tag(&self, answer: MockResponse, tags: Option<Value>) -> Result<MockResponse, MockResponse> {
        let Some(tags) =
            tags.filter(|tags| answer.status == 200 && tags.as_array().is_some_and(|tags| !tags.is_empty()))
        else {
            return Ok(answer);
        };
        let created: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let tag = json!({ "ResourceArn": created["TableDescription"]["TableArn"], "Tags": tags });
        let tagged = self.ask("TagResource", &tag.to_string()).await;
        if tagged.status == 200 { Ok(answer) } else { Err(tagged) }
    }
}

fn invalid(message: &str) -> MockResponse {
    error("com.amazon.coral.validate#ValidationException", message)
}

fn error(code: &str, message: &str) -> MockResponse {
    MockResponse::json(StatusCode::BAD_REQUEST.as_u16(), json!({ "__type": code, "message": message }).to_string())
}
