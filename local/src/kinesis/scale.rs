//! UpdateShardCount by splits and merges, so that every new shard has its parents. ferrokinesis replaces all shards by
//! new ones without parents: a reader could not tell that it must finish the old ones first.
//!
//! **Owns** nothing; works on ferrokinesis' store while nobody reads or writes.
//! **Promises** open shards of equal hash ranges, each descended from the shards whose range it has.
//! **Fails** between two steps with the shards as they are then: whole, only not uniform.
//! **Not here**: the real service's bound of twice and half the count per call.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use ferrokinesis::actions::Operation;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::types::Shard;
use serde_json::{Value, json};

use super::reshard::is_closed;
use super::{Kinesis, SHARDS_MAX, encoded, error_response, is_cbor, parsed, validated};

impl Kinesis {
    pub(super) async fn scale(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let cbor = is_cbor(&parts);
        let mut known = self.saved.write().await;
        let (stream, target, open) = match self.asked(cbor, &body).await {
            Ok(asked) => asked,
            Err(error) => return error_response(&error),
        };
        let (changed, response) = match self.scale_to(&parts, &stream, target).await {
            Ok(()) => {
                let answer = json!({ "StreamName": stream, "CurrentShardCount": open, "TargetShardCount": target });
                (Ok(()), encoded(cbor, &answer))
            }
            // The steps before it are done, and must be saved like any other.
            Err(detail) => {
                let error = KinesisErrorResponse::server_error(None, Some(&detail));
                (self.settle().await, error_response(&error))
            }
        };
        self.acknowledge(&mut known, changed, response).await
    }

    /// The stream, the count that is wanted, and the count there is.
    async fn asked(&self, cbor: bool, body: &[u8]) -> Result<(String, u32, usize), KinesisErrorResponse> {
        let whole = parsed(cbor, body)?;
        let request = validated(Operation::UpdateShardCount, &whole)?;
        let invalid = |message: String| KinesisErrorResponse::client_error("InvalidArgumentException", Some(&message));
        let stream = self.store.resolve_stream_name(&whole)?;
        let target = request["TargetShardCount"].as_u64().unwrap_or(0);
        let target = u32::try_from(target).ok().filter(|target| (1..=SHARDS_MAX).contains(target));
        let target = target.ok_or_else(|| invalid(format!("TargetShardCount is not between 1 and {SHARDS_MAX}.")))?;
        let open = self.store.get_stream(&stream).await?.shards.iter().filter(|shard| !is_closed(shard)).count();
        if open == target as usize {
            return Err(invalid(format!("TargetShardCount {target} is the same as the current shard count {open}.")));
        }
        Ok((stream, target, open))
    }

    async fn scale_to(&self, parts: &Parts, stream: &str, target: u32) -> Result<(), String> {
        // Every shard of the result begins where a shard begins; then what lies between is merged away.
        for start in halving(&starts(target)) {
            let open = self.open_shards(stream).await?;
            let Some(shard) = open.iter().find(|shard| within(shard, start)) else { continue };
            let request = json!({
                "StreamName": stream, "ShardToSplit": shard.shard_id, "NewStartingHashKey": start.to_string(),
            });
            self.step(parts, stream, "SplitShard", &request).await?;
        }
        loop {
            // Pairs side by side in each round, so that a shard has few ancestors.
            let open = self.open_shards(stream).await?;
            let starts = starts(target);
            let mut merged = false;
            let mut rest = open.as_slice();
            while let [left, right, ..] = rest {
                if starts.contains(&right.hash_key_range.start_u128()) {
                    rest = &rest[1..];
                    continue;
                }
                let request = json!({
                    "StreamName": stream, "ShardToMerge": left.shard_id, "AdjacentShardToMerge": right.shard_id,
                });
                self.step(parts, stream, "MergeShards", &request).await?;
                merged = true;
                rest = &rest[2..];
            }
            if !merged {
                return Ok(());
            }
        }
    }

    /// The open shards, by hash range.
    async fn open_shards(&self, stream: &str) -> Result<Vec<Shard>, String> {
        let mut shards = self.store.get_stream(stream).await.map_err(|error| error.to_string())?.shards;
        shards.retain(|shard| !is_closed(shard));
        shards.sort_by_key(|shard| shard.hash_key_range.start_u128());
        Ok(shards)
    }

    async fn step(&self, parts: &Parts, stream: &str, operation: &str, request: &Value) -> Result<(), String> {
        let n_before = self.store.get_stream(stream).await.map_err(|error| error.to_string())?.shards.len();
        let mut parts = parts.clone();
        let target = format!("Kinesis_20131202.{operation}");
        parts.headers.insert("x-amz-target", HeaderValue::from_str(&target).map_err(|error| error.to_string())?);
        parts.headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
        let response = self.pass(parts, Bytes::from(request.to_string())).await;
        if !response.status().is_success() {
            return Err(format!("{operation} was refused with {}: {request}", response.status()));
        }
        self.settle_children(stream, n_before).await
    }
}

/// Where the shards of a uniform stream begin, but the first.
fn starts(n_shards: u32) -> Vec<u128> {
    let n_shards = u128::from(n_shards);
    // 2^128 / n, which does not fit when n is 1; there is no start then.
    let width = u128::MAX / n_shards + u128::from(u128::MAX % n_shards == n_shards - 1 && n_shards > 1);
    (1..n_shards).map(|ix| ix * width).collect()
}

/// The same, the middle first, so that one shard becomes many in few generations.
fn halving(starts: &[u128]) -> Vec<u128> {
    let mut ordered = Vec::with_capacity(starts.len());
    let mut parts = std::collections::VecDeque::from([starts]);
    while let Some(part) = parts.pop_front() {
        let (left, rest) = part.split_at(part.len() / 2);
        if let [middle, right @ ..] = rest {
            ordered.push(*middle);
            parts.extend([left, right]);
        }
    }
    ordered
}

/// Whether a shard must be split to begin there: not when it does already. A range too narrow for ferrokinesis to split
/// stays as it is.
fn within(shard: &Shard, start: u128) -> bool {
    let range = &shard.hash_key_range;
    range.start_u128() < start.saturating_sub(1) && start < range.end_u128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_uniform_and_halved() {
        assert_eq!(starts(1), []);
        assert_eq!(starts(2), [1 << 127]);
        assert_eq!(starts(4), [1 << 126, 1 << 127, 3 << 126]);
        assert_eq!(starts(3), [u128::MAX / 3, u128::MAX / 3 * 2]);
        assert_eq!(halving(&[1, 2, 3, 4, 5, 6, 7]), [4, 2, 6, 1, 3, 5, 7]);
        assert_eq!(halving(&[]), []);
    }
}
