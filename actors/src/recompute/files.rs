//! Rows of the lake's files, read column by column.

use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use messages::{AggregateRow, EpochNumber, EventSchema, SensorId, ShardId, WindowKind};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::{OBJECT_BYTES_MAX, Pass, Recompute, RecomputeError};
use crate::aggregator::{Full, Tally};
use crate::lake::columns;

const BATCH_ROWS: usize = 8_192;

/// An object of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) key: String,
    /// As its name has it.
    pub(super) shard: String,
    pub(super) epoch: EpochNumber,
}

/// A file is not what the lake's files are.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no Parquet.
    #[error("cannot be read: {0}")]
    Parquet(#[from] ParquetError),
    /// Its rows are none.
    #[error("cannot be read: {0}")]
    Rows(#[from] ArrowError),
    /// A column is missing.
    #[error("has no column {0}")]
    NoColumn(String),
    /// A column has values of another type.
    #[error("the column {column} is {found}")]
    Type {
        /// The column.
        column: String,
        /// The type of its values.
        found: DataType,
    },
}

type FileRead<T> = Result<T, FileError>;

impl Recompute {
    /// Counts a file's readings.
    pub(super) async fn readings(
        &self,
        file: &Named,
        pass: &Pass,
        closed_us: i64,
        mut tally: Tally,
    ) -> Result<Result<Tally, Full>, RecomputeError> {
        let (schema, pass) = (Arc::clone(&self.schema), pass.clone());
        self.aside(file, move |body| {
            let fields: Vec<(u16, &str)> =
                schema.aggregated().map(|(index, field)| (index as u16, field.name.as_str())).collect();
            let mut wanted = vec![columns::SENSOR_ID, columns::EVENT_TIME, columns::SHARD];
            wanted.extend(fields.iter().map(|(_, name)| *name));
            for batch in batches(body, &wanted)? {
                if readings_of(&batch?, &fields, (&pass, closed_us), &mut tally)?.is_err() {
                    return Ok(Err(Full));
                }
            }
            Ok(Ok(tally))
        })
        .await
    }

    /// Looks a file's windows up.
    pub(super) async fn windows(
        &self,
        file: &Named,
        is_written: bool,
        pass: &Pass,
        mut tally: Tally,
    ) -> Result<Tally, RecomputeError> {
        let (schema, pass) = (Arc::clone(&self.schema), pass.clone());
        let kind = match file.key.starts_with(messages::Zone::AggregatesDaily.folder()) {
            true => WindowKind::Daily,
            false => WindowKind::Hourly,
        };
        self.aside(file, move |body| {
            let layout = columns::aggregates();
            let wanted: Vec<&str> = layout.fields().iter().map(|field| field.name().as_str()).collect();
            for batch in batches(body, &wanted)? {
                windows_of(&batch?, kind, &schema, |shard, row| {
                    if pass.takes(row.sensor.as_str()) {
                        tally.stored(shard, row, is_written);
                    }
                })?;
            }
            Ok(tally)
        })
        .await
    }

    /// Reading a file takes longer than a task may hold a thread of the runtime.
    async fn aside<T: Send + 'static>(
        &self,
        file: &Named,
        read: impl FnOnce(Bytes) -> FileRead<T> + Send + 'static,
    ) -> Result<T, RecomputeError> {
        let body = self.objects.get(&file.key, OBJECT_BYTES_MAX).await?;
        let done = tokio::task::spawn_blocking(move || read(body)).await;
        done?.map_err(|problem| RecomputeError::File { key: file.key.clone(), problem })
    }
}

/// The wanted columns of a file; those that an older schema did not have are missing.
fn batches(body: Bytes, wanted: &[&str]) -> FileRead<impl Iterator<Item = FileRead<RecordBatch>>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(body)?;
    let fields = builder.schema().fields().iter().enumerate();
    let roots: Vec<usize> =
        fields.filter(|(_, field)| wanted.contains(&field.name().as_str())).map(|(n, _)| n).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    Ok(reader.map(|batch| Ok(batch?)))
}

fn readings_of(
    batch: &RecordBatch,
    fields: &[(u16, &str)],
    (pass, closed_us): (&Pass, i64),
    tally: &mut Tally,
) -> FileRead<Result<(), Full>> {
    let sensors = texts(batch, columns::SENSOR_ID)?;
    let times = primitives::<TimestampMicrosecondType>(batch, columns::EVENT_TIME)?;
    let mut values: Vec<(u16, Vec<Option<f64>>)> = Vec::new();
    for (field, name) in fields {
        if batch.column_by_name(name).is_some() {
            values.push((*field, numbers(batch, name)?));
        }
    }
    let shards = texts(batch, columns::SHARD)?;
    if batch.num_rows() == 0 {
        return Ok(Ok(()));
    }
    // A file is one shard's.
    let shard = ShardId::new(shards.value(0));
    let mut sensor: Option<SensorId> = None;
    for row in 0..batch.num_rows() {
        let (name, time_us) = (sensors.value(row), times.value(row));
        if WindowKind::Daily.start_of(time_us) != pass.day_us || !pass.takes(name) {
            continue;
        }
        if sensor.as_ref().is_none_or(|known| known.as_str() != name) {
            sensor = Some(SensorId::new(name));
        }
        let Some(sensor) = &sensor else { continue };
        let present: Vec<(u16, f64)> = values.iter().filter_map(|(field, of)| Some((*field, of[row]?))).collect();
        let kinds = WindowKind::ALL.into_iter().filter(|kind| pass.is_wanted(*kind, kind.start_of(time_us), closed_us));
        if tally.add((&shard, sensor), time_us, &present, kinds).is_err() {
            return Ok(Err(Full));
        }
    }
    Ok(Ok(()))
}

fn windows_of(
    batch: &RecordBatch,
    window: WindowKind,
    schema: &EventSchema,
    mut take: impl FnMut(&ShardId, AggregateRow),
) -> FileRead<()> {
    let (sensors, names) = (texts(batch, columns::SENSOR_ID)?, texts(batch, columns::FIELD)?);
    let starts = primitives::<TimestampMicrosecondType>(batch, columns::WINDOW_START)?;
    let revisions = primitives::<Int32Type>(batch, columns::REVISION)?;
    let counts = primitives::<Int64Type>(batch, columns::COUNT)?;
    let [sum, min, max, mean, stddev, first, last] =
        [columns::SUM, columns::MIN, columns::MAX, columns::MEAN, columns::STDDEV, columns::FIRST, columns::LAST]
            .map(|name| numbers(batch, name));
    let (sum, min, max, mean, stddev, first, last) = (sum?, min?, max?, mean?, stddev?, first?, last?);
    let shards = texts(batch, columns::SHARD)?;
    let mut shard: Option<ShardId> = None;
    for row in 0..batch.num_rows() {
        let field = schema.fields.iter().position(|field| field.name == names.value(row));
        // A field that the schema does not have any more is nobody's window here.
        let Some(field) = field else { continue };
        let value = |of: &[Option<f64>]| of[row].unwrap_or(f64::NAN);
        if shard.as_ref().is_none_or(|known| known.as_str() != shards.value(row)) {
            shard = Some(ShardId::new(shards.value(row)));
        }
        let Some(shard) = &shard else { continue };
        // When its first and last value were taken is nothing to compare, and not in every file.
        let (first_us, last_us) = (0, 0);
        take(
            shard,
            AggregateRow {
                window,
                start_us: starts.value(row),
                sensor: SensorId::new(sensors.value(row)),
                field: field as u16,
                revision: u32::try_from(revisions.value(row)).unwrap_or(0),
                count: u64::try_from(counts.value(row)).unwrap_or(0),
                sum: value(&sum),
                min: value(&min),
                max: value(&max),
                mean: value(&mean),
                stddev: stddev[row],
                first: value(&first),
                last: value(&last),
                first_us,
                last_us,
            },
        );
    }
    Ok(())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> FileRead<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| FileError::NoColumn(name.to_owned()))
}

fn texts<'a>(batch: &'a RecordBatch, name: &str) -> FileRead<&'a StringArray> {
    let column = column(batch, name)?;
    column.as_string_opt::<i32>().ok_or_else(|| other_type(name, column))
}

fn primitives<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> FileRead<&'a PrimitiveArray<T>> {
    let column = column(batch, name)?;
    column.as_primitive_opt::<T>().ok_or_else(|| other_type(name, column))
}

fn other_type(name: &str, column: &dyn Array) -> FileError {
    FileError::Type { column: name.to_owned(), found: column.data_type().clone() }
}

/// The values of a column as the aggregator counts them.
fn numbers(batch: &RecordBatch, name: &str) -> FileRead<Vec<Option<f64>>> {
    let column = column(batch, name)?;
    match column.data_type() {
        DataType::Float64 => Ok(column.as_primitive::<Float64Type>().iter().collect()),
        DataType::Int64 => Ok(column.as_primitive::<Int64Type>().iter().map(|n| n.map(|n| n as f64)).collect()),
        _ => Err(other_type(name, column)),
    }
}
