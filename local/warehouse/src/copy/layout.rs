//! Which Parquet is read: what Redshift's documentation promises, and no more.
//!
//! It says little. UNLOAD writes "Apache Parquet version 1.0" with Snappy, files of another version have "an invalid
//! version number", and what Spectrum decompresses is gzip and Snappy. DuckDB reads everything, so it cannot tell.
//!
//! **Promises** reads footers, and the head of a column where its footer does not say how its pages look.
//! **Fails** never: a file that is no Parquet is DuckDB's to refuse.

use std::fs::File;
use std::path::Path;

use parquet::basic::{Compression, Encoding, LogicalType, PageType, TimeUnit};
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader};
use parquet::file::reader::{FileReader as _, SerializedFileReader};

/// Pages that are looked at where a footer says nothing about them: a dictionary, and the first with data.
const PAGES_MAX: usize = 2;

/// What is wrong with a file, in the words that follow its name; none if nothing is.
pub(crate) fn problem(path: &Path) -> Option<String> {
    let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
    let reader = ParquetMetaDataReader::new().with_metadata_options(Some(options));
    let metadata = reader.parse_and_finish(&File::open(path).ok()?).ok()?;
    let version = metadata.file_metadata().version();
    if version != 1 {
        return Some(format!("has an invalid version number: {version}"));
    }
    let mut columns = (0..metadata.num_row_groups()).flat_map(|group| metadata.row_group(group).columns());
    columns.find_map(of_column).or_else(|| silent(path, &metadata))
}

fn of_column(chunk: &ColumnChunkMetaData) -> Option<String> {
    let name = chunk.column_path().string();
    if let Some(LogicalType::Timestamp(time)) = chunk.column_descr().logical_type_ref()
        && time.unit == TimeUnit::NANOS
    {
        return Some(format!("has an incompatible Parquet schema for column {name}: nanoseconds as INT64"));
    }
    if !matches!(chunk.compression(), Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_)) {
        return Some(format!("has an unsupported compression for column {name}: {}", chunk.compression()));
    }
    let pages = chunk.page_encoding_stats().map(Vec::as_slice).unwrap_or_default();
    if pages.iter().any(|page| page.page_type == PageType::DATA_PAGE_V2) {
        return Some(format!("has data pages of version 2 in column {name}"));
    }
    let of_levels = [Encoding::RLE, bit_packed()];
    let known = |encoding: &Encoding, data: bool| {
        let values = [Encoding::PLAIN, Encoding::PLAIN_DICTIONARY, Encoding::RLE_DICTIONARY];
        values.contains(encoding) || (!data && of_levels.contains(encoding))
    };
    let mut of_data = pages.iter().filter(|page| page.page_type == PageType::DATA_PAGE).map(|page| page.encoding);
    let unknown = of_data.find(|encoding| !known(encoding, true));
    let unknown = unknown.or_else(|| chunk.encodings().find(|encoding| !known(encoding, false)));
    unknown.map(|encoding| format!("has an unsupported encoding in column {name}: {encoding}"))
}

/// How levels may be written; its use for new files is deprecated, and old ones have it.
#[expect(deprecated, reason = "files of version 1 may have it")]
fn bit_packed() -> Encoding {
    Encoding::BIT_PACKED
}

/// Columns whose footer does not say how their pages look.
fn silent(path: &Path, metadata: &ParquetMetaData) -> Option<String> {
    let groups = 0..metadata.num_row_groups();
    let says = |group: usize, column: usize| metadata.row_group(group).column(column).page_encoding_stats().is_some();
    let mut reader = None;
    for group in groups {
        let columns = 0..metadata.row_group(group).num_columns();
        for column in columns.filter(|column| !says(group, *column)) {
            if reader.is_none() {
                reader = Some(SerializedFileReader::new(File::open(path).ok()?).ok()?);
            }
            let mut pages = reader.as_ref()?.get_row_group(group).ok()?.get_column_page_reader(column).ok()?;
            for _ in 0..PAGES_MAX {
                if let Some(Page::DataPageV2 { .. }) = pages.get_next_page().ok()? {
                    let name = metadata.row_group(group).column(column).column_path().string();
                    return Some(format!("has data pages of version 2 in column {name}"));
                }
            }
        }
    }
    None
}
