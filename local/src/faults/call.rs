//! What a request is, as far as a rule can ask: its service, its operation, and what it mentions.
//!
//! **Owns** nothing; borrows the request.
//! **Promises** S3's operations by the names of its API, from method, path and query.
//! **Fails** never; an operation that cannot be told has an empty name, which no rule can ask for.
//! **Not here**: whether the request is valid.

use std::borrow::Cow;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use local_engine::Service;
use local_engine::faults::Asked;
use serde_json::Value;

/// One request.
pub(crate) struct Call<'a> {
    service: Service,
    operation: Cow<'a, str>,
    /// What `match` looks into: path and query of an S3 request, the body of any other.
    subject: Cow<'a, [u8]>,
}

impl<'a> Call<'a> {
    /// Reads a request for the service it was found to be for.
    pub(crate) fn of(service: Service, parts: &'a Parts, body: &'a [u8]) -> Call<'a> {
        match service {
            // A shard iterator of the engine says in the clear which shard it reads.
            Service::Kinesis | Service::DynamoDb => {
                Call { service, operation: json_operation(&parts.headers).into(), subject: Cow::Borrowed(body) }
            }
            Service::Redshift => {
                Call { service, operation: json_operation(&parts.headers).into(), subject: redshift_subject(body) }
            }
            Service::Sns => {
                let body = String::from_utf8_lossy(body);
                let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or("").to_owned();
                Call { service, operation: action.into(), subject: decoded(&body.replace('+', " ")).into() }
            }
            Service::S3 => {
                let whole = parts.uri.path_and_query().map_or("", |whole| whole.as_str());
                Call { service, operation: s3_operation(parts).into(), subject: decoded(whole).into() }
            }
        }
    }

    /// What a rule is asked about.
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { service: self.service, operation: &self.operation, key: "", subject: &self.subject }
    }
}

fn json_operation(headers: &HeaderMap) -> &str {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
    target.split_once('.').map_or("", |(_, operation)| operation)
}

/// SQL is full of quotes, which JSON escapes. Its text is put behind the body as it is, so that a rule can name it.
fn redshift_subject(body: &[u8]) -> Cow<'_, [u8]> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let several = request["Sqls"].as_array().into_iter().flatten();
    let sqls: Vec<&str> = several.chain([&request["Sql"]]).filter_map(Value::as_str).collect();
    if sqls.is_empty() {
        return Cow::Borrowed(body);
    }
    let mut subject = body.to_vec();
    for sql in sqls {
        subject.push(b'\n');
        subject.extend_from_slice(sql.as_bytes());
    }
    Cow::Owned(subject)
}

fn s3_operation(parts: &Parts) -> &'static str {
    let (bucket, key) = match parts.uri.path().trim_start_matches('/').split_once('/') {
        Some(both) => both,
        None => (parts.uri.path().trim_start_matches('/'), ""),
    };
    let query = parts.uri.query().unwrap_or("");
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let method = |wanted: Method| parts.method == wanted;

    if bucket.is_empty() {
        return if method(Method::GET) { "ListBuckets" } else { "" };
    }
    if key.is_empty() {
        return match () {
            () if method(Method::GET) && has("list-type") => "ListObjectsV2",
            () if method(Method::GET) && has("location") => "GetBucketLocation",
            () if method(Method::GET) && has("uploads") => "ListMultipartUploads",
            () if method(Method::GET) => "ListObjects",
            () if method(Method::HEAD) => "HeadBucket",
            () if method(Method::PUT) => "CreateBucket",
            () if method(Method::DELETE) => "DeleteBucket",
            () if method(Method::POST) && has("delete") => "DeleteObjects",
            () => "",
        };
    }
    let copies = parts.headers.contains_key("x-amz-copy-source");
    match () {
        () if method(Method::GET) && has("uploadId") => "ListParts",
        () if method(Method::GET) => "GetObject",
        () if method(Method::HEAD) => "HeadObject",
        () if method(Method::PUT) && has("uploadId") && copies => "UploadPartCopy",
        () if method(Method::PUT) && has("uploadId") => "UploadPart",
        () if method(Method::PUT) && copies => "CopyObject",
        () if method(Method::PUT) => "PutObject",
        () if method(Method::DELETE) && has("uploadId") => "AbortMultipartUpload",
        () if method(Method::DELETE) => "DeleteObject",
        () if method(Method::POST) && has("uploads") => "CreateMultipartUpload",
        () if method(Method::POST) && has("uploadId") => "CompleteMultipartUpload",
        () => "",
    }
}

/// The bytes behind percent signs; what is no code stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => bytes.push(*first),
        }
    }
    bytes
}
