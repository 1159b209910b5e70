//! One lane: a queue, one request in flight, and its repeats.
//!
//! **Owns** the records of the sensors that hash to it.
//! **Promises** that nothing newer is sent while a request is not settled.
//! **Fails** when the stream refuses all writing or the ledger cannot be written; what waits is then unsent.
//! **Not here**: which lane a sensor takes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, error::TryRecvError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::batch::{self, RECORDS_MAX};
use super::{Delivery, Tally};
use crate::ledger::{hex, ledger_id, sha256};
use crate::record::{Record, now_ms};
use crate::rng::Rng;
use crate::target::{Answer, Put};
use crate::{Entry, FleetError, Ledger, Line, Outcome, Progress, Span, Target};

/// Records looked at to fill one request; more than a request holds, since strict order skips some.
const WAITING_MAX: usize = 4 * RECORDS_MAX;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

pub(super) struct Args {
    pub index: usize,
    pub target: Target,
    pub ledger: Arc<Ledger>,
    pub progress: Arc<Progress>,
    pub delivery: Delivery,
    pub incoming: Receiver<Record>,
    pub giving_up: watch::Receiver<bool>,
}

pub(super) struct Lane {
    args: Args,
    waiting: VecDeque<Record>,
    closed: bool,
    rng: Rng,
    tally: Tally,
}

/// A record of the request in flight.
struct InFlight {
    record: Record,
    /// A `maybe` line is in the ledger; one is enough.
    doubtful: bool,
    /// A later record of its sensor is stored; counted once.
    overtaken: bool,
}

impl Lane {
    pub(super) fn new(args: Args) -> Self {
        // Any seed will do: it only keeps the lanes' repeats apart.
        let rng = Rng::new(now_ms().unsigned_abs(), args.index as u64);
        Self { args, waiting: VecDeque::new(), closed: false, rng, tally: Tally::default() }
    }

    pub(super) async fn run(mut self) -> Result<Tally, FleetError> {
        while self.gather().await {
            let batch = batch::take(&mut self.waiting, self.args.delivery.strict_order);
            self.deliver(batch).await?;
        }
        self.count_unsent();
        Ok(self.tally)
    }

    /// Waits until there is a request worth sending: a full one, or one whose first record has lingered enough.
    async fn gather(&mut self) -> bool {
        loop {
            self.top_up();
            if *self.args.giving_up.borrow() {
                return false;
            }
            if self.closed {
                return !self.waiting.is_empty();
            }
            let Some(first) = self.waiting.front() else {
                match self.args.incoming.recv().await {
                    Some(record) => self.waiting.push_back(record),
                    None => self.closed = true,
                }
                continue;
            };
            let flush_at = first.due + self.args.delivery.linger;
            if self.waiting.len() >= RECORDS_MAX || Instant::now() >= flush_at {
                return true;
            }
            match timeout_at(flush_at, self.args.incoming.recv()).await {
                Ok(Some(record)) => self.waiting.push_back(record),
                Ok(None) => self.closed = true,
                Err(_) => return true,
            }
        }
    }

    fn top_up(&mut self) {
        while self.waiting.len() < WAITING_MAX && !self.closed {
            match self.args.incoming.try_recv() {
                Ok(record) => self.waiting.push_back(record),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.closed = true,
            }
        }
    }

    async fn deliver(&mut self, batch: Vec<Record>) -> Result<(), FleetError> {
        self.args.ledger.append(&[Line::Sending { sending: spans(&batch) }])?;
        let mut pending: Vec<_> =
            batch.into_iter().map(|record| InFlight { record, doubtful: false, overtaken: false }).collect();
        for attempt in 1..=self.args.delivery.attempts_max {
            if attempt > 1 {
                if !self.back_off(attempt).await {
                    break;
                }
                self.tally.retried += pending.len() as u64;
                add(&self.args.progress.retried, pending.len());
            }
            let put = self.args.target.put(pending.iter().map(|it| &it.record)).await;
            match put {
                Put::Answered(answers) => pending = self.settle(pending, answers)?,
                Put::Refused { throttled, why } => {
                    self.count_throttled(if throttled { pending.len() } else { 0 });
                    self.tell(attempt, &why);
                }
                Put::Unknown { why } => {
                    self.note_doubt(pending.iter_mut())?;
                    self.tell(attempt, &why);
                }
                Put::Rejected { why } => {
                    warn!(lane = self.args.index, n_records = pending.len(), why, "batch rejected");
                    break;
                }
                Put::Closed { code, why } => {
                    self.write_off(&pending)?;
                    let stream = self.args.target.stream.clone();
                    return Err(FleetError::Refused { stream, code, message: why });
                }
            }
            if pending.is_empty() {
                if attempt > 2 {
                    info!(lane = self.args.index, attempt, "stream takes records again");
                }
                return Ok(());
            }
        }
        self.write_off(&pending)
    }

    /// Files the answers of one call; what was not stored comes back, in order.
    fn settle(&mut self, sent: Vec<InFlight>, answers: Vec<Answer>) -> Result<Vec<InFlight>, FleetError> {
        let (now, acked_ms) = (Instant::now(), now_ms());
        let mut lines = Vec::with_capacity(sent.len());
        let mut stored = Vec::with_capacity(sent.len());
        let mut left: Vec<InFlight> = Vec::new();
        let mut lost = Vec::new();
        let mut n_throttled = 0;
        for (it, answer) in sent.into_iter().zip(answers) {
            match answer {
                Answer::Stored { shard, seq } => {
                    for behind in left.iter_mut().filter(|behind| behind.record.sensor == it.record.sensor) {
                        self.tally.overtaken += u64::from(!behind.overtaken);
                        behind.overtaken = true;
                    }
                    let mut entry = entry(Outcome::Acked, &it.record);
                    (entry.shard, entry.seq, entry.acked_ms) = (Some(shard), Some(seq), Some(acked_ms));
                    lines.push(Line::Outcome(entry));
                    stored.push(it.record);
                }
                Answer::Refused { throttled } => {
                    n_throttled += usize::from(throttled);
                    left.push(it);
                }
                Answer::Unknown => {
                    lost.push(left.len());
                    left.push(it);
                }
            }
        }
        self.args.ledger.append(&lines)?;
        for record in &stored {
            self.count_acked(record, now);
        }
        self.count_throttled(n_throttled);
        self.note_doubt(left.iter_mut().enumerate().filter(|(at, _)| lost.contains(at)).map(|(_, it)| it))?;
        Ok(left)
    }

    /// Must be in the ledger before the repeat: the repeat may store a second copy.
    fn note_doubt<'a>(&mut self, records: impl Iterator<Item = &'a mut InFlight>) -> Result<(), FleetError> {
        let fresh: Vec<_> = records.filter(|it| !it.doubtful).collect();
        let lines: Vec<_> = fresh.iter().map(|it| Line::Outcome(entry(Outcome::Maybe, &it.record))).collect();
        self.args.ledger.append(&lines)?;
        self.tally.maybe += fresh.len() as u64;
        add(&self.args.progress.maybe, fresh.len());
        fresh.into_iter().for_each(|it| it.doubtful = true);
        Ok(())
    }

    fn write_off(&mut self, records: &[InFlight]) -> Result<(), FleetError> {
        let lines: Vec<_> = records.iter().map(|it| Line::Outcome(entry(Outcome::Failed, &it.record))).collect();
        self.args.ledger.append(&lines)?;
        self.tally.failed += records.len() as u64;
        add(&self.args.progress.failed, records.len());
        self.args.progress.backlog.fetch_sub(records.len() as u64, Relaxed);
        warn!(lane = self.args.index, n_records = records.len(), "records given up");
        Ok(())
    }

    /// Exponential with jitter. False once the run gives up.
    async fn back_off(&mut self, attempt: u32) -> bool {
        let doubled = BACKOFF_MIN.saturating_mul(1 << (attempt - 2).min(16)).min(BACKOFF_MAX);
        let pause = doubled.mul_f64(self.rng.between(0.5, 1.0));
        timeout(pause, self.args.giving_up.wait_for(|it| *it)).await.is_err()
    }

    fn count_acked(&mut self, record: &Record, now: Instant) {
        self.tally.acked += 1;
        self.tally.bytes += record.data.len() as u64;
        *self.tally.acked_by_kind.entry(record.kind).or_default() += 1;
        self.tally.latency.record(now.saturating_duration_since(record.due));
        add(&self.args.progress.acked, 1);
        add(&self.args.progress.bytes, record.data.len());
        self.args.progress.backlog.fetch_sub(1, Relaxed);
    }

    fn count_throttled(&mut self, n_records: usize) {
        self.tally.throttled += n_records as u64;
        add(&self.args.progress.throttled, n_records);
    }

    fn count_unsent(&mut self) {
        self.args.incoming.close();
        let mut n_unsent = self.waiting.len() as u64;
        while self.args.incoming.try_recv().is_ok() {
            n_unsent += 1;
        }
        self.tally.unsent = n_unsent;
        self.args.progress.backlog.fetch_sub(n_unsent, Relaxed);
    }

    /// Loud at first, then less and less often: an outage is one story, not a line per attempt.
    fn tell(&self, attempt: u32, why: &str) {
        if attempt.is_power_of_two() {
            warn!(lane = self.args.index, attempt, why, "put records did not succeed");
        }
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Relaxed);
}

fn entry(k: Outcome, record: &Record) -> Entry {
    Entry {
        k,
        sensor: ledger_id(&record.sensor).into_owned(),
        claims: record.claims.as_deref().map(|id| ledger_id(id).into_owned()),
        n: record.n,
        kind: record.kind,
        shard: None,
        seq: None,
        sha256: hex(&sha256(&record.data)),
        bytes: record.data.len() as u64,
        due_ms: record.due_ms,
        acked_ms: None,
    }
}

fn spans(batch: &[Record]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    // A sensor's latest span; in a replay a few sensors alternate, each with consecutive numbers.
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for record in batch {
        match latest.get(&*record.sensor).map(|at| &mut spans[*at]) {
            Some(span) if span.last + 1 == record.n => span.last = record.n,
            _ => {
                latest.insert(&record.sensor, spans.len());
                let sensor = ledger_id(&record.sensor).into_owned();
                spans.push(Span { sensor, first: record.n, last: record.n });
            }
        }
    }
    spans
}
