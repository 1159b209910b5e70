//! What landed, column by column: three million windows are too many for the row-wise reader.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rusqlite::types::Value;

use super::reference::{FIELDS, Stats};

/// The tables of these files, one after another.
pub(super) fn tables(files: &[PathBuf]) -> impl Iterator<Item = RecordBatch> {
    files.iter().flat_map(|file| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap();
        reader.map(|batch| batch.unwrap())
    })
}

/// Cleansed rows as rows of the reference; none of them may be late.
pub(super) fn cleansed_rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let (late, wd) = (column(batch, "late").as_boolean(), column(batch, "wd").as_string::<i32>());
    assert_eq!(late.true_count(), 0, "nothing is late in a replay that is merged by time");
    let station = column(batch, "sensor_id").as_string::<i32>();
    let time = values::<TimestampMicrosecondType>(batch, "event_time");
    let number = values::<Int64Type>(batch, "device_sequence");
    let fields = FIELDS.map(|(_, name, ..)| column(batch, name).as_primitive::<Float64Type>());
    let row = |at: usize| {
        let key = [
            Value::Text(station.value(at).to_owned()),
            Value::Integer(time[at] / 1_000_000),
            Value::Integer(number[at]),
        ];
        let fields = fields.map(|field| if field.is_null(at) { Value::Null } else { Value::Real(field.value(at)) });
        let wd = if wd.is_null(at) { Value::Null } else { Value::Text(wd.value(at).to_owned()) };
        key.into_iter().chain(fields).chain([wd]).collect()
    };
    (0..batch.num_rows()).map(row).collect()
}

/// Aggregates, the highest revision of every window.
pub(super) struct Windows {
    /// The numbers of the stations: a key of three small numbers saves a gigabyte of names.
    stations: HashMap<String, u8>,
    newest: HashMap<(u8, u8, i64), (i32, Stats)>,
}

impl Windows {
    pub(super) fn read(files: &[PathBuf]) -> Self {
        let mut windows = Self { stations: HashMap::new(), newest: HashMap::new() };
        tables(files).for_each(|batch| windows.add(&batch));
        windows
    }

    pub(super) fn len(&self) -> usize {
        self.newest.len()
    }

    /// Takes out one window.
    pub(super) fn take(&mut self, station: &str, field: &str, start_s: i64) -> Option<Stats> {
        let key = (*self.stations.get(station)?, number_of(field), start_s);
        self.newest.remove(&key).map(|(_, stats)| stats)
    }

    fn add(&mut self, batch: &RecordBatch) {
        let (station, field) =
            (column(batch, "sensor_id").as_string::<i32>(), column(batch, "field").as_string::<i32>());
        let start = values::<TimestampMicrosecondType>(batch, "window_start");
        let (revision, count) = (values::<Int32Type>(batch, "revision"), values::<Int64Type>(batch, "count"));
        let [sum, min, max, mean, first, last] =
            ["sum", "min", "max", "mean", "first", "last"].map(|name| values::<Float64Type>(batch, name));
        let stddev = column(batch, "stddev").as_primitive::<Float64Type>();
        for at in 0..batch.num_rows() {
            let stats = Stats {
                count: count[at],
                sum: sum[at],
                min: min[at],
                max: max[at],
                mean: mean[at],
                stddev: (!stddev.is_null(at)).then(|| stddev.value(at)),
                first: first[at],
                last: last[at],
            };
            let key = (self.station(station.value(at)), number_of(field.value(at)), start[at] / 1_000_000);
            let kept = self.newest.entry(key).or_insert((revision[at], stats));
            if kept.0 < revision[at] {
                *kept = (revision[at], stats);
            }
        }
    }

    fn station(&mut self, name: &str) -> u8 {
        if let Some(number) = self.stations.get(name) {
            return *number;
        }
        let number = self.stations.len() as u8;
        self.stations.insert(name.to_owned(), number);
        number
    }
}

fn number_of(field: &str) -> u8 {
    FIELDS.iter().position(|(_, name, ..)| *name == field).unwrap() as u8
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    batch.column_by_name(name).unwrap()
}

/// The values of a column that has no nulls.
fn values<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> &'a [T::Native] {
    let array = column(batch, name).as_primitive::<T>();
    assert_eq!(array.null_count(), 0, "{name}");
    array.values()
}
