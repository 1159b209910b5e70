//! An alert: raised by a sensor, sent by the alerts actor, stable over replays.

use serde::{Deserialize, Serialize};

use crate::SensorId;

/// What raised an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A value left the detector's expected band.
    Range,
    /// A value changed faster than its field can.
    Rate,
    /// A value has not changed for too many readings.
    Flat,
    /// A value is far from the sensor's own recent distribution.
    Score,
    /// A sensor has been silent for too long.
    Heartbeat,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Range, Self::Rate, Self::Flat, Self::Score, Self::Heartbeat];

    /// The stored text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Rate => "rate",
            Self::Flat => "flat",
            Self::Score => "score",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// One alert. Serialised as it is for the webhook, the topic and the alerts zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The same for every replay of the reading that raised it: receivers drop repeats by it.
    pub id: String,
    /// What raised it.
    pub kind: AlertKind,
    /// How urgent it is.
    pub severity: Severity,
    /// The sensor concerned.
    pub sensor_id: SensorId,
    /// The field concerned; none for a heartbeat.
    pub field: Option<String>,
    /// The value that raised it; none for a heartbeat.
    pub value: Option<f64>,
    /// What was expected, for a person.
    pub message: String,
    /// Event time of the reading (of the last one seen, for a heartbeat), microseconds since 1970.
    pub event_time_us: i64,
    /// When the record arrived in the stream, milliseconds since 1970. Latency is counted from here.
    pub arrival_ms: i64,
    /// The shard that the reading came from.
    pub shard: String,
    /// Its sequence number; none for a heartbeat.
    pub sequence: Option<String>,
}
