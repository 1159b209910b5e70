//! Kinesis: ferrokinesis in memory, with a journal of our own in front of it.
//!
//! ferrokinesis' durable mode writes *all* retained records on every write, and it hands out a sequence number before
//! the record can be read, so that a later record may be read first and the earlier one be missed for ever. Therefore
//! writes and everything that changes a stream go through this module; all the rest goes straight to ferrokinesis.
//!
//! **Owns** `<data_dir>/kinesis`: the shape of all streams in one file, the records of each stream in one journal.
//! **Promises** that an acknowledged record is in its journal, that a record is in its journal before it can be read,
//! that the records of a shard become readable in sequence order, and arrival times in milliseconds; that a reshard is
//! saved before anybody can see it, and that a child's numbers come after those of its parents.
//! **Fails** a write whose journal cannot be written with `InternalFailure`; nothing of it can be read then.
//! **Not here**: retention by deletion. Records past their retention are not read and not restored, but stay on disk.

mod iterate;
mod journal;
mod put;
mod read;
mod reshard;
mod restore;
mod scale;
mod shards;
mod strategy;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use ferrokinesis::actions::Operation;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::server::cbor_to_json;
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::StreamStatus;
use ferrokinesis::validation::{FieldDef, check_types, check_validations};
use serde_json::Value;
use tokio::sync::{Mutex, RwLock};
use tower::ServiceExt;
use winterbaume_core::default_account_id;

use crate::folder::Contents;
use crate::reply;
use journal::Journal;

/// More than any test makes; the real quota is a matter of asking.
const SHARDS_MAX: u32 = 10_000;

/// ferrokinesis finishes a change of a stream in a task of its own; with no delay configured that takes microseconds.
const SETTLE_POLL: Duration = Duration::from_millis(1);
const SETTLE_POLLS_MAX: usize = 5_000;

/// Neither encryption nor permissions.
const ABSENT: [&str; 6] = [
    "StartStreamEncryption",
    "StopStreamEncryption",
    "PutResourcePolicy",
    "GetResourcePolicy",
    "DeleteResourcePolicy",
    "UpdateAccountSettings",
];

/// The streams of the local cloud.
pub(crate) struct Kinesis {
    store: Store,
    router: Router,
    dir: PathBuf,
    contents: Arc<Contents>,
    /// The streams whose shape is saved. Writers share it; what changes a stream's shards is alone, so that no record
    /// lands in a shard that just closed, or in a stream the next start would not know.
    saved: RwLock<HashSet<String>>,
    /// Reads of records share it, and new records are shown alone. ferrokinesis keeps a lock of a thread while a read waits
    /// in its turn: a put on the same thread would wait for that lock for ever.
    shown: RwLock<()>,
    journals: std::sync::Mutex<HashMap<String, Arc<Mutex<Journal>>>>,
    /// The streams that spread their records over their shards, whatever the keys are.
    auto: std::sync::Mutex<HashSet<String>>,
    /// How many records were spread.
    spread_so_far: AtomicU64,
    /// Whether there are records without a key.
    keyless: AtomicBool,
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
        let operation = operation(&parts).to_owned();
        match operation.as_str() {
            // ferrokinesis says yes to these, and nothing comes of it.
            absent if ABSENT.contains(&absent) => {
                let message = format!("the local cloud does not have {absent}");
                error_response(&KinesisErrorResponse::client_error("UnknownOperationException", Some(&message)))
            }
            "DeleteStream" => match self.in_use(&parts, &body).await {
                Some(error) => error_response(&error),
                None => self.change(parts, body).await,
            },
            "PutRecord" | "PutRecords" => self.put(&operation, &parts, &body).await,
            "SplitShard" | "MergeShards" => self.reshard(&operation, parts, body).await,
            "UpdateShardCount" => self.scale(parts, body).await,
            "UpdateStreamRecordDistributionStrategy" => self.update_strategy(parts, body).await,
            read if is_read(read) => {
                // A shape that is not saved yet could be undone by a kill: a reader would have seen a shard end that
                // then goes on.
                let _saved = self.saved.read().await;
                let _shown = self.shown.read().await;
                match read {
                    "GetRecords" => self.get_records(parts, body).await,
                    "GetShardIterator" => self.get_shard_iterator(parts, body).await,
                    "ListShards" => self.list_shards(&parts, &body).await,
                    "DescribeStreamSummary" => self.describe_summary(parts, body).await,
                    _ => self.pass(parts, body).await,
                }
            }
            _ => self.change(parts, body).await,
        }
    }

    /// A stream that somebody subscribes to is deleted only if its consumers are to go too.
    async fn in_use(&self, parts: &Parts, body: &[u8]) -> Option<KinesisErrorResponse> {
        let request = parsed(is_cbor(parts), body).ok()?;
        let stream = self.store.get_stream(&self.store.resolve_stream_name(&request).ok()?).await.ok()?;
        let consumers = self.store.list_consumers_for_stream(&stream.stream_arn).await;
        (!consumers.is_empty() && request["EnforceConsumerDeletion"] != true).then(|| {
            let message = "the stream has registered consumers: say EnforceConsumerDeletion";
            KinesisErrorResponse::client_error("ResourceInUseException", Some(message))
        })
    }

    async fn pass(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let operation = operation(&parts).parse::<Operation>();
        if let (Ok(operation), Ok(request)) = (operation, parsed(is_cbor(&parts), &body))
            && let Err(error) = understood(operation, &request)
        {
            return error_response(&error);
        }
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
        let settled = self.settle().await;
        self.acknowledge(&mut known, settled, response).await
    }

    /// The response, once the change it tells of is saved.
    async fn acknowledge(
        &self,
        known: &mut HashSet<String>,
        changed: Result<(), String>,
        response: Response<Body>,
    ) -> Response<Body> {
        let saved = match changed {
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

    fn journal(&self, stream: &str) -> std::io::Result<Arc<Mutex<Journal>>> {
        self.journal_by(stream, Journal::open)
    }

    fn journal_by(
        &self,
        stream: &str,
        open: fn(&Path) -> std::io::Result<Journal>,
    ) -> std::io::Result<Arc<Mutex<Journal>>> {
        // A panic elsewhere cannot leave a map half changed.
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = journals.get(stream) {
            return Ok(Arc::clone(journal));
        }
        let journal = Arc::new(Mutex::new(open(&journal::path(&self.dir, stream))?));
        journals.insert(stream.to_owned(), Arc::clone(&journal));
        Ok(journal)
    }
}

fn operation(parts: &Parts) -> &str {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
    target.split_once('.').map_or("", |(_, operation)| operation)
}

fn is_read(operation: &str) -> bool {
    let reads = ["GetRecords", "GetShardIterator", "GetResourcePolicy", "SubscribeToShard"];
    reads.contains(&operation) || operation.starts_with("Describe") || operation.starts_with("List")
}

fn error_response(error: &KinesisErrorResponse) -> Response<Body> {
    let status = StatusCode::from_u16(error.status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::json_error(status, &error.body.error_type, error.body.message.as_deref().unwrap_or(""))
}

fn is_cbor(parts: &Parts) -> bool {
    parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == b"application/x-amz-cbor-1.1")
}

/// A successful answer, in the encoding of its request.
fn encoded(cbor: bool, answer: &Value) -> Response<Body> {
    if !cbor {
        return reply::answer(StatusCode::OK, "application/x-amz-json-1.1", answer.to_string());
    }
    let mut content = Vec::new();
    ciborium::into_writer(answer, &mut content).expect("a JSON value is always valid CBOR");
    reply::answer(StatusCode::OK, "application/x-amz-cbor-1.1", content)
}

/// The request as JSON, whichever way it is encoded.
fn parsed(cbor: bool, body: &[u8]) -> Result<Value, KinesisErrorResponse> {
    let parsed = if cbor {
        ciborium::from_reader::<ciborium::Value, _>(body).ok().map(|value| cbor_to_json(&value))
    } else {
        serde_json::from_slice(body).ok()
    };
    match parsed {
        Some(request @ Value::Object(_)) => Ok(request),
        Some(_) | None => Err(KinesisErrorResponse::client_error("SerializationException", None)),
    }
}

/// Refuses a parameter that ferrokinesis has no rule for: it would leave it out, and answer 200.
fn understood(operation: Operation, request: &Value) -> Result<(), KinesisErrorResponse> {
    let rules = operation.validation_rules();
    let given = request.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (name, value) in given {
        let heeded = match (operation, name.as_str()) {
            // ferrokinesis puts the name in its place.
            (operation, "StreamARN") => operation != Operation::CreateStream,
            (Operation::ListShards, "ShardFilter") | (Operation::DeleteStream, "EnforceConsumerDeletion") => true,
            (Operation::ListShards, "StreamCreationTimestamp") => false,
            (Operation::CreateStream, "StreamModeDetails") => value["StreamMode"] == "PROVISIONED",
            (_, name) => rules.iter().any(|(known, _)| *known == name),
        };
        if !heeded {
            let message = format!("the local cloud does not support {name} of {operation:?}");
            return Err(KinesisErrorResponse::client_error("InvalidArgumentException", Some(&message)));
        }
    }
    Ok(())
}

/// Validates with ferrokinesis' own rules, so that errors read like the real service's.
fn validated(operation: Operation, request: &Value) -> Result<Value, KinesisErrorResponse> {
    understood(operation, request)?;
    let rules = operation.validation_rules();
    let rules: Vec<(&str, &FieldDef)> = rules.iter().map(|(name, rule)| (*name, rule)).collect();
    let request = check_types(request, &rules)?;
    check_validations(&request, &rules, None)?;
    Ok(request)
}
