//! Reads what landed, file by file, as a consumer would: no code of the product's, no manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use actors::lake::{StateObject, decode_state};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;
use tempfile::TempDir;

/// One row by column name.
pub type Row = BTreeMap<String, Field>;

/// The zones of one bucket, by their paths.
#[derive(Debug)]
pub struct Lake {
    root: PathBuf,
    _folder: Option<TempDir>,
}

impl Lake {
    pub fn read(root: &Path) -> Self {
        Self { root: root.to_owned(), _folder: None }
    }

    /// Keeps the folder that it lies in for as long as somebody reads it.
    pub fn keeping(self, folder: TempDir) -> Self {
        Self { _folder: Some(folder), ..self }
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
        let lines = self.files("raw", ".jsonl.gz").into_iter().flat_map(|file| records_of(&file));
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
        self.files("manifests", ".json")
            .iter()
            .map(|f| serde_json::from_slice(&fs::read(f).unwrap()).unwrap())
            .collect()
    }

    /// Every object of the bucket by its key.
    pub fn keys(&self) -> Vec<String> {
        let key = |file: PathBuf| file.strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned();
        self.files("", "").into_iter().map(key).collect()
    }

    /// The rows of one Parquet object.
    pub fn rows_of(&self, key: &str) -> Vec<Row> {
        parquet_rows(&self.root.join(key))
    }

    /// Sum of a count over all manifests.
    pub fn promised(&self, count: &str) -> u64 {
        self.manifests().iter().map(|manifest| manifest[count].as_u64().unwrap()).sum()
    }

    /// The highest revision of what every shard has counted of every window, as text and without what says who wrote it,
    /// by its identity.
    pub fn latest_aggregates(&self) -> BTreeMap<(String, String, String, i64, String), String> {
        let mut latest: BTreeMap<_, (i64, String)> = BTreeMap::new();
        for zone in ["aggregates/hourly", "aggregates/daily"] {
            for mut row in self.rows(zone) {
                let (sensor, field) = (text(&row, "sensor_id"), text(&row, "field"));
                let window = (zone.to_owned(), sensor, field, integer(&row, "window_start"), text(&row, "shard"));
                let revision = integer(&row, "revision");
                row.retain(|column, _| column != "revision" && column != "epoch");
                let entry = latest.entry(window).or_default();
                assert_ne!(entry.0, revision, "two rows of one window have one revision");
                if revision > entry.0 {
                    *entry = (revision, format!("{row:?}"));
                }
            }
        }
        latest.into_iter().map(|(window, (_, row))| (window, row)).collect()
    }

    /// The last full state of every shard. The format is the product's own, so that its own reader is used here.
    pub fn full_states(&self) -> Vec<StateObject> {
        let read = |file: &PathBuf| decode_state(&fs::read(file).unwrap()).unwrap();
        let states =
            self.files("state", ".state").iter().map(read).filter(|state| state.header.full).collect::<Vec<_>>();
        let last = states.chunk_by(|a, b| a.header.shard == b.header.shard).filter_map(|chain| chain.last().cloned());
        last.collect()
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

/// The records of a file of lines. Its name says whether the lines' ends are the records' own.
fn records_of(file: &Path) -> Vec<Vec<u8>> {
    let name = file.file_name().unwrap().to_string_lossy();
    let end: &[u8] = if name.ends_with(".lf.jsonl.gz") || name.ends_with(".crlf.jsonl.gz") { b"\n" } else { b"" };
    let lines = lines_of(file);
    let is_object = |line: &[u8]| serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object());
    assert!(lines.iter().all(|line| is_object(line)), "{name} has a line that no reader of JSON lines takes");
    lines.into_iter().map(|line| [line.as_slice(), end].concat()).collect()
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

/// A column of bytes.
pub fn bytes(row: &Row, column: &str) -> Vec<u8> {
    match &row[column] {
        Field::Bytes(bytes) => bytes.data().to_vec(),
        other => panic!("{column} is {other:?}"),
    }
}

/// A column of true and false.
pub fn flag(row: &Row, column: &str) -> bool {
    match &row[column] {
        Field::Bool(flag) => *flag,
        other => panic!("{column} is {other:?}"),
    }
}

/// What makes a reading itself, in stream order: shard, sequence number and place in the record.
pub fn identity(row: &Row) -> (String, Sequence, i64) {
    (text(row, "shard"), Sequence::of(&text(row, "sequence")), integer(row, "sub_sequence"))
}

/// A sequence number: 186 bits, so that the longer text is the larger number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(usize, String);

impl Sequence {
    pub fn of(text: &str) -> Self {
        assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()), "{text:?} is no sequence number");
        Self(text.len(), text.to_owned())
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
