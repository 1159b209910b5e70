//! What the actors of one shard share: who they are, how far they are, and figures for people.
//!
//! **Promises** nothing is decided by figures: the leases decide by [`Outcome`] and [`ShardProgress`].

mod epochs;
mod holds;
mod outcome;
mod paths;
mod progress;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use messages::{EventSchema, HashRange, ShardId, StreamId};

pub use self::epochs::{EPOCHS_MAX, EpochLine, EpochLog, EpochStep, ReadingEpoch};
use self::holds::{FAILURES_MAX, HoldsNow};
pub use self::holds::{HeldUp, Hold, Holds, SensorFailureRecord};
pub use self::outcome::{Failing, FailureStreak, HEALS_WITHIN_MS, Outcome};
pub use self::paths::UnseenPath;
pub use self::progress::ShardProgress;
use crate::keys::Keys;
use crate::ports::aws::{CallError, Failure};
use crate::ports::chance::Chance;
use crate::ports::clock::Clock;
use crate::ports::faults::Faults;
use crate::ports::work::Work;
use crate::ring::Ring;
use crate::traces::ShardTraces;

/// The same for every actor of a shard, and for all its incarnations.
#[derive(Clone, Debug)]
pub struct ShardContext {
    /// The shard.
    pub shard: ShardId,
    /// The hash keys that belong to it.
    pub hash_range: HashRange,
    /// The stream's name.
    pub stream: Arc<str>,
    /// Which stream that is.
    pub origin: Arc<StreamId>,
    /// What is known of its keys.
    pub keys: Keys,
    /// What a reading looks like.
    pub schema: Arc<EventSchema>,
    /// The wall clock.
    pub clock: Clock,
    /// For the jitter of retries.
    pub chance: Chance,
    /// Where long computations run.
    pub work: Work,
    /// Crash points to trigger; none outside tests.
    pub faults: Faults,
    /// The shard's figures.
    pub figures: Arc<ShardFigures>,
    /// The traces of its epochs.
    pub traces: ShardTraces,
    /// How far the shard is.
    pub progress: Arc<ShardProgress>,
    /// Whether what is read of it gets stored.
    pub outcome: Arc<Outcome>,
}

impl ShardContext {
    /// The reader got a page (perhaps an empty one) that ended this far from the tip. True for the first one of an
    /// incarnation.
    pub(crate) fn read(&self, records: u64, millis_behind: Option<i64>, now_ms: i64) -> bool {
        let rests = self.progress.paged(records, millis_behind, now_ms);
        self.outcome.paged(records, rests, now_ms);
        self.figures.read(records, millis_behind, now_ms)
    }

    /// The stream said that nothing more will come.
    pub(crate) fn closed(&self) {
        self.progress.closed();
        self.figures.set_closed();
    }

    /// An epoch was committed.
    pub(crate) fn committed(&self, epoch: u64, records: u64, now_ms: i64) {
        self.figures.committed(epoch, records);
        self.outcome.committed(self.progress.committed(records), now_ms);
    }

    /// The shard starts again from its checkpoint: what was read and not committed is read again.
    pub fn rewound(&self) {
        self.progress.rewound();
        self.outcome.rewound();
        self.figures.rewound();
    }

    /// A call that the shard needs has failed, and is tried again.
    pub(crate) fn held(&self, hold: Hold, error: &CallError) {
        let (cause, now_ms) = (error.to_string(), self.clock.now_ms());
        self.figures.holds.failed(hold, &cause, error.failure, now_ms);
        // That others read the shard too says nothing of this worker.
        if !(hold == Hold::Reading && error.failure == Failure::Throttled) {
            self.outcome.failed(hold.into(), &cause, !error.may_pass(), now_ms);
        }
    }

    /// The shard cannot start yet, for this reason, which may pass.
    pub fn held_at_start(&self, cause: &str) {
        let now_ms = self.clock.now_ms();
        self.figures.holds.failed(Hold::Starting, cause, Failure::Transient, now_ms);
        self.outcome.failed(Failing::Starting, cause, false, now_ms);
    }
}

/// A time that nobody has told.
const UNKNOWN: i64 = i64::MIN;

/// Figures of one shard, written by its actors, read by the ops endpoint and the progress display.
#[derive(Debug)]
pub struct ShardFigures {
    millis_behind: AtomicI64,
    read_at_ms: AtomicI64,
    records_read: AtomicU64,
    records_committed: AtomicU64,
    sensors: AtomicU64,
    sensors_live: AtomicU64,
    sensor_restarts: AtomicU64,
    lost_writes: AtomicU64,
    sensor_refused_ms: AtomicI64,
    states_since_ms: AtomicI64,
    silences: AtomicU64,
    windows: AtomicU64,
    epoch: AtomicU64,
    closed: AtomicBool,
    ended: AtomicBool,
    epochs: EpochLog,
    holds: HoldsNow,
    failures: Ring<SensorFailureRecord>,
    paths: Mutex<PathsSeen>,
}

/// What is known of the schema's paths.
#[derive(Debug, Default)]
struct PathsSeen {
    /// As the last epoch with enough events has shown; none before the first.
    unseen: Option<Vec<UnseenPath>>,
    /// Those that the log has. At most one each of the schema.
    said: BTreeSet<String>,
}

impl Default for ShardFigures {
    fn default() -> Self {
        Self {
            millis_behind: AtomicI64::new(UNKNOWN),
            read_at_ms: AtomicI64::default(),
            records_read: AtomicU64::default(),
            records_committed: AtomicU64::default(),
            windows: AtomicU64::default(),
            sensors: AtomicU64::default(),
            sensors_live: AtomicU64::default(),
            sensor_restarts: AtomicU64::default(),
            lost_writes: AtomicU64::default(),
            sensor_refused_ms: AtomicI64::default(),
            states_since_ms: AtomicI64::new(UNKNOWN),
            silences: AtomicU64::default(),
            epoch: AtomicU64::default(),
            closed: AtomicBool::default(),
            ended: AtomicBool::default(),
            epochs: EpochLog::default(),
            holds: HoldsNow::default(),
            failures: Ring::new(FAILURES_MAX),
            paths: Mutex::default(),
        }
    }
}

impl ShardFigures {
    /// The reader got a page (perhaps an empty one) that ended this far from the tip. True for the first one of an
    /// incarnation.
    pub fn read(&self, records: u64, millis_behind: Option<i64>, now_ms: i64) -> bool {
        self.records_read.fetch_add(records, Ordering::Relaxed);
        self.millis_behind.store(millis_behind.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.holds.read(records);
        self.read_at_ms.swap(now_ms, Ordering::AcqRel) == 0
    }

    /// How far the last page ended from the tip of the shard, in milliseconds; none before the first, and if it did not
    /// say.
    pub fn millis_behind(&self) -> Option<i64> {
        Some(self.millis_behind.load(Ordering::Relaxed)).filter(|behind_ms| *behind_ms != UNKNOWN)
    }

    /// The stream no longer holds where the shard was read up to.
    pub fn position_trimmed(&self, now_ms: i64) {
        self.holds.trimmed(now_ms);
    }

    /// When the last page came, milliseconds since 1970; 0 before the first.
    pub fn read_at_ms(&self) -> i64 {
        self.read_at_ms.load(Ordering::Acquire)
    }

    fn committed(&self, epoch: u64, records: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.records_committed.fetch_add(records, Ordering::Release);
    }

    /// Records read and records committed by this worker: equal when nothing is under way.
    pub fn progress(&self) -> (u64, u64) {
        (self.records_read.load(Ordering::Acquire), self.records_committed.load(Ordering::Acquire))
    }

    fn rewound(&self) {
        self.records_read.store(self.records_committed.load(Ordering::Acquire), Ordering::Release);
        self.read_at_ms.store(0, Ordering::Release);
        self.millis_behind.store(UNKNOWN, Ordering::Relaxed);
        self.epochs.rewound();
        self.holds.clear();
    }

    /// The shard's last epochs.
    pub fn epochs(&self) -> &EpochLog {
        &self.epochs
    }

    /// What keeps the shard from going on right now.
    pub fn holds(&self) -> Holds {
        self.holds.get()
    }

    /// The manifest of the last epoch cannot be read, or can be again.
    pub fn manifest_damaged(&self, key: Option<String>) {
        self.holds.manifest_damaged(key);
    }

    /// What held the shard up has passed.
    pub fn passed(&self, hold: Hold) {
        self.holds.passed(hold);
    }

    /// A poll was skipped because the byte budget is used up.
    pub fn waits_for_budget(&self, now_ms: i64) {
        self.holds.budget(Some(now_ms));
    }

    /// A sensor's actor has failed and is started again.
    pub fn sensor_failed(&self, failure: SensorFailureRecord) {
        self.failures.push(failure);
    }

    /// The last failures of single sensors, newest first.
    pub fn sensor_falls(&self) -> Vec<SensorFailureRecord> {
        self.failures.all()
    }

    /// These paths of the schema were in no event of the last epoch. Gives those that nobody has been told of yet.
    pub fn set_unseen_paths(&self, unseen: Vec<UnseenPath>) -> Vec<UnseenPath> {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let new = unseen.iter().filter(|path| paths.said.insert(path.of.clone())).cloned().collect();
        paths.unseen = Some(unseen);
        new
    }

    /// The paths of the schema that were in no event of the last epoch; none before one had enough events to tell.
    pub fn unseen_paths(&self) -> Option<Vec<UnseenPath>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).unseen.clone()
    }

    /// The last committed epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How many sensors the shard knows, and how many have an actor.
    pub fn set_sensors(&self, known: usize, live: usize) {
        self.sensors.store(known as u64, Ordering::Relaxed);
        self.sensors_live.store(live as u64, Ordering::Relaxed);
    }

    /// How many sensors the shard knows, and how many have an actor.
    pub fn sensors(&self) -> (u64, u64) {
        (self.sensors.load(Ordering::Relaxed), self.sensors_live.load(Ordering::Relaxed))
    }

    /// How many silent sensors are not reported yet.
    pub fn set_silences(&self, waiting: usize) {
        self.silences.store(waiting as u64, Ordering::Relaxed);
    }

    /// How many silent sensors are not reported yet.
    pub fn silences(&self) -> u64 {
        self.silences.load(Ordering::Relaxed)
    }

    /// A sensor was refused, because the shard knows as many as it may.
    pub fn sensor_refused(&self, now_ms: i64) {
        self.sensor_refused_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When a sensor was last refused, milliseconds since 1970; none if none was.
    pub fn sensor_refused_ms(&self) -> Option<i64> {
        Some(self.sensor_refused_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms > 0)
    }

    /// When the oldest state was stored that a start would read, milliseconds since 1970; none if it would read none.
    pub fn set_states_since(&self, at_ms: Option<i64>) {
        self.states_since_ms.store(at_ms.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// When the oldest state was stored that a start would read, milliseconds since 1970; none if it would read none.
    pub fn states_since_ms(&self) -> Option<i64> {
        Some(self.states_since_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != UNKNOWN)
    }

    /// How many windows are open.
    pub fn set_windows(&self, open: usize) {
        self.windows.store(open as u64, Ordering::Relaxed);
    }

    /// How many windows were open at the last cut.
    pub fn windows(&self) -> u64 {
        self.windows.load(Ordering::Relaxed)
    }

    /// One sensor was restarted.
    pub fn sensor_restarted(&self) {
        self.sensor_restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Restarts of single sensors since the worker began.
    pub fn sensor_restarts(&self) -> u64 {
        self.sensor_restarts.load(Ordering::Relaxed)
    }

    /// A write of the lease row found that somebody else had written it.
    pub fn lost_a_write(&self) {
        self.lost_writes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was so since the worker began.
    pub fn lost_writes(&self) -> u64 {
        self.lost_writes.load(Ordering::Relaxed)
    }

    /// The stream said that nothing more will come.
    pub fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the stream said that nothing more will come: the shard is about to end.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The shard was closed and all of it is committed.
    pub fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the shard was closed and all of it is committed.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}
