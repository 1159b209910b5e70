//! GetRecords: ferrokinesis' answer, cut to the real service's size and told how far behind it is.
//!
//! **Owns** nothing.
//! **Promises** answers of at most 10 MiB of data, or of one record, whatever was put before or behind them;
//! `MillisBehindLatest` as the age of the last record of the page when more records wait behind it, and 0 when none do.
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
use serde_json::Value;

use super::put::now_ms;
use super::{Kinesis, error_response, is_cbor, parsed};

/// The real service's bound on the data of one answer, which a reader's memory budget may rely on. In base64, as
/// ferrokinesis keeps it.
const PAGE_BYTES_MAX: usize = 10 * 1024 * 1024 / 3 * 4;
const PAGE_RECORDS_MAX: u64 = 10_000;
/// So many records are looked at together: the most that is held of them, when all of them are large.
const LOOK_RECORDS: usize = 32;

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
    /// ferrokinesis bounds an answer by the count of records only; the count that fits is told to it.
    pub(super) async fn get_records(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let cbor = is_cbor(&parts);
        let body = self.fitted(cbor, &body).await.unwrap_or(body);
        let (mut head, content) = self.pass(parts, body).await.into_parts();
        let content = match axum::body::to_bytes(content, usize::MAX).await {
            Ok(content) => content,
            Err(error) => {
                return error_response(&KinesisErrorResponse::server_error(None, Some(&error.to_string())));
            }
        };
        if !head.status.is_success() {
            return Response::from_parts(head, Body::from(content));
        }
        let behind_ms = self.behind_ms(cbor, &content).await;
        // The length changes with the number of digits.
        head.headers.remove(CONTENT_LENGTH);
        let content = told(cbor, content, behind_ms);
        let content = match self.keyless.load(Ordering::Relaxed) {
            true => without_empty_keys(content),
            false => content,
        };
        Response::from_parts(head, Body::from(content))
    }

    /// The request with the limit that the records it asks for allow; `None` when it is ferrokinesis' to refuse.
    async fn fitted(&self, cbor: bool, body: &[u8]) -> Option<Bytes> {
        let mut request = parsed(cbor, body).ok()?;
        let asked = request.get("Limit").map_or(Some(PAGE_RECORDS_MAX), Value::as_u64)?;
        if !(1..=PAGE_RECORDS_MAX).contains(&asked) {
            return None;
        }
        let (_, stream, shard, from) = decode_shard_iterator(request["ShardIterator"].as_str()?).ok()?;
        let (_, shard_ix) = resolve_shard_id(&shard).ok()?;
        request["Limit"] = self.n_fitting(&stream, shard_ix, &from, asked as usize).await.into();
        if !cbor {
            return Some(Bytes::from(request.to_string()));
        }
        let mut content = Vec::new();
        ciborium::into_writer(&request, &mut content).ok()?;
        Some(Bytes::from(content))
    }

    /// How many records from here on are a page: at least one, however large, and never more than are there now.
    async fn n_fitting(&self, stream: &str, shard_ix: i64, from: &str, n_max: usize) -> usize {
        let mut from = format!("{}/{from}", shard_ix_to_hex(shard_ix));
        let end = shard_ix_to_hex(shard_ix + 1);
        let (mut n, mut n_bytes) = (0, 0);
        while n < n_max {
            let wanted = LOOK_RECORDS.min(n_max - n);
            let found = self.store.get_records_range_limited(stream, &from, &end, wanted).await;
            for (_, record) in &found {
                n_bytes += record.data.len();
                if n_bytes > PAGE_BYTES_MAX {
                    return n.max(1);
                }
                n += 1;
            }
            match found.last() {
                // The next key there can be.
                Some((last, _)) if found.len() == wanted => from = format!("{last}\0"),
                _ => break,
            }
        }
        n.max(1)
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

/// A record that was put without a key has none, and not an empty one. In the text form only: the service's own clients
/// that ask for the binary one take both.
fn without_empty_keys(content: Bytes) -> Bytes {
    const EMPTY: &str = r#""PartitionKey":"""#;
    match std::str::from_utf8(&content) {
        Ok(text) if text.contains(EMPTY) => {
            text.replace(&format!("{EMPTY},"), "").replace(&format!(",{EMPTY}"), "").into()
        }
        Ok(_) | Err(_) => content,
    }
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
