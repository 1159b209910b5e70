//! A simulated fleet of climate sensors, on an open-loop schedule.
//!
//! **Owns** the devices and the schedule of one run.
//!
//! **Promises**
//! - Event `i` is due at `start + i / rate`, however slow the stream is; latency counts from there.
//! - An event that is due while its lane's backlog is full is never made: it is counted as shed, and the
//!   sensor's next event is the one it would have been. So numbers have no holes and content ignores timing.
//!
//! **Fails** with [`FleetError`] when the stream cannot be written at all or the ledger cannot be kept.
//!
//! **Not here**: requests, retries (`sender`).

pub mod broken;
mod device;
mod event;
mod options;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use self::device::{Device, Emission};
pub use self::options::{FleetOptions, Shares};
use self::schedule::Schedule;
use crate::record::{Record, now_ms};
use crate::sender::{Closed, Sender};
use crate::{FleetError, FleetReport, Ledger, Progress, Target};

/// Events made between two looks at the clock, so that the lanes get their turn while a backlog is made up.
const BURST_MAX: u64 = 512;
/// How often a fleet that sheds says so.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// Runs a fleet until its duration has passed or `stop` becomes true, then drains and reports.
pub async fn run_fleet(
    target: Target,
    options: FleetOptions,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Result<FleetReport, FleetError> {
    options.check()?;
    let ledger = Arc::new(Ledger::create(&options.ledger)?);
    let sender = Sender::start(&target, &ledger, &progress, &options.delivery);
    let mut fleet = Fleet::new(&options, sender, progress.clone());
    fleet.follow(&Schedule::new(options.rate, options.duration), &mut stop).await;
    let (started, n_shed) = (fleet.started, fleet.n_shed);
    let tally = fleet.sender.finish().await?;
    let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(FleetReport { shed: n_shed, elapsed_ms, ..tally.report() })
}

struct Fleet {
    devices: Vec<Device>,
    shares: Shares,
    sender: Sender,
    progress: Arc<Progress>,
    started: Instant,
    started_ms: i64,
    n_shed: u64,
    complained: Option<Instant>,
}

impl Fleet {
    fn new(options: &FleetOptions, sender: Sender, progress: Arc<Progress>) -> Self {
        let devices = (0..options.sensors).map(|index| Device::new(options.seed, index)).collect();
        Self {
            devices,
            shares: options.shares.clone(),
            sender,
            progress,
            // After the devices are made: a million of them take a moment that is not the stream's.
            started: Instant::now(),
            started_ms: now_ms(),
            n_shed: 0,
            complained: None,
        }
    }

    /// Ends with the schedule, on `stop`, or when a lane has ended.
    async fn follow(&mut self, schedule: &Schedule, stop: &mut watch::Receiver<bool>) {
        let mut next = 0;
        while schedule.n_events().is_none_or(|n_events| next < n_events) {
            tokio::select! {
                biased;
                () = stopped(stop) => return,
                () = sleep_until(self.started + schedule.offset(next)) => {}
            }
            let due = schedule.n_due(self.started.elapsed());
            let end = due.clamp(next + 1, next + BURST_MAX);
            for i in next..end {
                if self.emit(i, schedule.offset(i)).is_err() {
                    return;
                }
            }
            next = end;
            tokio::task::yield_now().await;
        }
    }

    /// Makes event `i`; round robin, so that a sensor's events are evenly apart.
    fn emit(&mut self, i: u64, offset: Duration) -> Result<(), Closed> {
        let index = (i % self.devices.len() as u64) as usize;
        let device = &mut self.devices[index];
        // One event and perhaps the repetition of an earlier one.
        if self.sender.room(device.id()) < 2 {
            self.shed();
            return Ok(());
        }
        let due_ms = self.started_ms + i64::try_from(offset.as_millis()).unwrap_or(i64::MAX / 2);
        let step = device.step(&self.shares, due_ms);
        for Emission { n, kind, claims, data } in [step.fresh, step.echo].into_iter().flatten() {
            let sensor = device.id().clone();
            self.sender.offer(Record { sensor, claims, n, kind, data, due: self.started + offset, due_ms })?;
        }
        Ok(())
    }

    fn shed(&mut self) {
        self.n_shed += 1;
        self.progress.shed.fetch_add(1, Relaxed);
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            let backlog = self.progress.backlog.load(Relaxed);
            error!(n_shed = self.n_shed, backlog, "stream is slower than the fleet, events are shed");
        }
    }
}

/// Ready once the run is to stop; never if whoever could say so is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|it| *it).await.is_err() {
        std::future::pending::<()>().await;
    }
}
