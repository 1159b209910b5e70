//! What the router keeps of one sensor, whether it has an actor or not.

use std::sync::Arc;

use messages::{SensorId, SensorMsg, SensorSummary, StateEntry, StateKind};
use ractor::{ActorId, ActorRef};
use tokio::time::Instant;

use crate::sensor::InHand;

/// Errors are shown in pages of sensors and kept with the slot: bounded.
const ERROR_CHARS_MAX: usize = 200;

/// One sensor.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) life: Life,
    /// Its last reported state; empty for a sensor that has not reported yet.
    pub(super) base: Arc<[u8]>,
    /// First journal number that is not contained in the base.
    pub(super) base_at: u64,
    /// Its place in the stream's hash range.
    pub(super) hash_key: u128,
    /// Journal number of the last batch that was routed to it.
    pub(super) last_routed: u64,
    pub(super) last_touched: Instant,
    pub(super) last_arrival_ms: Option<i64>,
    /// Whether it waits for an actor.
    pub(super) parked: bool,
    /// The row that an actor had in hand when it was last looked at for being slow.
    pub(super) looked_at: Option<(ActorId, (u64, u32))>,
    /// The actor that was killed because it hung.
    pub(super) killed: Option<ActorId>,
    /// The actor that was killed on request: its death says nothing about its readings.
    pub(super) excused: Option<ActorId>,
    /// Where its rows stand in the journal since its last report: line and group.
    pub(super) routed: Vec<(u64, usize)>,
    /// Whether its silence has been reported.
    pub(super) silent: bool,
    pub(super) restarts: u32,
    last_error: Option<String>,
    /// The row it last died on, and how often.
    crash: Option<(Option<(u64, u32)>, u32)>,
}

/// Whether a sensor has an actor.
#[derive(Debug)]
pub(super) enum Life {
    Passive,
    Live {
        actor: ActorRef<SensorMsg>,
        in_hand: Arc<InHand>,
    },
    /// Asked to report and stop; batches routed after `asked_at` wait in the journal.
    Retiring {
        actor: ActorRef<SensorMsg>,
        in_hand: Arc<InHand>,
        asked_at: u64,
    },
}

impl Life {
    /// The row that the actor had in hand.
    pub(super) fn in_hand(&self) -> Option<(u64, u32)> {
        match self {
            Self::Passive => None,
            Self::Live { in_hand, .. } | Self::Retiring { in_hand, .. } => in_hand.get(),
        }
    }
}

impl Slot {
    pub(super) fn passive(hash_key: u128, base: Arc<[u8]>, last_arrival_ms: Option<i64>) -> Self {
        Self {
            life: Life::Passive,
            base,
            base_at: 0,
            hash_key,
            last_routed: 0,
            last_touched: Instant::now(),
            last_arrival_ms,
            parked: false,
            looked_at: None,
            killed: None,
            excused: None,
            routed: Vec::new(),
            silent: false,
            restarts: 0,
            last_error: None,
            crash: None,
        }
    }

    pub(super) fn touch(&mut self, number: u64, group: usize, now: Instant, arrival_ms: i64) {
        self.routed.push((number, group));
        self.last_routed = number;
        self.last_touched = now;
        self.last_arrival_ms = self.last_arrival_ms.max(Some(arrival_ms));
        self.silent = false;
    }

    /// Takes over a reported state, which contains everything before this journal number.
    pub(super) fn report(&mut self, base: Arc<[u8]>, base_at: u64) {
        self.base = base;
        self.base_at = base_at;
        self.routed.retain(|(number, _)| *number >= base_at);
        // Whatever it died of, it has got past it.
        self.crash = None;
    }

    /// Notes a death that says nothing about the sensor's readings: it counts as none.
    pub(super) fn ended(&mut self, error: &str) -> u32 {
        self.restarts += 1;
        self.last_error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
        0
    }

    /// Counts a death; answers how often the sensor died on this very row.
    pub(super) fn crashed(&mut self, row: Option<(u64, u32)>, error: &str) -> u32 {
        let _ = self.ended(error);
        let before = self.crash.filter(|(at, _)| *at == row).map_or(0, |(_, n)| n);
        self.crash = Some((row, before + 1));
        before + 1
    }

    /// True if it was live.
    pub(super) fn retire(&mut self, asked_at: u64) -> bool {
        let Life::Live { actor, in_hand } = &self.life else { return false };
        let _ = actor.send_message(SensorMsg::Retire);
        self.life = Life::Retiring { actor: actor.clone(), in_hand: in_hand.clone(), asked_at };
        true
    }

    /// Kills its actor, and excuses the death. False if it has none.
    pub(super) fn kill(&mut self) -> bool {
        let (Life::Live { actor, .. } | Life::Retiring { actor, .. }) = &self.life else { return false };
        actor.kill();
        self.excused = Some(actor.get_id());
        true
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
            restarts: self.restarts,
            queue: u32::from(self.last_routed >= forwarded && self.last_routed > 0),
            last_error: self.last_error.clone(),
        }
    }
}
