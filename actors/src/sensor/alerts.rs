//! What an alert of a sensor looks like.
//!
//! **Owns** ids.
//! **Promises** an id that depends on nothing but where the reading stands in its shard, the field and the detector,
//! so that every replay on every worker gives the same one (ALERT).
//! **Not here**: when to raise one, and how urgent it is (`detectors/`); sending.

use std::time::Duration;

use messages::{Alert, AlertKind, Batch, SensorId, Severity, ShardId};
use sha2::{Digest, Sha256};

use super::detectors::Raised;
use super::rules::SensorRules;
use super::words::{number, seconds};

/// A sensor that says nothing at all may mean damage right now.
const SILENT: Severity = Severity::Critical;

/// The reading that raises an alert.
pub(super) struct Origin<'a> {
    pub(super) sensor: &'a SensorId,
    pub(super) shard: &'a ShardId,
    pub(super) batch: &'a Batch,
    pub(super) row: usize,
}

impl Origin<'_> {
    /// Turns a detector's finding into an alert.
    pub(super) fn alert(&self, rules: &SensorRules, raised: Raised) -> Alert {
        let Raised { field, kind, severity, value, what } = raised;
        let field = &rules.schema.fields[field].name;
        let record = self.batch.record_of(self.row);
        let sub_sequence = self.batch.rows.sub_sequence[self.row].to_string();
        Alert {
            id: id(&[
                self.shard.as_str(),
                record.sequence.as_str(),
                &sub_sequence,
                self.sensor.as_str(),
                field,
                kind.as_str(),
            ]),
            kind,
            severity,
            sensor_id: self.sensor.clone(),
            field: Some(field.clone()),
            value: Some(value),
            message: format!("{field} {what}"),
            event_time_us: self.batch.rows.event_time_us[self.row],
            arrival_ms: record.arrival_ms,
            shard: self.shard.as_str().to_owned(),
            sequence: Some(record.sequence.as_str().to_owned()),
        }
    }
}

/// The alert for a sensor that has sent nothing for too long. Its id is that of the silence: it depends on the sensor
/// and its last arrival only, so that another worker, or the child of a split shard, raises the same alert again.
pub fn heartbeat_alert(
    sensor: &SensorId,
    shard: &ShardId,
    last_event_time_us: Option<i64>,
    last_arrival_ms: i64,
    silent_for_ms: i64,
    timeout: Duration,
) -> Alert {
    let kind = AlertKind::Heartbeat;
    Alert {
        id: id(&[sensor.as_str(), &last_arrival_ms.to_string(), kind.as_str()]),
        kind,
        severity: SILENT,
        sensor_id: sensor.clone(),
        field: None,
        value: None,
        message: format!(
            "nothing has arrived for {}; expected a reading at least every {} s",
            seconds(silent_for_ms.saturating_mul(1000)),
            number(timeout.as_secs_f64()),
        ),
        // Whoever keeps only the arrival of a sleeping sensor says that instead.
        event_time_us: last_event_time_us.unwrap_or(last_arrival_ms.saturating_mul(1000)),
        arrival_ms: last_arrival_ms,
        shard: shard.as_str().to_owned(),
        sequence: None,
    }
}

/// The alert that says how many more sensors of a shard are silent than are told one by one. It names the first of them.
pub fn silence_alert(first: &SensorId, shard: &ShardId, sensors: usize, last_arrival_ms: i64) -> Alert {
    let kind = AlertKind::Heartbeat;
    Alert {
        id: id(&[shard.as_str(), first.as_str(), &last_arrival_ms.to_string(), "silence"]),
        kind,
        severity: SILENT,
        sensor_id: first.clone(),
        field: None,
        value: None,
        message: format!("{sensors} more sensors of the shard are silent, this one the longest of them"),
        event_time_us: last_arrival_ms.saturating_mul(1000),
        arrival_ms: last_arrival_ms,
        shard: shard.as_str().to_owned(),
        sequence: None,
    }
}

/// Half of a SHA-256 in hex. Each part comes with its length, so that no two lists of parts read the same.
fn id(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
