//! The quarantine zone: what was refused, why, and its bytes.
//!
//! **Owns** the rows of refused readings and of records in which no reading was found.
//! **Promises** COMPLETE: every reading that is not in the cleansed zone and is no duplicate has a row here.
//! **Fails** as a whole.
//! **Not here**: the reasons (`messages/src/verdict.rs`).

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray};
use messages::{EncodedObject, SensorId, Zone};

use super::error::EncodeError;
use super::job::Job;
use super::origin::{origin, texts};
use super::rows::{EpochRows, Refused, by_arrival_hour};
use super::table::{CHUNK_ROWS, ParquetTable};
use crate::lake::keys::Partition;

/// A detail may quote its input, which has no bound of its own.
const DETAIL_CHARS_MAX: usize = 300;
/// Refused records can be large, so that rows alone do not bound what is copied at a time.
const CHUNK_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn encode(job: &Job<'_>, rows: &EpochRows<'_>) -> Result<Vec<EncodedObject>, EncodeError> {
    let layout = crate::lake::columns::quarantine();
    let mut objects = Vec::new();
    for (hour, refused) in by_arrival_hour(&rows.refused, |row| row.record.arrival_ms) {
        let mut table = ParquetTable::create(job, Zone::Quarantine, &layout, 0)?;
        let mut rest = refused.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_rows(rest));
            table.push(columns(job, chunk))?;
            rest = after;
        }
        objects.push(table.finish(job.names.dated(Zone::Quarantine, Partition::Hour(hour), 0))?);
    }
    Ok(objects)
}

/// How many rows make up the next chunk; at least one.
fn chunk_rows(rows: &[&Refused<'_>]) -> usize {
    let mut bytes = 0;
    let within = rows.iter().take(CHUNK_ROWS).take_while(|row| {
        bytes += row.span.len();
        bytes <= CHUNK_BYTES
    });
    within.count().max(1)
}

fn columns(job: &Job<'_>, chunk: &[&Refused<'_>]) -> Vec<ArrayRef> {
    let mut columns = origin(&job.context.shard, chunk.iter().map(|row| (row.record, row.sub_sequence))).to_vec();
    columns.push(texts(chunk.iter().map(|row| &*row.record.partition_key)));
    columns.push(texts(chunk.iter().map(|row| row.reason.as_str())));
    columns.push(texts(chunk.iter().map(|row| shortened(row.detail))));
    columns.push(Arc::new(chunk.iter().map(|row| row.sensor.map(SensorId::as_str)).collect::<StringArray>()));
    columns.push(Arc::new(BinaryArray::from_iter_values(chunk.iter().map(|row| &row.record.data[row.span.clone()]))));
    columns
}

fn shortened(detail: &str) -> &str {
    detail.char_indices().nth(DETAIL_CHARS_MAX).map_or(detail, |(end, _)| &detail[..end])
}
