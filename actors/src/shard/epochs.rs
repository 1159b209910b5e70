//! The last epochs of a shard, with when each step was done: what an operator looks at when a shard lags.
//!
//! **Promises** at most [`EPOCHS_MAX`] lines a shard, whatever the stream does.
//! **Not here**: what decides anything. The lease row says what is committed; this only remembers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use messages::{CutReason, EpochPlan, TraceId};
use serde::Serialize;

use crate::ring::Ring;

/// Lines kept of each shard.
pub const EPOCHS_MAX: usize = 32;

/// How far an epoch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochStep {
    /// It ends; its actors are completing it.
    Cut,
    /// Encoded and pinned on the lease row; being uploaded.
    Prepared,
    /// Every object is stored.
    Uploaded,
    /// The checkpoint has moved past it.
    Committed,
}

/// One epoch. Times are milliseconds since 1970, none for what has not happened yet.
#[derive(Clone, Debug, Serialize)]
pub struct EpochLine {
    /// Its number.
    pub epoch: u64,
    /// How far it has come.
    pub step: EpochStep,
    /// Why it ended where it did.
    pub reason: CutReason,
    /// Bytes of its records.
    pub bytes: u64,
    /// Records read.
    pub records: u64,
    /// Readings found in them.
    pub readings: u64,
    /// Readings in the cleansed zone.
    pub clean: u64,
    /// Readings in quarantine.
    pub quarantined: u64,
    /// Repeated readings.
    pub duplicates: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Objects to upload, the manifest not counted.
    pub objects: u64,
    /// The last record, as the lease row names it.
    pub to: String,
    /// When it was cut.
    pub cut_ms: i64,
    /// When it was encoded and pinned.
    pub prepared_ms: Option<i64>,
    /// When its last object was stored.
    pub uploaded_ms: Option<i64>,
    /// When the checkpoint moved past it.
    pub committed_ms: Option<i64>,
    /// Its trace; none if it has none.
    pub trace_id: Option<TraceId>,
}

/// The epoch that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReadingEpoch {
    /// When its first record was handed on, milliseconds since 1970; none while it has none.
    pub since_ms: Option<i64>,
    /// Bytes of its records.
    pub bytes: u64,
    /// Readings in them, valid or not.
    pub rows: u64,
    /// Partitions of the cleansed zone that it touches.
    pub partitions: usize,
}

/// What is remembered of a shard's epochs.
#[derive(Debug)]
pub struct EpochLog {
    lines: Ring<EpochLine>,
    open: Mutex<(ReadingEpoch, u64)>,
}

impl Default for EpochLog {
    fn default() -> Self {
        Self { lines: Ring::new(EPOCHS_MAX), open: Mutex::default() }
    }
}

impl EpochLog {
    /// The last epochs, newest first.
    pub fn lines(&self) -> Vec<EpochLine> {
        self.lines.all()
    }

    /// The epoch that is being read.
    pub fn open(&self) -> ReadingEpoch {
        self.lock().0
    }

    /// Records were added to the open epoch.
    pub(crate) fn grew(&self, bytes: u64, rows: u64, partitions: usize, now_ms: i64) {
        let open = &mut self.lock().0;
        open.since_ms.get_or_insert(now_ms);
        open.bytes += bytes;
        open.rows += rows;
        open.partitions = partitions;
    }

    /// What comes from now on belongs to the next epoch.
    pub(crate) fn closed(&self) {
        let mut open = self.lock();
        *open = (ReadingEpoch::default(), open.0.bytes);
    }

    /// The shard starts again from its checkpoint.
    pub(crate) fn rewound(&self) {
        *self.lock() = Default::default();
    }

    /// The epoch was told to end.
    pub(crate) fn cut(&self, epoch: u64, reason: CutReason, now_ms: i64) {
        let again = self.lines.change(
            |line| line.epoch == epoch,
            |line| (line.step, line.reason, line.cut_ms) = (EpochStep::Cut, reason, now_ms),
        );
        if !again {
            self.lines.push(EpochLine::begun(epoch, reason, now_ms));
        }
    }

    /// Its content is encoded, and pinned.
    pub(crate) fn prepared(&self, plan: &EpochPlan, now_ms: i64) {
        let bytes = self.lock().1;
        let epoch = plan.cut.epoch.0;
        let fill = |line: &mut EpochLine| {
            *line = EpochLine {
                step: EpochStep::Prepared,
                bytes,
                records: plan.records,
                readings: plan.readings,
                clean: plan.clean,
                quarantined: plan.quarantined,
                duplicates: plan.duplicates,
                alerts: plan.alerts,
                objects: plan.objects.len() as u64,
                to: plan.cut.to.to_string(),
                prepared_ms: Some(now_ms),
                trace_id: line.trace_id,
                ..EpochLine::begun(epoch, plan.cut.reason, line.cut_ms)
            };
        };
        // One that an earlier incarnation has pinned was never cut here.
        if !self.lines.change(|line| line.epoch == epoch, fill) {
            let mut line = EpochLine::begun(epoch, plan.cut.reason, now_ms);
            fill(&mut line);
            self.lines.push(line);
        }
    }

    /// It has a trace.
    pub(crate) fn traced(&self, epoch: u64, trace: Option<TraceId>) {
        if trace.is_some() {
            self.lines.change(|line| line.epoch == epoch, |line| line.trace_id = trace);
        }
    }

    /// Every object is stored.
    pub(crate) fn uploaded(&self, epoch: u64, now_ms: i64) {
        self.step(epoch, EpochStep::Uploaded, |line| line.uploaded_ms = Some(now_ms));
    }

    /// The checkpoint has moved.
    pub(crate) fn committed(&self, epoch: u64, now_ms: i64) {
        self.step(epoch, EpochStep::Committed, |line| line.committed_ms = Some(now_ms));
    }

    fn step(&self, epoch: u64, step: EpochStep, note: impl FnOnce(&mut EpochLine)) {
        self.lines.change(
            |line| line.epoch == epoch,
            |line| {
                line.step = step;
                note(line);
            },
        );
    }

    // A panic while the lock was held leaves plain numbers behind.
    fn lock(&self) -> MutexGuard<'_, (ReadingEpoch, u64)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EpochLine {
    fn begun(epoch: u64, reason: CutReason, cut_ms: i64) -> Self {
        Self {
            epoch,
            step: EpochStep::Cut,
            reason,
            bytes: 0,
            records: 0,
            readings: 0,
            clean: 0,
            quarantined: 0,
            duplicates: 0,
            alerts: 0,
            objects: 0,
            to: String::new(),
            cut_ms,
            prepared_ms: None,
            uploaded_ms: None,
            committed_ms: None,
            trace_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_goes_step_by_step_and_only_the_last_are_kept() {
        let log = EpochLog::default();
        for epoch in 1..=EPOCHS_MAX as u64 + 5 {
            log.grew(10, 4, 2, 100);
            log.grew(5, 1, 3, 200);
            assert_eq!(log.open(), ReadingEpoch { since_ms: Some(100), bytes: 15, rows: 5, partitions: 3 });
            log.cut(epoch, CutReason::Age, 300);
            log.closed();
            log.uploaded(epoch, 400);
            log.committed(epoch, 500);
        }
        let lines = log.lines();
        assert_eq!((lines.len(), lines[0].epoch), (EPOCHS_MAX, EPOCHS_MAX as u64 + 5));
        assert_eq!((lines[0].step, lines[0].uploaded_ms), (EpochStep::Committed, Some(400)));
        assert_eq!(log.open(), ReadingEpoch::default());
    }
}
