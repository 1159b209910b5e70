//! What was routed since the last cut that every sensor has reported for: batches and cuts in stream order.
//!
//! A sensor's state plus the journal from its `base_at` on is its state now; that is how one sensor restarts alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use messages::{Cut, CutState, InFlight, Receipts, SensorId, SensorMsg, StateEntry};

/// Something that is complete and leaves for the aggregator.
#[derive(Debug)]
pub(super) enum Entry {
    Batch(Arc<InFlight>),
    Cut(CutState),
}

#[derive(Debug)]
enum JournalLine {
    Batch { in_flight: Arc<InFlight>, receipts: Receipts, poison: Arc<[u32]>, since: Duration },
    Cut { cut: Cut, receipts: Receipts, states: BTreeMap<SensorId, StateEntry>, waiting: BTreeSet<SensorId> },
}

/// Lines are numbered from 0 within an incarnation of the shard. Numbers begin at 1, so that 0 is "never".
#[derive(Debug)]
pub(super) struct Journal {
    lines: VecDeque<JournalLine>,
    /// Number of the first line that is still here.
    first: u64,
    /// Number of the first line that has not been sent on.
    forwarded: u64,
    /// For the alerts of the open epoch.
    receipts: Receipts,
}

impl Default for Journal {
    fn default() -> Self {
        Self { lines: VecDeque::new(), first: 1, forwarded: 1, receipts: Receipts::default() }
    }
}

impl Journal {
    /// The number that the next line will have.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// Lines below this number have been sent on.
    pub(super) fn forwarded(&self) -> u64 {
        self.forwarded
    }

    pub(super) fn push_batch(&mut self, in_flight: Arc<InFlight>, since: Duration) {
        let receipts = self.receipts.clone();
        self.lines.push_back(JournalLine::Batch { in_flight, receipts, poison: Arc::from([]), since });
    }

    pub(super) fn push_cut(&mut self, cut: Cut, states: BTreeMap<SensorId, StateEntry>, waiting: BTreeSet<SensorId>) {
        let receipts = std::mem::take(&mut self.receipts);
        self.lines.push_back(JournalLine::Cut { cut, receipts, states, waiting });
    }

    /// The message that hands a group of the newest batch to its sensor.
    pub(super) fn apply(&self, in_flight: &Arc<InFlight>, group: usize) -> SensorMsg {
        let poison = match self.lines.back() {
            Some(JournalLine::Batch { poison, .. }) => poison.clone(),
            Some(JournalLine::Cut { .. }) | None => Arc::from([]),
        };
        SensorMsg::Apply { in_flight: in_flight.clone(), group, receipts: self.receipts.clone(), poison }
    }

    /// A batch that is still here.
    pub(super) fn batch(&self, number: u64) -> Option<&InFlight> {
        match self.lines.get(number.checked_sub(self.first)? as usize)? {
            JournalLine::Batch { in_flight, .. } => Some(in_flight),
            JournalLine::Cut { .. } => None,
        }
    }

    /// Everything that a sensor has to do from this number on. `routed` says which group of which line is its own.
    pub(super) fn replay<'a>(
        &'a self,
        sensor: &'a SensorId,
        from: u64,
        routed: &'a [(u64, usize)],
    ) -> impl Iterator<Item = SensorMsg> + 'a {
        let at = (from.saturating_sub(self.first) as usize).min(self.lines.len());
        (self.first.max(from)..).zip(self.lines.range(at..)).filter_map(move |(number, line)| match line {
            JournalLine::Batch { in_flight, receipts, poison, .. } => {
                let at = routed.binary_search_by_key(&number, |(line, _)| *line).ok()?;
                let group = routed[at].1;
                let (in_flight, receipts, poison) = (in_flight.clone(), receipts.clone(), poison.clone());
                Some(SensorMsg::Apply { in_flight, group, receipts, poison })
            }
            JournalLine::Cut { waiting, .. } => waiting.contains(sensor).then_some(SensorMsg::Snapshot(number)),
        })
    }

    /// Whether a cut waits for this sensor's state.
    pub(super) fn waits_for(&self, sensor: &SensorId) -> bool {
        self.lines.iter().any(|line| matches!(line, JournalLine::Cut { waiting, .. } if waiting.contains(sensor)))
    }

    /// A row is to be quarantined unseen from now on.
    pub(super) fn poison(&mut self, number: u64, row: u32) {
        let line = number.checked_sub(self.first).and_then(|at| self.lines.get_mut(at as usize));
        if let Some(JournalLine::Batch { poison, .. }) = line {
            *poison = poison.iter().copied().chain([row]).collect();
        }
    }

    /// A sensor reported for a cut, with its state if it has one. False if the cut did not wait for it.
    pub(super) fn complete_cut(&mut self, number: u64, sensor: &SensorId, entry: Option<StateEntry>) -> bool {
        let line = number.checked_sub(self.first).and_then(|at| self.lines.get_mut(at as usize));
        let Some(JournalLine::Cut { waiting, states, .. }) = line else { return false };
        let waited = waiting.remove(sensor);
        if waited {
            states.extend(entry.map(|entry| (sensor.clone(), entry)));
        }
        waited
    }

    /// Whether an epoch that was cut is still being judged.
    pub(super) fn has_cut(&self) -> bool {
        self.lines.iter().any(|line| matches!(line, JournalLine::Cut { .. }))
    }

    /// The next line that can be sent on. A cut takes the lines up to itself out of the journal.
    pub(super) fn next_complete(&mut self) -> Option<Entry> {
        let line = self.lines.get((self.forwarded - self.first) as usize)?;
        match line {
            JournalLine::Batch { in_flight, .. } if in_flight.is_complete() => {
                self.forwarded += 1;
                Some(Entry::Batch(in_flight.clone()))
            }
            JournalLine::Cut { waiting, .. } if waiting.is_empty() => {
                self.forwarded += 1;
                let done = (self.forwarded - self.first) as usize;
                let cut = self.lines.drain(..done).next_back()?;
                self.first = self.forwarded;
                match cut {
                    JournalLine::Cut { cut, states, receipts, .. } => {
                        let (sensors, silences) = (states.into_values().collect(), Vec::new());
                        Some(Entry::Cut(CutState { cut, sensors, silences, receipts }))
                    }
                    JournalLine::Batch { .. } => unreachable!("the line was a cut three lines above"),
                }
            }
            JournalLine::Batch { .. } | JournalLine::Cut { .. } => None,
        }
    }

    /// The first batch that some sensor has not judged yet, if it has been here for longer than this. The time of all
    /// such batches begins anew: whoever is slow because of this one must not be blamed for the next.
    pub(super) fn overdue(&mut self, now: Duration, after: Duration) -> Option<Arc<InFlight>> {
        let incomplete = self.lines.iter_mut().filter_map(|line| match line {
            JournalLine::Batch { in_flight, since, .. } if !in_flight.is_complete() => Some((in_flight, since)),
            JournalLine::Batch { .. } | JournalLine::Cut { .. } => None,
        });
        let mut incomplete = incomplete.peekable();
        let (first, since) = incomplete.peek()?;
        if now.saturating_sub(**since) < after {
            return None;
        }
        let first = Arc::clone(first);
        incomplete.for_each(|(_, since)| *since = now);
        Some(first)
    }
}
