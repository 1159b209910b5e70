//! The end of a run: no more faults, no more records, everything is committed, the workers end, and one comes back to
//! find nothing to do.
//!
//! **Owns** the order of these steps.
//! **Promises** each has its time; what is not done by then is a violation, and the oracle is asked all the same.
//! **Fails** with what is missing outside.
//! **Not here**: judging (`oracle.rs`).

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use actors::ports::leases::LeaseTable;
use actors::ports::stream::Stream;
use messages::Position;
use supervisor::exit::CliError;

use super::child::Signal;
use super::driver::{Driver, END_MAX, STALL_MAX};
use super::report::Report;
use super::scene::STREAM;
use super::workers::State;
use crate::evidence::{gather, stored, warehouse};
use crate::oracle::{Evidence, LoadError, Verdict, Violation, judge, ledger, nothing_new};

const CATCH_UP_MAX: Duration = Duration::from_secs(60);
/// What is left to load when the workers have ended is what they committed last.
const LOAD_MAX: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The producer sends what is queued, and gives up what is not taken.
const FLEET_END_MAX: Duration = Duration::from_secs(60);
/// A worker without input is watched for this many times the age at which epochs are cut.
const WATCHED_EPOCHS: u32 = 2;

/// Brings a run to its verdict.
pub(super) async fn settle(mut driver: Driver) -> Result<Report, CliError> {
    let seconds = driver.began.elapsed().as_secs_f64();
    driver.say("no more faults");
    driver.repair().await?;
    driver.end_fleet().await?;
    let caught_up = driver.catch_up().await?;
    driver.end_workers().await?;
    driver.say("reading what is there");
    let mut gathered = gather(&driver.scene.sdk, &driver.scene.places()).await.map_err(CliError::environment)?;
    let idle = driver.restart_for_nothing(&gathered.evidence).await?;
    // The file of the warehouse is the cloud's as long as that runs.
    driver.scene.close().await?;
    driver.say("judging");
    let (acked, schema, data_dir) = (gathered.acked, driver.scene.config.schema().clone(), driver.scene.data_dir());
    let judged = tokio::task::spawn_blocking(move || {
        gathered.evidence.warehouse = warehouse(&data_dir, STREAM, &schema)?;
        let mut verdict = judge(&gathered.evidence, &schema);
        gathered.add_to(&mut verdict);
        Ok::<_, LoadError>(verdict)
    });
    let judged = judged.await.map_err(|error| CliError::internal(format!("the oracle: {error}")))?;
    let verdict = judged.map_err(CliError::environment)?;
    if driver.options.warehouse && verdict.warehouse.is_none_or(|found| found.readings == 0) {
        driver.violation("WAREHOUSE", "nothing was ever loaded".to_owned());
    }
    Ok(driver.conclude(seconds, caught_up, acked, idle, verdict))
}

impl Driver {
    async fn end_fleet(&mut self) -> Result<(), CliError> {
        let Some(mut fleet) = self.fleet.take() else { return Ok(()) };
        fleet.signal(Signal::Term)?;
        let deadline = Instant::now() + FLEET_END_MAX;
        while fleet.ended()?.is_none() {
            if Instant::now() > deadline {
                return Err(CliError::internal(format!("the producer has not ended {FLEET_END_MAX:?} after SIGTERM")));
            }
            self.tend().await?;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        // What it could not send is in no ledger as acknowledged: its exit code says nothing about the workers.
        let report = self.fleet_report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.say(&format!(
            "the producer has ended: {}",
            report.unwrap_or_default().chars().take(300).collect::<String>()
        ));
        Ok(())
    }

    /// LIVE: waits until every acknowledged record is committed, and no epoch is under way.
    async fn catch_up(&mut self) -> Result<Option<Duration>, CliError> {
        let began = Instant::now();
        let facts = ledger(&[self.scene.ledger()]).map_err(CliError::environment)?;
        let mut ends: BTreeMap<String, Position> = BTreeMap::new();
        for record in &facts.records {
            let at = Position::parse(&record.sequence).map_err(CliError::environment)?;
            let end = ends.entry(record.shard.clone()).or_insert_with(|| at.clone());
            *end = end.clone().max(at);
        }
        let (stream, table) =
            (Stream::new(&self.scene.sdk, STREAM), LeaseTable::new(&self.scene.sdk, &self.scene.config.leases_table));
        loop {
            self.tend().await?;
            let behind = behind(&stream, &table, &ends).await;
            if behind.is_empty() && !self.scene.journal.any_stall() {
                return Ok(Some(began.elapsed()));
            }
            if began.elapsed() > CATCH_UP_MAX {
                let stalls = self.scene.journal.overdue(Duration::ZERO);
                let what =
                    format!("not caught up after {CATCH_UP_MAX:?}: {}; waited for {stalls:?}", behind.join(", "));
                self.violation("LIVE", what);
                return Ok(None);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn end_workers(&mut self) -> Result<(), CliError> {
        let now = Instant::now();
        for worker in &mut self.workers {
            if worker.child.is_some() {
                worker.signal(Signal::Term, State::Ending(now))?;
            }
        }
        for n in 0..self.workers.len() {
            let worker = &mut self.workers[n];
            let (incarnation, Some(mut child)) = (worker.incarnation(), worker.child.take()) else { continue };
            match child.end(END_MAX).await? {
                Some(status) => self.well_ended(&incarnation, status),
                None => self.violation("DRAIN", format!("{incarnation} has not ended {END_MAX:?} after SIGTERM")),
            }
        }
        self.say("all workers have ended");
        Ok(())
    }

    /// IDEMPOTENT: a worker that finds nothing new writes nothing.
    async fn restart_for_nothing(&mut self, before: &Evidence) -> Result<Vec<Violation>, CliError> {
        let open = Stream::new(&self.scene.sdk, STREAM).shards().await.map_err(CliError::environment)?;
        let open: Vec<String> = open.iter().filter(|info| !info.closed).map(|info| info.shard.to_string()).collect();
        let worker = &mut self.workers[0];
        worker.start_again(&self.scene)?;
        let incarnation = worker.incarnation();
        let deadline = Instant::now() + STALL_MAX;
        loop {
            let read = self.scene.journal.shards_of(&incarnation);
            if open.iter().all(|shard| read.contains(shard)) {
                break;
            }
            if Instant::now() > deadline {
                self.violation("LIVE", format!("{incarnation}, alone, reads {read:?} of {open:?} after {STALL_MAX:?}"));
                break;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        // Long enough for an epoch that should not be.
        tokio::time::sleep(self.scene.config.worker().shard.committer.age_max * WATCHED_EPOCHS).await;
        self.until_loaded().await?;
        self.end_workers().await?;
        let after = stored(&self.scene.sdk, &self.scene.places()).await.map_err(CliError::environment)?;
        Ok(nothing_new(before, &after))
    }

    /// LIVE: waits until all that is committed is loaded: what the workers committed last, when they ended, too.
    async fn until_loaded(&mut self) -> Result<(), CliError> {
        let Some(loading) = self.scene.loading()? else { return Ok(()) };
        let began = Instant::now();
        loop {
            let waits = match loading.next_batch(1).await {
                Ok(None) => {
                    self.loaded = Some(began.elapsed());
                    return Ok(());
                }
                Ok(Some((batch, left))) => format!("{:?}, and {left} behind it", batch.epochs.first()),
                Err(error) => error.to_string(),
            };
            if began.elapsed() > LOAD_MAX {
                self.violation("LIVE", format!("not all is loaded after {LOAD_MAX:?}: {waits}"));
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn conclude(
        self,
        seconds: f64,
        caught_up: Option<Duration>,
        acked: u64,
        idle: Vec<Violation>,
        verdict: Verdict,
    ) -> Report {
        let counts = self.scene.journal.counts();
        let mut report = Report {
            ok: true,
            seed: self.options.seed,
            seconds,
            workers: self.workers.len(),
            faults: self.faults,
            passed_over: self.passed_over,
            injected: self.windows.injected,
            failed_starts: self.failed_starts,
            takeovers: counts.takeovers,
            handovers: counts.handovers,
            losses: counts.losses,
            fences: counts.fences,
            given_up: counts.given_up,
            error_lines: counts.errors,
            recovery: self.scene.journal.times(),
            caught_up_ms: caught_up.map(|time| time.as_millis() as u64),
            loaded_ms: self.loaded.map(|time| time.as_millis() as u64),
            acked,
            missing: 0,
            doubled: 0,
            found: BTreeMap::new(),
            violations: Vec::new(),
            verdict: Verdict::default(),
            data_dir: None,
        };
        report.violate(self.violations);
        report.violate(idle);
        report.judged(verdict);
        for error in self.scene.journal.errors() {
            eprintln!("error line of {error}");
        }
        report.data_dir = self.scene.strike(!report.ok);
        report
    }
}

/// What is not committed yet.
async fn behind(stream: &Stream, table: &LeaseTable, ends: &BTreeMap<String, Position>) -> Vec<String> {
    let (shards, rows) = match (stream.shards().await, table.scan().await) {
        (Ok(shards), Ok(rows)) => (shards, rows),
        (Err(error), _) | (_, Err(error)) => return vec![error.to_string()],
    };
    let mut behind = Vec::new();
    for info in &shards {
        let Some(row) = rows.leases.get(&info.shard) else {
            behind.push(format!("{} has no row", info.shard));
            continue;
        };
        let end = if info.closed { Some(&Position::ShardEnd) } else { ends.get(info.shard.as_str()) };
        if end.is_some_and(|end| row.checkpoint < *end) || row.pending {
            behind
                .push(format!("{} at {} (owner {:?}, pending {})", info.shard, row.checkpoint, row.owner, row.pending));
        }
    }
    behind
}
