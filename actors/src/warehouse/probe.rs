//! Whether the warehouse reads a file of the lake as it was meant: known rows, copied as every load is and read back.
//!
//! No page of Redshift's documentation says how COPY reads the times of Parquet, and which encodings and codecs it takes;
//! there are reports of times that came out as other times without a word (ARROW-1120, apache/arrow #38000, fastparquet
//! #432). So it is tried, once for each file that the configuration makes and each version of the warehouse.
//!
//! **Promises** nothing of it stays but a row of `schema_versions` when all is right.
//! **Not here**: the file (`sinks/table.rs`), its rows (`lake/probe.rs`), calls (`loading/probe.rs`).

use serde_json::json;

use super::batch::content_of;
use super::literal::{self, Unquotable};
use super::service::Cell;
use super::sql::{probe as sql, transaction as parts};
use super::star::StarSchema;
use super::tables::{Kind, TableColumn};
use super::transaction::{CopySource, copy, stage};
use crate::lake::probe::{ProbeRow, ROWS};

const STAGE: &str = "probe";
/// Far below what a row may have while it is processed: two such columns are none too many.
const TEXT_BYTES_MAX: u32 = 4_096;
/// How many characters of a text are read back.
const TEXT_CHARS: usize = 40;

/// The probe of one file.
#[derive(Clone, Debug)]
pub struct Probe {
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// Its bytes.
    pub file: Vec<u8>,
    /// Where the file goes.
    pub key: String,
    /// Where its manifest goes.
    pub manifest_key: String,
    /// What that says.
    pub manifest: Vec<u8>,
    bucket: String,
}

/// The warehouse has something else than was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the warehouse does not read the files of this configuration as they are written: of the probe {key} it makes \
     {column} = {found} in row {row}, where {expected} was written. {way_on}. Nothing is loaded until a probe comes back right"
)]
pub struct Misread {
    /// The file.
    pub key: String,
    /// The column.
    pub column: &'static str,
    /// The row.
    pub row: usize,
    /// What was written.
    pub expected: String,
    /// What was read back.
    pub found: String,
    /// What can be done.
    pub way_on: &'static str,
}

impl Probe {
    /// The probe of a file, whose bytes these are.
    pub fn of(bucket: &str, file: Vec<u8>) -> Self {
        let digest = content_of(&file);
        let (key, manifest_key) =
            (format!("warehouse/probe/{digest}.parquet"), format!("warehouse/probe/{digest}.manifest"));
        let entry = json!({
            "url": format!("s3://{bucket}/{key}"), "mandatory": true, "meta": { "content_length": file.len() },
        });
        let manifest = json!({ "entries": [entry] }).to_string().into_bytes();
        Self { digest, file, key, manifest_key, manifest, bucket: bucket.to_owned() }
    }

    /// Asks for the warehouse's version: one row.
    pub fn version_query() -> String {
        sql::Version {}.sql().sent()
    }

    /// Asks whether a warehouse of this version is known to read it right: one row, or none.
    pub fn known(&self, star: &StarSchema, version: &str) -> Result<String, Unquotable> {
        Ok(sql::Known { schema: star.schema()?, mark: self.mark(version)? }.sql().sent())
    }

    /// Remembers that a warehouse of this version read it right.
    pub fn remember(&self, star: &StarSchema, version: &str) -> Result<String, Unquotable> {
        let digest = literal::text(&self.digest)?;
        Ok(sql::Mark { schema: star.schema()?, digest, mark: self.mark(version)? }.sql().sent())
    }

    /// The statements of one session; the last one answers the rows.
    pub fn statements(&self, iam_role: &str) -> Result<Vec<String>, Unquotable> {
        let table = literal::identifier(STAGE)?;
        let kinds = [
            ("n", Kind::Integer),
            ("micros", Kind::Timestamp),
            ("millis", Kind::Timestamp),
            ("word", Kind::Text(TEXT_BYTES_MAX)),
            ("text", Kind::Text(TEXT_BYTES_MAX)),
            ("number", Kind::Double),
            ("small", Kind::Real),
            ("whole", Kind::BigInt),
            ("flag", Kind::Boolean),
        ];
        let columns = kinds.map(|(name, kind)| TableColumn::optional(name, kind));
        let format = parts::Parquet {}.sql();
        let source = CopySource { bucket: &self.bucket, key: &self.manifest_key, iam_role, format };
        let all = [stage(&table, &columns)?, copy(&table, source)?, sql::Read { stage: table }.sql()];
        Ok(all.iter().map(literal::Sql::sent).collect())
    }

    /// Holds the rows that were read back against those that were written.
    pub fn judge(&self, found: &[Vec<Cell>]) -> Result<(), Misread> {
        for (n, row) in ROWS.iter().enumerate() {
            let cells = found.get(n).map(Vec::as_slice).unwrap_or_default();
            for (place, (column, expected)) in expected(n, row).into_iter().enumerate() {
                let cell = cells.get(place);
                if !cell.is_some_and(|cell| same(cell, &expected)) {
                    return Err(Misread {
                        key: self.key.clone(),
                        column,
                        row: n,
                        expected: format!("{expected:?}"),
                        found: cell.map_or_else(|| "nothing".to_owned(), |cell| format!("{cell:?}")),
                        way_on: way_on(column),
                    });
                }
            }
        }
        Ok(())
    }

    fn mark(&self, version: &str) -> Result<literal::Sql, Unquotable> {
        literal::text(&format!("probe {} {version}", self.digest))
    }
}

/// What a row is read back as.
fn expected(n: usize, row: &ProbeRow) -> Vec<(&'static str, Cell)> {
    let (text, times) = row.text;
    let text = text.repeat(times);
    let beginning = text.chars().take(TEXT_CHARS).collect();
    let or_null = |cell: Option<Cell>| cell.unwrap_or(Cell::Null);
    vec![
        ("n", Cell::Integer(n as i64)),
        ("micros", or_null(row.micros.map(Cell::Integer))),
        ("millis", Cell::Integer(row.millis * 1_000)),
        ("word", or_null(row.word.map(|word| Cell::Text(word.to_owned())))),
        ("text", Cell::Integer(text.len() as i64)),
        ("text", Cell::Text(beginning)),
        ("number", or_null(row.number.map(Cell::Float))),
        ("small", Cell::Float(f64::from(row.small))),
        ("whole", or_null(row.whole.map(Cell::Integer))),
        ("flag", or_null(row.flag.map(Cell::Boolean))),
    ]
}

/// Numbers by value, however the service writes them: 0 is -0.
fn same(found: &Cell, expected: &Cell) -> bool {
    match expected {
        Cell::Integer(n) => found.as_i64() == Some(*n),
        Cell::Float(x) => found.as_f64() == Some(*x),
        Cell::Null | Cell::Boolean(_) | Cell::Text(_) | Cell::Bytes(_) => found == expected,
    }
}

fn way_on(column: &str) -> &'static str {
    match column {
        "micros" | "millis" => {
            "No key helps: this warehouse has another idea of Parquet's times, and would load wrong ones without a word. \
             Turn the warehouse off (warehouse.enabled), ask the lake by other readers, and tell us its version"
        }
        _ => {
            "Set parquet.compression = \"snappy\" and parquet.encodings = \"v1\", which Redshift documents; if they are, tell us \
             its version"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back() -> Vec<Vec<Cell>> {
        let cells = |(n, row)| expected(n, row).into_iter().map(|(_, cell)| cell).collect();
        ROWS.iter().enumerate().map(cells).collect()
    }

    #[test]
    fn what_differs_is_told_with_its_way_on() {
        let probe = Probe::of("lake", b"file".to_vec());
        assert_eq!(probe.judge(&read_back()), Ok(()));
        let changed = |row: usize, place: usize, cell: Cell| {
            let mut rows = read_back();
            rows[row][place] = cell;
            probe.judge(&rows).map_err(|misread| (misread.column, misread.row, misread.way_on))
        };
        // As a reader of nanoseconds and one of days would have it.
        for micros in [1_767_225_599, 9_223_372_036_854] {
            let (column, row, way_on) = changed(0, 1, Cell::Integer(micros)).unwrap_err();
            assert_eq!((column, row, way_on.contains("warehouse.enabled")), ("micros", 0, true));
        }
        assert_eq!(changed(2, 2, Cell::Integer(9_999_999_999_999)).unwrap_err().0, "millis");
        assert_eq!(changed(3, 3, Cell::Text(String::new())).unwrap_err().0, "word", "nothing is no empty text");
        assert_eq!(changed(4, 4, Cell::Integer(256)).unwrap_err().0, "text", "cut off");
        assert_eq!(changed(5, 5, Cell::Null).unwrap_err().0, "text", "an empty text is not nothing");
        assert_eq!(changed(5, 8, Cell::Integer(9_007_199_254_740_992)).unwrap_err().0, "whole", "through a float");
        assert_eq!(changed(4, 6, Cell::Float(0.0)), Ok(()));
        assert!(probe.judge(&read_back()[..5]).unwrap_err().to_string().contains("parquet.compression"));
    }
}
