//! The columns that say where a row comes from, shared by every zone of readings.
//!
//! **Owns** how identities and arrivals become columns.
//! **Promises** (shard, sequence, sub-sequence) identifies a reading.
//! **Fails** never.
//! **Not here**: the columns' names (`lake/columns.rs`).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray};
use messages::{RawRecord, ShardId};

/// The columns shard, sequence, sub_sequence and arrival_time of some readings.
pub(super) fn origin<'a>(
    shard: &ShardId,
    readings: impl ExactSizeIterator<Item = (&'a RawRecord, u32)> + Clone,
) -> [ArrayRef; 4] {
    let shards = std::iter::repeat_n(shard.as_str(), readings.len());
    let sequences = readings.clone().map(|(record, _)| record.sequence.as_str());
    // An event takes at least one byte of a record, so that its number is far below 2^31.
    let sub_sequences = readings.clone().map(|(_, sub_sequence)| sub_sequence as i32);
    let arrivals = readings.map(|(record, _)| record.arrival_ms);
    [
        Arc::new(StringArray::from_iter_values(shards)),
        Arc::new(StringArray::from_iter_values(sequences)),
        Arc::new(Int32Array::from_iter_values(sub_sequences)),
        Arc::new(TimestampMillisecondArray::from_iter_values(arrivals).with_timezone("UTC")),
    ]
}

/// A column of times in microseconds.
pub(super) fn times(times_us: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times_us).with_timezone("UTC"))
}

/// A column of texts that are always there.
pub(super) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}
