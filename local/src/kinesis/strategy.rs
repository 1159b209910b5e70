//! How a stream's records find their shards: by their keys, or as the service likes. ferrokinesis knows keys only.
//!
//! **Owns** which streams spread their records (`RecordDistributionStrategy`), saved with their shapes.
//! **Promises** a change holds for the next record; only streams on demand spread; in them records need no key, keys and
//! explicit hash keys decide nothing, and every open shard gets its share.
//! **Fails** as the real service does: `InvalidArgumentException` for a provisioned stream, for another strategy, and
//! without an ARN.
//! **Not here**: streams that are made so, which are refused; streams that go back to provisioned mode: the service does
//! not say what becomes of their strategy.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::sequence::partition_key_to_hash_key;
use ferrokinesis::types::StreamMode;
use serde_json::Value;

use super::{Kinesis, encoded, error_response, is_cbor, iterate, parsed};
use crate::reply;

const FIELD: &str = "RecordDistributionStrategy";
const AUTO: &str = "AUTO";
const BY_KEY: &str = "USER_PARTITION_KEY";
/// What stands for a key that was not given, while a request is checked.
pub(super) const NO_KEY: &str = "-";

impl Kinesis {
    /// UpdateStreamRecordDistributionStrategy.
    pub(super) async fn update_strategy(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let mut known = self.saved.write().await;
        if let Err(error) = self.set_strategy(is_cbor(&parts), &body).await {
            return error_response(&error);
        }
        let done = reply::answer(StatusCode::OK, "application/x-amz-json-1.1", "");
        self.acknowledge(&mut known, Ok(()), done).await
    }

    async fn set_strategy(&self, cbor: bool, body: &[u8]) -> Result<(), KinesisErrorResponse> {
        let request = parsed(cbor, body)?;
        let auto = strategy(&request)?.ok_or_else(|| invalid("RecordDistributionStrategy is missing."))?;
        if request["StreamARN"].as_str().is_none_or(str::is_empty) {
            return Err(invalid("StreamARN is missing."));
        }
        let name = self.store.resolve_stream_name(&request)?;
        let stream = self.store.get_stream(&name).await?;
        if auto && stream.stream_mode_details.stream_mode != StreamMode::OnDemand {
            return Err(invalid(&format!("{FIELD} {AUTO} needs a stream in ON_DEMAND mode.")));
        }
        self.spread(&name, auto);
        Ok(())
    }

    /// From now on this stream spreads its records, or goes by their keys again.
    fn spread(&self, stream: &str, auto: bool) {
        let mut streams = self.auto.lock().unwrap_or_else(PoisonError::into_inner);
        match auto {
            true => streams.insert(stream.to_owned()),
            false => streams.remove(stream),
        };
    }

    /// Whether a stream spreads its records.
    pub(super) fn is_auto(&self, stream: &str) -> bool {
        self.auto.lock().unwrap_or_else(PoisonError::into_inner).contains(stream)
    }

    /// The streams that spread their records, of those that are there.
    pub(super) fn auto_of(&self, there: &HashSet<String>) -> Vec<String> {
        let mut streams = self.auto.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| there.contains(stream));
        let mut streams: Vec<String> = streams.iter().cloned().collect();
        streams.sort();
        streams
    }

    /// Where the next record goes, whatever its key is.
    pub(super) fn anywhere(&self) -> u128 {
        let n = self.spread_so_far.fetch_add(1, Ordering::Relaxed);
        partition_key_to_hash_key(&n.to_string())
    }

    /// DescribeStreamSummary, with the strategy.
    pub(super) async fn describe_summary(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let cbor = is_cbor(&parts);
        let Ok(mut request) = parsed(cbor, &body) else { return self.pass(parts, body).await };
        self.by_name(&mut request);
        let stream = self.store.resolve_stream_name(&request);
        let response = self.pass(parts, iterate::written(cbor, &request).unwrap_or(body)).await;
        let (true, Ok(stream)) = (response.status().is_success(), stream) else { return response };
        let content = match axum::body::to_bytes(response.into_body(), usize::MAX).await {
            Ok(content) => content,
            Err(error) => return error_response(&KinesisErrorResponse::server_error(None, Some(&error.to_string()))),
        };
        match parsed(cbor, &content) {
            Ok(mut answer) => {
                answer["StreamDescriptionSummary"][FIELD] = if self.is_auto(&stream) { AUTO } else { BY_KEY }.into();
                encoded(cbor, &answer)
            }
            Err(error) => error_response(&error),
        }
    }
}

/// A record's key may be missing where it decides nothing: the checks are told of one.
pub(super) fn allow_missing_keys(request: &mut Value) {
    let allow = |record: &mut Value| {
        if let Some(record) = record.as_object_mut() {
            record.entry("PartitionKey").or_insert_with(|| NO_KEY.into());
        }
    };
    match request.get_mut("Records").and_then(Value::as_array_mut) {
        Some(records) => records.iter_mut().for_each(allow),
        None => allow(request),
    }
}

/// Whether the request asks for records to be spread; none if it does not say.
fn strategy(request: &Value) -> Result<Option<bool>, KinesisErrorResponse> {
    match request.get(FIELD).and_then(Value::as_str) {
        None => Ok(None),
        Some(AUTO) => Ok(Some(true)),
        Some(BY_KEY) => Ok(Some(false)),
        Some(other) => Err(invalid(&format!("{FIELD} is {AUTO} or {BY_KEY}, not {other}."))),
    }
}

fn invalid(message: &str) -> KinesisErrorResponse {
    KinesisErrorResponse::client_error("InvalidArgumentException", Some(message))
}
