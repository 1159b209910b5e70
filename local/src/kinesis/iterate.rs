//! GetShardIterator: ferrokinesis' answer, by a stream's ARN too, and at a time behind which no record lies.
//!
//! **Owns** nothing.
//! **Promises** an iterator at a time gives the first record that arrived then or later, and none that arrived before;
//! ferrokinesis begins with the oldest where there is no such record.
//! **Fails** as ferrokinesis does.

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use ferrokinesis::sequence::{resolve_shard_id, shard_ix_to_hex};
use serde_json::Value;

use super::{Kinesis, is_cbor, parsed};

impl Kinesis {
    /// A stream that is told by its ARN is told by its name: ferrokinesis asks for that. What is neither is its to refuse.
    pub(super) fn by_name(&self, request: &mut Value) {
        if request["StreamName"].is_null()
            && let Ok(name) = self.store.resolve_stream_name(request)
            && let Some(fields) = request.as_object_mut()
        {
            fields.remove("StreamARN");
            fields.insert("StreamName".to_owned(), name.into());
        }
    }

    pub(super) async fn get_shard_iterator(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let cbor = is_cbor(&parts);
        let Ok(mut request) = parsed(cbor, &body) else { return self.pass(parts, body).await };
        self.by_name(&mut request);
        let asked = written(cbor, &request).unwrap_or(body);
        let Some(at) = request["Timestamp"].as_f64().filter(|_| request["ShardIteratorType"] == "AT_TIMESTAMP") else {
            return self.pass(parts, asked).await;
        };
        let answer = self.pass(parts.clone(), asked.clone()).await;
        if !answer.status().is_success() {
            return answer;
        }
        // Taken before the look: what comes after the look comes after the iterator.
        let latest = self.pass(parts.clone(), at_the_tip(cbor, request.clone()).unwrap_or_default()).await;
        match self.has_record_since(&request, at).await {
            // There may be one by now that there was not before.
            true => self.pass(parts, asked).await,
            false => latest,
        }
    }

    async fn has_record_since(&self, request: &Value, at: f64) -> bool {
        let stream = request["StreamName"].as_str().unwrap_or_default();
        let Ok((_, ix)) = resolve_shard_id(request["ShardId"].as_str().unwrap_or_default()) else { return false };
        let (from, to) = (format!("{}/", shard_ix_to_hex(ix)), shard_ix_to_hex(ix + 1));
        self.store.find_first_record_at_timestamp(stream, &from, &to, at).await.is_some()
    }
}

/// The same request for what comes next.
fn at_the_tip(cbor: bool, mut request: Value) -> Option<Bytes> {
    let fields = request.as_object_mut()?;
    fields.remove("Timestamp");
    fields.insert("ShardIteratorType".to_owned(), "LATEST".into());
    written(cbor, &request)
}

pub(super) fn written(cbor: bool, request: &Value) -> Option<Bytes> {
    if !cbor {
        return Some(request.to_string().into());
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(request, &mut bytes).ok()?;
    Some(bytes.into())
}
