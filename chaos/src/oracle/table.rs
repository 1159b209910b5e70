//! Parquet objects, row by row.
//!
//! **Owns** the reading of tables with the row-wise reader: the product writes with the column-wise one.
//! **Promises** columns are found by name, as a consumer finds them; a value of another type is an error.
//! **Fails** with a text that says what is wrong with the object.
//! **Not here**: what columns there are (`rows.rs`).

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;

pub(super) type Read<T> = Result<T, String>;

/// An open table.
pub(super) struct Table {
    names: Vec<String>,
    rows: RowIter<'static>,
}

/// The values of one row, in order of the columns.
pub(super) struct Cells(Vec<(String, Field)>);

impl Table {
    pub(super) fn open(bytes: &Bytes) -> Read<Self> {
        let reader = SerializedFileReader::new(bytes.clone()).map_err(|e| e.to_string())?;
        let columns = reader.metadata().file_metadata().schema_descr().columns();
        let names = columns.iter().map(|column| column.name().to_owned()).collect();
        Ok(Self { names, rows: RowIter::from_file_into(Box::new(reader)) })
    }

    /// Where a column stands.
    pub(super) fn column(&self, name: &str) -> Read<usize> {
        self.names.iter().position(|n| n == name).ok_or_else(|| format!("it has no column {name}"))
    }
}

impl Iterator for Table {
    type Item = Read<Cells>;

    fn next(&mut self) -> Option<Read<Cells>> {
        let row = self.rows.next()?;
        Some(row.map(|row| Cells(row.into_columns())).map_err(|e| e.to_string()))
    }
}

impl Cells {
    /// The value as it is.
    pub(super) fn field(&self, column: usize) -> &Field {
        &self.0[column].1
    }

    pub(super) fn text(&self, column: usize) -> Read<&str> {
        self.text_or_null(column)?.ok_or_else(|| self.wrong(column))
    }

    pub(super) fn text_or_null(&self, column: usize) -> Read<Option<&str>> {
        match self.field(column) {
            Field::Str(text) => Ok(Some(text)),
            Field::Null => Ok(None),
            _ => Err(self.wrong(column)),
        }
    }

    /// An integer or a time.
    pub(super) fn whole(&self, column: usize) -> Read<i64> {
        self.whole_or_null(column)?.ok_or_else(|| self.wrong(column))
    }

    pub(super) fn whole_or_null(&self, column: usize) -> Read<Option<i64>> {
        match self.field(column) {
            Field::Int(n) => Ok(Some(i64::from(*n))),
            Field::Long(n) | Field::TimestampMicros(n) | Field::TimestampMillis(n) => Ok(Some(*n)),
            Field::Null => Ok(None),
            _ => Err(self.wrong(column)),
        }
    }

    pub(super) fn number(&self, column: usize) -> Read<f64> {
        self.number_or_null(column)?.ok_or_else(|| self.wrong(column))
    }

    pub(super) fn number_or_null(&self, column: usize) -> Read<Option<f64>> {
        match self.field(column) {
            Field::Double(x) => Ok(Some(*x)),
            Field::Float(x) => Ok(Some(f64::from(*x))),
            Field::Long(n) => Ok(Some(*n as f64)),
            Field::Null => Ok(None),
            _ => Err(self.wrong(column)),
        }
    }

    pub(super) fn flag(&self, column: usize) -> Read<bool> {
        self.flag_or_null(column)?.ok_or_else(|| self.wrong(column))
    }

    pub(super) fn flag_or_null(&self, column: usize) -> Read<Option<bool>> {
        match self.field(column) {
            Field::Bool(flag) => Ok(Some(*flag)),
            Field::Null => Ok(None),
            _ => Err(self.wrong(column)),
        }
    }

    fn wrong(&self, column: usize) -> String {
        let (name, field) = &self.0[column];
        format!("{name} is {field:?}")
    }
}
