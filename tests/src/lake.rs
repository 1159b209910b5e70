//! Reads what landed, file by file, as a consumer would: no code of the product's, no manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

/// One row by column name.
pub type Row = BTreeMap<String, Field>;

/// The zones of one bucket, by their paths.
#[derive(Debug)]
pub struct Lake {
    root: PathBuf,
}

impl Lake {
    pub fn read(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// All files of a zone with this ending, ordered by path.
    pub fn files(&self, zone: &str, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.root.join(zone), &mut found);
        found.retain(|path| path.to_string_lossy().ends_with(ending));
        found.sort();
        found
    }

    /// The bytes of every record, line objects and escaped ones together.
    pub fn raw(&self) -> Vec<Vec<u8>> {
        let lines = self.files("raw", ".jsonl.gz").into_iter().flat_map(|file| lines_of(&file));
        let escaped = self.files("raw", ".ndjson.gz").into_iter().flat_map(|file| lines_of(&file)).map(|line| {
            let row: Value = serde_json::from_slice(&line).unwrap();
            BASE64_STANDARD.decode(row["data"].as_str().unwrap()).unwrap()
        });
        lines.chain(escaped).collect()
    }

    /// All rows of a Parquet zone.
    pub fn rows(&self, zone: &str) -> Vec<Row> {
        self.files(zone, ".parquet").iter().flat_map(|file| parquet_rows(file)).collect()
    }

    /// All JSON lines of a zone.
    pub fn json_lines(&self, zone: &str) -> Vec<Value> {
        let lines = self.files(zone, ".jsonl.gz").into_iter().flat_map(|file| lines_of(&file));
        lines.map(|line| serde_json::from_slice(&line).unwrap()).collect()
    }

    /// All manifests.
    pub fn manifests(&self) -> Vec<Value> {
        self.files("manifests", ".json").iter().map(|f| serde_json::from_slice(&fs::read(f).unwrap()).unwrap()).collect()
    }
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn lines_of(file: &Path) -> Vec<Vec<u8>> {
    let reader = BufReader::new(MultiGzDecoder::new(File::open(file).unwrap()));
    reader.split(b'\n').map(|line| line.unwrap()).collect()
}

/// The rows of one file by the row-wise reader: the product writes with the column-wise one.
pub fn parquet_rows(file: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns().into_iter().collect()).collect()
}

/// A text column.
pub fn text(row: &Row, column: &str) -> String {
    match &row[column] {
        Field::Str(text) => text.clone(),
        other => panic!("{column} is {other:?}"),
    }
}

/// An integer or time column.
pub fn integer(row: &Row, column: &str) -> i64 {
    match &row[column] {
        Field::Int(n) => i64::from(*n),
        Field::Long(n) | Field::TimestampMicros(n) | Field::TimestampMillis(n) => *n,
        other => panic!("{column} is {other:?}"),
    }
}

/// A float column; none for null.
pub fn float(row: &Row, column: &str) -> Option<f64> {
    match &row[column] {
        Field::Double(x) => Some(*x),
        Field::Null => None,
        other => panic!("{column} is {other:?}"),
    }
}
