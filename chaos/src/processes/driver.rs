//! Breaks things, one after the other, and puts back up what has to be.
//!
//! **Owns** the workers, the producer, and everything that is due later.
//! **Promises** at least one worker is at work whenever another one is broken; supervisors are not driven beyond the
//! restarts that they are configured to make.
//! **Fails** with what is missing outside. What a worker does wrong is noted, and the run goes on.
//! **Not here**: which fault comes next (`planner.rs`), the end of the run (`settle.rs`).

mod strike;

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actors::ports::leases::LeaseTable;
use messages::Position;
use supervisor::exit::CliError;

use super::Options;
use super::child::{Child, Signal};
use super::planner::Planner;
use super::reshard::Reshard;
use super::scene::{STREAM, Scene};
use super::windows::Windows;
use super::workers::{State, Worker};
use crate::oracle::Violation;

const TICK: Duration = Duration::from_millis(20);
/// Shards that stand still for longer are a violation.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);
/// A worker that was asked to end takes at most its drain timeout, and a little.
pub(super) const END_MAX: Duration = Duration::from_secs(40);
const START_MAX: Duration = Duration::from_secs(60);
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Before the table is asked whether what is waited for has ended.
const LOOK_AFTER: Duration = Duration::from_secs(8);
/// An actor that was killed is up again after this.
const ACTOR_DOWN_MAX: Duration = Duration::from_secs(2);
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// The exit code of a worker that finds something outside missing.
const ENVIRONMENT: i32 = 3;

/// A run.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) options: Options,
    pub(super) scene: Scene,
    pub(super) workers: Vec<Worker>,
    pub(super) fleet: Option<Child>,
    pub(super) fleet_report: Arc<Mutex<Option<String>>>,
    pub(super) began: Instant,
    pub(super) windows: Windows,
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) passed_over: u64,
    /// Starts that failed because a service did.
    pub(super) failed_starts: u64,
    pub(super) violations: Vec<Violation>,
    /// How long it took in the end until all was in the warehouse.
    pub(super) loaded: Option<Duration>,
    planner: Planner,
    reshard: Reshard,
    http: reqwest::Client,
    leases: LeaseTable,
    /// Actors that were killed lately, by who restarts them.
    kills: VecDeque<(Instant, String)>,
    looked_at: Instant,
}

impl Driver {
    /// Starts workers and producer, and waits until all is read.
    pub(super) async fn start(scene: Scene, options: &Options) -> Result<Self, CliError> {
        let http = reqwest::Client::builder().timeout(HTTP_TIMEOUT).build().map_err(CliError::internal)?;
        let workers = (1..=options.workers).map(|n| Worker::start(n, &scene)).collect::<Result<_, _>>()?;
        let now = Instant::now();
        let mut driver = Self {
            options: options.clone(),
            workers,
            fleet: None,
            fleet_report: Arc::default(),
            began: now,
            windows: Windows::new(http.clone(), &scene.endpoint_url),
            faults: BTreeMap::new(),
            passed_over: 0,
            failed_starts: 0,
            violations: Vec::new(),
            loaded: None,
            planner: Planner::new(options.seed, options.warehouse),
            reshard: Reshard::new(&scene.sdk, STREAM),
            http,
            leases: LeaseTable::new(&scene.sdk, &scene.config.leases_table),
            kills: VecDeque::new(),
            looked_at: now,
            scene,
        };
        driver.say(&format!("{} workers, in {}", options.workers, driver.scene.folder.display()));
        driver.until_all_is_read(options.shards as usize).await?;
        driver.fleet = Some(driver.scene.fleet(options, driver.fleet_report.clone())?);
        driver.began = Instant::now();
        Ok(driver)
    }

    async fn until_all_is_read(&mut self, n_shards: usize) -> Result<(), CliError> {
        let deadline = Instant::now() + START_MAX;
        let up = |driver: &Self| driver.workers.iter().all(|worker| worker.is_at_work(&driver.scene));
        while !up(self) || self.scene.journal.read_shards().len() < n_shards {
            self.tend().await?;
            if Instant::now() > deadline {
                let logs = self.scene.folder.display();
                return Err(CliError::internal(format!("the workers do not read all shards; see the logs in {logs}")));
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Breaks things until it is time.
    pub(super) async fn drive(&mut self) -> Result<(), CliError> {
        let mut next = self.began + self.options.every;
        while self.began.elapsed() < self.options.duration {
            self.tend().await?;
            if Instant::now() >= next {
                next += self.options.every;
                self.strike().await?;
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Puts everything back up, and breaks nothing more.
    pub(super) async fn repair(&mut self) -> Result<(), CliError> {
        self.windows.close().await?;
        let deadline = Instant::now() + START_MAX;
        while !self.workers.iter().all(|worker| worker.is_at_work(&self.scene)) {
            self.tend().await?;
            if Instant::now() > deadline {
                self.violation("LIVE", format!("not all workers are up {START_MAX:?} after the last fault"));
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Does what is due, and notices what has ended.
    pub(super) async fn tend(&mut self) -> Result<(), CliError> {
        self.windows.tend().await?;
        for n in 0..self.workers.len() {
            self.tend_worker(n)?;
        }
        if self.is_anything_broken() {
            self.scene.journal.broken();
        }
        if let Some(status) = self.scene.local.ended()? {
            return Err(CliError::internal(format!("the local cloud has ended by itself: {status}")));
        }
        if let Some(status) = self.fleet.as_mut().map(Child::ended).transpose()?.flatten() {
            return Err(CliError::internal(format!("the producer has ended by itself: {status}")));
        }
        if self.looked_at.elapsed() > LOOK_INTERVAL {
            self.looked_at = Instant::now();
            self.look_for_stalls().await;
        }
        Ok(())
    }

    /// Whether more than the sharing out of shards is going on.
    fn is_anything_broken(&self) -> bool {
        let killed = self.kills.back().is_some_and(|(at, _)| at.elapsed() < ACTOR_DOWN_MAX);
        let down = self.workers.iter().any(|worker| !matches!(worker.state, State::Up));
        self.windows.may_be_felt() || killed || down
    }

    fn tend_worker(&mut self, n: usize) -> Result<(), CliError> {
        let now = Instant::now();
        let worker = &mut self.workers[n];
        let ended = worker.child.as_mut().map(Child::ended).transpose()?.flatten();
        let incarnation = worker.incarnation();
        match (worker.state, ended) {
            (State::Down(at), _) if now >= at => worker.start_again(&self.scene)?,
            (State::Down(_), _) => {}
            (State::Ending(_), Some(status)) => {
                worker.kill(now + RESTART_PAUSE);
                self.well_ended(&incarnation, status);
            }
            (State::Ending(since), None) if now.duration_since(since) > END_MAX => {
                worker.kill(now + RESTART_PAUSE);
                self.violation("DRAIN", format!("{incarnation} has not ended {END_MAX:?} after SIGTERM"));
            }
            (State::Up | State::Paused(_), Some(status)) => {
                let began = self.scene.journal.ops(&incarnation).is_some();
                worker.kill(now + RESTART_PAUSE);
                self.ended_by_itself(&incarnation, status, began);
            }
            (State::Paused(until), None) if now >= until => {
                worker.signal(Signal::Continue, State::Up)?;
                self.say(&format!("SIGCONT {incarnation}"));
            }
            (State::Up | State::Paused(_) | State::Ending(_), None) => {}
        }
        Ok(())
    }

    /// After SIGTERM only 0 is an end in good order.
    pub(super) fn well_ended(&mut self, incarnation: &str, status: ExitStatus) {
        if !status.success() {
            self.violation("DRAIN", format!("{incarnation} was asked to end, and ended with {status}"));
        }
    }

    fn ended_by_itself(&mut self, incarnation: &str, status: ExitStatus, began: bool) {
        let shards = self.scene.journal.shards_of(incarnation);
        self.scene.journal.stall(super::stalls::Cause::Kill, Instant::now(), shards, Some(incarnation));
        // A service that fails at the start is no reason to go on without it: whoever runs workers starts them again.
        if !began && status.code() == Some(ENVIRONMENT) && self.windows.may_be_felt() {
            self.failed_starts += 1;
            return self.say(&format!("{incarnation} could not start; again"));
        }
        self.violation("LIVE", format!("{incarnation} has ended by itself: {status}"));
    }

    /// Stalls that nobody can end any more are no stalls; those that last too long are violations.
    async fn look_for_stalls(&mut self) {
        let journal = &self.scene.journal;
        if journal.overdue(LOOK_AFTER).is_empty() {
            return;
        }
        // Without an answer there is another look.
        if let Ok(rows) = self.leases.scan().await {
            for (_, shard) in journal.overdue(LOOK_AFTER) {
                let row = rows.leases.values().find(|row| row.shard.as_str() == shard);
                if row.is_some_and(|row| row.checkpoint == Position::ShardEnd && row.owner.is_none()) {
                    journal.shard_ended(&shard);
                }
            }
        }
        let overdue = journal.overdue(STALL_MAX);
        journal.forget_overdue(STALL_MAX);
        for (cause, shard) in overdue {
            self.violation("LIVE", format!("{shard} is not read {STALL_MAX:?} after {cause:?}"));
        }
    }

    pub(super) fn violation(&mut self, invariant: &'static str, what: String) {
        self.say(&format!("VIOLATION {invariant}: {what}"));
        self.violations.push(Violation { invariant, what });
    }

    /// Progress, for people.
    pub(super) fn say(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }
}
