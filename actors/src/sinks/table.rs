//! One Parquet object: written chunk by chunk, digested on the way.
//!
//! **Owns** the settings of every Parquet file: compression, encodings, row groups, metadata.
//! **Promises** equal rows in equal chunks give equal bytes from one build, and equal digests from any (CLEAN-ONCE);
//! float values come back bit for bit.
//! **Fails** as a whole: nothing is stored before the last byte is encoded.
//! **Not here**: which columns there are (`lake/columns.rs`) and what is in them.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use messages::{EncodedObject, Zone};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::error::EncodeError;
use super::job::{Codec, Encoding as FileEncoding, Encodings, Job};
use crate::lake::columns::{DATA, EVENT_ID, EVENT_TIME, SEQUENCE};
use crate::lake::digest::{Digest, hex};
use crate::lake::probe;

/// Rows gathered at a time: few enough to stay in the cache until they are encoded, many enough to pay for the call.
pub(super) const CHUNK_ROWS: usize = 16_384;

/// Columns whose values hardly ever repeat: a dictionary of them would be built only to be thrown away.
const UNREPEATED: [&str; 4] = [EVENT_ID, EVENT_TIME, SEQUENCE, DATA];

/// An open Parquet object.
pub(super) struct ParquetTable {
    zone: Zone,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    columns: Vec<Digest>,
    rows: u64,
}

impl ParquetTable {
    /// Begins an object whose rows will come ordered by its first `n_sorted` columns.
    pub(super) fn create(job: &Job<'_>, zone: Zone, schema: &SchemaRef, n_sorted: usize) -> Result<Self, EncodeError> {
        let writer = properties(&job.context.encoding, schema, n_sorted, metadata(job))
            .and_then(|properties| ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)))
            .map_err(|source| EncodeError::Parquet { zone, source })?;
        let columns = schema.fields().iter().map(|f| Digest::new(f.name())).collect();
        Ok(Self { zone, schema: schema.clone(), writer, columns, rows: 0 })
    }

    /// Appends rows.
    pub(super) fn push(&mut self, columns: Vec<arrow::array::ArrayRef>) -> Result<(), EncodeError> {
        let zone = self.zone;
        let chunk = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|source| EncodeError::Columns { zone, source })?;
        for (digest, column) in self.columns.iter_mut().zip(chunk.columns()) {
            digest_column(digest, column);
        }
        self.rows += chunk.num_rows() as u64;
        self.writer.write(&chunk).map_err(|source| EncodeError::Parquet { zone, source })
    }

    /// Ends the object.
    pub(super) fn finish(self, key: String) -> Result<EncodedObject, EncodeError> {
        // Column by column, because that is how the values lie in memory; a value says by its place which row it is of.
        let mut digest = Digest::new(self.zone.folder());
        digest.fixed(self.rows.to_le_bytes());
        for column in self.columns {
            digest.fixed(column.finish());
        }
        let zone = self.zone;
        let bytes = self.writer.into_inner().map_err(|source| EncodeError::Parquet { zone, source })?;
        Ok(EncodedObject::new(key, zone, self.rows, hex(&digest.finish()), bytes))
    }
}

/// A file of known rows, written as every file of the lake is: whether a warehouse reads such files is tried by it.
pub fn probe_file(encoding: &FileEncoding) -> Result<Vec<u8>, EncodeError> {
    let (zone, schema) = (Zone::Cleansed, probe::schema());
    let rows = RecordBatch::try_new(schema.clone(), probe::columns())
        .map_err(|source| EncodeError::Columns { zone, source })?;
    let written = || {
        let properties = properties(encoding, &schema, 0, Vec::new())?;
        let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        writer.write(&rows)?;
        writer.into_inner()
    };
    written().map_err(|source| EncodeError::Parquet { zone, source })
}

fn properties(
    encoding: &FileEncoding,
    schema: &SchemaRef,
    n_sorted: usize,
    metadata: Vec<KeyValue>,
) -> Result<WriterProperties, ParquetError> {
    let sorted =
        (0..n_sorted as i32).map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false });
    let compression = match encoding.codec {
        Codec::Snappy => Compression::SNAPPY,
        Codec::Zstd => Compression::ZSTD(ZstdLevel::try_new(encoding.zstd_level)?),
    };
    // Version 1 in every case: data pages of version 2 are what fewest readers know.
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(compression)
        .set_max_row_group_row_count(Some(encoding.row_group_rows.max(1)))
        .set_sorting_columns((n_sorted > 0).then(|| sorted.collect()))
        .set_key_value_metadata(Some(metadata));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let delta = matches!(field.data_type(), DataType::Timestamp(..)) && encoding.encodings == Encodings::V2;
        if delta {
            builder = builder.set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if delta || UNREPEATED.contains(&field.name().as_str()) {
            builder = builder.set_column_dictionary_enabled(column, false);
        }
    }
    Ok(builder.build())
}

/// Where the rows come from, for whoever finds the file alone.
fn metadata(job: &Job<'_>) -> Vec<KeyValue> {
    let (context, cut) = (job.context, job.cut);
    let entries = [
        ("mangrove.schema", context.schema.name.clone()),
        ("mangrove.fingerprint", context.schema.fingerprint.clone()),
        ("mangrove.shard", context.shard.to_string()),
        ("mangrove.epoch", cut.epoch.to_string()),
        ("mangrove.from", cut.from.to_string()),
        ("mangrove.to", cut.to.to_string()),
    ];
    entries.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

fn digest_column(digest: &mut Digest, column: &dyn Array) {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().for_each(|v| bytes(digest, v.map(str::as_bytes))),
        DataType::Binary => column.as_binary::<i32>().iter().for_each(|v| bytes(digest, v)),
        DataType::Boolean => column.as_boolean().iter().for_each(|v| fixed(digest, v.map(|b| [u8::from(b)]))),
        DataType::Int32 => numbers::<Int32Type, 4>(digest, column, i32::to_le_bytes),
        DataType::Int64 => numbers::<Int64Type, 8>(digest, column, i64::to_le_bytes),
        DataType::Float32 => numbers::<Float32Type, 4>(digest, column, f32::to_le_bytes),
        DataType::Float64 => numbers::<Float64Type, 8>(digest, column, f64::to_le_bytes),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType, 8>(digest, column, i64::to_le_bytes);
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            numbers::<TimestampMillisecondType, 8>(digest, column, i64::to_le_bytes);
        }
        other => unreachable!("no zone has a column of type {other}"),
    }
}

fn numbers<T: ArrowPrimitiveType, const N: usize>(
    digest: &mut Digest,
    column: &dyn Array,
    to_bytes: impl Fn(T::Native) -> [u8; N],
) {
    column.as_primitive::<T>().iter().for_each(|v| fixed(digest, v.map(&to_bytes)));
}

fn fixed<const N: usize>(digest: &mut Digest, value: Option<[u8; N]>) {
    match value {
        Some(value) => digest.fixed(value),
        None => digest.absent(),
    }
}

fn bytes(digest: &mut Digest, value: Option<&[u8]>) {
    match value {
        Some(value) => digest.bytes(value),
        None => digest.absent(),
    }
}
