//! What the actors of one shard share: who they are, and a few figures that travel against the stream of messages.

mod epochs;
mod holds;
mod outcome;
mod paths;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use messages::{EventSchema, HashRange, ShardId, StreamId};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::epochs::{EPOCHS_MAX, EpochLine, EpochLog, EpochStep, ReadingEpoch};
use self::holds::{FAILURES_MAX, HoldsNow, is_throttled};
pub use self::holds::{HeldUp, Hold, Holds, SensorFailureRecord};
pub use self::outcome::{Failing, HEALS_WITHIN_MS, Ill, Outcome};
pub use self::paths::UnseenPath;
use crate::keys::{Keys, Sample};
use crate::ports::aws::CallError;
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
    /// Told before the reader is drained: it gives up a call that is under way.
    pub leaving: Arc<Notify>,
}

/// Figures of one shard, written by its actors, read by each other, the ops endpoint and the progress display.
#[derive(Debug)]
pub struct ShardFigures {
    millis_behind: AtomicI64,
    read_at_ms: AtomicI64,
    at_tip_ms: AtomicI64,
    records_read: AtomicU64,
    records_committed: AtomicU64,
    sensors: AtomicU64,
    sensors_live: AtomicU64,
    sensor_restarts: AtomicU64,
    lost_writes: AtomicU64,
    sensor_refused_ms: AtomicI64,
    silences: AtomicU64,
    windows: AtomicU64,
    epoch: AtomicU64,
    closed: AtomicBool,
    ended: AtomicBool,
    progress: Mutex<Progress>,
    epochs: EpochLog,
    holds: HoldsNow,
    failures: Ring<SensorFailureRecord>,
    sample: Mutex<Option<Sample>>,
    outcome: Arc<Outcome>,
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
            millis_behind: AtomicI64::default(),
            read_at_ms: AtomicI64::default(),
            at_tip_ms: AtomicI64::default(),
            records_read: AtomicU64::default(),
            records_committed: AtomicU64::default(),
            windows: AtomicU64::default(),
            sensors: AtomicU64::default(),
            sensors_live: AtomicU64::default(),
            sensor_restarts: AtomicU64::default(),
            lost_writes: AtomicU64::default(),
            sensor_refused_ms: AtomicI64::default(),
            silences: AtomicU64::default(),
            epoch: AtomicU64::default(),
            closed: AtomicBool::default(),
            ended: AtomicBool::default(),
            progress: Mutex::default(),
            epochs: EpochLog::default(),
            holds: HoldsNow::default(),
            failures: Ring::new(FAILURES_MAX),
            sample: Mutex::default(),
            outcome: Arc::default(),
            paths: Mutex::default(),
        }
    }
}

/// When something last moved, by the runtime's own clock.
#[derive(Debug)]
struct Progress {
    /// The reader asked the stream, with whatever success. None while it has no reason to.
    polled: Option<Instant>,
    /// The bucket answered, or an epoch went one step further. None while no epoch is on its way.
    wrote: Option<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { polled: Some(Instant::now()), wrote: None }
    }
}

impl ShardFigures {
    /// Figures of a shard that this worker may have worked on before.
    pub fn remembering(outcome: Arc<Outcome>) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// Whether what is read gets stored.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The reader got a page (perhaps an empty one) that ended this far from the tip. True for the first one of an
    /// incarnation.
    pub fn read(&self, records: u64, millis_behind: i64, now_ms: i64) -> bool {
        self.records_read.fetch_add(records, Ordering::Relaxed);
        self.millis_behind.store(millis_behind, Ordering::Relaxed);
        self.holds.passed(Hold::Reading);
        self.holds.budget(None);
        let at_tip = records == 0 && millis_behind == 0;
        if at_tip {
            self.at_tip_ms.store(now_ms, Ordering::Release);
        }
        let (read, committed) = self.progress();
        self.outcome.paged(records, at_tip && read == committed, now_ms);
        self.read_at_ms.swap(now_ms, Ordering::AcqRel) == 0
    }

    /// The reader has asked the stream once more, with whatever success.
    pub fn polled(&self) {
        self.moved().polled = Some(Instant::now());
    }

    /// The reader has no more to ask for.
    pub fn stopped_reading(&self) {
        self.moved().polled = None;
    }

    /// The bucket has answered, with whatever success, or an epoch went a step further.
    pub fn wrote(&self) {
        self.moved().wrote = Some(Instant::now());
    }

    /// What an epoch that was cut still waits for has become less. A long epoch moves; one that hangs does not, whatever
    /// else is judged meanwhile.
    pub fn came_closer(&self) {
        if let Some(wrote) = &mut self.moved().wrote {
            *wrote = Instant::now();
        }
    }

    /// No epoch is on its way.
    pub fn stopped_writing(&self) {
        self.moved().wrote = None;
    }

    /// For how long nothing has moved that should: a service that fails moves, an actor that hangs does not.
    pub fn stalled_for(&self) -> Duration {
        let moved = self.moved();
        let since = [moved.polled, moved.wrote].into_iter().flatten().min();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    // A panic while the lock was held leaves whole values behind.
    fn moved(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a page last said that there is nothing more, milliseconds since 1970; 0 before that. It must be an empty
    /// one: how far behind a full page is, not every implementation of the service tells.
    pub fn at_tip_ms(&self) -> i64 {
        self.at_tip_ms.load(Ordering::Acquire)
    }

    /// How far the last page ended from the tip of the shard, in milliseconds.
    pub fn millis_behind(&self) -> i64 {
        self.millis_behind.load(Ordering::Relaxed)
    }

    /// When the last page came, milliseconds since 1970; 0 before the first.
    pub fn read_at_ms(&self) -> i64 {
        self.read_at_ms.load(Ordering::Acquire)
    }

    /// An epoch was committed.
    pub fn committed(&self, epoch: u64, records: u64, now_ms: i64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.records_committed.fetch_add(records, Ordering::Release);
        let (read, committed) = self.progress();
        self.outcome.committed(read == committed, now_ms);
    }

    /// Records read and records committed by this worker: equal when nothing is under way.
    pub fn progress(&self) -> (u64, u64) {
        (self.records_read.load(Ordering::Acquire), self.records_committed.load(Ordering::Acquire))
    }

    /// The shard starts again from its checkpoint: what was read and not committed is read again.
    pub fn rewound(&self) {
        self.at_tip_ms.store(0, Ordering::Release);
        self.records_read.store(self.records_committed.load(Ordering::Acquire), Ordering::Release);
        self.read_at_ms.store(0, Ordering::Release);
        *self.moved() = Progress::default();
        self.epochs.rewound();
        self.holds.clear();
        self.outcome.rewound();
    }

    /// The shard's last epochs.
    pub fn epochs(&self) -> &EpochLog {
        &self.epochs
    }

    /// What keeps the shard from going on right now.
    pub fn holds(&self) -> Holds {
        self.holds.get()
    }

    /// A call that the shard needs has failed, and is tried again.
    pub fn held(&self, hold: Hold, error: &CallError, now_ms: i64) {
        self.holds.failed(hold, &error.to_string(), is_throttled(error), now_ms);
        self.outcome.failed(hold.into(), &error.to_string(), !error.may_pass(), now_ms);
    }

    /// The shard cannot start, for this reason. `lasting`: another try will not help.
    pub fn held_at_start(&self, cause: &str, lasting: bool, now_ms: i64) {
        self.holds.failed(Hold::Starting, cause, false, now_ms);
        self.outcome.failed(Failing::Starting, cause, lasting, now_ms);
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

    /// The sensors that the shard has seen lately, sampled: told to other shards with the next commit.
    pub fn sampled(&self, sample: Sample) {
        *self.sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
    }

    /// The last sample of the shard's sensors.
    pub fn sample(&self) -> Option<Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
