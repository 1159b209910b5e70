//! A Kinesis endpoint for tests that fails as scripted, which the emulator cannot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{Entry, Ledger, Line, Outcome, Target};

/// How the endpoint answers one PutRecords.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Store,
    /// Stores all but these, which get this error code.
    Refuse(&'static [usize], &'static str),
    /// Stores nothing and answers with an error.
    Error(&'static str),
    /// Stores everything, and the reply is lost.
    StoreAndLose,
}

/// The endpoint; it lives as long as the test's runtime.
#[derive(Clone)]
pub(crate) struct Fake {
    inner: Arc<Mutex<Inner>>,
    open: watch::Sender<bool>,
    url: String,
}

struct Inner {
    script: VecDeque<Reply>,
    after: Reply,
    stored: Vec<(String, Vec<u8>)>,
    sizes: Vec<usize>,
}

impl Fake {
    /// Answers as scripted, then with `after` for ever.
    pub(crate) async fn start(script: impl IntoIterator<Item = Reply>, after: Reply) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = script.into_iter().collect();
        let inner = Inner { script, after, stored: Vec::new(), sizes: Vec::new() };
        let fake = Self { inner: Arc::new(Mutex::new(inner)), open: watch::Sender::new(true), url };
        let router = axum::Router::new().fallback(put_records).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(crate) async fn target(&self) -> Target {
        let client = crate::client(Some(&self.url), "us-east-1").await;
        Target { stream: "test".to_owned(), client }
    }

    /// While it is not open, requests wait.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    pub(crate) fn stored(&self) -> Vec<(String, Vec<u8>)> {
        self.inner.lock().unwrap().stored.clone()
    }

    pub(crate) fn stored_of(&self, sensor: &str) -> Vec<String> {
        let of = |(key, data): (String, Vec<u8>)| (key == sensor).then(|| String::from_utf8(data).unwrap());
        self.stored().into_iter().filter_map(of).collect()
    }

    /// Records in each request, in order.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.inner.lock().unwrap().sizes.clone()
    }
}

async fn put_records(State(fake): State<Fake>, body: axum::body::Bytes) -> Response {
    fake.open.subscribe().wait_for(|open| *open).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let records = body["Records"].as_array().unwrap();
    let mut inner = fake.inner.lock().unwrap();
    inner.sizes.push(records.len());
    let reply = inner.script.pop_front().unwrap_or_else(|| inner.after.clone());
    let (refused, code): (&[usize], &str) = match reply {
        Reply::Store | Reply::StoreAndLose => (&[], ""),
        Reply::Refuse(indexes, code) => (indexes, code),
        Reply::Error(code) => {
            return answer(StatusCode::BAD_REQUEST, &json!({"__type": code, "message": "as scripted"}));
        }
    };
    let mut answers = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if refused.contains(&index) {
            answers.push(json!({"ErrorCode": code, "ErrorMessage": "as scripted"}));
            continue;
        }
        let data = BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        inner.stored.push((record["PartitionKey"].as_str().unwrap().to_owned(), data));
        let seq = format!("{:020}", inner.stored.len());
        answers.push(json!({"ShardId": "shardId-000000000000", "SequenceNumber": seq}));
    }
    match reply {
        Reply::StoreAndLose => answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"__type": "InternalFailure"})),
        _ => answer(StatusCode::OK, &json!({"FailedRecordCount": refused.len(), "Records": answers})),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}

/// The outcomes in a ledger, in order.
pub(crate) fn outcomes(path: &std::path::Path) -> Vec<Entry> {
    let entry = |line: Result<Line, _>| match line.unwrap() {
        Line::Outcome(entry) => Some(entry),
        Line::Sending { .. } | Line::Complete(_) => None,
    };
    Ledger::read(path).unwrap().filter_map(entry).collect()
}

pub(crate) fn count(entries: &[Entry], outcome: Outcome) -> u64 {
    entries.iter().filter(|entry| entry.k == outcome).count() as u64
}

/// Polls on the real clock, since the endpoint is real as well.
pub(crate) async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !met() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
