//! What the router keeps of one sensor, whether it has an actor or not.

use std::sync::Arc;
use std::time::Duration;

use messages::{HashRange, SensorId, SensorSummary, StateEntry, StateKind};

/// Errors are shown in pages of sensors and kept with the slot: bounded.
const ERROR_CHARS_MAX: usize = 200;

/// One sensor. `A` is what its actor is reached by.
#[derive(Debug)]
pub(super) struct Slot<A> {
    pub(super) life: Life<A>,
    /// Its last reported state; empty for a sensor that has not reported yet.
    pub(super) base: Arc<[u8]>,
    /// First journal number that is not contained in the base.
    pub(super) base_at: u64,
    /// Its place in the stream's hash range.
    pub(super) hash_key: u128,
    /// Journal number of the last batch that was routed to it.
    pub(super) last_routed: u64,
    pub(super) last_touched: Duration,
    /// When the last record with a row of it arrived.
    pub(super) touched_ms: i64,
    /// The last arrival in the base, and in the state as of the last cut.
    pub(super) base_ms: i64,
    pub(super) cut_ms: i64,
    /// Whether it waits for an actor.
    pub(super) parked: bool,
    /// Whether it stands in the order of those that may give their actor back.
    pub(super) queued: bool,
    /// Whether it counts as known: it has been valid, or the open epoch has touched it.
    pub(super) counted: bool,
    /// Where its rows stand in the journal since its last report: line and group.
    pub(super) routed: Vec<(u64, usize)>,
    /// Whether it came under another key than before.
    pub(super) roams: bool,
    /// Whether its silence has been reported.
    pub(super) silent: bool,
    /// Whether it has come more than once.
    pub(super) came_again: bool,
    /// Whether it stands in the two orders of who may have become silent.
    pub(super) watched_by_cut: bool,
    pub(super) watched_by_touch: bool,
    /// What went wrong with it. Hardly any sensor has this, and there are many.
    failures: Option<Box<SensorFailure>>,
}

/// What went wrong with a sensor.
#[derive(Debug, Default)]
pub(super) struct SensorFailure {
    /// The row that an actor had in hand when it was last looked at for being slow.
    pub(super) looked_at: Option<(u64, (u64, u32))>,
    /// The actor that was killed because it hung.
    pub(super) killed: Option<u64>,
    /// The actor that was killed on request: its death says nothing about its readings.
    pub(super) excused: Option<u64>,
    restarts: u32,
    last_error: Option<String>,
    /// The row it last died on, and how often.
    crash: Option<(Option<(u64, u32)>, u32)>,
}

/// Whether a sensor has an actor, and which.
#[derive(Debug)]
pub(super) enum Life<A> {
    Passive,
    Live {
        id: u64,
        actor: A,
    },
    /// Asked to report and stop; batches routed after `asked_at` wait in the journal.
    Retiring {
        id: u64,
        actor: A,
        asked_at: u64,
    },
}

impl<A: Clone> Slot<A> {
    pub(super) fn passive(hash_key: u128, base: Arc<[u8]>, last_arrival_ms: Option<i64>) -> Self {
        let last_ms = last_arrival_ms.unwrap_or(i64::MIN);
        Self {
            life: Life::Passive,
            base,
            base_at: 0,
            hash_key,
            last_routed: 0,
            last_touched: Duration::ZERO,
            touched_ms: last_ms,
            base_ms: last_ms,
            cut_ms: last_ms,
            parked: false,
            queued: false,
            counted: true,
            routed: Vec::new(),
            roams: false,
            silent: false,
            came_again: last_arrival_ms.is_some(),
            watched_by_cut: false,
            watched_by_touch: false,
            failures: None,
        }
    }

    /// Whether it has ever had a valid reading, as of its last report: only then there is something to remember.
    pub(super) fn has_been_valid(&self) -> bool {
        !self.base.is_empty()
    }

    /// Restarts of its actor.
    pub(super) fn restarts(&self) -> u32 {
        self.failures.as_ref().map_or(0, |failures| failures.restarts)
    }

    /// Where to note what goes wrong with it.
    pub(super) fn failures(&mut self) -> &mut SensorFailure {
        self.failures.get_or_insert_default()
    }

    /// Whether its keys are not those of one place in this range: it may be on other shards too.
    pub(super) fn roams_from(&self, range: HashRange) -> bool {
        self.roams || !range.contains(self.hash_key)
    }

    pub(super) fn touch(&mut self, number: u64, group: usize, now: Duration, arrival_ms: i64) {
        if self.routed.capacity() == 0 {
            // Most have one batch in an epoch, and there are many of them.
            self.routed.reserve_exact(1);
        }
        self.routed.push((number, group));
        self.came_again |= self.last_routed > 0;
        self.last_routed = number;
        self.last_touched = now;
        self.touched_ms = self.touched_ms.max(arrival_ms);
        self.silent = false;
    }

    /// Takes over a reported state, which contains everything before this journal number.
    pub(super) fn report(&mut self, base: Arc<[u8]>, base_at: u64, last_arrival_ms: Option<i64>) {
        self.base = base;
        self.base_ms = last_arrival_ms.unwrap_or(i64::MIN);
        self.base_at = base_at;
        self.routed.retain(|(number, _)| *number >= base_at);
        if self.routed.is_empty() {
            // Most sensors sleep: room for some rows each would be most of what the shard holds.
            self.routed = Vec::new();
        }
        // Whatever it died of, it has got past it.
        if let Some(failures) = &mut self.failures {
            failures.crash = None;
        }
    }

    /// Notes a death that says nothing about the sensor's readings: it counts as none.
    pub(super) fn ended(&mut self, error: &str) -> u32 {
        let failures = self.failures();
        failures.restarts += 1;
        failures.last_error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
        0
    }

    /// Counts a death; answers how often the sensor died on this very row.
    pub(super) fn crashed(&mut self, row: Option<(u64, u32)>, error: &str) -> u32 {
        let _ = self.ended(error);
        let failures = self.failures();
        let before = failures.crash.filter(|(at, _)| *at == row).map_or(0, |(_, n)| n);
        failures.crash = Some((row, before + 1));
        before + 1
    }

    /// Whether it is known by more than that it came: if not, it has neither an actor nor waits for one.
    pub(super) fn is_unknown(&self) -> bool {
        !self.counted && !self.queued && !self.parked && matches!(self.life, Life::Passive)
    }

    /// Its actor is asked to report and to stop. None if it is not live.
    pub(super) fn retire(&mut self, asked_at: u64) -> Option<&A> {
        let Life::Live { id, actor } = &self.life else { return None };
        self.life = Life::Retiring { id: *id, actor: actor.clone(), asked_at };
        match &self.life {
            Life::Retiring { actor, .. } => Some(actor),
            Life::Passive | Life::Live { .. } => None,
        }
    }

    /// The actor that is to be killed, whose death is excused. None if it has none.
    pub(super) fn excuse(&mut self) -> Option<A> {
        let (Life::Live { id, actor } | Life::Retiring { id, actor, .. }) = &self.life else { return None };
        let (id, actor) = (*id, actor.clone());
        self.failures().excused = Some(id);
        Some(actor)
    }

    pub(super) fn entry(&self, sensor: &SensorId, bytes: Arc<[u8]>) -> StateEntry {
        StateEntry { kind: StateKind::Sensor, sensor: sensor.clone(), hash_key: self.hash_key, bytes }
    }

    pub(super) fn summary(&self, sensor: &SensorId, forwarded: u64) -> SensorSummary {
        let state = match self.life {
            Life::Passive => "passive",
            Life::Live { .. } | Life::Retiring { .. } => "live",
        };
        SensorSummary {
            sensor_id: sensor.to_string(),
            state,
            restarts: self.restarts(),
            queue: u32::from(self.last_routed >= forwarded && self.last_routed > 0),
            last_error: self.failures.as_ref().and_then(|failures| failures.last_error.clone()),
        }
    }
}
