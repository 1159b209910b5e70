//! What the boxes of one shard share: who they are, and a few figures that travel against the stream of messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use messages::{EventSchema, HashRange, ShardId};

use crate::ports::clock::Clock;
use crate::ports::faults::Faults;

/// The same for every box of a shard, and for all its incarnations.
#[derive(Clone, Debug)]
pub struct ShardContext {
    /// The shard.
    pub shard: ShardId,
    /// The hash keys that belong to it.
    pub hash_range: HashRange,
    /// The stream's name.
    pub stream: Arc<str>,
    /// What a reading looks like.
    pub schema: Arc<EventSchema>,
    /// The wall clock.
    pub clock: Clock,
    /// Crash points to trigger; none outside tests.
    pub faults: Faults,
    /// The shard's figures.
    pub figures: Arc<ShardFigures>,
}

/// Figures of one shard, written by its boxes, read by each other, the ops endpoint and the progress display.
#[derive(Debug, Default)]
pub struct ShardFigures {
    millis_behind: AtomicI64,
    read_at_ms: AtomicI64,
    at_tip_ms: AtomicI64,
    records_read: AtomicU64,
    records_committed: AtomicU64,
    unwritten_windows: AtomicBool,
    sensors: AtomicU64,
    sensors_live: AtomicU64,
    sensor_restarts: AtomicU64,
    epoch: AtomicU64,
    ended: AtomicBool,
}

impl ShardFigures {
    /// The reader got a page (perhaps an empty one) that ended this far from the tip.
    pub fn read(&self, records: u64, millis_behind: i64, now_ms: i64) {
        self.records_read.fetch_add(records, Ordering::Relaxed);
        self.millis_behind.store(millis_behind, Ordering::Relaxed);
        if records == 0 && millis_behind == 0 {
            self.at_tip_ms.store(now_ms, Ordering::Release);
        }
        self.read_at_ms.store(now_ms, Ordering::Release);
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
    pub fn committed(&self, epoch: u64, records: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.records_committed.fetch_add(records, Ordering::Release);
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
    }

    /// The last committed epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Whether windows changed since they were last written.
    pub fn set_unwritten_windows(&self, any: bool) {
        self.unwritten_windows.store(any, Ordering::Release);
    }

    /// Whether windows changed since they were last written.
    pub fn has_unwritten_windows(&self) -> bool {
        self.unwritten_windows.load(Ordering::Acquire)
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

    /// One sensor was restarted.
    pub fn sensor_restarted(&self) {
        self.sensor_restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Restarts of single sensors since the worker began.
    pub fn sensor_restarts(&self) -> u64 {
        self.sensor_restarts.load(Ordering::Relaxed)
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
