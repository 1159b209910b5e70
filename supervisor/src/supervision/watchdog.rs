//! Finds actors that hang, and has them killed and restarted.
//!
//! **Owns** the list of hangs that it has reported.
//! **Promises** a handler that runs longer than `hang_timeout` is logged once and its actor killed, so that its
//! supervisor restarts it; a hang is never waited for.
//! **Fails** by stopping with its handle. It runs on the runtime that it watches: when every thread is blocked, it is
//! blocked too, and then the liveness probe says so, or does not answer either.
//! **Not here**: killing and abandoning (`state.rs`); sensors, which their router watches.
//!
//! A handler that awaits dies of its kill at once. One that blocks its thread cannot be preempted: its supervisor
//! abandons it after a grace period and starts the next incarnation beside it. What the abandoned one still does
//! must therefore be harmless; every write outside is fenced by the shard's lease.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::error;

use super::task::Task;
use super::tree::Tree;

/// When an actor hangs, and how soon that is noticed.
#[derive(Clone, Debug)]
pub struct WatchdogConfig {
    /// Time between two looks.
    pub scan_every: Duration,
    /// A handler that runs longer hangs. Must exceed the longest that an actor waits in one handler.
    pub hang_timeout: Duration,
}

/// When the watchdog last looked. It runs on the runtime of the actors: where it stands still, so do they.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Since it last beat; none before the first time.
    pub fn still_for(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }
}

/// Watches for as long as it lives.
#[derive(Debug)]
pub struct Watchdog {
    _task: Task<()>,
}

impl Watchdog {
    /// Starts to watch.
    pub fn spawn(tree: Tree, config: WatchdogConfig, pulse: Pulse) -> Self {
        Self { _task: Task::spawn(watch(tree, config, pulse)) }
    }
}

async fn watch(tree: Tree, config: WatchdogConfig, pulse: Pulse) {
    let mut ticks = interval(config.scan_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = HashSet::new();
    loop {
        ticks.tick().await;
        pulse.beat();
        reported = scan(&tree, config.hang_timeout, &reported);
    }
}

/// Reports new hangs; returns all of them. A hang is one incarnation's: its number of restarts tells it from the next.
fn scan(tree: &Tree, hang_timeout: Duration, reported: &HashSet<(String, u64)>) -> HashSet<(String, u64)> {
    let mut hung = HashSet::new();
    for node in tree.nodes() {
        let Some(busy) = node.busy_for().filter(|busy| *busy > hang_timeout) else { continue };
        let hang = (node.path.clone(), node.restarts());
        if !reported.contains(&hang) {
            error!(path = node.path, kind = node.kind, ?busy, "actor hangs and is killed");
            // False: its supervisor has just ended, and with it the actor.
            tree.kill(&node.path, &format!("it hung in one handler for {busy:.1?}"));
        }
        hung.insert(hang);
    }
    hung
}
