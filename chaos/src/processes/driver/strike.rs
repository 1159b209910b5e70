//! How each fault is done.
//!
//! **Owns** nothing of its own.
//! **Promises** what cannot be done now is counted as passed over, not as done.
//! **Fails** when a signal cannot be sent or the local cloud refuses its faults.
//! **Not here**: what follows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use messages::ShardId;
use reqwest::StatusCode;
use serde_json::Value;
use supervisor::exit::CliError;

use super::Driver;
use crate::processes::child::Signal;
use crate::processes::planner::{Fault, LOADER, Situation};
use crate::processes::reshard::Reshard;
use crate::processes::stalls::Cause;
use crate::processes::workers::State;

/// As a share of the failover time: others have taken over by then.
const PAUSE: f64 = 1.5;
/// A worker that was killed comes back before or after its shards were taken.
const RESTART_MS_MAX: u64 = 5_000;
/// Restarts of one supervisor that are asked for in a minute; it is given up after five.
const KILLS_MAX: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);
const SENSORS_ASKED: usize = 50;

impl Driver {
    /// One fault.
    pub(super) async fn strike(&mut self) -> Result<(), CliError> {
        let Ok(open) = self.reshard.open().await else {
            self.pass_over("no answer from the stream");
            return Ok(());
        };
        let at_work: Vec<usize> = self.at_work();
        let situation = Situation { spare_worker: at_work.len() > 1, open_shards: open.len() };
        let fault = self.planner.next(situation);
        let name = fault.name();
        let done = match &fault {
            Fault::Kill | Fault::Pause | Fault::Terminate => match self.planner.pick(&at_work) {
                Some(n) => self.strike_worker(&fault, n)?,
                None => None,
            },
            Fault::ShardActor(name) => self.strike_shard(name).await,
            Fault::WorkerActor(name) => self.strike_actor(name).await,
            Fault::Sensor => self.strike_sensor().await,
            Fault::Split => {
                let began = Instant::now();
                match self.planner.pick(&open) {
                    Some(shard) => {
                        let children = self.reshard.split(&shard).await.unwrap_or_default();
                        self.resharded(Cause::Split, began, children)
                    }
                    None => None,
                }
            }
            Fault::Merge => {
                let began = Instant::now();
                match self.planner.pick(&Reshard::neighbours(&open)) {
                    Some((left, right)) => {
                        let children = self.reshard.merge(&left, &right).await.unwrap_or_default();
                        self.resharded(Cause::Merge, began, children)
                    }
                    None => None,
                }
            }
            Fault::Window(window) => {
                self.windows.open(window).await?;
                Some(format!("{:.0} %", window.probability * 100.0))
            }
        };
        match done {
            Some(what) => {
                self.say(&format!("{name} {what}"));
                *self.faults.entry(name).or_default() += 1;
            }
            None => self.pass_over(&name),
        }
        Ok(())
    }

    fn at_work(&self) -> Vec<usize> {
        let numbered = self.workers.iter().enumerate();
        numbered.filter(|(_, worker)| worker.is_at_work(&self.scene)).map(|(n, _)| n).collect()
    }

    fn pass_over(&mut self, name: &str) {
        self.passed_over += 1;
        self.say(&format!("{name}: not now"));
    }

    fn strike_worker(&mut self, fault: &Fault, n: usize) -> Result<Option<String>, CliError> {
        let incarnation = self.workers[n].incarnation();
        let shards = self.scene.journal.shards_of(&incarnation);
        let what = format!("{incarnation} with {}", shown(&shards));
        let now = Instant::now();
        match fault {
            Fault::Kill => {
                let pause = Duration::from_millis(self.planner.below(RESTART_MS_MAX));
                self.workers[n].kill(now + pause);
                self.scene.journal.stall(Cause::Kill, now, shards, Some(&incarnation));
            }
            Fault::Pause => {
                let failover = self.failover();
                self.workers[n].signal(Signal::Stop, State::Paused(now + failover.mul_f64(PAUSE)))?;
                self.scene.journal.stall(Cause::Pause, now, shards, None);
            }
            _ => {
                self.workers[n].signal(Signal::Term, State::Ending(now))?;
                self.scene.journal.stall(Cause::Terminate, now, shards, None);
            }
        }
        Ok(Some(what))
    }

    /// For how long others wait: for a worker, or, every second time, for a loader, which is longer.
    fn failover(&mut self) -> Duration {
        let config = &self.scene.config;
        let (worker, loader) = (config.worker().leases.patience.worker, config.warehouse.as_ref());
        match loader.filter(|_| self.planner.below(2) == 0) {
            Some(warehouse) => warehouse.loader.failover_after,
            None => worker,
        }
    }

    async fn strike_shard(&mut self, name: &str) -> Option<String> {
        let (url, shard) = self.some_shard()?;
        let path = format!("shards/{}/{name}", ShardId::new(&shard).short());
        self.may_kill(&shard)?;
        let began = Instant::now();
        self.kill(&url, "path", &path).await?;
        self.scene.journal.stall(Cause::Box, began, BTreeSet::from([shard]), None);
        Some(path)
    }

    async fn strike_actor(&mut self, name: &str) -> Option<String> {
        let n = {
            let at_work = self.at_work();
            self.planner.pick(&at_work)
        }?;
        let incarnation = self.workers[n].incarnation();
        self.may_kill(&incarnation)?;
        let (url, shards) = (self.scene.journal.ops(&incarnation)?, self.scene.journal.shards_of(&incarnation));
        let began = Instant::now();
        self.kill(&url, "path", name).await?;
        let what = format!("{incarnation} with {}", shown(&shards));
        // Nobody stands on the loader: no shard notices.
        if name != LOADER {
            self.scene.journal.stall(Cause::WorkerActor, began, shards, None);
        }
        Some(what)
    }

    async fn strike_sensor(&mut self) -> Option<String> {
        let (url, shard) = self.some_shard()?;
        let short = ShardId::new(&shard).short().to_owned();
        let page = self.http.get(format!("{url}/tree")).query(&[("shard", &short)]);
        let page: Value = page.query(&[("limit", SENSORS_ASKED)]).send().await.ok()?.json().await.ok()?;
        let sensors = page["sensors"].as_array()?;
        let live = sensors.iter().filter(|sensor| sensor["state"] == "live");
        let live: Vec<String> = live.filter_map(|sensor| Some(sensor["sensor_id"].as_str()?.to_owned())).collect();
        let sensor = self.planner.pick(&live)?;
        self.kill(&url, "sensor", &sensor).await?;
        Some(format!("{sensor} of {short}"))
    }

    /// A shard that is read, and the ops endpoint of the worker that reads it.
    fn some_shard(&mut self) -> Option<(String, String)> {
        let mut shards = Vec::new();
        for n in self.at_work() {
            let incarnation = self.workers[n].incarnation();
            let url = self.scene.journal.ops(&incarnation)?;
            shards.extend(self.scene.journal.shards_of(&incarnation).into_iter().map(|shard| (url.clone(), shard)));
        }
        self.planner.pick(&shards)
    }

    async fn kill(&self, url: &str, key: &str, value: &str) -> Option<()> {
        let request = self.http.post(format!("{url}/chaos/kill")).query(&[(key, value)]);
        let answer = request.send().await.ok()?;
        (answer.status() == StatusCode::NO_CONTENT).then_some(())
    }

    /// None if a supervisor has been driven hard enough.
    fn may_kill(&mut self, supervisor: &str) -> Option<()> {
        self.kills.retain(|(at, _)| at.elapsed() < MINUTE);
        let n_kills = self.kills.iter().filter(|(_, killed)| killed == supervisor).count();
        (n_kills < KILLS_MAX).then(|| self.kills.push_back((Instant::now(), supervisor.to_owned())))
    }

    fn resharded(&mut self, cause: Cause, began: Instant, children: Vec<String>) -> Option<String> {
        let children: BTreeSet<String> = children.into_iter().collect();
        let what = format!("into {}", shown(&children));
        let done = !children.is_empty();
        self.scene.journal.stall(cause, began, children, None);
        done.then_some(what)
    }
}

fn shown(shards: &BTreeSet<String>) -> String {
    match shards.is_empty() {
        true => "no shard".to_owned(),
        false => shards
            .iter()
            .map(|shard| ShardId::new(shard).short().trim_start_matches('0').to_owned())
            .map(|n| if n.is_empty() { "0".to_owned() } else { n })
            .collect::<Vec<_>>()
            .join(" "),
    }
}
