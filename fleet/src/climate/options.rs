//! What a simulated fleet is to be.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Delivery, FleetError};

/// Sensor ids and 1,000,000 devices of about 150 bytes are fine; more was never tried.
const SENSORS_MAX: u32 = 10_000_000;
const RATE_MAX: f64 = 10_000_000.0;

/// The options of [`run_fleet`](crate::run_fleet).
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Devices, `s-000000` and up.
    pub sensors: u32,
    /// Events per second over the whole fleet.
    pub rate: f64,
    /// The same seed gives the same events, apart from their timestamps.
    pub seed: u64,
    /// Ends by itself after this time; `None` runs until stopped.
    pub duration: Option<Duration>,
    /// How much of what is strange.
    pub shares: Shares,
    /// Where the ledger is written; must not hold a run yet.
    pub ledger: PathBuf,
    /// How records are sent.
    pub delivery: Delivery,
}

impl FleetOptions {
    /// An endless fleet with the shares of a demo.
    pub fn new(sensors: u32, rate: f64, seed: u64, ledger: impl Into<PathBuf>) -> Self {
        Self {
            sensors,
            rate,
            seed,
            duration: None,
            shares: Shares::demo(),
            ledger: ledger.into(),
            delivery: Delivery::open_loop(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), FleetError> {
        let wrong = |name, problem: String| Err(FleetError::Option { name, problem });
        if !(1..=SENSORS_MAX).contains(&self.sensors) {
            return wrong("sensors", format!("must be 1 to {SENSORS_MAX}"));
        }
        // Written so that NaN is refused too.
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            return wrong("rate", format!("must be above 0 and at most {RATE_MAX}"));
        }
        self.shares.check()?;
        self.delivery.check()
    }
}

/// The probability, per event of a sensor, that something strange happens with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// An anomaly begins: a spike, a stuck value, a step or a silence. All but spikes last for many events.
    pub anomaly: f64,
    /// The event is sent once more, byte for byte, within the sensor's next few events.
    pub duplicate: f64,
    /// The event's time lies 10 s to 45 min in the past.
    pub late: f64,
    /// The payload is broken; the kinds rotate.
    pub broken: f64,
    /// The firmware changes with this event.
    pub firmware: f64,
    /// The sensor has moved to another place.
    pub moved: f64,
}

/// What an event's draw has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chance {
    Nothing,
    Anomaly,
    Duplicate,
    Late,
    Broken,
    Firmware,
    Moved,
}

impl Shares {
    /// Enough of everything that a minute of a small fleet is worth watching.
    pub fn demo() -> Self {
        Self { anomaly: 0.002, duplicate: 0.005, late: 0.005, broken: 0.002, firmware: 0.0005, moved: 0.0002 }
    }

    /// Plain readings only.
    pub fn none() -> Self {
        Self { anomaly: 0.0, duplicate: 0.0, late: 0.0, broken: 0.0, firmware: 0.0, moved: 0.0 }
    }

    /// One draw decides one thing at most, so the shares are exact.
    pub(crate) fn decide(&self, draw: f64) -> Chance {
        let mut below = 0.0;
        for (share, chance) in self.each() {
            below += share;
            if draw < below {
                return chance;
            }
        }
        Chance::Nothing
    }

    fn each(&self) -> [(f64, Chance); 6] {
        [
            (self.anomaly, Chance::Anomaly),
            (self.duplicate, Chance::Duplicate),
            (self.late, Chance::Late),
            (self.broken, Chance::Broken),
            (self.firmware, Chance::Firmware),
            (self.moved, Chance::Moved),
        ]
    }

    fn check(&self) -> Result<(), FleetError> {
        let shares = self.each().map(|(share, _)| share);
        let sound = shares.iter().all(|share| (0.0..=1.0).contains(share));
        if !sound || shares.iter().sum::<f64>() > 1.0 {
            let problem = "each must be 0 to 1, and all together at most 1".to_owned();
            return Err(FleetError::Option { name: "shares", problem });
        }
        Ok(())
    }
}
