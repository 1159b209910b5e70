//! What the oracle is shown.
//!
//! **Owns** the plain forms of records, objects, shards and histories, whoever recorded them.
//! **Promises** nothing: evidence is taken as it is.
//! **Fails** never.
//! **Not here**: where it comes from (`load.rs`, the simulation).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actors::ports::leases::LeaseRow;
use actors::reader::decode::DecodeLimits;
use bytes::Bytes;

use super::warehouse::Tables;

/// A record that was acknowledged, or that is known to be stored.
#[derive(Clone, Debug)]
pub struct Record {
    /// The shard that holds it.
    pub shard: String,
    /// Its sequence number.
    pub sequence: String,
    /// When the stream took it, milliseconds since 1970; none where only the producer was asked.
    pub arrival_ms: Option<i64>,
    /// The digest of its bytes.
    pub sha256: [u8; 32],
    /// The producer's partition key.
    pub sensor: Option<String>,
    /// The producer's count of this key's records.
    pub n: Option<u64>,
    /// Its bytes, where they are known.
    pub data: Option<Bytes>,
}

/// A shard and what it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardNode {
    /// The shard.
    pub shard: String,
    /// The shards that it was split or merged from.
    pub parents: Vec<String>,
    /// First and last hash key.
    pub hash_range: (u128, u128),
}

/// A row of the lease table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The shard.
    pub key: String,
    /// The owner.
    pub owner: Option<String>,
    /// Moves with every write.
    pub counter: u64,
    /// `TRIM_HORIZON`, `SHARD_END` or a sequence number.
    pub checkpoint: String,
    /// The last epoch that was committed.
    pub epoch: u64,
    /// The end of the epoch that is prepared.
    pub pending_to: Option<String>,
    /// The shards that it was split or merged from.
    pub parents: Vec<String>,
    /// The state object of the last epoch.
    pub state_key: Option<String>,
}

impl From<&LeaseRow> for Row {
    fn from(row: &LeaseRow) -> Self {
        Self {
            key: row.shard.to_string(),
            owner: row.owner.clone(),
            counter: row.counter,
            checkpoint: row.checkpoint.to_string(),
            epoch: row.epoch.0,
            pending_to: row.pending.as_ref().map(|pending| pending.to.to_string()),
            parents: row.parents.iter().map(ToString::to_string).collect(),
            state_key: row.state_key.clone(),
        }
    }
}

/// One write to the lease table that was applied.
#[derive(Clone, Debug)]
pub struct LeaseWrite {
    /// When.
    pub at_ms: i64,
    /// Which incarnation of which worker.
    pub client: u32,
    /// The shard.
    pub key: String,
    /// The row before; none if there was none.
    pub before: Option<Row>,
    /// The row after; none if it was deleted.
    pub after: Option<Row>,
    /// Whether the table was put back as it was at an earlier time, and this is a row of it.
    pub restored: bool,
}

/// One write to the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectWrite {
    /// When.
    pub at_ms: i64,
    /// Which incarnation of which worker.
    pub client: u32,
    /// The object.
    pub key: String,
    /// Whether it is new.
    pub created: bool,
    /// Whether it took the place of another one.
    pub replaced: bool,
}

/// The limits that the workers ran with, as far as they decide what becomes of a reading.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What one record may ask of the decoder.
    pub decode: DecodeLimits,
    /// Event ids that a sensor remembers.
    pub event_ids_max: usize,
    /// How long after its end, by the watermark, a window still takes readings.
    pub lateness: Duration,
}

/// Where the records of one sensor lay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// In one shard, by the sensor's key, and after a reshard in a child of that.
    #[default]
    Sensor,
    /// Anywhere.
    Any,
    /// Anywhere, and the service said so from the beginning.
    Anywhere,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What was acknowledged, or stored.
    pub records: Vec<Record>,
    /// Payloads whose answer was lost: as often as this they may be stored besides.
    pub maybe: BTreeMap<[u8; 32], u64>,
    /// Records in flight without an outcome: as many more may be stored, whatever they are.
    pub open: u64,
    /// Sequence numbers of records that workers may put aside by what happened to them and not by what is in them:
    /// those that a scenario makes deadly.
    pub deadly: BTreeSet<String>,
    /// Whether `records` is everything that was stored.
    pub exact: bool,
    /// Whether every worker gave its shards up in good order in the end: then open windows are written too.
    pub drained: bool,
    /// The bucket.
    pub objects: BTreeMap<String, Bytes>,
    /// The warehouse in the end; none where there was none, or nobody looked.
    pub warehouse: Option<Tables>,
    /// Every shard that there was; shards that are not in it have no parents.
    pub lineage: Vec<ShardNode>,
    /// Every write to the lease table, in the order in which they were applied.
    pub leases: Option<Vec<LeaseWrite>>,
    /// What clients call themselves, as far as that is known from elsewhere than their leases: one may have none.
    pub names: BTreeMap<u32, String>,
    /// Every write to the bucket, in the order in which they were applied.
    pub writes: Option<Vec<ObjectWrite>>,
    /// The lease table in the end.
    pub final_rows: Vec<Row>,
    /// Where the records of one sensor lay. Anywhere: then there is no order between its readings, and no state to be
    /// compared.
    pub places: Places,
    /// Allows the replay, where all records are there with their bytes and arrivals.
    pub limits: Option<Limits>,
}
