//! What the endpoint is told about the worker: one look, in plain numbers, from which everything shown is made.
//!
//! **Promises** a look asks no service and no actor: it costs what it lists, whoever looks.
//! **Not here**: what it means (`shards.rs`, `diagnosis.rs`).

use std::sync::Arc;
use std::time::Duration;

use actors::alerts::AlertLine;
use actors::keys::Keys;
use actors::loading::LoaderStatus;
use actors::shard::UnseenPath;
use actors::shard::{EpochLine, FailureStreak, HeldUp, Holds, ReadingEpoch, SensorFailureRecord};
use messages::ShardId;

use crate::leases::{LeaseFinding, LeasesSeen};

/// Lets itself be looked at.
pub trait StatusSource: Send + Sync + 'static {
    /// The worker as it is now.
    fn status(&self) -> WorkerStatus;
}

/// The worker as it is now.
#[derive(Clone, Debug, Default)]
pub struct WorkerStatus {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What keeps the worker from beginning; none once it has begun.
    pub waits: Option<HeldUp>,
    /// The shards that this worker works on.
    pub owned: Vec<OwnedStatus>,
    /// What it knows of the cluster.
    pub seen: Arc<LeasesSeen>,
    /// What keeps shards from being read.
    pub lease_findings: Vec<(LeaseFinding, String)>,
    /// Bytes in flight.
    pub budget_taken: u64,
    /// Bytes that may be in flight.
    pub budget_max: u64,
    /// The last alerts, newest first.
    pub alerts: Vec<AlertLine>,
    /// Alerts raised since the worker began.
    pub alerts_raised: u64,
    /// From arrival to handed over: the median and the 99th percentile, in milliseconds.
    pub alert_latency_ms: [Option<u64>; 2],
    /// The loader of the warehouse; none without one.
    pub loader: Option<LoaderStatus>,
    /// What is known of the stream's keys.
    pub keys: Keys,
    /// When epochs end.
    pub limits: EpochLimits,
    /// Bytes of memory that the process uses, and how many it may; none if nobody knows.
    pub memory: Option<(u64, u64)>,
}

/// When an epoch ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct EpochLimits {
    /// Its first record is this old.
    pub age_max: Duration,
    /// Its records have this many bytes.
    pub bytes_max: u64,
    /// It touches this many partitions.
    pub partitions_max: usize,
    /// It holds this many readings.
    pub rows_max: u64,
    /// The oldest state is this old.
    pub refresh_after: Duration,
}

/// A shard that this worker works on.
#[derive(Clone, Debug)]
pub struct OwnedStatus {
    /// The shard.
    pub shard: ShardId,
    /// How far the last page ended from the tip, in milliseconds; none before the first, and if it did not say.
    pub lag_ms: Option<i64>,
    /// When the last page came, milliseconds since 1970; 0 before the first.
    pub read_at_ms: i64,
    /// Records read.
    pub read: u64,
    /// Those of them that are committed.
    pub committed: u64,
    /// The last committed epoch.
    pub epoch: u64,
    /// Sensors that the shard knows.
    pub sensors: u64,
    /// Those of them that have an actor.
    pub sensors_live: u64,
    /// Restarts of single sensors.
    pub sensor_restarts: u64,
    /// Whether all of it is committed and nothing more will come.
    pub ended: bool,
    /// For how long nothing has moved that should.
    pub stalled: Duration,
    /// What it waits for.
    pub holds: Holds,
    /// What has failed since it last worked.
    pub failure: Option<FailureStreak>,
    /// The epoch that is being read.
    pub open: ReadingEpoch,
    /// The last epochs, newest first.
    pub epochs: Vec<EpochLine>,
    /// When a sensor was last refused because as many are known as may be, milliseconds since 1970.
    pub refused_ms: Option<i64>,
    /// How old the oldest state is that a start would read, in milliseconds; none if it would read none.
    pub states_age_ms: Option<i64>,
    /// The last failures of single sensors, newest first.
    pub failures: Vec<SensorFailureRecord>,
    /// Paths of the schema that no event of the last epoch had; none before that is known.
    pub unseen_paths: Option<Vec<UnseenPath>>,
}

impl OwnedStatus {
    /// How far behind the tip the shard may be: the last page's word, if it said any, and all the time since then in which
    /// no page came.
    pub(super) fn behind_ms(&self, now_ms: i64) -> Option<i64> {
        /// Pages come several times a second.
        const BETWEEN_PAGES_MS: i64 = 1_000;
        let silent_ms = match self.read_at_ms {
            0 => 0,
            _ if self.ended => 0,
            at_ms => now_ms.saturating_sub(at_ms).saturating_sub(BETWEEN_PAGES_MS).max(0),
        };
        Some(self.lag_ms?.saturating_add(silent_ms))
    }
}
