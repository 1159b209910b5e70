//! What the supervision tree shows of one actor, and the address that keeps it true.
//!
//! **Owns** the counters of one node: queue depth, handled messages, since when it is busy, restarts, last error.
//! **Promises** constant memory per node and no lock on the message path.
//! **Not here**: the tree itself (`supervisor/`).

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::metrics::Histogram;
use ractor::{ActorRef, Message};
use serde::Serialize;

use crate::metrics;

/// What state a node is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum NodeState {
    /// Its actor is being started, or waits for its restart.
    Starting = 0,
    /// Its actor takes messages.
    Running = 1,
    /// Its actor finishes what it has and takes nothing new.
    Draining = 2,
    /// It ended in good order.
    Stopped = 3,
    /// It failed and will be restarted after a back-off.
    Restarting = 4,
    /// It failed too often and was given up.
    GivenUp = 5,
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Running, Self::Draining, Self::Stopped, Self::Restarting, Self::GivenUp];

    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Restarting => "restarting",
            Self::GivenUp => "given_up",
        }
    }
}

/// Why and when a node last failed.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// The error's own words, shortened to a bounded length.
    pub message: String,
    /// Wall-clock time, milliseconds since 1970.
    pub at_ms: i64,
}

/// The live counters of one supervised actor. Shared by its senders, itself, its supervisor and the ops endpoint.
#[derive(Debug)]
pub struct Node {
    /// Path in the tree, for example `shards/000000000003/committer`.
    pub path: String,
    /// The actor's name in the map, for example `committer`.
    pub kind: &'static str,
    state: AtomicU8,
    queued: AtomicI64,
    handled: AtomicU64,
    restarts: AtomicU64,
    busy_since_ms: AtomicU64,
    busy_us: AtomicU64,
    epoch: Instant,
    handle_seconds: Histogram,
    marks: Mutex<Marks>,
}

#[derive(Debug)]
struct Marks {
    started: Instant,
    last_error: Option<LastError>,
}

/// Errors are shown in `/tree` and kept as long as the node: bounded.
const ERROR_CHARS_MAX: usize = 400;
const IDLE: u64 = u64::MAX;

impl Node {
    /// A node that has not started yet.
    pub fn new(path: impl Into<String>, kind: &'static str) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            path: path.into(),
            kind,
            state: AtomicU8::new(NodeState::Starting as u8),
            queued: AtomicI64::new(0),
            handled: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            busy_since_ms: AtomicU64::new(IDLE),
            busy_us: AtomicU64::new(0),
            epoch: now,
            handle_seconds: metrics::handle_seconds(kind),
            marks: Mutex::new(Marks { started: now, last_error: None }),
        })
    }

    /// A new incarnation runs: its mailbox is empty, its uptime begins.
    pub fn started(&self) {
        self.queued.store(0, Ordering::Relaxed);
        self.busy_since_ms.store(IDLE, Ordering::Relaxed);
        self.marks().started = Instant::now();
        self.set_state(NodeState::Running);
    }

    /// Records a failure.
    pub fn failed(&self, error: &str, at_ms: i64) {
        let message = error.chars().take(ERROR_CHARS_MAX).collect();
        self.marks().last_error = Some(LastError { message, at_ms });
    }

    /// Counts a restart.
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the state shown.
    pub fn set_state(&self, state: NodeState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// The state shown.
    pub fn state(&self) -> NodeState {
        match self.state.load(Ordering::Relaxed) {
            1 => NodeState::Running,
            2 => NodeState::Draining,
            3 => NodeState::Stopped,
            4 => NodeState::Restarting,
            5 => NodeState::GivenUp,
            _ => NodeState::Starting,
        }
    }

    /// Messages sent and not yet taken.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed).max(0) as u64
    }

    /// Messages handled since the worker began.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// Restarts since the worker began.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// How long this incarnation has run.
    pub fn uptime(&self) -> Duration {
        self.marks().started.elapsed()
    }

    /// The last failure, if there was one.
    pub fn last_error(&self) -> Option<LastError> {
        self.marks().last_error.clone()
    }

    /// For how long the actor has been in one handler; none while it waits for messages.
    pub fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since_ms.load(Ordering::Relaxed);
        (since != IDLE).then(|| self.epoch.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    /// Time spent in handlers since the worker began, waiting for services included; what is in hand does not count yet.
    pub fn busy_in_all(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Ordering::Relaxed))
    }

    /// Marks the actor as busy until the guard is dropped, also by a panic. Call it first in `handle`.
    pub fn handling(&self) -> Handling<'_> {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        let began = self.epoch.elapsed();
        self.busy_since_ms.store(began.as_millis() as u64, Ordering::Relaxed);
        Handling { node: self, began }
    }

    // A panic while the lock was held leaves plain values behind: they are still worth showing.
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An actor is in its handler for as long as this lives.
#[derive(Debug)]
pub struct Handling<'a> {
    node: &'a Node,
    began: Duration,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let took = self.node.epoch.elapsed().saturating_sub(self.began);
        self.node.busy_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.node.handled.fetch_add(1, Ordering::Relaxed);
        self.node.busy_since_ms.store(IDLE, Ordering::Relaxed);
        self.node.handle_seconds.record(took);
    }
}

/// Where messages of one type go, with the queue depth kept beside it: ractor's mailboxes cannot tell theirs.
#[derive(Debug)]
pub struct Address<M: Message> {
    actor: ActorRef<M>,
    node: Arc<Node>,
}

impl<M: Message> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), node: self.node.clone() }
    }
}

/// The receiver has ended. The sender's own supervisor restarts it with a fresh address.
#[derive(Debug, thiserror::Error)]
#[error("{0} has ended")]
pub struct Gone(pub String);

impl<M: Message> Address<M> {
    /// An address of a running actor.
    pub fn new(actor: ActorRef<M>, node: Arc<Node>) -> Self {
        Self { actor, node }
    }

    /// Queues a message.
    pub fn send(&self, message: M) -> Result<(), Gone> {
        self.node.queued.fetch_add(1, Ordering::Relaxed);
        self.actor.send_message(message).map_err(|_| {
            self.node.queued.fetch_sub(1, Ordering::Relaxed);
            Gone(self.node.path.clone())
        })
    }

    /// Queues a message later. Timers go through here too, so that the depth shown stays true.
    pub fn send_after(&self, delay: Duration, message: M) {
        let address = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // An actor that ended meanwhile has no use for its timer.
            let _ = address.send(message);
        });
    }

    /// The node behind the address.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The actor behind the address.
    pub fn actor(&self) -> &ActorRef<M> {
        &self.actor
    }
}
