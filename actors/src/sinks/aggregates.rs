//! The aggregates zones: hourly and daily windows, each revision one row.
//!
//! **Owns** the rows of windows that closed or changed in this epoch.
//! **Promises** one row per window, field and revision, in the order in which the aggregator gave them.
//! **Fails** with a mismatch if a row names a field that the schema does not have.
//! **Not here**: what is in a window, and when it is written (`actors/src/aggregator/`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array};
use messages::{AggregateRow, EncodedObject, WindowKind, Zone};

use super::error::EncodeError;
use super::job::Job;
use super::origin::{texts, times};
use super::table::{CHUNK_ROWS, ParquetTable};
use crate::lake::keys::Partition;

pub(super) fn encode(job: &Job<'_>, rows: &[AggregateRow]) -> Result<Vec<EncodedObject>, EncodeError> {
    let layout = crate::lake::columns::aggregates();
    let mut objects = Vec::new();
    for ((zone, path), rows) in by_partition(job, rows) {
        let mut table = ParquetTable::create(job, zone, &layout, 0)?;
        for chunk in rows.chunks(CHUNK_ROWS) {
            table.push(columns(job, chunk)?)?;
        }
        objects.push(table.finish(path)?);
    }
    Ok(objects)
}

/// The rows of each object, by zone and key: hourly windows lie under their day, daily ones under their month.
fn by_partition<'a>(job: &Job<'_>, rows: &'a [AggregateRow]) -> BTreeMap<(Zone, String), Vec<&'a AggregateRow>> {
    let mut objects: BTreeMap<(Zone, String), Vec<&AggregateRow>> = BTreeMap::new();
    // Rows come ordered by window, so that a key is made once per window rather than once per row.
    for window in rows.chunk_by(|a, b| (a.window, a.start_us) == (b.window, b.start_us)) {
        let (zone, partition) = match window[0].window {
            WindowKind::Hourly => (Zone::AggregatesHourly, Partition::Day(window[0].start_us)),
            WindowKind::Daily => (Zone::AggregatesDaily, Partition::Month(window[0].start_us)),
        };
        objects.entry((zone, job.names.dated(zone, partition, 0))).or_default().extend(window);
    }
    objects
}

fn columns(job: &Job<'_>, chunk: &[&AggregateRow]) -> Result<Vec<ArrayRef>, EncodeError> {
    let fields = &job.context.schema.fields;
    let unknown = |row: &AggregateRow| EncodeError::Mismatch {
        field: row.field.to_string(),
        problem: "an aggregate of a field that the schema does not have",
    };
    let names: Vec<&str> = chunk
        .iter()
        .map(|row| fields.get(usize::from(row.field)).map(|spec| spec.name.as_str()).ok_or_else(|| unknown(row)))
        .collect::<Result<_, _>>()?;
    let floats = |value: fn(&AggregateRow) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(chunk.iter().map(|row| value(row))))
    };
    Ok(vec![
        texts(chunk.iter().map(|row| row.sensor.as_str())),
        texts(names.into_iter()),
        times(chunk.iter().map(|row| row.start_us)),
        // A revision takes a cut, a count takes a reading: neither reaches its sign bit.
        Arc::new(Int32Array::from_iter_values(chunk.iter().map(|row| row.revision as i32))),
        Arc::new(Int64Array::from_iter_values(chunk.iter().map(|row| row.count as i64))),
        floats(|row| row.sum),
        floats(|row| row.min),
        floats(|row| row.max),
        floats(|row| row.mean),
        Arc::new(chunk.iter().map(|row| row.stddev).collect::<Float64Array>()),
        floats(|row| row.first),
        floats(|row| row.last),
        texts(std::iter::repeat_n(job.context.shard.as_str(), chunk.len())),
        Arc::new(Int64Array::from_iter_values(std::iter::repeat_n(job.cut.epoch.0 as i64, chunk.len()))),
        times(chunk.iter().map(|row| row.first_us)),
        times(chunk.iter().map(|row| row.last_us)),
    ])
}
