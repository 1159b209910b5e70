//! Evidence of a run of real processes: bucket, lease table, stream, the ledgers of the producers, and the warehouse.
//!
//! **Owns** the reading of all five: of the services through the SDK, as any client may; of the warehouse, from its file.
//! **Promises** where the stream can be read whole, the evidence is exact: every record with its bytes. What was
//! acknowledged and is not in the stream is told apart: it is the stream's loss, not the workers'.
//! **Fails** with [`LoadError`]: what was not read must not look like something that is not there.
//! **Not here**: the judging (`oracle.rs`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use actors::ports::aws::CallError;
use actors::ports::leases::{LeaseError, LeaseTable};
use actors::ports::stream::{ShardInfo, Stream};
use aws_config::SdkConfig;
use messages::{EventSchema, Position};
use sha2::{Digest, Sha256};

use crate::oracle::{
    self, Evidence, LedgerFacts, Limits, LoadError, Record, Row, ShardNode, Tables, Verdict, Violation,
};

/// Beyond, only what producers wrote down is compared: a stream in memory has its price.
const STREAM_BYTES_MAX: usize = 1 << 30;
const PAGE_RECORDS: i32 = 10_000;
/// Told in full; the rest is more of the same.
const TOLD_MAX: usize = 20;

/// Where a run has left its evidence.
#[derive(Clone, Debug)]
pub struct Places {
    /// The stream.
    pub stream: String,
    /// The lease table.
    pub table: String,
    /// The bucket.
    pub bucket: String,
    /// The ledgers.
    pub ledgers: Vec<PathBuf>,
    /// The limits that the workers had, where they are known.
    pub limits: Option<Limits>,
}

/// Evidence cannot be gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// Bucket or ledger.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The stream.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The lease table.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A shard's hash range is none.
    #[error("the hash range of {shard} is {range:?}")]
    HashRange {
        /// The shard.
        shard: String,
        /// As the stream lists it.
        range: (String, String),
    },
}

/// What was gathered.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// For the oracle.
    pub evidence: Evidence,
    /// Records that were acknowledged.
    pub acked: u64,
    /// Acknowledged records that the stream does not hold.
    lost: Vec<String>,
}

impl Gathered {
    /// Adds to a verdict what is wrong with the stream itself.
    pub fn add_to(&self, verdict: &mut Verdict) {
        for what in self.lost.iter().take(TOLD_MAX) {
            verdict.violations.push(Violation { invariant: STREAM, what: what.clone() });
        }
        if !self.lost.is_empty() {
            verdict.found.insert(STREAM, self.lost.len() as u64);
        }
    }
}

/// The stream holds what it has acknowledged.
const STREAM: &str = "STREAM";

/// Reads everything. Nobody may be writing any more.
pub async fn gather(sdk: &SdkConfig, places: &Places) -> Result<Gathered, GatherError> {
    let stream = Stream::new(sdk, &places.stream);
    let ledger = oracle::ledger(&places.ledgers)?;
    let mut evidence = Evidence { limits: places.limits.clone(), ..stored(sdk, places).await? };
    let shards = stream.shards().await?;
    evidence.lineage = shards.iter().map(node).collect::<Result<_, _>>()?;
    // Who gives a shard up in good order leaves no owner behind.
    evidence.drained = evidence.final_rows.iter().all(|row| row.owner.is_none());
    let acked = ledger.records.len() as u64;
    let mut lost = Vec::new();
    match records(&stream, &shards).await? {
        Some(records) => {
            evidence.records = records;
            evidence.exact = true;
            lost = name(&mut evidence.records, &ledger);
        }
        None => {
            (evidence.records, evidence.maybe, evidence.open) = (ledger.records, ledger.maybe, ledger.open);
            evidence.limits = None;
        }
    }
    Ok(Gathered { evidence, acked, lost })
}

/// Where the local cloud keeps its warehouse, and the schema in it that holds the tables.
pub(crate) const WAREHOUSE_FILE: &str = "warehouse.duckdb";
pub(crate) const WAREHOUSE_SCHEMA: &str = "mangrove";

/// The tables of the warehouse in a folder of a local cloud that has ended; none if it has none.
pub fn warehouse(data_dir: &Path, stream: &str, schema: &EventSchema) -> Result<Option<Tables>, LoadError> {
    let file = data_dir.join(WAREHOUSE_FILE);
    match file.exists() {
        true => oracle::tables(&file, WAREHOUSE_SCHEMA, stream, schema),
        false => Ok(None),
    }
}

/// Bucket and lease table alone: what workers have written.
pub async fn stored(sdk: &SdkConfig, places: &Places) -> Result<Evidence, GatherError> {
    let leases = LeaseTable::new(sdk, &places.table);
    let mut evidence = Evidence { objects: oracle::collect(sdk, &places.bucket).await?, ..Evidence::default() };
    for shard in leases.scan().await?.leases.keys() {
        evidence.final_rows.extend(leases.get(shard).await?.as_ref().map(Row::from));
    }
    Ok(evidence)
}

fn node(info: &ShardInfo) -> Result<ShardNode, GatherError> {
    let (start, end) = (info.hash_range.0.parse(), info.hash_range.1.parse());
    let (Ok(start), Ok(end)) = (start, end) else {
        return Err(GatherError::HashRange { shard: info.shard.to_string(), range: info.hash_range.clone() });
    };
    let parents = info.parents.iter().map(ToString::to_string).collect();
    Ok(ShardNode { shard: info.shard.to_string(), parents, hash_range: (start, end) })
}

/// Every record of the stream; none if it is too large.
async fn records(stream: &Stream, shards: &[ShardInfo]) -> Result<Option<Vec<Record>>, CallError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for info in shards {
        let mut next = Some(stream.iterator(&info.shard, &Position::TrimHorizon).await?);
        while let Some(iterator) = next {
            let page = stream.records(&info.shard, &iterator, PAGE_RECORDS).await?;
            let at_tip = page.records.is_empty() && page.millis_behind == Some(0);
            next = page.next.filter(|_| !at_tip);
            bytes += page.records.iter().map(|record| record.data.len()).sum::<usize>();
            if bytes > STREAM_BYTES_MAX {
                return Ok(None);
            }
            found.extend(page.records.into_iter().map(|record| Record {
                shard: info.shard.to_string(),
                sequence: record.sequence.to_string(),
                arrival_ms: Some(record.arrival_ms),
                sha256: Sha256::digest(&record.data).into(),
                sensor: Some(record.partition_key.into()),
                n: None,
                data: Some(record.data),
            }));
        }
    }
    Ok(Some(found))
}

/// Gives the stream's records the producer's count; answers with what was acknowledged and is not there.
fn name(records: &mut [Record], ledger: &LedgerFacts) -> Vec<String> {
    let (counts, mut lost) = {
        let stored: &[Record] = records;
        let place = |record: &'_ Record| (record.shard.clone(), record.sequence.clone());
        let mut acked: HashMap<(String, String), &Record> = HashMap::with_capacity(ledger.records.len());
        acked.extend(ledger.records.iter().map(|record| (place(record), record)));
        let mut count = |record: &Record| acked.remove(&place(record)).filter(|it| it.sha256 == record.sha256)?.n;
        let counts: Vec<Option<u64>> = stored.iter().map(&mut count).collect();
        let lost =
            acked.into_keys().map(|(shard, sequence)| format!("{shard} has acknowledged {sequence}, and lost it"));
        (counts, lost.collect::<Vec<_>>())
    };
    for (record, n) in records.iter_mut().zip(counts) {
        record.n = n;
    }
    lost.sort();
    lost
}
