//! Kinesis: the engine's streams, with a journal for each.
//!
//! **Owns** `<data_dir>/kinesis`: the shape of all streams in one file, the records of each stream in one journal.
//! **Promises** that a record is in its journal before it can be read, and before it is acknowledged; that a change of a
//! stream is saved before anybody can see it.
//! **Fails** a write whose journal cannot be written with `InternalFailure`; nothing of it can be read then. A shape that
//! could not be written is written before anything else is answered.
//! **Not here**: what the streams understand (`local/engine`); retention by deletion. Records past their retention are not
//! read and not restored, but stay on disk.

mod cbor;
mod journal;
mod restore;
mod subscription;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use local_engine::stream::{self, Asking, Habits, Placed, Record};
use local_engine::{ClientId, Refusal, Reply, Service};
use serde_json::Value;

use crate::clock::now_ms;
use crate::folder::Contents;
use journal::{Entry, Journal};

/// The real service's bound and default.
const SHARDS_PER_PAGE: usize = 1_000;

pub(crate) fn habits(limits: bool) -> Habits {
    Habits {
        seed: 0,
        // In this region, whatever the client's is.
        arns: format!("arn:aws:kinesis:us-east-1:{}", crate::ACCOUNT),
        shards_per_page: SHARDS_PER_PAGE,
        limits_reads: limits,
        limits_writes: limits,
        shared_numbers: false,
        remembers_readers: false,
    }
}

/// All clients are one, and none is unlucky.
pub(crate) fn asking() -> Asking {
    Asking { now_ms: now_ms(), client: ClientId(0), ends_early: false, empty_page: false }
}

/// The streams of the local cloud.
#[derive(Clone)]
pub(crate) struct Kinesis(Arc<Mutex<State>>);

/// Changed by one request after the other, so that readers never see a number before a smaller one.
struct State {
    engine: stream::Kinesis,
    journals: HashMap<String, Journal>,
    dir: PathBuf,
    contents: Arc<Contents>,
    /// The shape is not as it was written last: nobody may see it until it is.
    unsaved: bool,
}

impl Kinesis {
    /// Answers one request.
    pub(crate) async fn handle(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let is_cbor = is_cbor(&parts);
        let mut answer = match self.answer(operation(&parts), is_cbor, &body) {
            Ok(Answer::Whole(reply)) => cbor::written(is_cbor, Ok(reply)),
            Ok(Answer::Subscription(iterator)) => subscription::body(self.clone(), iterator, is_cbor),
            Err(refusal) => cbor::written(is_cbor, Err(refusal)),
        };
        // SDKs show it to their users.
        answer.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), HeaderValue::from_static("local"));
        answer
    }

    fn answer(&self, operation: &str, is_cbor: bool, body: &[u8]) -> Result<Answer, Refusal> {
        let input = cbor::read(is_cbor, body)?;
        let mut state = self.state();
        state.saved()?;
        let reply = match operation {
            "PutRecord" | "PutRecords" => state.put(operation, &input)?,
            "SubscribeToShard" => return state.engine.subscribe(asking(), &input).map(Answer::Subscription),
            _ => {
                let reply = state.engine.serve(asking(), operation, &input)?;
                if !stream::only_reads(operation) {
                    state.unsaved = true;
                    state.saved()?;
                }
                reply
            }
        };
        Ok(Answer::Whole(reply))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in the engine is between two changes: a record is shown whole or not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Answer {
    Whole(Reply),
    /// From this iterator on.
    Subscription(String),
}

impl State {
    /// Writes the shape if it has to be.
    fn saved(&mut self) -> Result<(), Refusal> {
        if self.unsaved {
            self.save_shape().map_err(|error| unwritten("cannot save the streams", &error))?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// Number, journal, show.
    fn put(&mut self, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let placed = self.engine.place(asking(), operation, input)?;
        self.journal(&placed).map_err(|error| unwritten("cannot write a stream's journal", &error))?;
        self.engine.show(placed)
    }

    fn journal(&mut self, placed: &Placed) -> io::Result<()> {
        let texts = |(shard, record): (usize, &Record)| {
            (format!("{shard:08x}/{}", record.sequence), STANDARD.encode(&record.data))
        };
        let texts: Vec<(String, String)> = placed.records().map(texts).collect();
        let entries: Vec<Entry<'_>> = texts
            .iter()
            .zip(placed.records())
            .map(|((key, data), (_, record))| Entry {
                key,
                partition_key: &record.partition_key,
                data,
                arrived_ms: u64::try_from(record.arrival_ms).unwrap_or(0),
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let journal = self.journals.get_mut(placed.stream());
        journal.ok_or_else(|| io::Error::other("the stream has no journal"))?.append(&entries)
    }
}

fn unwritten(what: &str, error: &io::Error) -> Refusal {
    tracing::error!(%error, "{what}");
    Refusal { message: "the local cloud could not write its data folder".into(), ..Refusal::internal(Service::Kinesis) }
}

fn operation(parts: &Parts) -> &str {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or("");
    target.split_once('.').map_or("", |(_, operation)| operation)
}

fn is_cbor(parts: &Parts) -> bool {
    parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes() == cbor::CONTENT_TYPE.as_bytes())
}
