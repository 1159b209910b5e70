//! Evidence of a run of real processes: the bucket, and the ledgers of its producers.
//!
//! **Owns** the reading of both.
//! **Promises** at most [`BUCKET_BYTES_MAX`] are read, and [`GETS_MAX`] objects at once.
//! **Fails** with [`LoadError`]: what was not read must not look like something that is not there.
//! **Not here**: the lease table, and the simulation's own evidence.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use actors::ports::aws::CallError;
use actors::ports::objects::Objects;
use aws_config::SdkConfig;
use bytes::Bytes;
use fleet::{Entry, FleetError, Ledger, Line, Outcome};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::evidence::Record;

const BUCKET_BYTES_MAX: u64 = 1 << 30;
const OBJECT_BYTES_MAX: usize = 1 << 29;
const GETS_MAX: usize = 16;

/// Why evidence cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bucket does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] FleetError),
    /// The bucket is larger than what one verdict may take.
    #[error("the bucket holds more than {BUCKET_BYTES_MAX} bytes")]
    TooLarge,
    /// The file of the warehouse cannot be read, or is not what it should be.
    #[error("the warehouse in {path:?}: {problem}")]
    Warehouse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A ledger says something that no producer writes.
    #[error("{path:?}: {problem}")]
    Nonsense {
        /// The ledger.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// What producers know.
#[derive(Clone, Debug, Default)]
pub struct LedgerFacts {
    /// What was acknowledged.
    pub records: Vec<Record>,
    /// Payloads whose answer was lost, and how often.
    pub maybe: BTreeMap<[u8; 32], u64>,
    /// Records in flight without an outcome.
    pub open: u64,
}

/// Reads a whole bucket, as any client may.
pub async fn collect(sdk: &SdkConfig, bucket: &str) -> Result<BTreeMap<String, Bytes>, LoadError> {
    let objects = Objects::new(sdk, bucket);
    let get = |key: String| {
        let objects = objects.clone();
        async move {
            let bytes = objects.get(&key, OBJECT_BYTES_MAX).await?;
            Ok::<_, LoadError>((key, bytes))
        }
    };
    let mut gets = stream::iter(objects.list("").await?.into_iter().map(get)).buffer_unordered(GETS_MAX);
    let (mut found, mut bytes_sum) = (BTreeMap::new(), 0);
    while let Some((key, bytes)) = gets.try_next().await? {
        bytes_sum += bytes.len() as u64;
        if bytes_sum > BUCKET_BYTES_MAX {
            return Err(LoadError::TooLarge);
        }
        found.insert(key, bytes);
    }
    Ok(found)
}

/// Reads the ledgers of all producers of a run.
pub fn ledger(paths: &[PathBuf]) -> Result<LedgerFacts, LoadError> {
    let mut facts = LedgerFacts::default();
    for path in paths {
        facts.add(path)?;
    }
    Ok(facts)
}

impl LedgerFacts {
    fn add(&mut self, path: &Path) -> Result<(), LoadError> {
        let nonsense = |problem: String| LoadError::Nonsense { path: path.to_owned(), problem };
        // A sender and a number stand for two records where one is a duplicate of the other.
        let mut open: HashMap<(String, u64), u64> = HashMap::new();
        for line in Ledger::read(path)? {
            match line? {
                Line::Sending { sending } => {
                    for span in sending {
                        for n in span.first..=span.last {
                            *open.entry((span.sensor.clone(), n)).or_default() += 1;
                        }
                    }
                }
                Line::Outcome(entry) => {
                    let key = (entry.sensor.clone(), entry.n);
                    if entry.k != Outcome::Maybe {
                        let left = open.get_mut(&key).filter(|left| **left > 0);
                        *left.ok_or_else(|| nonsense(format!("an outcome without a sending: {key:?}")))? -= 1;
                        if open[&key] == 0 {
                            open.remove(&key);
                        }
                    }
                    self.outcome(entry).map_err(nonsense)?;
                }
                Line::Complete(_) => {}
            }
        }
        self.open += open.values().sum::<u64>();
        Ok(())
    }

    fn outcome(&mut self, entry: Entry) -> Result<(), String> {
        let sha256 = digest(&entry.sha256).ok_or_else(|| format!("{:?} is no digest", entry.sha256))?;
        match entry.k {
            Outcome::Acked => {
                let (shard, sequence) = entry.shard.zip(entry.seq).ok_or("an acknowledgement without a place")?;
                let (sensor, n) = (Some(entry.sensor), Some(entry.n));
                self.records.push(Record { shard, sequence, arrival_ms: None, sha256, sensor, n, data: None });
            }
            Outcome::Maybe => *self.maybe.entry(sha256).or_default() += 1,
            Outcome::Failed => {}
        }
        Ok(())
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}
