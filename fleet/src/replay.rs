//! Replays recorded data, in event time, as fast as the stream takes it; a killed replay can be resumed.
//!
//! **Owns** the order of the rows and their numbers: the `n` of a row is its place among its sensor's rows.
//!
//! **Promises**
//! - A row that an earlier run has delivered is not sent again; one in doubt is, and is counted as `maybe_resent`.
//! - A row that does not parse is counted and reported with `file:line`, and never sent.
//! - Memory is bounded by the backlog, whatever the size of the files.
//!
//! **Fails** with [`FleetError`] before the first row if files, columns or ledger do not fit, later if a file
//! cannot be read to its end. What has been acknowledged by then is in the ledger.
//!
//! **Not here**: requests, retries (`sender`).

mod mapping;
mod merge;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::info;

pub use self::mapping::ReplayMapping;
use self::merge::Merge;
use self::merge::find;
use self::source::Row;
use crate::climate::stopped;
use crate::ledger::{Fate, History, ledger_id, sha256};
use crate::record::{Record, now_ms};
use crate::sender::Sender;
use crate::{Completion, Delivery, FleetError, FleetReport, Kind, Ledger, Line, Progress, Target};

/// Rows that travel together from the reading thread.
const CHUNK_ROWS: usize = 500;
/// Chunks that wait; the reading thread is faster than any endpoint.
const CHUNKS_MAX: usize = 4;

/// The options of [`run_replay`].
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// A glob of `.csv` and `.csv.gz` files.
    pub pattern: String,
    /// How rows become events.
    pub mapping: ReplayMapping,
    /// Where the ledger is written, and looked up when resuming.
    pub ledger: PathBuf,
    /// How records are sent.
    pub delivery: Delivery,
}

impl ReplayOptions {
    /// Whether a glob matches anything: to be asked before anything is started for it.
    pub fn matches(pattern: &str) -> Result<(), FleetError> {
        find(pattern).map(|_| ())
    }

    /// A replay in one lane, so that event time moves forward for all sensors together.
    pub fn new(pattern: impl Into<String>, mapping: ReplayMapping, ledger: impl Into<PathBuf>) -> Self {
        Self { pattern: pattern.into(), mapping, ledger: ledger.into(), delivery: Delivery::bulk() }
    }
}

/// Replays all rows, or those that earlier runs with this ledger have left, until done or `stop` becomes true.
pub async fn run_replay(
    target: Target,
    options: ReplayOptions,
    progress: Arc<Progress>,
    mut stop: watch::Receiver<bool>,
) -> Result<FleetReport, FleetError> {
    options.delivery.check()?;
    let started = Instant::now();
    let history = History::read(&options.ledger)?;
    if let Some(completion) = history.completion() {
        progress.skipped.store(completion.rows, Relaxed);
        return Ok(already_complete(completion));
    }
    let merge = Merge::open(&options.pattern, Arc::new(options.mapping), progress.clone())?;
    let ledger = Arc::new(Ledger::resume(&options.ledger)?);
    let (chunks, incoming) = mpsc::channel(CHUNKS_MAX);
    let reader = tokio::task::spawn_blocking(move || merge.pump(CHUNK_ROWS, &chunks));
    let sender = Sender::start(&target, &ledger, &progress, &options.delivery);
    let mut replay = Replay::new(incoming, history, ledger, sender, progress);

    let ended = tokio::select! {
        biased;
        () = stopped(&mut stop) => Ok(End::Stopped),
        ended = replay.feed() => ended,
    };
    // Dropping the receiver ends the reading thread.
    drop(replay.incoming);
    // Whatever happened, what is in flight is settled first; a lane's error explains a closed queue.
    let tally = replay.sender.finish().await?;
    let bad = reader.await.map_err(|_| FleetError::Panicked)??;
    let mut report = tally.report();
    report.skipped = replay.n_skipped;
    report.maybe_resent = replay.n_maybe_resent;
    report.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    (report.bad_rows, report.bad_row_samples) = (bad.count, bad.samples);
    if ended? == End::OfRows && report.failed == 0 && report.unsent == 0 {
        let rows = report.acked + report.skipped;
        let completion = Completion { complete: true, rows, bad_rows: report.bad_rows };
        replay.ledger.append(&[Line::Complete(completion)])?;
        info!(rows, bad_rows = report.bad_rows, "replay complete");
    }
    Ok(report)
}

/// Why feeding has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    OfRows,
    Stopped,
}

struct Replay {
    incoming: mpsc::Receiver<Vec<Row>>,
    history: History,
    ledger: Arc<Ledger>,
    sender: Sender,
    progress: Arc<Progress>,
    sensors: HashMap<String, Sensor>,
    n_skipped: u64,
    n_maybe_resent: u64,
}

/// What numbering needs to know of one sensor.
struct Sensor {
    id: Arc<str>,
    ledger_id: String,
    n: u64,
}

impl Replay {
    fn new(
        incoming: mpsc::Receiver<Vec<Row>>,
        history: History,
        ledger: Arc<Ledger>,
        sender: Sender,
        progress: Arc<Progress>,
    ) -> Self {
        let sensors = HashMap::new();
        Self { incoming, history, ledger, sender, progress, sensors, n_skipped: 0, n_maybe_resent: 0 }
    }

    async fn feed(&mut self) -> Result<End, FleetError> {
        while let Some(chunk) = self.incoming.recv().await {
            for row in chunk {
                let Some(record) = self.admit(row)? else { continue };
                if self.sender.send(record).await.is_err() {
                    return Ok(End::Stopped);
                }
            }
        }
        Ok(End::OfRows)
    }

    /// Numbers a row, and lets it pass unless an earlier run has delivered it.
    fn admit(&mut self, row: Row) -> Result<Option<Record>, FleetError> {
        let sensor = self.sensors.entry(row.sensor).or_insert_with_key(|id| Sensor {
            id: id.as_str().into(),
            ledger_id: ledger_id(id).into_owned(),
            n: 0,
        });
        let n = sensor.n;
        sensor.n += 1;
        match self.history.fate(&sensor.ledger_id, n) {
            Some(Fate::Acked(digest)) if digest == sha256(row.json.as_bytes()) => {
                self.n_skipped += 1;
                self.progress.skipped.fetch_add(1, Relaxed);
                return Ok(None);
            }
            Some(Fate::Acked(_)) => {
                let path = self.ledger.path().to_owned();
                return Err(FleetError::LedgerMismatch { path, sensor: sensor.ledger_id.clone(), n });
            }
            Some(Fate::Doubtful | Fate::Sending) => self.n_maybe_resent += 1,
            None => {}
        }
        Ok(Some(Record {
            sensor: sensor.id.clone(),
            claims: None,
            n,
            kind: Kind::Row,
            data: row.json.into(),
            due: Instant::now(),
            due_ms: now_ms(),
        }))
    }
}

fn already_complete(completion: Completion) -> FleetReport {
    FleetReport {
        already_complete: true,
        skipped: completion.rows,
        bad_rows: completion.bad_rows,
        ..FleetReport::default()
    }
}
