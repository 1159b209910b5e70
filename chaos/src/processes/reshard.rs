//! Splits and merges shards.
//!
//! **Owns** nothing.
//! **Promises** an answer that was lost is not taken for a failure: the stream is asked what became of it.
//! **Fails** by doing nothing, which the caller may count.
//! **Not here**: which shards (`driver.rs`), how workers follow.

use actors::ports::aws::CallError;
use actors::ports::stream::{ShardInfo, Stream};
use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;

/// The stream's shards.
#[derive(Clone, Debug)]
pub(super) struct Reshard {
    client: Client,
    stream: Stream,
    name: String,
}

impl Reshard {
    pub(super) fn new(sdk: &SdkConfig, stream: &str) -> Self {
        Self { client: Client::new(sdk), stream: Stream::new(sdk, stream), name: stream.to_owned() }
    }

    /// The shards that take records.
    pub(super) async fn open(&self) -> Result<Vec<ShardInfo>, CallError> {
        Ok(self.stream.shards().await?.into_iter().filter(|info| !info.closed).collect())
    }

    /// Pairs that can be merged.
    pub(super) fn neighbours(open: &[ShardInfo]) -> Vec<(ShardInfo, ShardInfo)> {
        let mut sorted: Vec<(u128, u128, &ShardInfo)> =
            open.iter().filter_map(|info| Some((range(info)?, info))).map(|((a, b), info)| (a, b, info)).collect();
        sorted.sort_by_key(|(start, ..)| *start);
        let adjacent = sorted.windows(2).filter(|pair| pair[0].1.checked_add(1) == Some(pair[1].0));
        adjacent.map(|pair| (pair[0].2.clone(), pair[1].2.clone())).collect()
    }

    /// Splits a shard in the middle; answers with its children, none if it did not work.
    pub(super) async fn split(&self, shard: &ShardInfo) -> Result<Vec<String>, CallError> {
        let Some((start, end)) = range(shard).filter(|(start, end)| end - start > 2) else { return Ok(Vec::new()) };
        let middle = start + (end - start) / 2 + 1;
        let request = self.client.split_shard().stream_name(&self.name).shard_to_split(shard.shard.as_str());
        // What became of it is asked below, whatever the answer.
        let _ = request.new_starting_hash_key(middle.to_string()).send().await;
        self.children(&[shard]).await
    }

    /// Merges two neighbours; answers with their child, none if it did not work.
    pub(super) async fn merge(&self, left: &ShardInfo, right: &ShardInfo) -> Result<Vec<String>, CallError> {
        let request = self.client.merge_shards().stream_name(&self.name).shard_to_merge(left.shard.as_str());
        let _ = request.adjacent_shard_to_merge(right.shard.as_str()).send().await;
        self.children(&[left, right]).await
    }

    async fn children(&self, parents: &[&ShardInfo]) -> Result<Vec<String>, CallError> {
        let shards = self.stream.shards().await?;
        let is_child = |info: &&ShardInfo| parents.iter().all(|parent| info.parents.contains(&parent.shard));
        Ok(shards.iter().filter(is_child).map(|info| info.shard.to_string()).collect())
    }
}

fn range(info: &ShardInfo) -> Option<(u128, u128)> {
    Some((info.hash_range.0.parse().ok()?, info.hash_range.1.parse().ok()?))
}
