//! PutRecord and PutRecords: number, journal, show; one request of a stream after the other.
//!
//! **Owns** nothing; works on the stream's journal and on ferrokinesis' store.
//! **Promises** that a record is in the journal before it can be read, in the order of its number.
//! **Fails** before anything is shown; a number that was taken then stays unused.
//! **Not here**: `SequenceNumberForOrdering`; one writer after the other is ordered without it.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use ferrokinesis::actions::Operation;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::sequence::partition_key_to_hash_key;
use ferrokinesis::store::SequenceAllocation;
use ferrokinesis::types::StoredRecordRef;
use serde_json::{Value, json};

use super::journal::Entry;
use super::{Kinesis, encoded, error_response, is_cbor, parsed, strategy, validated};

/// The real service's bound on one PutRecords call when ferrokinesis was written.
const PAYLOAD_BYTES_MAX: usize = 5 * 1024 * 1024;

/// A record as the producer sent it.
struct Sent<'a> {
    partition_key: &'a str,
    data: &'a str,
    hash_key: u128,
}

/// What became of one record.
enum Placed {
    Stored(SequenceAllocation),
    Throttled(KinesisErrorResponse),
}

impl Kinesis {
    pub(super) async fn put(&self, operation: &str, parts: &Parts, body: &[u8]) -> Response<Body> {
        let cbor = is_cbor(parts);
        match self.try_put(operation, cbor, body).await {
            Ok(answer) => encoded(cbor, &answer),
            Err(error) => error_response(&error),
        }
    }

    async fn try_put(&self, operation: &str, cbor: bool, body: &[u8]) -> Result<Value, KinesisErrorResponse> {
        let operation: Operation =
            operation.parse().map_err(|_| KinesisErrorResponse::client_error("UnknownOperationException", None))?;
        let mut request = parsed(cbor, body)?;
        let auto = self.store.resolve_stream_name(&request).is_ok_and(|stream| self.is_auto(&stream));
        if auto {
            strategy::allow_missing_keys(&mut request);
        }
        let request = validated(operation, &request)?;
        let stream = self.store.resolve_stream_name(&request)?;
        let sent = |record| match (sent(record), auto) {
            (Ok(sent), true) => {
                let partition_key = if sent.partition_key == strategy::NO_KEY { "" } else { sent.partition_key };
                Ok(Sent { partition_key, hash_key: self.anywhere(), ..sent })
            }
            (sent, _) => sent,
        };

        let Some(records) = request["Records"].as_array() else {
            let sent = [sent(&request)?];
            return match self.place(&stream, &sent).await?.pop() {
                Some(Placed::Stored(at)) => Ok(json!({ "ShardId": at.shard_id, "SequenceNumber": at.seq_num })),
                Some(Placed::Throttled(error)) => Err(error),
                None => Err(KinesisErrorResponse::server_error(None, Some("a record was not placed"))),
            };
        };
        let sent = records.iter().map(sent).collect::<Result<Vec<_>, _>>()?;
        if sent.iter().map(Sent::n_bytes).sum::<usize>() > PAYLOAD_BYTES_MAX {
            let message = "Records' total data and partition keys exceed 5242880 bytes";
            return Err(KinesisErrorResponse::client_error("InvalidArgumentException", Some(message)));
        }
        Ok(answer(&self.place(&stream, &sent).await?))
    }

    /// Numbers the records, writes them to the journal and only then lets readers see them.
    async fn place(&self, stream: &str, sent: &[Sent<'_>]) -> Result<Vec<Placed>, KinesisErrorResponse> {
        let saved = self.saved.read().await;
        if !saved.contains(stream) {
            return Err(match self.store.contains_stream(stream).await {
                true => KinesisErrorResponse::server_error(None, Some("the stream could not be saved")),
                false => KinesisErrorResponse::stream_not_found(stream, &self.store.aws_account_id),
            });
        }
        let journal = self.journal(stream).map_err(journal_error)?;
        // From numbering to showing, so that readers never see a number before a smaller one.
        let mut journal = journal.lock().await;

        let arrived_ms = journal.arrival(now_ms());
        let hash_keys: Vec<u128> = sent.iter().map(|sent| sent.hash_key).collect();
        let numbered = self.store.allocate_sequences_batch(stream, &hash_keys).await?;
        let mut placed = Vec::with_capacity(sent.len());
        for (at, sent) in numbered.into_iter().zip(sent) {
            let n_bytes = base64_len(sent.data) as u64;
            let reserved = self.store.try_reserve_shard_throughput(stream, &at.shard_id, n_bytes, arrived_ms).await;
            placed.push(match reserved {
                Ok(_) => Placed::Stored(at),
                Err(error) => Placed::Throttled(error),
            });
        }

        let stored = || {
            placed.iter().zip(sent).filter_map(|(placed, sent)| match placed {
                Placed::Stored(at) => Some((at, sent)),
                Placed::Throttled(_) => None,
            })
        };
        let entries: Vec<Entry<'_>> = stored()
            .map(|(at, sent)| Entry {
                key: &at.stream_key,
                partition_key: sent.partition_key,
                data: sent.data,
                arrived_ms,
            })
            .collect();
        if !entries.is_empty() {
            journal.append(&entries).map_err(journal_error)?;
            self.note_keys(&entries);
            let shown: Vec<(String, StoredRecordRef<'_>)> = entries.iter().map(|entry| shown(*entry)).collect();
            let _alone = self.shown.write().await;
            self.store.put_records_batch(stream, &shown).await?;
        }
        Ok(placed)
    }
}

impl Kinesis {
    /// Records without a key are shown without one.
    pub(super) fn note_keys(&self, entries: &[Entry<'_>]) {
        if entries.iter().any(|entry| entry.partition_key.is_empty()) {
            self.keyless.store(true, Ordering::Relaxed);
        }
    }
}

impl Sent<'_> {
    fn n_bytes(&self) -> usize {
        base64_len(self.data) + self.partition_key.len()
    }
}

/// The form in which ferrokinesis keeps a record.
pub(super) fn shown(entry: Entry<'_>) -> (String, StoredRecordRef<'_>) {
    let record = StoredRecordRef {
        partition_key: entry.partition_key,
        data: entry.data,
        approximate_arrival_timestamp: entry.arrived_ms as f64 / 1000.0,
    };
    (entry.key.to_owned(), record)
}

pub(super) fn now_ms() -> u64 {
    // A clock before 1970 is set wrongly; the arrival time then stays where it was.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn sent(record: &Value) -> Result<Sent<'_>, KinesisErrorResponse> {
    let partition_key = record["PartitionKey"].as_str().unwrap_or("");
    let hash_key = match record["ExplicitHashKey"].as_str() {
        None => partition_key_to_hash_key(partition_key),
        Some(text) => text.parse().map_err(|_| {
            let message = format!("Invalid ExplicitHashKey. It must be in the range [0, 2^128-1], but was {text}");
            KinesisErrorResponse::client_error("InvalidArgumentException", Some(&message))
        })?,
    };
    Ok(Sent { partition_key, data: record["Data"].as_str().unwrap_or(""), hash_key })
}

fn answer(placed: &[Placed]) -> Value {
    let n_failed = placed.iter().filter(|placed| matches!(placed, Placed::Throttled(_))).count();
    let records: Vec<Value> = placed
        .iter()
        .map(|placed| match placed {
            Placed::Stored(at) => json!({ "ShardId": at.shard_id, "SequenceNumber": at.seq_num }),
            Placed::Throttled(error) => {
                json!({ "ErrorCode": error.body.error_type, "ErrorMessage": error.body.message })
            }
        })
        .collect();
    json!({ "FailedRecordCount": n_failed, "Records": records })
}

fn journal_error(error: std::io::Error) -> KinesisErrorResponse {
    tracing::error!(%error, "cannot write a stream's journal");
    KinesisErrorResponse::server_error(None, Some("the local cloud could not write its data folder"))
}

/// The decoded length of valid base64.
fn base64_len(text: &str) -> usize {
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take(2).filter(|byte| *byte == b'=').count())
}
