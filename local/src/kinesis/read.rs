//! GetRecords: ferrokinesis' answer, cut to the real service's size and told how far behind it is.
//!
//! **Owns** nothing.
//! **Promises** answers of at most 10 MiB, or of one record; `MillisBehindLatest` as the age of the last record of the
//! page when more records wait behind it, and 0 when none do.
//! **Fails** as ferrokinesis does.
//! **Not here**: the real service's limits on reads per second.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use bytes::Bytes;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::sequence::{parse_sequence, resolve_shard_id, shard_ix_to_hex, stringify_sequence};
use ferrokinesis::shard_iterator::decode_shard_iterator;
use serde::Deserialize;

use super::put::now_ms;
use super::{Kinesis, error_response, is_cbor};

/// The real service's bound on one answer, which a reader's memory budget may rely on. In base64, as it is sent.
const GET_RECORDS_BYTES_MAX: usize = 10 * 1024 * 1024 / 3 * 4;
const GET_RECORDS_MAX: usize = 10_000;
/// What ferrokinesis may collect for one answer before we cut it to size, if every record were as large as the largest
/// ever put. One large record among small ones must not make every page after it a short one.
const GET_RECORDS_BYTES_COLLECTED: usize = 32 * GET_RECORDS_BYTES_MAX;

/// ferrokinesis moves an iterator this far behind the record it has just read.
const ITERATOR_STEP_MS: u64 = 1_000;
/// The key of the first entry of an answer, in either encoding, is within so many bytes.
const HEAD_BYTES: usize = 32;
const BEHIND: &[u8] = b"MillisBehindLatest";

/// What we want to know of an answer; its records are skipped.
#[derive(Deserialize)]
struct Page {
    #[serde(rename = "NextShardIterator")]
    next: Option<String>,
}

impl Kinesis {
    /// ferrokinesis bounds an answer by the count of records only. An answer over the real service's bound in bytes is
    /// asked for again with a smaller count.
    pub(super) async fn get_records(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let n_max = GET_RECORDS_BYTES_COLLECTED / self.record_bytes_max.load(Ordering::Relaxed).max(1);
        let mut body = limited(&body, n_max.clamp(1, GET_RECORDS_MAX)).unwrap_or(body);
        loop {
            let response = self.pass(parts.clone(), body.clone()).await;
            let (mut head, content) = response.into_parts();
            let content = match axum::body::to_bytes(content, usize::MAX).await {
                Ok(content) => content,
                Err(error) => {
                    return error_response(&KinesisErrorResponse::server_error(None, Some(&error.to_string())));
                }
            };
            match smaller(&body, &content) {
                Some(smaller) => body = smaller,
                None if head.status.is_success() => {
                    let behind_ms = self.behind_ms(is_cbor(&parts), &content).await;
                    // The length changes with the number of digits.
                    head.headers.remove(CONTENT_LENGTH);
                    return Response::from_parts(head, Body::from(told(is_cbor(&parts), content, behind_ms)));
                }
                None => return Response::from_parts(head, Body::from(content)),
            }
        }
    }

    /// How far the page ends behind the tip of its shard; `None` when it is at the tip.
    async fn behind_ms(&self, cbor: bool, content: &[u8]) -> Option<u64> {
        let page: Page = match cbor {
            true => ciborium::from_reader(content).ok()?,
            false => serde_json::from_slice(content).ok()?,
        };
        let (_, stream, shard, next) = decode_shard_iterator(&page.next?).ok()?;
        let (_, shard_ix) = resolve_shard_id(&shard).ok()?;
        let hex = shard_ix_to_hex(shard_ix);
        // The iterator says which record it stands behind.
        let mut last = parse_sequence(&next).ok()?;
        last.seq_time = last.seq_time.map(|time| time.saturating_sub(ITERATOR_STEP_MS));
        let last = format!("{hex}/{}", stringify_sequence(&last));
        let found = self.store.get_records_range_limited(&stream, &last, &shard_ix_to_hex(shard_ix + 1), 2).await;
        match found.as_slice() {
            [(key, record), _waiting] if *key == last => {
                Some(now_ms().saturating_sub((record.approximate_arrival_timestamp * 1_000.0) as u64))
            }
            // At the tip, or an empty page.
            _ => None,
        }
    }
}

/// The answer with another `MillisBehindLatest`, which is its first entry. The records, up to 13 MiB, are not touched.
fn told(cbor: bool, content: Bytes, behind_ms: Option<u64>) -> Bytes {
    let head = &content[..content.len().min(HEAD_BYTES)];
    let Some(at) = head.windows(BEHIND.len()).position(|window| window == BEHIND) else { return content };
    let behind_ms = behind_ms.unwrap_or(0);
    let mut told = Vec::with_capacity(content.len() + 9);
    let rest = if cbor {
        let value = at + BEHIND.len();
        told.extend_from_slice(&content[..value]);
        // An unsigned number of eight bytes; canonical or not, every decoder takes it.
        told.push(0x1b);
        told.extend_from_slice(&behind_ms.to_be_bytes());
        value + cbor_len(content.get(value).copied())
    } else {
        let value = at + BEHIND.len() + b"\":".len();
        told.extend_from_slice(&content[..value.min(content.len())]);
        told.extend_from_slice(behind_ms.to_string().as_bytes());
        value + content.iter().skip(value).take_while(|byte| byte.is_ascii_digit()).count()
    };
    told.extend_from_slice(content.get(rest..).unwrap_or_default());
    Bytes::from(told)
}

/// The length of an unsigned number that begins with this byte.
fn cbor_len(first: Option<u8>) -> usize {
    match first {
        None => 0,
        Some(0x18) => 2,
        Some(0x19) => 3,
        Some(0x1a) => 5,
        Some(0x1b) => 9,
        Some(_) => 1,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lag_is_put_in_without_touching_the_rest() {
        for before in [0u64, 23, 24, 300, 70_000, 1 << 40] {
            let answer =
                json!({ "MillisBehindLatest": before, "NextShardIterator": "i", "Records": [{ "Data": "eA==" }] });
            let expected =
                json!({ "MillisBehindLatest": 12_345, "NextShardIterator": "i", "Records": [{ "Data": "eA==" }] });
            let text = told(false, answer.to_string().into(), Some(12_345));
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), expected);

            let mut binary = Vec::new();
            ciborium::into_writer(&answer, &mut binary).unwrap();
            let binary = told(true, binary.into(), Some(12_345));
            assert_eq!(ciborium::from_reader::<serde_json::Value, _>(&binary[..]).unwrap(), expected);
        }
        assert_eq!(told(false, Bytes::from_static(b"{}"), Some(1)), "{}");
    }
}
