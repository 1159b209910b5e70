//! One simulated device. Plain and deterministic: no clock, no I/O.
//!
//! **Owns** the state of one sensor, about 150 bytes.
//! **Promises** that event `k` is a function of the seed, the sensor and `k` alone, apart from its timestamp.
//! **Fails** never.
//! **Not here**: when events are due; how a payload is broken.

use std::f64::consts::TAU;
use std::sync::Arc;

use bytes::Bytes;

use super::broken;
use super::event::{Event, Firmware, Place};
use super::options::{Chance, Shares};
use crate::rng::{Rng, mix};
use crate::{AnomalyKind, BrokenKind, Kind};

/// Events in a day of climate. Not wall time: content must not depend on timing, and a demo lasts minutes.
const EVENTS_PER_DAY: f64 = 1440.0;
/// Heavy payloads go to this many sensors, once each per kind, which bounds a run to about 21 MB of them.
/// It is the number of kinds, so that each kind is the first of one of these sensors.
const HEAVY_SENSORS: u32 = BrokenKind::ALL.len() as u32;
const LATE_MS_MIN: u64 = 10_000;
const LATE_MS_MAX: u64 = 45 * 60_000;

#[derive(Clone, Debug)]
pub(super) struct Device {
    id: Arc<str>,
    index: u32,
    seed: u64,
    rng: Rng,
    /// Turns taken, silent ones included.
    k: u64,
    /// Events made.
    n: u64,
    base: f64,
    phase: f64,
    /// Slow noise, an AR(1) process.
    wobble: f64,
    episode: Episode,
    echo: Option<Box<Echo>>,
    firmware: Firmware,
    place: Place,
    n_broken: u32,
}

/// An anomaly that lasts.
#[derive(Clone, Copy, Debug)]
enum Episode {
    Calm,
    Stuck { left: u64, value: f64 },
    Step { left: u64, by: f64 },
    Silent { left: u64 },
}

/// A duplicate that waits for its turn.
#[derive(Clone, Debug)]
struct Echo {
    after: u64,
    emission: Emission,
}

/// A payload with its ledger facts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Emission {
    pub n: u64,
    pub kind: Kind,
    pub claims: Option<String>,
    pub data: Bytes,
}

/// What a turn of the device gives; nothing while it is silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Step {
    pub fresh: Option<Emission>,
    /// Sent right after it.
    pub echo: Option<Emission>,
}

impl Device {
    pub(super) fn new(seed: u64, index: u32) -> Self {
        let mut rng = Rng::new(seed, u64::from(index));
        Self {
            id: format!("s-{index:06}").into(),
            index,
            seed,
            k: 0,
            n: 0,
            base: rng.between(16.0, 24.0),
            phase: rng.unit(),
            wobble: 0.0,
            episode: Episode::Calm,
            echo: None,
            firmware: Firmware { major: 1, minor: rng.whole(2, 4) as u8, patch: rng.whole(0, 3) as u16 },
            place: place(&mut rng),
            n_broken: 0,
            rng,
        }
    }

    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Takes the next turn. `due_ms` goes into the timestamp and nowhere else.
    pub(super) fn step(&mut self, shares: &Shares, due_ms: i64) -> Step {
        let natural = self.temperature();
        self.k += 1;
        if let Episode::Silent { left: left @ 1.. } = &mut self.episode {
            *left -= 1;
            return Step::default();
        }
        let chance = shares.decide(self.rng.unit());
        let (temperature, mut kind) = self.disturb(natural, chance);
        let mut ts_ms = due_ms;
        match chance {
            Chance::Late => {
                ts_ms -= self.rng.whole(LATE_MS_MIN, LATE_MS_MAX) as i64;
                kind = Kind::Late;
            }
            Chance::Firmware => {
                self.upgrade();
                kind = Kind::Firmware;
            }
            Chance::Moved => {
                self.place = place(&mut self.rng);
                kind = Kind::Moved;
            }
            Chance::Broken => kind = Kind::Broken(self.next_broken()),
            Chance::Nothing | Chance::Anomaly | Chance::Duplicate => {}
        }
        let fresh = self.emission(ts_ms, temperature, kind);
        self.n += 1;
        let echo = self.due_echo();
        if chance == Chance::Duplicate && self.echo.is_none() {
            let emission = Emission { kind: Kind::Duplicate, ..fresh.clone() };
            self.echo = Some(Box::new(Echo { after: self.rng.whole(1, 4), emission }));
        }
        Step { fresh: Some(fresh), echo }
    }

    /// A day's swing, slow noise, and the noise of the thermometer.
    fn temperature(&mut self) -> f64 {
        self.wobble = 0.98 * self.wobble + 0.06 * self.rng.normal();
        let swing = 4.0 * (TAU * (self.k as f64 / EVENTS_PER_DAY + self.phase)).sin();
        self.base + swing + self.wobble + 0.05 * self.rng.normal()
    }

    /// Begins, continues or ends an episode.
    fn disturb(&mut self, natural: f64, chance: Chance) -> (f64, Kind) {
        let anomaly = Kind::Anomaly;
        match &mut self.episode {
            Episode::Stuck { left: left @ 1.., value } => {
                *left -= 1;
                return (*value, anomaly(AnomalyKind::Stuck));
            }
            Episode::Step { left: left @ 1.., by } => {
                *left -= 1;
                return (natural + *by, anomaly(AnomalyKind::Step));
            }
            Episode::Silent { .. } => {
                self.episode = Episode::Calm;
                return (natural, anomaly(AnomalyKind::Dropout));
            }
            Episode::Stuck { .. } | Episode::Step { .. } => self.episode = Episode::Calm,
            Episode::Calm => {}
        }
        if chance != Chance::Anomaly {
            return (natural, Kind::Reading);
        }
        let sign = if self.rng.next() & 1 == 0 { 1.0 } else { -1.0 };
        // Half of them spikes: the others last, and most of the fleet must stay a normal baseline.
        match self.rng.whole(0, 5) {
            0 => {
                let left = self.rng.whole(11, 29);
                self.episode = Episode::Stuck { left, value: natural };
                (natural, anomaly(AnomalyKind::Stuck))
            }
            1 => {
                let by = sign * self.rng.between(8.0, 15.0);
                self.episode = Episode::Step { left: self.rng.whole(19, 59), by };
                (natural + by, anomaly(AnomalyKind::Step))
            }
            2 => {
                // This event is the last before the silence; the first after it is the one marked.
                self.episode = Episode::Silent { left: self.rng.whole(10, 60) };
                (natural, Kind::Reading)
            }
            _ => (natural + sign * self.rng.between(15.0, 40.0), anomaly(AnomalyKind::Spike)),
        }
    }

    fn emission(&mut self, ts_ms: i64, temperature: f64, kind: Kind) -> Emission {
        let event = Event {
            sensor_id: &self.id,
            event_id: mix(mix(self.seed ^ 0x6576_656e_745f_6964).wrapping_add(u64::from(self.index)) ^ mix(self.n)),
            seq: self.n,
            ts_ms,
            temperature,
            humidity: (62.0 - (temperature - self.base) * 2.0 - self.wobble * 3.0).clamp(0.0, 100.0),
            battery: 100.0 - (self.n as f64 * 0.001 + self.phase * 40.0) % 90.0,
            firmware: self.firmware,
            place: self.place,
        };
        let (claims, data) = match kind {
            Kind::Broken(broken) => broken::make(broken, &event),
            _ => (None, event.to_json().into_bytes()),
        };
        Emission { n: self.n, kind, claims, data: data.into() }
    }

    fn due_echo(&mut self) -> Option<Emission> {
        let echo = self.echo.as_mut()?;
        echo.after -= 1;
        if echo.after > 0 {
            return None;
        }
        self.echo.take().map(|echo| echo.emission)
    }

    fn next_broken(&mut self) -> BrokenKind {
        let all = BrokenKind::ALL;
        loop {
            let turn = self.n_broken;
            self.n_broken += 1;
            let kind = all[(self.index as usize + turn as usize) % all.len()];
            let first_round = (turn as usize) < all.len();
            if !kind.is_heavy() || (self.index < HEAVY_SENSORS && first_round) {
                return kind;
            }
        }
    }

    fn upgrade(&mut self) {
        if self.rng.whole(0, 3) == 0 && self.firmware.minor < u8::MAX {
            self.firmware.minor += 1;
            self.firmware.patch = 0;
        } else {
            self.firmware.patch = self.firmware.patch.saturating_add(1);
        }
    }
}

/// Somewhere in one of twelve plants.
fn place(rng: &mut Rng) -> Place {
    let site = rng.whole(1, 12) as u8;
    let lat = 47.5 + f64::from(site) * 0.45 + rng.between(-0.01, 0.01);
    let lon = 6.2 + f64::from(site) * 0.62 + rng.between(-0.01, 0.01);
    Place { site, lat, lon }
}
