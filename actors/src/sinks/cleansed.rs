//! The cleansed zone: valid readings, one file per event-time partition.
//!
//! **Owns** the gathering of values from the batches' columns into the order of the file.
//! **Promises** CLEAN-ONCE: one row per valid reading, values bit for bit; ORDER: rows of a sensor with equal event
//! times stand in stream order.
//! **Fails** with a mismatch if a batch was decoded by another schema.
//! **Not here**: judging, and deciding what is late.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray};
use messages::schema::{FieldKind, FieldSpec, PartitionBy};
use messages::{Batch, Column, EncodedObject, RawRecord, Rows, Zone};

use super::error::EncodeError;
use super::job::Job;
use super::origin::{origin, texts, times};
use super::rows::{CleanRow, EpochRows};
use super::table::{CHUNK_ROWS, ParquetTable};
use crate::lake::keys::Partition;

/// Rows come ordered by sensor_id and event_time, the first two columns.
const SORTED_COLUMNS: usize = 2;

pub(super) fn encode(job: &Job<'_>, rows: &EpochRows<'_>) -> Result<Vec<EncodedObject>, EncodeError> {
    let layout = crate::lake::columns::cleansed(&job.context.schema);
    let mut objects = Vec::new();
    for (&start_us, partition) in &rows.clean {
        let mut table = ParquetTable::create(job, Zone::Cleansed, &layout, SORTED_COLUMNS)?;
        for chunk in partition.chunks(CHUNK_ROWS) {
            table.push(columns(job, rows, chunk)?)?;
        }
        let partition = match job.context.schema.partition_by {
            PartitionBy::Hour => Partition::Hour(start_us),
            PartitionBy::Day => Partition::Day(start_us),
        };
        objects.push(table.finish(job.names.dated(Zone::Cleansed, partition, 0))?);
    }
    Ok(objects)
}

fn columns(job: &Job<'_>, rows: &EpochRows<'_>, chunk: &[CleanRow<'_>]) -> Result<Vec<ArrayRef>, EncodeError> {
    // Rows lie scattered over the batches: find each once, not once per column.
    let found: Vec<(&Rows, usize)> =
        chunk.iter().map(|row| (&rows.batches[row.batch as usize].rows, row.row as usize)).collect();
    let readings: Vec<(&RawRecord, u32)> = chunk
        .iter()
        .zip(&found)
        .map(|(row, (columns, at))| (rows.batches[row.batch as usize].record_of(*at), columns.sub_sequence[*at]))
        .collect();
    let mut columns = vec![
        texts(chunk.iter().map(|row| rows.sensors[row.sensor as usize].as_str())),
        times(chunk.iter().map(|row| row.event_time_us)),
    ];
    for (index, spec) in job.context.schema.fields.iter().enumerate() {
        columns.push(field(spec, index, &rows.batches, chunk)?);
    }
    columns.push(Arc::new(found.iter().map(|(rows, at)| rows.event_id[*at].as_deref()).collect::<StringArray>()));
    columns.push(Arc::new(found.iter().map(|(rows, at)| rows.device_sequence[*at]).collect::<Int64Array>()));
    columns.extend(origin(&job.context.shard, readings.iter().copied()));
    let assessments = chunk.iter().map(|row| row.assessment);
    columns.push(Arc::new(Float32Array::from_iter_values(assessments.clone().map(|a| a.score))));
    columns.push(Arc::new(Int32Array::from_iter_values(assessments.clone().map(|a| i32::from(a.anomalies.0)))));
    // One reading makes one version at most, so that 2^31 of them are out of reach.
    columns.push(Arc::new(Int32Array::from_iter_values(assessments.map(|a| a.sensor_version as i32))));
    columns.push(Arc::new(BooleanArray::from_iter(chunk.iter().map(|row| Some(row.late)))));
    Ok(columns)
}

fn field(spec: &FieldSpec, index: usize, batches: &[&Batch], chunk: &[CleanRow<'_>]) -> Result<ArrayRef, EncodeError> {
    let mismatch =
        || EncodeError::Mismatch { field: spec.name.clone(), problem: "a batch holds values of another type" };
    let columns = batches.iter().map(|batch| batch.rows.fields.get(index));
    Ok(match spec.kind {
        FieldKind::Float => {
            let columns = columns.map(|c| if let Some(Column::Float(v)) = c { Some(v) } else { None });
            Arc::new(gather(columns, chunk).ok_or_else(mismatch)?.copied().collect::<Float64Array>())
        }
        FieldKind::Integer => {
            let columns = columns.map(|c| if let Some(Column::Integer(v)) = c { Some(v) } else { None });
            Arc::new(gather(columns, chunk).ok_or_else(mismatch)?.copied().collect::<Int64Array>())
        }
        FieldKind::Boolean => {
            let columns = columns.map(|c| if let Some(Column::Boolean(v)) = c { Some(v) } else { None });
            Arc::new(gather(columns, chunk).ok_or_else(mismatch)?.copied().collect::<BooleanArray>())
        }
        FieldKind::Text => {
            let columns = columns.map(|c| if let Some(Column::Text(v)) = c { Some(v) } else { None });
            Arc::new(gather(columns, chunk).ok_or_else(mismatch)?.map(Option::as_deref).collect::<StringArray>())
        }
    })
}

/// The values of the chunk's rows; none if a batch has no such column.
fn gather<'a, T>(
    columns: impl Iterator<Item = Option<&'a Vec<T>>>,
    chunk: &[CleanRow<'_>],
) -> Option<impl Iterator<Item = &'a T>>
where
    T: 'a,
{
    let columns: Vec<&Vec<T>> = columns.collect::<Option<_>>()?;
    Some(chunk.iter().map(move |row| &columns[row.batch as usize][row.row as usize]))
}
