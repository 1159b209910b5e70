//! What a shard goes on from: the states as of its checkpoint, and the alerts that may not have left.
//!
//! **Promises** states are read from the newest object back to the last full one; whatever is missing or damaged stops
//! the shard with a clear error, it never starts from less than everything (STATE).
//! **Not here**: the lease itself (`ports/leases.rs`), replaying a prepared epoch (the reader and the committer).

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use messages::{Alert, EpochNumber, EpochPlan, HashRange, StateEntry, StateKind, Zone};
use tokio::time::Instant;
use tracing::warn;

use crate::lake::{StateObjectError, decode_state, manifest_of_state};
use crate::ports::aws::CallError;
use crate::ports::backoff::Backoff;
use crate::ports::chance::Chance;
use crate::ports::leases::LeaseRow;
use crate::ports::objects::Objects;
use crate::ports::work;
use crate::verdict::FailureVerdict;

/// State objects between two full ones; far above any sensible `epoch.full_state_every`.
const CHAIN_MAX: usize = 100_000;
const OBJECT_BYTES_MAX: usize = 1 << 30;
/// Epochs whose alerts are looked at after a start; more of them means that nobody has listened for a long time.
const ALERT_EPOCHS_MAX: usize = 1_000;
const ALERTS_MAX: usize = 100_000;
const ALERT_OBJECT_BYTES_MAX: u64 = 256 << 20;

/// Tries of one read. A chain of states is many reads: if one that fails meant to begin again, a bucket that loses every
/// fourth answer would let nobody through.
const READ_TRIES: u32 = 5;
const READ_BACKOFF: Duration = Duration::from_millis(50);
/// After this a read that failed is not tried again: whoever starts the shard has to say what holds it up before its own
/// time is over.
const READ_PATIENCE: Duration = Duration::from_secs(8);

/// Reads objects, each patiently.
#[derive(Clone, Debug)]
pub struct Reads {
    objects: Objects,
    chance: Chance,
}

impl Reads {
    /// From this bucket.
    pub fn new(objects: &Objects, chance: &Chance) -> Self {
        Self { objects: objects.clone(), chance: chance.clone() }
    }

    /// The bucket itself.
    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Bytes, CallError> {
        Ok(self.get_dated(key).await?.0)
    }

    /// An object, and when it was stored.
    async fn get_dated(&self, key: &str) -> Result<(Bytes, Option<i64>), CallError> {
        let began = Instant::now();
        let mut backoff = Backoff::new(&self.chance, READ_BACKOFF, READ_PATIENCE);
        for _ in 1..READ_TRIES {
            match self.objects.get_dated(key, OBJECT_BYTES_MAX).await {
                Err(error) if error.may_pass() && began.elapsed() < READ_PATIENCE => {
                    warn!(%error, "read failed, trying again");
                    tokio::time::sleep(backoff.after(&error).min(READ_PATIENCE.saturating_sub(began.elapsed()))).await;
                }
                outcome => return outcome,
            }
        }
        self.objects.get_dated(key, OBJECT_BYTES_MAX).await
    }
}

/// The states of a shard as of its checkpoint.
#[derive(Debug, Default)]
pub struct Recovered {
    /// One entry per sensor.
    pub sensors: Vec<StateEntry>,
    /// One entry per sensor with open windows of this shard.
    pub windows: Vec<StateEntry>,
    /// The names of the fields that the windows number; none for a fresh shard.
    pub fields: Vec<String>,
    /// The event-time watermark, microseconds since 1970; the beginning of time for a fresh shard.
    pub watermark_us: Option<i64>,
    /// When the oldest object was stored of those that were read, milliseconds since 1970; none if none was read. One
    /// that does not say is as old as can be.
    pub oldest_ms: Option<i64>,
}

impl Recovered {
    /// Takes in what a parent has left to a shard of this hash range.
    ///
    /// Windows stay behind: the parent has written what it counted of them when it ended, and whoever reads them adds up
    /// what each shard says. So a sensor may be on any number of shards.
    ///
    /// A sensor whose hash key is not even in the parent's range was placed there by its producer, with an explicit
    /// hash key that the stream does not give back. Nobody knows where it goes, so every child gets its state.
    pub fn unite(&mut self, parent: Self, from: HashRange, range: HashRange) {
        let mine = |entry: &StateEntry| range.contains(entry.hash_key) || !from.contains(entry.hash_key);
        self.sensors.extend(parent.sensors.into_iter().filter(mine));
        self.fields = parent.fields;
        // The later of both: a window that one parent has closed for good must stay closed.
        self.watermark_us = self.watermark_us.max(parent.watermark_us);
        self.oldest_ms = self.oldest_ms.into_iter().chain(parent.oldest_ms).min();
        // A sensor that both parents know (a producer that moved it) keeps the state of the one named later.
        let newest: BTreeMap<_, _> = self.sensors.drain(..).map(|entry| (entry.sensor.clone(), entry)).collect();
        self.sensors.extend(newest.into_values());
    }
}

/// Why a shard cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// An object could not be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A state object is damaged.
    #[error("state object {key:?}: {source}")]
    State {
        /// Which one.
        key: String,
        /// What is wrong with it.
        source: StateObjectError,
    },
    /// States were written under other fields than the schema has now.
    #[error(
        "the sensors' states hold the fields {stored:?}, the schema has {now:?}: \
         go on with the old schema, or start a new lease table and bucket for the new one"
    )]
    OtherFields {
        /// The fields then.
        stored: Vec<String>,
        /// The fields now.
        now: Vec<String>,
    },
    /// The chain has no full object at its end.
    #[error("the chain of state objects does not end: {0} objects read")]
    Endless(usize),
    /// A manifest or an alerts object cannot be understood.
    #[error("{key:?}: {problem}")]
    Damaged {
        /// Which one.
        key: String,
        /// What is wrong with it.
        problem: io::Error,
    },
}

impl RecoveryError {
    /// What is to be done about it.
    pub fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Call(error) => error.verdict(),
            Self::State { .. } | Self::OtherFields { .. } | Self::Endless(_) | Self::Damaged { .. } => {
                FailureVerdict::Restart
            }
        }
    }
}

/// Reads the states as of the epoch that this state object belongs to.
pub async fn states(reads: &Reads, newest_key: Option<&str>, fields: &[String]) -> Result<Recovered, RecoveryError> {
    let mut newest: BTreeMap<(StateKind, _), StateEntry> = BTreeMap::new();
    let mut read = Recovered::default();
    let mut next = newest_key.map(str::to_owned);
    for _ in 0..CHAIN_MAX {
        let Some(key) = next else {
            return Ok(sorted(newest, read));
        };
        let (bytes, stored_ms) = reads.get_dated(&key).await?;
        read.oldest_ms = read.oldest_ms.into_iter().chain([stored_ms.unwrap_or(0)]).min();
        let state =
            work::here(|| decode_state(&bytes)).map_err(|source| RecoveryError::State { key: key.clone(), source })?;
        if state.header.fields != fields {
            return Err(RecoveryError::OtherFields { stored: state.header.fields, now: fields.to_vec() });
        }
        read.watermark_us.get_or_insert(state.header.watermark_us);
        // Those of the whole chain are the same.
        read.fields = state.header.fields;
        for entry in state.entries {
            newest.entry((entry.kind, entry.sensor.clone())).or_insert(entry);
        }
        next = if state.header.full { None } else { state.header.previous };
    }
    Err(RecoveryError::Endless(CHAIN_MAX))
}

fn sorted<K: Ord>(newest: BTreeMap<K, StateEntry>, read: Recovered) -> Recovered {
    // An empty entry says that its owner has forgotten the sensor.
    let entries = newest.into_values().filter(|entry| !entry.bytes.is_empty());
    let (sensors, windows) = entries.partition(|entry| entry.kind == StateKind::Sensor);
    Recovered { sensors, windows, ..read }
}

/// Alerts that may not have left.
#[derive(Debug, Default)]
pub struct Unsent {
    /// Oldest first.
    pub alerts: Vec<Alert>,
    /// Whether there are older ones, too many to be read again.
    pub cut_off: bool,
}

/// Alerts of committed epochs that may not have been handed over before the last owner stopped.
pub async fn unsent_alerts(reads: &Reads, row: &LeaseRow) -> Result<Unsent, RecoveryError> {
    let mut by_epoch = Vec::new();
    let (mut n_alerts, mut state_key, mut epoch) = (0, row.state_key.clone(), row.epoch);
    while epoch > row.alerts_through && by_epoch.len() < ALERT_EPOCHS_MAX && n_alerts < ALERTS_MAX {
        let Some(key) = state_key.as_deref().map(manifest_of_state) else { break };
        let damaged = |key: &str, problem| RecoveryError::Damaged { key: key.to_owned(), problem };
        let json = reads.get(&key).await?;
        let plan: EpochPlan = serde_json::from_slice(&json).map_err(|e| damaged(&key, e.into()))?;
        let mut alerts = Vec::new();
        for object in plan.objects.iter().filter(|object| object.zone == Zone::Alerts) {
            let lines = reads.get(&object.key).await?;
            alerts.extend(read_alerts(&lines).map_err(|e| damaged(&object.key, e))?);
        }
        n_alerts += alerts.len();
        by_epoch.push(alerts);
        state_key = plan.previous_state;
        epoch = EpochNumber(epoch.0 - 1);
    }
    let cut_off = epoch > row.alerts_through;
    Ok(Unsent { alerts: by_epoch.into_iter().rev().flatten().collect(), cut_off })
}

fn read_alerts(packed: &[u8]) -> io::Result<Vec<Alert>> {
    let mut text = String::new();
    let mut lines = flate2::read::MultiGzDecoder::new(packed).take(ALERT_OBJECT_BYTES_MAX);
    lines.read_to_string(&mut text)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[cfg(test)]
mod tests {
    use messages::SensorId;

    use super::*;

    fn entry(kind: StateKind, sensor: &str, hash_key: u128) -> StateEntry {
        StateEntry { kind, sensor: SensorId::new(sensor), hash_key, bytes: [].into() }
    }

    #[test]
    fn a_split_takes_its_sensors_and_leaves_the_windows() {
        let parent = || Recovered {
            sensors: [("low", 10), ("high", 60)].map(|(id, key)| entry(StateKind::Sensor, id, key)).into(),
            windows: [("low", 60), ("high", 10)].map(|(id, key)| entry(StateKind::Windows, id, key)).into(),
            fields: vec!["heat".to_owned()],
            watermark_us: Some(1),
            oldest_ms: Some(7),
        };
        let from = HashRange::parse("0", "99").unwrap();
        for (range, sensor, hash_key) in [(("0", "49"), "low", 10), (("50", "99"), "high", 60)] {
            let mut child = Recovered::default();
            child.unite(parent(), from, HashRange::parse(range.0, range.1).unwrap());
            let sensors: Vec<_> = child.sensors.iter().map(|entry| (entry.sensor.as_str(), entry.hash_key)).collect();
            assert_eq!(sensors, [(sensor, hash_key)]);
            assert_eq!((child.windows.len(), child.watermark_us, child.oldest_ms), (0, Some(1), Some(7)));
            child.unite(Recovered { oldest_ms: Some(3), ..Recovered::default() }, from, from);
            child.unite(Recovered::default(), from, from);
            assert_eq!(child.oldest_ms, Some(3), "the oldest of all");
        }
    }
}
