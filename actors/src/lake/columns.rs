//! The columns of every Parquet zone: names, types and order. The only place that spells them.
//!
//! **Owns** the layout of the tables as a reader of the lake sees them.
//! **Promises** stable names and order: fixed columns never move, schema fields stand in the order of the schema.
//! Times are UTC.
//! **Fails** never.
//! **Not here**: how columns are filled and encoded.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use messages::EventSchema;
use messages::schema::{FieldKind, FieldSpec};

/// The sensor's id.
pub const SENSOR_ID: &str = "sensor_id";
/// When the device took the reading; microseconds.
pub const EVENT_TIME: &str = "event_time";
/// The producer's id of the event, if it sends one.
pub const EVENT_ID: &str = "event_id";
/// The device's own counter, if it sends one.
pub const DEVICE_SEQUENCE: &str = "device_sequence";
/// The shard that the reading came from. With the next two: the identity of a reading.
pub const SHARD: &str = "shard";
/// The record's sequence number, in decimal.
pub const SEQUENCE: &str = "sequence";
/// Which event of the record, from 0.
pub const SUB_SEQUENCE: &str = "sub_sequence";
/// When the stream took the record; milliseconds.
pub const ARRIVAL_TIME: &str = "arrival_time";
/// The largest absolute robust score over the reading's fields; 0 while the baseline is being learnt.
pub const ANOMALY_SCORE: &str = "anomaly_score";
/// The detectors that fired, as a sum: 1 range, 2 rate, 4 flat, 8 score.
pub const ANOMALIES: &str = "anomalies";
/// The version of the sensor's attributes in force after this reading.
pub const SENSOR_VERSION: &str = "sensor_version";
/// Valid, but so late that no aggregate counts it.
pub const LATE: &str = "late";
/// The producer's partition key.
pub const PARTITION_KEY: &str = "partition_key";
/// Why the reading was refused: a stable code.
pub const REASON: &str = "reason";
/// What exactly was wrong, for a person.
pub const DETAIL: &str = "detail";
/// The bytes of the event as they came.
pub const DATA: &str = "data";
/// The version of the sensor's attributes that a row describes.
pub const VERSION: &str = "version";
/// Event time from which a version holds; microseconds.
pub const VALID_FROM: &str = "valid_from";
/// Names of the attributes that differ from the version before, joined by commas.
pub const CHANGED: &str = "changed";
/// The name of the aggregated field.
pub const FIELD: &str = "field";
/// The window's first moment; microseconds.
pub const WINDOW_START: &str = "window_start";
/// A later revision of the same window and shard replaces an earlier one.
pub const REVISION: &str = "revision";
/// Number of values in the window.
pub const COUNT: &str = "count";
/// Their sum.
pub const SUM: &str = "sum";
/// The smallest.
pub const MIN: &str = "min";
/// The largest.
pub const MAX: &str = "max";
/// The arithmetic mean.
pub const MEAN: &str = "mean";
/// The sample standard deviation; absent below two values.
pub const STDDEV: &str = "stddev";
/// The value with the earliest event time.
pub const FIRST: &str = "first";
/// The value with the latest event time.
pub const LAST: &str = "last";
/// The event time of `first`; microseconds.
pub const FIRST_TIME: &str = "first_time";
/// The event time of `last`; microseconds.
pub const LAST_TIME: &str = "last_time";
/// The number of the epoch that wrote the row.
pub const EPOCH: &str = "epoch";

/// Metadata key of a column: the unit of a field's values.
pub const UNIT: &str = "unit";

/// Valid readings, ordered by sensor, event time and stream order.
pub fn cleansed(schema: &EventSchema) -> SchemaRef {
    let mut columns = vec![required(SENSOR_ID, DataType::Utf8), required(EVENT_TIME, micros())];
    columns.extend(schema.fields.iter().map(field));
    columns.extend([optional(EVENT_ID, DataType::Utf8), optional(DEVICE_SEQUENCE, DataType::Int64)]);
    columns.extend(origin());
    columns.extend([
        required(ANOMALY_SCORE, DataType::Float32),
        required(ANOMALIES, DataType::Int32),
        required(SENSOR_VERSION, DataType::Int32),
        required(LATE, DataType::Boolean),
    ]);
    Arc::new(Schema::new(columns))
}

/// Refused readings and records, in stream order.
pub fn quarantine() -> SchemaRef {
    let mut columns = origin().to_vec();
    columns.extend([
        required(PARTITION_KEY, DataType::Utf8),
        required(REASON, DataType::Utf8),
        required(DETAIL, DataType::Utf8),
        optional(SENSOR_ID, DataType::Utf8),
        required(DATA, DataType::Binary),
    ]);
    Arc::new(Schema::new(columns))
}

/// Readings whose event id had been seen before, in stream order.
pub fn duplicates() -> SchemaRef {
    let mut columns =
        vec![required(SENSOR_ID, DataType::Utf8), optional(EVENT_ID, DataType::Utf8), required(EVENT_TIME, micros())];
    columns.extend(origin());
    Arc::new(Schema::new(columns))
}

/// Versions of sensor attributes, in stream order.
pub fn dimensions(schema: &EventSchema) -> SchemaRef {
    let mut columns =
        vec![required(SENSOR_ID, DataType::Utf8), required(VERSION, DataType::Int32), required(VALID_FROM, micros())];
    columns.extend(schema.tracked().map(|(_, spec)| field(spec)));
    columns.push(required(CHANGED, DataType::Utf8));
    columns.extend(origin());
    Arc::new(Schema::new(columns))
}

/// Windows, hourly or daily, ordered by window, sensor and field: what one shard has counted of each.
pub fn aggregates() -> SchemaRef {
    let mut columns = vec![
        required(SENSOR_ID, DataType::Utf8),
        required(FIELD, DataType::Utf8),
        required(WINDOW_START, micros()),
        required(REVISION, DataType::Int32),
        required(COUNT, DataType::Int64),
    ];
    columns.extend([SUM, MIN, MAX, MEAN].map(|name| required(name, DataType::Float64)));
    columns.push(optional(STDDEV, DataType::Float64));
    columns.extend([FIRST, LAST].map(|name| required(name, DataType::Float64)));
    columns.extend([required(SHARD, DataType::Utf8), required(EPOCH, DataType::Int64)]);
    columns.extend([FIRST_TIME, LAST_TIME].map(|name| required(name, micros())));
    Arc::new(Schema::new(columns))
}

fn origin() -> [Field; 4] {
    [
        required(SHARD, DataType::Utf8),
        required(SEQUENCE, DataType::Utf8),
        required(SUB_SEQUENCE, DataType::Int32),
        required(ARRIVAL_TIME, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
    ]
}

fn field(spec: &FieldSpec) -> Field {
    let kind = match spec.kind {
        FieldKind::Float => DataType::Float64,
        FieldKind::Integer => DataType::Int64,
        FieldKind::Boolean => DataType::Boolean,
        FieldKind::Text => DataType::Utf8,
    };
    // At most one entry: a map of two would be written in an order that changes from process to process.
    let metadata = spec.unit.iter().map(|unit| (UNIT.to_owned(), unit.clone())).collect::<HashMap<_, _>>();
    optional(&spec.name, kind).with_metadata(metadata)
}

fn required(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn optional(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
