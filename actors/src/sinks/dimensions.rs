//! The dimensions zone: versions of sensor attributes.
//!
//! **Owns** the rows of the slowly changing dimension that this epoch adds.
//! **Promises** one row per change, with all tracked attributes after it (STATE).
//! **Fails** with a mismatch if a change was made by another schema.
//! **Not here**: deciding what is a change (`actors/src/sensor/`), and the end of a version: the next one begins there.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use messages::schema::{FieldKind, FieldSpec, Value};
use messages::{EncodedObject, Zone};

use super::error::EncodeError;
use super::job::Job;
use super::origin::{origin, texts, times};
use super::rows::{ChangeRow, EpochRows, by_arrival_hour};
use super::table::{CHUNK_ROWS, ParquetTable};
use crate::lake::keys::Partition;

pub(super) fn encode(job: &Job<'_>, rows: &EpochRows<'_>) -> Result<Vec<EncodedObject>, EncodeError> {
    let layout = crate::lake::columns::dimensions(&job.context.schema);
    let arrival_ms = |row: &ChangeRow<'_>| row.batch.record_of(row.change.row as usize).arrival_ms;
    let mut objects = Vec::new();
    for (hour, changes) in by_arrival_hour(rows.changes.iter().copied(), arrival_ms) {
        let mut table = ParquetTable::create(job, Zone::Dimensions, &layout, 0)?;
        for chunk in changes.chunks(CHUNK_ROWS) {
            table.push(columns(job, chunk)?)?;
        }
        objects.push(table.finish(job.names.dated(Zone::Dimensions, Partition::Hour(hour), 0))?);
    }
    Ok(objects)
}

fn columns(job: &Job<'_>, chunk: &[ChangeRow<'_>]) -> Result<Vec<ArrayRef>, EncodeError> {
    let changed: Vec<String> = chunk.iter().map(|row| row.change.changed.join(",")).collect();
    let mut columns: Vec<ArrayRef> = vec![
        texts(chunk.iter().map(|row| row.change.sensor.as_str())),
        // A reading makes a few versions at most, so that 2^31 of them are out of reach.
        Arc::new(Int32Array::from_iter_values(chunk.iter().map(|row| row.change.version as i32))),
        times(chunk.iter().map(|row| row.change.valid_from_us)),
    ];
    for (place, (_, spec)) in job.context.schema.tracked().enumerate() {
        columns.push(attribute(spec, place, chunk)?);
    }
    columns.push(texts(changed.iter().map(String::as_str)));
    columns.extend(origin(
        &job.context.shard,
        chunk.iter().map(|row| {
            let at = row.change.row as usize;
            (row.batch.record_of(at), row.batch.rows.sub_sequence[at])
        }),
    ));
    Ok(columns)
}

fn attribute(spec: &FieldSpec, place: usize, chunk: &[ChangeRow<'_>]) -> Result<ArrayRef, EncodeError> {
    let values = chunk.iter().map(|row| row.change.attributes.get(place).and_then(Option::as_ref));
    let column: Option<ArrayRef> = match spec.kind {
        FieldKind::Float => collect(values, |v| if let Value::Float(x) = v { Some(*x) } else { None })
            .map(|values| Arc::new(Float64Array::from(values)) as ArrayRef),
        FieldKind::Integer => collect(values, |v| if let Value::Integer(n) = v { Some(*n) } else { None })
            .map(|values| Arc::new(Int64Array::from(values)) as ArrayRef),
        FieldKind::Boolean => collect(values, |v| if let Value::Boolean(b) = v { Some(*b) } else { None })
            .map(|values| Arc::new(BooleanArray::from(values)) as ArrayRef),
        FieldKind::Text => collect(values, |v| if let Value::Text(t) = v { Some(t.as_str()) } else { None })
            .map(|values| Arc::new(StringArray::from(values)) as ArrayRef),
    };
    column.ok_or_else(|| EncodeError::Mismatch { field: spec.name.clone(), problem: "a change holds another type" })
}

/// The values as `read` sees them; none at all if one of them has another type.
fn collect<'a, T>(
    values: impl Iterator<Item = Option<&'a Value>>,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    values.map(|value| value.map_or(Some(None), |value| read(value).map(Some))).collect()
}
