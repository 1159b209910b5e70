//! Kinesis: ferrokinesis in memory, with a journal of our own in front of it.
//!
//! ferrokinesis' durable mode writes *all* retained records on every write, and it hands out a sequence number before
//! the record can be read, so that a later record may be read first and the earlier one be missed for ever. Therefore
//! writes and everything that changes a stream go through this module; all the rest goes straight to ferrokinesis.
//!
//! **Owns** `<data_dir>/kinesis`: the shape of all streams in one file, the records of each stream in one journal.
//! **Promises** that an acknowledged record is in its journal, that a record is in its journal before it can be read,
//! that the records of a shard become readable in sequence order, and arrival times in milliseconds.
//! **Fails** a write whose journal cannot be written with `InternalFailure`; nothing of it can be read then.
//! **Not here**: retention by deletion. Records past their retention are not read and not restored, but stay on disk.

mod journal;
mod put;
mod restore;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::StreamStatus;
use tokio::sync::{Mutex, RwLock};
use tower::ServiceExt;
use winterbaume_core::default_account_id;

use crate::reply;
use journal::Journal;

/// More than any test makes; the real quota is a matter of asking.
const SHARDS_MAX: u32 = 10_000;

/// The real service's bound on one answer, which a reader's memory budget may rely on. In base64, as it is sent.
const GET_RECORDS_BYTES_MAX: usize = 10 * 1024 * 1024 / 3 * 4;
const GET_RECORDS_MAX: usize = 10_000;
/// What ferrokinesis may collect for one answer before we cut it to size.
const GET_RECORDS_BYTES_COLLECTED: usize = 4 * GET_RECORDS_BYTES_MAX;

/// ferrokinesis finishes a change of a stream in a task of its own; with no delay configured that takes microseconds.
const SETTLE_POLL: Duration = Duration::from_millis(1);
const SETTLE_POLLS_MAX: usize = 5_000;

/// The streams of the local cloud.
pub(crate) struct Kinesis {
    store: Store,
    router: Router,
    dir: PathBuf,
    /// The streams whose shape is saved. Writers share it; what changes a stream's shards is alone, so that no record
    /// lands in a shard that just closed, or in a stream the next start would not know.
    saved: RwLock<HashSet<String>>,
    /// The largest record so far, in base64. Bounds what one read may pull into memory.
    record_bytes_max: AtomicUsize,
    journals: std::sync::Mutex<HashMap<String, Arc<Mutex<Journal>>>>,
}

fn store_options(enforce_limits: bool) -> StoreOptions {
    StoreOptions {
        create_stream_ms: 0,
        delete_stream_ms: 0,
        update_stream_ms: 0,
        shard_limit: SHARDS_MAX,
        enforce_limits,
        aws_account_id: default_account_id().to_owned(),
        ..StoreOptions::default()
    }
}

impl Kinesis {
    /// Answers one request.
    pub(crate) async fn handle(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let operation = parts
            .headers
            .get("x-amz-target")
            .and_then(|target| target.to_str().ok())
            .and_then(|target| target.split_once('.'))
            .map(|(_, operation)| operation.to_owned())
            .unwrap_or_default();
        match operation.as_str() {
            "PutRecord" | "PutRecords" => self.put(&operation, &parts, &body).await,
            "GetRecords" => self.get_records(parts, body).await,
            "GetShardIterator" | "GetResourcePolicy" | "SubscribeToShard" => self.pass(parts, body).await,
            read if read.starts_with("Describe") || read.starts_with("List") => self.pass(parts, body).await,
            _ => self.change(parts, body).await,
        }
    }

    async fn pass(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let request = Request::from_parts(parts, Body::from(body));
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// A request that may create, delete or reshape a stream. It is finished and saved before it is acknowledged.
    async fn change(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let mut known = self.saved.write().await;
        let response = self.pass(parts, body).await;
        if !response.status().is_success() {
            return response;
        }
        let saved = match self.settle().await {
            Ok(()) => self.save_shape().await,
            Err(error) => Err(error),
        };
        match saved {
            Ok(names) => {
                *known = names;
                response
            }
            Err(detail) => {
                // Nothing is known to be saved now, so writes are refused until a change of a stream goes well.
                known.clear();
                tracing::error!(%detail, "cannot save the streams");
                error_response(&KinesisErrorResponse::server_error(None, Some(&detail)))
            }
        }
    }

    async fn settle(&self) -> Result<(), String> {
        for _ in 0..SETTLE_POLLS_MAX {
            if self.is_settled().await {
                return Ok(());
            }
            tokio::time::sleep(SETTLE_POLL).await;
        }
        Err("a stream did not become ACTIVE".to_owned())
    }

    async fn is_settled(&self) -> bool {
        for name in self.store.list_stream_names().await {
            match self.store.get_stream(&name).await {
                Ok(stream) if stream.stream_status == StreamStatus::Active => {}
                // Deleted between the list and the look: the next round tells.
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    /// ferrokinesis bounds an answer by the count of records only. An answer over the real service's bound in bytes is
    /// asked for again with a smaller count.
    async fn get_records(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let n_max = GET_RECORDS_BYTES_COLLECTED / self.record_bytes_max.load(Ordering::Relaxed).max(1);
        let mut body = limited(&body, n_max.clamp(1, GET_RECORDS_MAX)).unwrap_or(body);
        loop {
            let response = self.pass(parts.clone(), body.clone()).await;
            let (head, content) = response.into_parts();
            let content = match axum::body::to_bytes(content, usize::MAX).await {
                Ok(content) => content,
                Err(error) => {
                    return error_response(&KinesisErrorResponse::server_error(None, Some(&error.to_string())));
                }
            };
            match smaller(&body, &content) {
                Some(smaller) => body = smaller,
                None => return Response::from_parts(head, Body::from(content)),
            }
        }
    }

    fn journal(&self, stream: &str) -> std::io::Result<Arc<Mutex<Journal>>> {
        // A panic elsewhere cannot leave a map half changed.
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = journals.get(stream) {
            return Ok(Arc::clone(journal));
        }
        let journal = Arc::new(Mutex::new(Journal::open(&journal::path(&self.dir, stream))?));
        journals.insert(stream.to_owned(), Arc::clone(&journal));
        Ok(journal)
    }
}

/// The request with a limit of at most `n_max`; `None` when it is not ours to read.
fn limited(request: &Bytes, n_max: usize) -> Option<Bytes> {
    if n_max >= GET_RECORDS_MAX {
        return None;
    }
    let mut request: serde_json::Value = serde_json::from_slice(request).ok()?;
    let asked = request.get("Limit").map_or(Some(GET_RECORDS_MAX as u64), serde_json::Value::as_u64)?;
    // A limit that is out of range is ferrokinesis' to refuse.
    if (1..=GET_RECORDS_MAX as u64).contains(&asked) {
        request["Limit"] = asked.min(n_max as u64).into();
    }
    Some(Bytes::from(request.to_string()))
}

/// The request to send instead, when `answer` is larger than allowed and holds more than one record.
fn smaller(request: &Bytes, answer: &Bytes) -> Option<Bytes> {
    if answer.len() <= GET_RECORDS_BYTES_MAX {
        return None;
    }
    let answered: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let n_records = answered["Records"].as_array()?.len();
    if n_records < 2 {
        return None;
    }
    let limit = (n_records * GET_RECORDS_BYTES_MAX / answer.len()).clamp(1, n_records - 1);
    let mut request: serde_json::Value = serde_json::from_slice(request).ok()?;
    request["Limit"] = limit.into();
    Some(Bytes::from(request.to_string()))
}

fn error_response(error: &KinesisErrorResponse) -> Response<Body> {
    let status = StatusCode::from_u16(error.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::json_error(status, &error.body.error_type, error.body.message.as_deref().unwrap_or(""))
}

fn is_cbor(parts: &Parts) -> bool {
    parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == b"application/x-amz-cbor-1.1")
}
