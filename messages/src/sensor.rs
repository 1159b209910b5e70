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
    /// Report the state as of now to the router and stop: the sensor is idle.
    Retire,
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
    /// Readings judged since the stream began, valid or not.
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
    /// Restarts of its actor by this worker.
    pub restarts: u32,
    /// Tracked attributes and the latest value and baseline of each field.
    pub fields: Json,
}
