//! Sends records to the stream, in lanes.
//!
//! **Owns** the queues between whoever makes records and the stream.
//!
//! **Promises**
//! - A sensor always takes the same lane; a lane has one request in flight and repeats it before it sends newer records.
//! - With strict order a request holds one record per sensor: PutRecords may refuse one record and store the next.
//! - Every record taken is acknowledged, failed or unsent in the end, and the ledger knows before the counters do.
//!
//! **Fails** with the first error of a lane; the other lanes drain.
//!
//! **Not here**: when a record is due, what is in it.

mod batch;
mod lane;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::record::Record;
use crate::{FleetError, Ledger, Progress, Target};

use self::lane::Lane;
pub(crate) use self::tally::Tally;

/// How records are sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Requests in flight at once. Sensors are spread over lanes by a hash of their id.
    pub lanes: usize,
    /// Records that may wait, over all lanes. What exceeds it is shed (fleet) or not yet read (replay).
    pub backlog_max: usize,
    /// A record waits at most this long for others to share its request.
    pub linger: Duration,
    /// Attempts per request, with back-off between them, before its records are given up.
    pub attempts_max: u32,
    /// One record per sensor and request, so that a partial failure cannot reorder a sensor.
    pub strict_order: bool,
    /// How long the queues may drain once the run has ended or was stopped.
    pub drain_max: Duration,
}

impl Delivery {
    /// For a fleet with a schedule: many sensors, low latency.
    pub fn open_loop() -> Self {
        Self {
            lanes: 8,
            backlog_max: 100_000,
            linger: Duration::from_millis(20),
            attempts_max: 12,
            strict_order: true,
            drain_max: Duration::from_secs(30),
        }
    }

    /// For a replay: few sensors, as fast as the endpoint takes it, patient with outages.
    ///
    /// One lane, so that event time moves forward for all sensors together.
    pub fn bulk() -> Self {
        Self {
            lanes: 1,
            backlog_max: 2_000,
            linger: Duration::from_millis(20),
            attempts_max: 200,
            strict_order: false,
            drain_max: Duration::from_secs(30),
        }
    }

    pub(crate) fn check(&self) -> Result<(), FleetError> {
        let wrong = |name, problem: &str| Err(FleetError::Option { name, problem: problem.to_owned() });
        if !(1..=256).contains(&self.lanes) {
            return wrong("lanes", "must be 1 to 256");
        }
        if self.backlog_max < self.lanes * 2 {
            return wrong("backlog_max", "must be at least two records per lane");
        }
        if self.attempts_max == 0 {
            return wrong("attempts_max", "must be at least 1");
        }
        Ok(())
    }
}

/// The near end of the lanes.
pub(crate) struct Sender {
    queues: Vec<mpsc::Sender<Record>>,
    lanes: JoinSet<Result<Tally, FleetError>>,
    give_up: watch::Sender<bool>,
    progress: Arc<Progress>,
    drain_max: Duration,
}

/// The lanes have ended, because one of them met an error that `finish` returns.
#[derive(Debug)]
pub(crate) struct Closed;

impl Sender {
    pub(crate) fn start(target: &Target, ledger: &Arc<Ledger>, progress: &Arc<Progress>, delivery: &Delivery) -> Self {
        let target = target.hardened();
        let (give_up, giving_up) = watch::channel(false);
        let mut lanes = JoinSet::new();
        let mut queues = Vec::with_capacity(delivery.lanes);
        for index in 0..delivery.lanes {
            let (queue, incoming) = mpsc::channel(delivery.backlog_max / delivery.lanes);
            queues.push(queue);
            let lane = Lane::new(lane::Args {
                index,
                target: target.clone(),
                ledger: ledger.clone(),
                progress: progress.clone(),
                delivery: delivery.clone(),
                incoming,
                giving_up: giving_up.clone(),
            });
            lanes.spawn(lane.run());
        }
        Self { queues, lanes, give_up, progress: progress.clone(), drain_max: delivery.drain_max }
    }

    /// Records this sensor's queue has room for. Only the caller adds, so it cannot shrink before the next `offer`.
    pub(crate) fn room(&self, sensor: &str) -> usize {
        self.queue(sensor).capacity()
    }

    /// Takes a record without waiting; the caller has asked for `room`.
    pub(crate) fn offer(&self, record: Record) -> Result<(), Closed> {
        // Counted first: the lane may be faster than this line.
        self.count_in();
        self.queue(&record.sensor).try_send(record).map_err(|_| self.count_out())
    }

    /// Takes a record as soon as there is room.
    pub(crate) async fn send(&self, record: Record) -> Result<(), Closed> {
        let place = self.queue(&record.sensor).reserve().await.map_err(|_| Closed)?;
        self.count_in();
        place.send(record);
        Ok(())
    }

    /// Drains the queues and ends. What is not sent when `drain_max` has passed is left unsent; a request in
    /// flight is always waited for, since its time is limited.
    pub(crate) async fn finish(mut self) -> Result<Tally, FleetError> {
        self.queues.clear();
        let mut total = Tally::default();
        let mut first_error = None;
        let mut deadline = Some(Instant::now() + self.drain_max);
        loop {
            let joined = match deadline {
                Some(at) => timeout_at(at, self.lanes.join_next()).await,
                None => Ok(self.lanes.join_next().await),
            };
            match joined {
                Ok(None) => break,
                Ok(Some(Ok(Ok(tally)))) => total.merge(&tally),
                Ok(Some(Ok(Err(error)))) => drop(first_error.get_or_insert(error)),
                Ok(Some(Err(_))) => drop(first_error.get_or_insert(FleetError::Panicked)),
                Err(_) => {
                    warn!(backlog = self.progress.backlog.load(Relaxed), "time to drain is over, giving up");
                    self.give_up.send_replace(true);
                    deadline = None;
                }
            }
        }
        first_error.map_or(Ok(total), Err)
    }

    fn queue(&self, sensor: &str) -> &mpsc::Sender<Record> {
        &self.queues[lane_of(sensor, self.queues.len())]
    }

    fn count_in(&self) {
        self.progress.due.fetch_add(1, Relaxed);
        self.progress.backlog.fetch_add(1, Relaxed);
    }

    fn count_out(&self) -> Closed {
        self.progress.due.fetch_sub(1, Relaxed);
        self.progress.backlog.fetch_sub(1, Relaxed);
        Closed
    }
}

/// FNV-1a with a final mix: the same lane in every run and release.
fn lane_of(sensor: &str, n_lanes: usize) -> usize {
    let hash = sensor
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (crate::rng::mix(hash) % n_lanes as u64) as usize
}
