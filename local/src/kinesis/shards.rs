//! ListShards, in pages. ferrokinesis gives out a token it does not take back, and ignores filters.
//!
//! **Owns** the form of the token: the stream and the last shard that was listed.
//! **Promises** every shard of the stream once, oldest first, over any number of pages, also across a restart.
//! **Fails** on a token that is not ours, and on a filter by time, with `InvalidArgumentException`.
//! **Not here**: tokens that expire; shards that leave the list when their records have expired.

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrokinesis::actions::Operation;
use ferrokinesis::error::KinesisErrorResponse;
use ferrokinesis::types::Shard;
use serde_json::{Value, json};

use super::{Kinesis, encoded, error_response, is_cbor, parsed, validated};

/// The real service's bound and default.
const PAGE_SHARDS_MAX: u64 = 1_000;

impl Kinesis {
    pub(super) async fn list_shards(&self, parts: &Parts, body: &[u8]) -> Response<Body> {
        let cbor = is_cbor(parts);
        match self.try_list_shards(cbor, body).await {
            Ok(answer) => encoded(cbor, &answer),
            Err(error) => error_response(&error),
        }
    }

    async fn try_list_shards(&self, cbor: bool, body: &[u8]) -> Result<Value, KinesisErrorResponse> {
        let whole = parsed(cbor, body)?;
        let request = validated(Operation::ListShards, &whole)?;
        let (stream, after) = match request["NextToken"].as_str() {
            Some(_) if whole.get("StreamName").or(whole.get("StreamARN")).is_some() => {
                return Err(invalid("NextToken and StreamName cannot be provided together."));
            }
            Some(token) => {
                let (stream, after) = opened(token).ok_or_else(|| invalid("NextToken is not one of ListShards."))?;
                (stream, Some(after))
            }
            None => {
                let after = request["ExclusiveStartShardId"].as_str().map(str::to_owned);
                (self.store.resolve_stream_name(&whole)?, after)
            }
        };
        let page_max = request["MaxResults"].as_u64().unwrap_or(PAGE_SHARDS_MAX).min(PAGE_SHARDS_MAX) as usize;

        let mut shards = self.store.get_stream(&stream).await?.shards;
        filter(&mut shards, &whole["ShardFilter"])?;
        shards.retain(|shard| after.as_ref().is_none_or(|after| shard.shard_id > *after));
        let has_more = shards.len() > page_max;
        shards.truncate(page_max);
        let mut answer = json!({ "Shards": shards });
        if let (true, Some(last)) = (has_more, shards.last()) {
            answer["NextToken"] = STANDARD.encode(format!("{stream}/{}", last.shard_id)).into();
        }
        Ok(answer)
    }
}

/// Neither a stream's name nor a shard's has a slash.
fn opened(token: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (stream, after) = text.split_once('/')?;
    Some((stream.to_owned(), after.to_owned()))
}

/// A filter is not in its token: the real service has it there, but the pages of a filtered list are few.
fn filter(shards: &mut Vec<Shard>, filter: &Value) -> Result<(), KinesisErrorResponse> {
    match filter["Type"].as_str() {
        // No record leaves a stream before its shard does, so the trim horizon is before all of them.
        None | Some("AT_TRIM_HORIZON" | "FROM_TRIM_HORIZON") => {}
        Some("AT_LATEST") => shards.retain(|shard| shard.sequence_number_range.ending_sequence_number.is_none()),
        Some("AFTER_SHARD_ID") => {
            let after = filter["ShardId"].as_str().ok_or_else(|| invalid("AFTER_SHARD_ID needs a ShardId."))?;
            shards.retain(|shard| shard.shard_id.as_str() > after);
        }
        Some(other) => return Err(invalid(&format!("the local cloud does not filter shards by {other}"))),
    }
    Ok(())
}

fn invalid(message: &str) -> KinesisErrorResponse {
    KinesisErrorResponse::client_error("InvalidArgumentException", Some(message))
}
