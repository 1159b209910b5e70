//! What a sensor actor can be told, and what it answers.

use std::sync::Arc;

use ractor::RpcReplyPort;
use serde::Serialize;
use serde_json::Value as Json;

use crate::InFlight;
use crate::epoch::Receipts;

/// The protocol of one sensor actor.
#[derive(Debug)]
pub enum SensorMsg {
    /// Judge the rows of one group, oldest first, and settle its slot.
    Apply {
        /// The batch.
        in_flight: Arc<InFlight>,
        /// Which of its groups.
        group: usize,
        /// For the alerts that it raises.
        receipts: Receipts,
        /// Rows (of the batch) that killed this sensor before and are quarantined unseen.
        poison: Arc<[u32]>,
    },
    /// Report the state as of now to the router, under this number.
    Snapshot(u64),
    /// Report the state as of now to the router, and wait for what comes next: the sensor is idle.
    Retire,
    /// From now on this actor is the sensor that the router has laid ready for it.
    Become,
    /// Answer with a copy of the live state. Changes nothing.
    Inspect(RpcReplyPort<SensorView>),
}

/// The live state of one sensor, for people.
#[derive(Clone, Debug, Serialize)]
pub struct SensorView {
    /// The sensor's id.
    pub sensor_id: String,
    /// The shard that owns it.
    pub shard: String,
    /// `live` (an actor holds it) or `passive` (only its encoded state is kept).
    pub state: &'static str,
    /// Readings judged since its first valid one, valid or not.
    pub readings: u64,
    /// How many of them were valid.
    pub clean: u64,
    /// How many of them were duplicates.
    pub duplicates: u64,
    /// How many of them went to quarantine.
    pub quarantined: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Latest event time, microseconds since 1970.
    pub last_event_time_us: Option<i64>,
    /// Arrival of the latest record, milliseconds since 1970.
    pub last_arrival_ms: Option<i64>,
    /// Version of the tracked attributes.
    pub version: u32,
    /// Event time from which that version holds, microseconds since 1970.
    pub version_since_us: i64,
    /// Restarts of its actor by this worker.
    pub restarts: u32,
    /// Tracked attributes and the latest value and baseline of each field.
    pub fields: Json,
    /// Its last readings; none if nobody has looked for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<SensorRecent>,
}

/// The last readings of a sensor that somebody looks at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SensorRecent {
    /// Oldest first.
    pub readings: Vec<SensorReading>,
    /// Versions of its attributes that came meanwhile, oldest first.
    pub changes: Vec<SensorChange>,
}

/// One reading, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct SensorReading {
    /// Event time, microseconds since 1970.
    pub event_time_us: i64,
    /// Arrival of its record, milliseconds since 1970.
    pub arrival_ms: i64,
    /// `clean`, `duplicate`, or why it is in quarantine.
    pub verdict: &'static str,
    /// How unusual it is; 0 if it is not judged.
    pub score: f32,
    /// The detectors that fired.
    pub anomalies: Vec<&'static str>,
    /// Its numbers, by field.
    pub values: Json,
}

/// A new version of a sensor's attributes.
#[derive(Clone, Debug, Serialize)]
pub struct SensorChange {
    /// Its number, from 1.
    pub version: u32,
    /// Event time from which it holds, microseconds since 1970.
    pub valid_from_us: i64,
    /// What differs from the version before.
    pub changed: Vec<String>,
}
