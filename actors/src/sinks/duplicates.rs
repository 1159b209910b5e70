//! The duplicates zone: readings whose event id had been seen before.
//!
//! **Owns** the rows that account for what the dedup horizon dropped; their bytes are in the raw zone.
//! **Promises** COMPLETE: every dropped reading has a row here.
//! **Fails** as a whole.
//! **Not here**: the horizon (`actors/src/sensor/`).

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use messages::{EncodedObject, Zone};

use super::error::EncodeError;
use super::job::Job;
use super::origin::{origin, texts, times};
use super::rows::{DuplicateRow, EpochRows, by_arrival_hour};
use super::table::{CHUNK_ROWS, ParquetTable};
use crate::lake::keys::Partition;

pub(super) fn encode(job: &Job<'_>, rows: &EpochRows<'_>) -> Result<Vec<EncodedObject>, EncodeError> {
    let layout = crate::lake::columns::duplicates();
    let arrival_ms = |row: &DuplicateRow<'_>| row.batch.record_of(row.row).arrival_ms;
    let mut objects = Vec::new();
    for (hour, duplicates) in by_arrival_hour(rows.duplicates.iter().copied(), arrival_ms) {
        let mut table = ParquetTable::create(job, Zone::Duplicates, &layout, 0)?;
        for chunk in duplicates.chunks(CHUNK_ROWS) {
            table.push(columns(job, chunk))?;
        }
        objects.push(table.finish(job.names.dated(Zone::Duplicates, Partition::Hour(hour), 0))?);
    }
    Ok(objects)
}

fn columns(job: &Job<'_>, chunk: &[DuplicateRow<'_>]) -> Vec<ArrayRef> {
    let event_ids = chunk.iter().map(|row| row.batch.rows.event_id[row.row].as_deref());
    let mut columns: Vec<ArrayRef> = vec![
        texts(chunk.iter().map(|row| row.sensor.as_str())),
        Arc::new(event_ids.collect::<StringArray>()),
        times(chunk.iter().map(|row| row.batch.rows.event_time_us[row.row])),
    ];
    let readings = chunk.iter().map(|row| (row.batch.record_of(row.row), row.batch.rows.sub_sequence[row.row]));
    columns.extend(origin(&job.context.shard, readings));
    columns
}
