//! What a request asks for, read from HTTP: JSON of Kinesis, DynamoDB and Redshift's Data API, REST of S3, forms of SNS.
//!
//! **Promises** a request is read as it stands or becomes an operation that every service refuses.
//! **Not here**: what the answer is.

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use bytes::Bytes;
use local_engine::faults::Asked;
use local_engine::form::{Form, decoded, pairs};
use local_engine::topics;
use serde_json::Value;

use super::{Service, warehouse};

const KINESIS_TARGET: &str = "Kinesis_20131202.";
const DYNAMODB_TARGET: &str = "DynamoDB_20120810.";
const REDSHIFT_TARGET: &str = "RedshiftData.";
/// Headers of S3 that change what a request means; of all others the outcome is the same.
const S3_CONDITIONS: [&str; 5] = ["if-none-match", "if-match", "if-modified-since", "range", "content-encoding"];
const META: &str = "x-amz-meta-";
const S3_QUERY: [&str; 7] =
    ["x-id", "list-type", "prefix", "delimiter", "continuation-token", "start-after", "max-keys"];
/// An operation that nobody offers.
pub(super) const UNKNOWN: &str = "Unknown";

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Service,
    pub(super) operation: String,
    /// What it is about: a shard, a row, an object, a topic.
    pub(super) key: String,
    pub(super) input: Input,
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) enum Input {
    Json(Value),
    Form(Form),
    Rest(Rest),
}

/// An S3 request. The body is the call's.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) bucket: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) conditions: BTreeMap<&'static str, String>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Call {
    pub(super) async fn read(mut request: HttpRequest) -> Result<Self, BoxError> {
        let body = ByteStream::new(request.take_body()).collect().await?.into_bytes();
        if let Some(target) = request.headers().get("x-amz-target") {
            return Self::read_json(target, body);
        }
        let form = request.headers().get("content-type") == Some("application/x-www-form-urlencoded");
        if form { Ok(Self::read_form(body)) } else { Ok(Self::read_rest(&request, body)) }
    }

    /// As far as faults can ask: of an object, its key alone.
    pub(super) fn asked(&self) -> Asked<'_> {
        let subject = if self.service == Service::S3 { &[] } else { &self.body[..] };
        Asked { service: self.service, operation: &self.operation, key: &self.key, subject }
    }

    fn read_json(target: &str, body: Bytes) -> Result<Self, BoxError> {
        let targets = [
            (KINESIS_TARGET, Service::Kinesis),
            (DYNAMODB_TARGET, Service::DynamoDb),
            (REDSHIFT_TARGET, Service::Redshift),
        ];
        let found = targets.iter().find_map(|(prefix, service)| Some((*service, target.strip_prefix(prefix)?)));
        let Some((service, operation)) = found else {
            return Err(format!("no service has the target {target:?}").into());
        };
        let json: Value = serde_json::from_slice(&body)?;
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let key = match service {
            Service::Kinesis => text("ShardId").or_else(|| Some(text("ShardIterator")?.split('/').nth(1)?.to_owned())),
            Service::Redshift => warehouse::key(&json),
            _ => row_key(&json["Key"]).or_else(|| Some(json["Item"]["leaseKey"]["S"].as_str()?.to_owned())),
        };
        let input = Input::Json(json);
        Ok(Self { service, operation: operation.to_owned(), key: key.unwrap_or_default(), input, body })
    }

    fn read_form(body: Bytes) -> Self {
        let form = topics::form(&body);
        let text = |name: &str| form.get(name).cloned();
        let operation = text("Action").unwrap_or_else(|| UNKNOWN.to_owned());
        let key = text("TopicArn").or_else(|| text("Name")).unwrap_or_default();
        Self { service: Service::Sns, operation, key, input: Input::Form(form), body }
    }

    fn read_rest(request: &HttpRequest, body: Bytes) -> Self {
        let uri = request.uri();
        let uri = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = path.split_once('/').map_or("", |(_, path)| path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = pairs(query);
        let mut rest = Rest { bucket: decoded(bucket), query, conditions: BTreeMap::new(), metadata: BTreeMap::new() };
        for (name, value) in request.headers().iter() {
            if let Some(name) = name.strip_prefix(META) {
                rest.metadata.insert(name.to_owned(), value.to_owned());
            } else if let Some(name) = S3_CONDITIONS.iter().find(|condition| **condition == name) {
                rest.conditions.insert(name, value.to_owned());
            }
        }
        let operation = rest_operation(request.method(), !key.is_empty(), &rest).to_owned();
        Self { service: Service::S3, operation, key: decoded(key), input: Input::Rest(rest), body }
    }
}

fn rest_operation(method: &str, has_key: bool, rest: &Rest) -> &'static str {
    let only_if_absent = |name: &str| name == "if-none-match";
    if rest.query.keys().any(|name| !S3_QUERY.contains(&name.as_str())) {
        return UNKNOWN;
    }
    match (method, has_key) {
        ("PUT", true) if rest.conditions.keys().all(|name| only_if_absent(name)) => "PutObject",
        _ if !rest.conditions.is_empty() => UNKNOWN,
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("PUT", false) => "CreateBucket",
        ("HEAD", false) => "HeadBucket",
        ("GET", false) if rest.query.contains_key("list-type") => "ListObjectsV2",
        _ => UNKNOWN,
    }
}

/// The text of a key of one attribute, whatever its name.
fn row_key(key: &Value) -> Option<String> {
    key.as_object()?.values().next()?["S"].as_str().map(str::to_owned)
}
