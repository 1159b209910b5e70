//! The alerts zone: every alert that a reading raised, or a silence that the epoch has passed, one line of JSON each.
//!
//! **Owns** the lasting record of alerts; the lines are what the webhook and the topic receive.
//! **Promises** each alert once, in the order of the records that raised them, silences last (ALERT).
//! **Fails** as a whole.
//! **Not here**: sending (`actors/src/alerts/`).

use messages::{Alert, EncodedObject, Zone};

use super::error::EncodeError;
use super::job::Job;
use super::lines::LinesObject;
use super::rows::{EpochRows, by_arrival_hour};
use crate::lake::keys::Partition;

pub(super) fn encode(
    job: &Job<'_>,
    rows: &EpochRows<'_>,
    silences: &[Alert],
) -> Result<Vec<EncodedObject>, EncodeError> {
    let mut objects = Vec::new();
    for (hour, alerts) in by_arrival_hour(rows.alerts.iter().copied().chain(silences), |alert| alert.arrival_ms) {
        let mut file = LinesObject::create(job, Zone::Alerts);
        for alert in alerts {
            let line = serde_json::to_vec(alert).map_err(|source| EncodeError::Json { zone: Zone::Alerts, source })?;
            file.push(&alert.id, &line)?;
        }
        objects.push(file.finish(job.names.dated(Zone::Alerts, Partition::Hour(hour), 0))?);
    }
    Ok(objects)
}
