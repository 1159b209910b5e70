//! SplitShard and MergeShards, with two rules of the real service that ferrokinesis lacks.
//!
//! **Owns** nothing; works on ferrokinesis' store while nobody reads or writes.
//! **Promises** that a shard is split or merged once; that every number of a child is greater than every number of its
//! parents, however fast one reshard follows the other; that a reshard is whole and saved when it is acknowledged.
//! **Fails** with the errors of the real service; nothing is changed then.
//! **Not here**: uniform scaling (`scale`), and the real service's limits on reshards per day.

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use bytes::Bytes;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::sequence::{SeqObj, parse_sequence, resolve_shard_id, stringify_sequence};
use ferrokinesis::types::{Shard, Stream};
use serde_json::Value;

use super::{Kinesis, error_response, is_cbor, parsed};

/// The resolution of a shard's time of creation, which begins all of its sequence numbers.
const CREATED_STEP_MS: u64 = 1_000;

impl Kinesis {
    pub(super) async fn reshard(&self, operation: &str, parts: Parts, body: Bytes) -> Response<Body> {
        let request = match parsed(is_cbor(&parts), &body) {
            Ok(request) => request,
            Err(error) => return error_response(&error),
        };
        let mut known = self.saved.write().await;
        let Ok(stream) = self.store.resolve_stream_name(&request) else { return self.pass(parts, body).await };
        let n_before = match self.store.get_stream(&stream).await {
            Ok(shape) => match closed_parent(operation, &request, &shape, &self.store.aws_account_id) {
                Some(error) => return error_response(&error),
                None => shape.shards.len(),
            },
            // ferrokinesis has the right words for it.
            Err(_) => return self.pass(parts, body).await,
        };
        let response = self.pass(parts, body).await;
        if !response.status().is_success() {
            return response;
        }
        let settled = self.settle_children(&stream, n_before).await;
        self.acknowledge(&mut known, settled, response).await
    }

    /// Waits until the reshard is done, then moves the children's numbers behind those of their parents.
    pub(super) async fn settle_children(&self, stream: &str, n_before: usize) -> Result<(), String> {
        self.settle().await?;
        let ordered = self.store.update_stream(stream, |stream| {
            order_children(&mut stream.shards, n_before);
            Ok(())
        });
        ordered.await.map_err(|error| error.to_string())
    }
}

/// ferrokinesis splits a closed shard again, and merges one with an open neighbour.
fn closed_parent(operation: &str, request: &Value, stream: &Stream, account: &str) -> Option<KinesisErrorResponse> {
    let keys: &[&str] = match operation {
        "SplitShard" => &["ShardToSplit"],
        _ => &["ShardToMerge", "AdjacentShardToMerge"],
    };
    let named = |key: &&str| resolve_shard_id(request[*key].as_str().unwrap_or("")).ok();
    let closed = keys.iter().filter_map(named).find(|(_, ix)| stream.shards.get(*ix as usize).is_some_and(is_closed));
    closed.map(|(shard, _)| {
        let message = format!(
            "Shard {shard} in stream {} under account {account} has already been merged or split, and thus is not \
             eligible for merging or splitting.",
            stream.stream_name
        );
        KinesisErrorResponse::client_error("ResourceInUseException", Some(&message))
    })
}

pub(super) fn is_closed(shard: &Shard) -> bool {
    shard.sequence_number_range.ending_sequence_number.is_some()
}

/// ferrokinesis dates a child one second ahead of the clock. When its parent was made in the same second, or is a child
/// of that second itself, both would begin with the same time, and their numbers would not be ordered.
fn order_children(shards: &mut [Shard], n_before: usize) {
    for ix in n_before..shards.len() {
        let parents = [&shards[ix].parent_shard_id, &shards[ix].adjacent_parent_shard_id];
        let created = parents.into_iter().flatten().filter_map(|id| resolve_shard_id(id).ok());
        let created = created.filter_map(|(_, parent)| shards.get(parent as usize)).map(created_ms).max();
        let Some(created) = created else { continue };
        if created_ms(&shards[ix]) <= created {
            shards[ix].sequence_number_range.starting_sequence_number = stringify_sequence(&SeqObj {
                shard_create_time: created + CREATED_STEP_MS,
                shard_ix: ix as i64,
                seq_ix: None,
                seq_time: None,
                byte1: None,
                seq_rand: None,
                version: 2,
            });
        }
    }
}

fn created_ms(shard: &Shard) -> u64 {
    parse_sequence(&shard.sequence_number_range.starting_sequence_number).map_or(0, |number| number.shard_create_time)
}
