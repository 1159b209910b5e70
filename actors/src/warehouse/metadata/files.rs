//! Reads an object into cells: CSV with a header, JSON lines, or Parquet, by the ending of its key.
//!
//! **Promises** at most [`Limits`] are read of it, whatever it claims about itself. An object that is cut off is not read
//! in part, if that can be seen.
//!
//! **Not here**: what it is packed in and written in (`form.rs`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::cells::RawCell;
use super::form::{self, Delimited, Format};

/// What objects are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
pub(super) type FileRow = Vec<RawCell>;

/// Takes a row, by its number from 1, or why there is none; returns whether there may be more.
pub(super) type Take<'t> = &'t mut dyn FnMut(u64, Result<FileRow, String>) -> bool;

/// Names of columns that are told.
const UNKNOWN_MAX: usize = 20;

/// What was noticed beside the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Noticed {
    /// Columns that nobody has asked for, the first of them.
    pub(super) unknown: BTreeSet<String>,
    /// Whether the last line ends with a line break; formats without lines always do.
    pub(super) ends_line: bool,
}

impl Noticed {
    fn column(&mut self, name: &str, wanted: &[&str]) {
        if !name.is_empty()
            && !wanted.contains(&name)
            && self.unknown.len() < UNKNOWN_MAX
            && !self.unknown.contains(name)
        {
            self.unknown.insert(name.to_owned());
        }
    }
}

/// Reads the wanted columns of every row; the first says what a row is about. Fails with why the object cannot be read
/// as a whole: then none of its rows may be used.
pub(super) fn read(object: &Object, wanted: &[&str], bytes_max: usize, take: Take<'_>) -> Result<Noticed, String> {
    let format = form::format(&object.key)?;
    let body = form::unpacked(&object.body, bytes_max)?;
    match format {
        Format::Csv => csv(&form::text(&body)?, wanted, take),
        Format::Json => json(&form::text(&body)?, wanted, take),
        Format::Parquet => parquet(&body, wanted, bytes_max, take),
    }
}

fn csv(text: &str, wanted: &[&str], take: Take<'_>) -> Result<Noticed, String> {
    let Delimited { delimiter, text, skipped } = form::delimited(text, wanted[0])?;
    if let Some(line) = form::open_quotes(text, delimiter) {
        return Err(format!("ends within the quotes opened in line {}: is it cut off?", line + skipped));
    }
    let names = form::header(text, delimiter)?;
    let mut noticed = Noticed { ends_line: ends_line(text), ..Noticed::default() };
    names.iter().for_each(|name| noticed.column(name, wanted));
    let mut places = Vec::new();
    for name in wanted {
        let mut found = names.iter().enumerate().filter(|(_, found)| found == name).map(|(n, _)| n);
        places.push(found.next());
        if found.next().is_some() {
            return Err(format!("has two columns {name}"));
        }
    }
    if places.first().is_none_or(Option::is_none) {
        return Err(format!("has no column {}", wanted[0]));
    }
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let (mut record, mut last) = (csv::StringRecord::new(), (0, names.len()));
    let mut lines = TextLines { text, byte: 0, line: 1 + skipped };
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        let line = record.position().map_or(0, |position| lines.at(position.byte() as usize));
        last = (line, record.len());
        // Spreadsheets keep lines that somebody has cleared.
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let cell = |place: &Option<usize>| match place.and_then(|place| record.get(place)) {
            None | Some("") => RawCell::Absent,
            // Where the comma is no delimiter, it may stand for the point of a number.
            Some(text) if delimiter == b';' => RawCell::Localised(text.to_owned()),
            Some(text) => RawCell::Text(text.to_owned()),
        };
        let row = match record.len() {
            n if n == names.len() => Ok(places.iter().map(cell).collect()),
            n => Err(format!("has {n} cells, and the header {}", names.len())),
        };
        if !take(line, row) {
            return Ok(noticed);
        }
    }
    let (line, cells) = last;
    if cells < names.len() && !noticed.ends_line {
        return Err(format!("ends within line {line}, which has {cells} cells of {}", names.len()));
    }
    Ok(noticed)
}

/// The lines of a text, from one place to a later one. The reader's own count is one too low behind a `\r\n`.
struct TextLines<'t> {
    text: &'t str,
    byte: usize,
    line: u64,
}

impl TextLines<'_> {
    fn at(&mut self, byte: usize) -> u64 {
        let bytes = self.text.as_bytes();
        let breaks = bytes.iter().skip(byte).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let byte = (byte + breaks).clamp(self.byte, bytes.len());
        self.line += bytes[self.byte..byte].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.byte = byte;
        self.line
    }
}

fn ends_line(text: &str) -> bool {
    text.ends_with(['\n', '\r'])
}

fn json(text: &str, wanted: &[&str], take: Take<'_>) -> Result<Noticed, String> {
    if text.trim_start().starts_with('[') {
        return Err("is one list: write one object a line, without a list around them".to_owned());
    }
    let mut noticed = Noticed { ends_line: ends_line(text), ..Noticed::default() };
    let mut lines = text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    while let Some((n, line)) = lines.next() {
        let row = if line.len() > LINE_BYTES_MAX {
            Err(format!("has {} bytes, more than the {LINE_BYTES_MAX} that a line may have", line.len()))
        } else {
            match serde_json::from_str::<serde_json::Map<String, Json>>(line) {
                Ok(mut object) => {
                    let cells = wanted.iter().map(|name| of_json(object.remove(*name))).collect();
                    object.keys().for_each(|name| noticed.column(name, wanted));
                    Ok(cells)
                }
                Err(error) if error.is_eof() && lines.peek().is_none() && !noticed.ends_line => {
                    return Err(format!("ends within the object of line {}", n + 1));
                }
                Err(error) => Err(format!("is no object of JSON: {error}")),
            }
        };
        if !take(n as u64 + 1, row) {
            break;
        }
    }
    Ok(noticed)
}

fn of_json(value: Option<Json>) -> RawCell {
    match value {
        None | Some(Json::Null) => RawCell::Absent,
        Some(Json::Bool(b)) => RawCell::Boolean(b),
        Some(Json::Number(n)) => match n.as_i64() {
            Some(n) => RawCell::Integer(n),
            None => n.as_f64().map_or(RawCell::Other("this number"), RawCell::Float),
        },
        Some(Json::String(text)) => RawCell::Text(text),
        Some(Json::Array(_)) => RawCell::Other("a list"),
        Some(Json::Object(_)) => RawCell::Other("an object"),
    }
}

fn parquet(body: &Bytes, wanted: &[&str], bytes_max: usize, take: Take<'_>) -> Result<Noticed, String> {
    let reader = SerializedFileReader::new(body.clone()).map_err(|error| error.to_string())?;
    // A small file can say the same long text a million times.
    let groups = reader.metadata().row_groups();
    let unpacked: i64 = groups.iter().map(|group| group.total_byte_size().max(0)).fold(0, i64::saturating_add);
    let mut left = bytes_max;
    let too_much = || format!("holds more than the {bytes_max} bytes allowed");
    if usize::try_from(unpacked).map_or(true, |unpacked| unpacked > bytes_max) {
        return Err(too_much());
    }
    let mut noticed = Noticed { ends_line: true, ..Noticed::default() };
    let columns = reader.metadata().file_metadata().schema().get_fields();
    columns.iter().for_each(|column| noticed.column(column.name(), wanted));
    if !columns.iter().any(|column| column.name() == wanted[0]) {
        return Err(format!("has no column {}", wanted[0]));
    }
    let rows = reader.get_row_iter(None).map_err(|error| error.to_string())?;
    for (n, row) in rows.enumerate() {
        let row = row.map_err(|error| error.to_string())?;
        let mut cells: BTreeMap<&str, RawCell> = BTreeMap::new();
        for (name, field) in row.get_column_iter() {
            if let Some(wanted) = wanted.iter().find(|wanted| **wanted == name.as_str()) {
                cells.insert(*wanted, of_parquet(field));
            }
            let bytes = if let Field::Str(text) = field { text.len() } else { size_of::<i64>() };
            left = left.checked_sub(bytes).ok_or_else(too_much)?;
        }
        let cells = wanted.iter().map(|name| cells.remove(name).unwrap_or(RawCell::Absent)).collect();
        if !take(n as u64 + 1, Ok(cells)) {
            break;
        }
    }
    Ok(noticed)
}

fn of_parquet(field: &Field) -> RawCell {
    match field {
        Field::Null => RawCell::Absent,
        Field::Bool(b) => RawCell::Boolean(*b),
        Field::Byte(n) => RawCell::Integer(i64::from(*n)),
        Field::Short(n) => RawCell::Integer(i64::from(*n)),
        Field::Int(n) => RawCell::Integer(i64::from(*n)),
        Field::Long(n) => RawCell::Integer(*n),
        Field::UByte(n) => RawCell::Integer(i64::from(*n)),
        Field::UShort(n) => RawCell::Integer(i64::from(*n)),
        Field::UInt(n) => RawCell::Integer(i64::from(*n)),
        Field::ULong(n) => i64::try_from(*n).map_or(RawCell::Other("this number"), RawCell::Integer),
        Field::Float(x) => RawCell::Float(f64::from(*x)),
        Field::Double(x) => RawCell::Float(*x),
        Field::Str(text) => RawCell::Text(text.clone()),
        Field::TimestampMillis(ms) => ms.checked_mul(1_000).map_or(RawCell::Other("this time"), RawCell::Time),
        Field::TimestampMicros(us) => RawCell::Time(*us),
        Field::Date(days) => {
            i64::from(*days).checked_mul(86_400_000_000).map_or(RawCell::Other("this date"), RawCell::Time)
        }
        _ => RawCell::Other("a value of this type"),
    }
}
