//! The stream: shards, their lineage, and their records.
//!
//! **Promises** sequence numbers have 56 digits, grow within a lineage, are not dense, and are unique within their shard
//! only. Nothing is forgotten but by `trim`, and that only for readers.
//! **Not here**: the operations that readers call (`kinesis`).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};

use super::ClientId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// In front of 48 digits: numbers as long as the real ones, far beyond 128 bits.
const SEQUENCE_PREFIX: &str = "49590338";
/// Records of different shards are to share sequence numbers now and then: whoever takes one for an identity is found.
const SEQUENCE_STEP_MAX: u128 = 4;

/// Where the service puts a partition key. Its own, and not the product's: a fake that shares the hash with what it checks
/// cannot find a wrong one.
pub(super) fn place_of(partition_key: &str) -> u128 {
    let digest = Md5::digest(partition_key);
    digest.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

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

pub(super) struct Record {
    pub(super) sequence: u128,
    pub(super) partition_key: Arc<str>,
    pub(super) arrival_ms: i64,
    pub(super) data: Bytes,
}

pub(super) struct Shard {
    pub(super) id: Arc<str>,
    pub(super) parents: Vec<Arc<str>>,
    pub(super) range: (u128, u128),
    /// All its sequence numbers are larger.
    pub(super) first: u128,
    /// The number at which it was closed.
    pub(super) last: Option<u128>,
    pub(super) trimmed: bool,
    pub(super) records: Vec<Record>,
    /// When it was last read: the service allows few calls a second.
    pub(super) reads: VecDeque<i64>,
    /// The clients that read it, and when.
    pub(super) readers: Vec<(ClientId, i64)>,
}

pub(super) struct Stream {
    pub(super) name: Option<String>,
    /// Another name for it, under which it has another ARN.
    pub(super) alias: Option<String>,
    pub(super) shards: Vec<Shard>,
    /// Whether records are spread over the shards, whatever their keys are.
    pub(super) spread: bool,
    dice: StdRng,
}

/// The decimal form.
pub(super) fn sequence_text(number: u128) -> String {
    format!("{SEQUENCE_PREFIX}{number:048}")
}

/// The number; none if this stream never gave such a text.
pub(super) fn sequence_number(text: &str) -> Option<u128> {
    text.strip_prefix(SEQUENCE_PREFIX).filter(|digits| digits.len() == 48)?.parse().ok()
}

impl Shard {
    fn tip(&self) -> u128 {
        self.records.last().map_or(self.first, |record| record.sequence)
    }
}

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        Self { name: None, alias: None, shards: Vec::new(), spread: false, dice }
    }

    /// False if there is one already.
    pub(super) fn create(&mut self, name: &str, shards: u32) -> bool {
        if self.name.is_some() {
            return false;
        }
        assert!(shards > 0, "a stream has at least one shard");
        self.name = Some(name.to_owned());
        let width = u128::MAX / u128::from(shards);
        for n in 0..shards {
            let from = width * u128::from(n) + u128::from(n);
            let to = if n + 1 == shards { u128::MAX } else { from + width };
            self.open(Vec::new(), (from, to), 0);
        }
        true
    }

    fn open(&mut self, parents: Vec<Arc<str>>, range: (u128, u128), first: u128) -> String {
        let id = format!("shardId-{:012}", self.shards.len());
        let (records, reads) = (Vec::new(), VecDeque::new());
        let shard = Shard {
            id: id.as_str().into(),
            parents,
            range,
            first,
            last: None,
            trimmed: false,
            records,
            reads,
            readers: Vec::new(),
        };
        self.shards.push(shard);
        id
    }

    pub(super) fn put(&mut self, now_ms: i64, partition_key: &str, hash: u128, data: Bytes) -> (String, String) {
        let step = self.dice.random_range(1..=SEQUENCE_STEP_MAX);
        let hash = if self.spread { self.dice.random() } else { hash };
        let covers = |shard: &&mut Shard| shard.last.is_none() && (shard.range.0..=shard.range.1).contains(&hash);
        let shard = self.shards.iter_mut().find(covers).expect("a stream's open shards cover every key");
        let sequence = shard.tip() + step;
        shard.records.push(Record { sequence, partition_key: partition_key.into(), arrival_ms: now_ms, data });
        (shard.id.to_string(), sequence_text(sequence))
    }

    pub(super) fn split(&mut self, shard: &str) -> [String; 2] {
        let (parent, (from, to), end) = self.close(shard);
        let middle = from + (to - from) / 2;
        assert!(middle < to, "{shard} is one key wide");
        [(from, middle), (middle + 1, to)].map(|range| self.open(vec![parent.clone()], range, end))
    }

    pub(super) fn merge(&mut self, a: &str, b: &str) -> String {
        let ((a, range_a, end_a), (b, range_b, end_b)) = (self.close(a), self.close(b));
        let (low, high) = if range_a < range_b { (range_a, range_b) } else { (range_b, range_a) };
        assert!(low.1.checked_add(1) == Some(high.0), "{a} and {b} are not side by side");
        self.open(vec![a, b], (low.0, high.1), end_a.max(end_b))
    }

    fn close(&mut self, id: &str) -> (Arc<str>, (u128, u128), u128) {
        let shard = self.shards.iter_mut().find(|shard| &*shard.id == id && shard.last.is_none());
        let shard = shard.expect("only an open shard is split or merged");
        let end = shard.tip() + 1;
        shard.last = Some(end);
        (shard.id.clone(), shard.range, end)
    }

    pub(super) fn trim(&mut self, id: &str) {
        let shard = self.shards.iter_mut().find(|shard| &*shard.id == id && shard.last.is_some());
        shard.expect("only a closed shard is forgotten").trimmed = true;
    }

    pub(super) fn views(&self) -> Vec<ShardView> {
        let view = |shard: &Shard| ShardView {
            id: shard.id.to_string(),
            parents: shard.parents.iter().map(ToString::to_string).collect(),
            range: shard.range,
            closed: shard.last.is_some(),
            trimmed: shard.trimmed,
            n_records: shard.records.len(),
            last_sequence: shard.records.last().map(|record| sequence_text(record.sequence)),
        };
        self.shards.iter().map(view).collect()
    }

    pub(super) fn stored(&self) -> Vec<StoredRecord> {
        let stored = |shard: &Shard, record: &Record| StoredRecord {
            shard: shard.id.clone(),
            sequence: sequence_text(record.sequence),
            partition_key: record.partition_key.clone(),
            arrival_ms: record.arrival_ms,
            data: record.data.clone(),
        };
        self.shards.iter().flat_map(|shard| shard.records.iter().map(move |record| stored(shard, record))).collect()
    }
}
