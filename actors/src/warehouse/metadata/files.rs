//! Reads an object into cells: CSV with a header, JSON lines, or Parquet, by the ending of its key.
//!
//! **Promises** at most [`Limits`] are read of it, whatever it claims about itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value as Json;

use super::cells::Cell;

/// What objects are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A row is about a sensor.
    Sensors,
    /// A row is about a place.
    Locations,
}

/// An object of the bucket.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is about.
    pub subject: Subject,
    /// Its key.
    pub key: String,
    /// What is in it.
    pub body: Bytes,
}

/// How much metadata there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects.
    pub objects_max: usize,
    /// Bytes of all objects, and of what is packed in each.
    pub bytes_max: usize,
    /// Rows of all objects.
    pub rows_max: usize,
}

/// A longer line of JSON is refused unread: read, it may take thirty times its length.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A row as it stands in a file: cells by the place of their column among those that are wanted.
pub(super) type Line = Vec<Cell>;

/// Takes a row, by its number from 1, or why there is none; returns whether there may be more.
pub(super) type Take<'t> = &'t mut dyn FnMut(u64, Result<Line, String>) -> bool;

/// Reads the wanted columns of every row. What comes back is why the rest of the object could not be read.
pub(super) fn read(object: &Object, wanted: &[&str], bytes_max: usize, take: Take<'_>) -> Result<(), String> {
    match object.key.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv") => csv(&object.body, wanted, take),
        Some("json" | "jsonl" | "ndjson") => json(&object.body, wanted, take),
        Some("parquet") => parquet(&object.body, wanted, bytes_max, take),
        _ => Err("is none of .csv, .json, .jsonl, .ndjson and .parquet".to_owned()),
    }
}

fn csv(body: &[u8], wanted: &[&str], take: Take<'_>) -> Result<(), String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body);
    let header = reader.byte_headers().map_err(|error| error.to_string())?.clone();
    let names: Vec<&[u8]> = header.iter().map(<[u8]>::trim_ascii).collect();
    let mut places = Vec::new();
    for name in wanted {
        let mut found = names.iter().enumerate().filter(|(_, found)| **found == name.as_bytes()).map(|(n, _)| n);
        places.push(found.next());
        if found.next().is_some() {
            return Err(format!("has two columns {name}"));
        }
    }
    // The first is what a row is about.
    if places.first().is_none_or(Option::is_none) {
        return Err(format!("has no column {}", wanted[0]));
    }
    let mut record = csv::ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |place: &Option<usize>| match place.and_then(|place| record.get(place)) {
            None | Some([]) => Ok(Cell::Absent),
            Some(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cell::Text(text.to_owned())),
                Err(_) => Err("is not UTF-8".to_owned()),
            },
        };
        let row = if record.len() == names.len() {
            places.iter().map(cell).collect()
        } else {
            Err(format!("has {} cells, and the header {}", record.len(), names.len()))
        };
        if !take(line, row) {
            return Ok(());
        }
    }
}

fn json(body: &[u8], wanted: &[&str], take: Take<'_>) -> Result<(), String> {
    for (n, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row = if line.len() > LINE_BYTES_MAX {
            Err(format!("has {} bytes, more than the {LINE_BYTES_MAX} that a line may have", line.len()))
        } else {
            match serde_json::from_slice::<serde_json::Map<String, Json>>(line) {
                Ok(mut object) => Ok(wanted.iter().map(|name| of_json(object.remove(*name))).collect()),
                Err(error) => Err(format!("is no object of JSON: {error}")),
            }
        };
        if !take(n as u64 + 1, row) {
            break;
        }
    }
    Ok(())
}

fn of_json(value: Option<Json>) -> Cell {
    match value {
        None | Some(Json::Null) => Cell::Absent,
        Some(Json::Bool(b)) => Cell::Boolean(b),
        Some(Json::Number(n)) => match n.as_i64() {
            Some(n) => Cell::Integer(n),
            None => n.as_f64().map_or(Cell::Other("this number"), Cell::Float),
        },
        Some(Json::String(text)) => Cell::Text(text),
        Some(Json::Array(_)) => Cell::Other("a list"),
        Some(Json::Object(_)) => Cell::Other("an object"),
    }
}

fn parquet(body: &Bytes, wanted: &[&str], bytes_max: usize, take: Take<'_>) -> Result<(), String> {
    let reader = SerializedFileReader::new(body.clone()).map_err(|error| error.to_string())?;
    // A small file can say the same long text a million times.
    let groups = reader.metadata().row_groups();
    let unpacked: i64 = groups.iter().map(|group| group.total_byte_size().max(0)).fold(0, i64::saturating_add);
    let mut left = bytes_max;
    let too_much = || format!("holds more than the {bytes_max} bytes allowed");
    if usize::try_from(unpacked).map_or(true, |unpacked| unpacked > bytes_max) {
        return Err(too_much());
    }
    let rows = reader.get_row_iter(None).map_err(|error| error.to_string())?;
    for (n, row) in rows.enumerate() {
        let row = row.map_err(|error| error.to_string())?;
        let mut cells: BTreeMap<&str, Cell> = BTreeMap::new();
        for (name, field) in row.get_column_iter() {
            if let Some(wanted) = wanted.iter().find(|wanted| **wanted == name.as_str()) {
                cells.insert(*wanted, of_parquet(field));
            }
            let bytes = if let Field::Str(text) = field { text.len() } else { size_of::<i64>() };
            left = left.checked_sub(bytes).ok_or_else(too_much)?;
        }
        let cells = wanted.iter().map(|name| cells.remove(name).unwrap_or(Cell::Absent)).collect();
        if !take(n as u64 + 1, Ok(cells)) {
            break;
        }
    }
    Ok(())
}

fn of_parquet(field: &Field) -> Cell {
    match field {
        Field::Null => Cell::Absent,
        Field::Bool(b) => Cell::Boolean(*b),
        Field::Byte(n) => Cell::Integer(i64::from(*n)),
        Field::Short(n) => Cell::Integer(i64::from(*n)),
        Field::Int(n) => Cell::Integer(i64::from(*n)),
        Field::Long(n) => Cell::Integer(*n),
        Field::UByte(n) => Cell::Integer(i64::from(*n)),
        Field::UShort(n) => Cell::Integer(i64::from(*n)),
        Field::UInt(n) => Cell::Integer(i64::from(*n)),
        Field::ULong(n) => i64::try_from(*n).map_or(Cell::Other("this number"), Cell::Integer),
        Field::Float(x) => Cell::Float(f64::from(*x)),
        Field::Double(x) => Cell::Float(*x),
        Field::Str(text) => Cell::Text(text.clone()),
        Field::TimestampMillis(ms) => ms.checked_mul(1_000).map_or(Cell::Other("this time"), Cell::Time),
        Field::TimestampMicros(us) => Cell::Time(*us),
        Field::Date(days) => i64::from(*days).checked_mul(86_400_000_000).map_or(Cell::Other("this date"), Cell::Time),
        _ => Cell::Other("a value of this type"),
    }
}
