//! Objects taken apart and put together again, so that something else is in them.

use std::io::{Read, Write};

use arrow::array::RecordBatch;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The rows of a table.
pub(crate) fn rows(bytes: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// A table of these rows.
pub(crate) fn table(batches: &[RecordBatch]) -> Bytes {
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap().into()
}

/// The lines of an object.
pub(crate) fn lines(bytes: &Bytes) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes.as_ref()).read_to_end(&mut text).unwrap();
    text.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// An object of these lines.
pub(crate) fn gzip(lines: &[Vec<u8>]) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for line in lines {
        gzip.write_all(line).unwrap();
        gzip.write_all(b"\n").unwrap();
    }
    gzip.finish().unwrap().into()
}
