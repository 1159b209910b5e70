//! The stream: the engine's, as the simulation sees it.
//!
//! **Promises** pages of shards are small; iterators expire; a shard allows five reads a second, and 2 MiB; the end of a closed shard
//! may come with its last records or on an empty page of its own; records of different shards share numbers.
//! **Not here**: writing over the wire, which the simulation does itself.

use std::sync::Arc;

use bytes::Bytes;
use local_engine::stream::{Asking, Habits, Kinesis, Put, Record, Shard, Stream};
use local_engine::{ClientId, Refusal, Reply};
use serde_json::Value;

use super::state::{Context, HERE};

/// The service would give 1,000: small pages make every listing use its tokens.
const SHARDS_PER_PAGE: usize = 3;

/// A shard, for the simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardView {
    /// Its id.
    pub id: String,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
    /// The first and the last key of its hash range.
    pub range: (u128, u128),
    /// Whether it takes no more records.
    pub closed: bool,
    /// Whether retention has passed it: readers do not find it.
    pub trimmed: bool,
    /// How many records it has taken.
    pub n_records: usize,
    /// The last of them.
    pub last_sequence: Option<String>,
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its shard.
    pub shard: Arc<str>,
    /// Its sequence number.
    pub sequence: String,
    /// Its partition key.
    pub partition_key: Arc<str>,
    /// When it arrived, in milliseconds since 1970.
    pub arrival_ms: i64,
    /// What the producer sent.
    pub data: Bytes,
}

/// The one stream. A simulation that asks for what the service would refuse is wrong: it panics.
pub(super) struct Streams(Kinesis);

impl Streams {
    pub(super) fn new(seed: u64) -> Self {
        Self(Kinesis::new(Habits {
            seed,
            arns: HERE.arns("kinesis"),
            shards_per_page: SHARDS_PER_PAGE,
            limits_reads: true,
            limits_writes: false,
            shared_numbers: true,
            remembers_readers: true,
        }))
    }

    pub(super) fn serve(&mut self, context: Context, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let Context { now_ms, client, coin: ends_early, empty_page, .. } = context;
        self.0.serve(Asking { now_ms, client, ends_early, empty_page }, operation, input)
    }

    pub(super) fn create(&mut self, name: &str, shards: u32) {
        assert!(self.0.streams().next().is_none(), "the cloud has a stream already");
        self.0.create(name, shards, 0).expect("a simulation makes few shards");
    }

    pub(super) fn alias(&mut self, name: &str) {
        let own = self.name();
        self.0.alias(&own, name);
    }

    pub(super) fn put(&mut self, now_ms: i64, put: Put) -> (String, String) {
        let stream = self.name();
        let (shard, sequence) = self.0.put(now_ms, &stream, put).expect("nothing limits writes");
        (shard, sequence.to_string())
    }

    /// The stream, to change it.
    pub(super) fn the(&mut self) -> &mut Stream {
        let stream = self.name();
        self.0.stream_mut(&stream).expect("it is there")
    }

    fn name(&self) -> String {
        self.0.streams().next().expect("the cloud has a stream").name().to_owned()
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.0.streams().flat_map(Stream::shards)
    }

    /// The clients that read a shard, and when, in order.
    pub(super) fn reads(&self, shard: &str) -> Vec<(ClientId, i64)> {
        self.shards().find(|known| &*known.id == shard).map_or(Vec::new(), |shard| shard.readers.clone())
    }

    pub(super) fn views(&self) -> Vec<ShardView> {
        let view = |shard: &Shard| ShardView {
            id: shard.id.to_string(),
            parents: shard.parents.iter().map(ToString::to_string).collect(),
            range: shard.range,
            closed: !shard.is_open(),
            trimmed: shard.trimmed,
            n_records: shard.records.len(),
            last_sequence: shard.records.last().map(|record| record.sequence.to_string()),
        };
        self.shards().map(view).collect()
    }

    pub(super) fn stored(&self) -> Vec<StoredRecord> {
        let stored = |shard: &Shard, record: &Record| StoredRecord {
            shard: shard.id.clone(),
            sequence: record.sequence.to_string(),
            partition_key: record.partition_key.clone(),
            arrival_ms: record.arrival_ms,
            data: record.data.clone(),
        };
        self.shards().flat_map(|shard| shard.records.iter().map(move |record| stored(shard, record))).collect()
    }
}
