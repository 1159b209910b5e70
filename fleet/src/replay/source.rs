//! One recorded file, row by row.
//!
//! **Owns** an open file and its position.
//! **Promises** that a row that does not parse is reported with its line and does not end the file.
//! **Fails** with [`FleetError::Source`] when the file itself cannot be read on.
//! **Not here**: the order between files (`merge`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use csv::ByteRecord;
use flate2::read::MultiGzDecoder;

use super::mapping::{FieldKind, IdSource, KEY_CHARS_MAX, ReplayMapping, TimeSource, is_key};
use crate::{FleetError, Progress};

/// What may separate columns that the mapping's delimiter does not.
const DELIMITERS: [u8; 4] = [b';', b'\t', b',', b'|'];

/// One event, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub time_ms: i64,
    pub sensor: String,
    pub json: String,
}

/// A row that does not parse.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BadRow {
    pub line: u64,
    pub problem: String,
}

pub(super) struct Source {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read + Send>>,
    record: ByteRecord,
    mapping: Arc<ReplayMapping>,
    columns: Columns,
}

/// Where the mapping's columns are in this file.
struct Columns {
    /// None if the mapping has the id.
    id: Option<usize>,
    time: TimeAt,
    fields: Vec<usize>,
    n_columns: usize,
}

enum TimeAt {
    Columns {
        at: Vec<usize>,
        format: String,
    },
    /// Year, month and day; hour, minute and second.
    Parts {
        date: [usize; 3],
        time: [Option<usize>; 3],
    },
}

impl Source {
    pub(super) fn open(path: &Path, mapping: Arc<ReplayMapping>, progress: Arc<Progress>) -> Result<Self, FleetError> {
        let unreadable = |source| FleetError::Source { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let len = file.metadata().map_err(unreadable)?.len();
        progress.input_bytes_total.fetch_add(len, Relaxed);
        let file = Counted { file, progress };
        let bytes: Box<dyn Read + Send> = match path.extension() {
            Some(extension) if extension == "gz" => Box::new(MultiGzDecoder::new(file)),
            _ => Box::new(file),
        };
        let mut reader = csv::ReaderBuilder::new()
            // A row with too few columns is a bad row, not the end of the file.
            .flexible(true)
            .delimiter(mapping.delimiter as u8)
            // The default ends a row at `\r` already, and then reports every row of a CRLF file one line early.
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(64 * 1024)
            .from_reader(bytes);
        let headers = reader.byte_headers().map_err(|error| unreadable(error.into()))?;
        let columns = Columns::find(path, headers, &mapping)?;
        Ok(Self { path: path.to_owned(), reader, record: ByteRecord::new(), mapping, columns })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<Result<Row, BadRow>>, FleetError> {
        loop {
            match self.reader.read_byte_record(&mut self.record) {
                Ok(false) => return Ok(None),
                // An empty line of a CRLF file; those of others never get here.
                Ok(true) if self.record.len() == 1 && &self.record[0] == b"\r" => {}
                Ok(true) => {
                    let line = self.record.position().map_or(0, csv::Position::line);
                    return Ok(Some(self.parse().map_err(|problem| BadRow { line, problem })));
                }
                Err(error) => {
                    return Err(FleetError::Source { path: self.path.clone(), source: error.into() });
                }
            }
        }
    }

    fn parse(&self) -> Result<Row, String> {
        if self.record.len() != self.columns.n_columns {
            return Err(format!("{} columns instead of {}", self.record.len(), self.columns.n_columns));
        }
        let sensor = match self.columns.id {
            Some(at) => self.text(at)?,
            None => self.mapping.id.value.as_deref().unwrap_or_default(),
        };
        if !is_key(sensor) {
            let column = self.mapping.id.column.as_deref().unwrap_or_default();
            return Err(format!("`{column}` must have 1 to {KEY_CHARS_MAX} characters"));
        }
        let time = self.time()?;
        let mut json = String::with_capacity(256);
        push_member(&mut json, '{', &self.mapping.id.name);
        push_text(&mut json, sensor);
        push_member(&mut json, ',', &self.mapping.time.name);
        push_text(&mut json, &time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        for (field, at) in self.mapping.fields.iter().zip(&self.columns.fields) {
            let token = self.text(*at)?;
            push_member(&mut json, ',', &field.name);
            match field.kind {
                // A cell with nothing but blanks holds no value either, whatever token a file writes for that.
                _ if token.trim().is_empty() || self.mapping.null.contains(token) => json.push_str("null"),
                FieldKind::Text => push_text(&mut json, token),
                FieldKind::Boolean if matches!(token, "true" | "false") => json.push_str(token),
                FieldKind::Boolean => return Err(format!("`{}` is not true or false: {token:?}", field.column)),
                // Copied, not parsed and printed: a float would round it and drop trailing zeros.
                FieldKind::Number if is_json_number(token) => json.push_str(token),
                FieldKind::Number => return Err(format!("`{}` is not a number: {token:?}", field.column)),
            }
        }
        json.push('}');
        Ok(Row { time_ms: time.timestamp_millis(), sensor: sensor.to_owned(), json })
    }

    fn time(&self) -> Result<DateTime<Utc>, String> {
        let time = match &self.columns.time {
            TimeAt::Columns { at, format } => {
                let texts = at.iter().map(|at| self.text(*at)).collect::<Result<Vec<_>, _>>()?;
                let text = texts.join(" ");
                return parse_time(&text, format).ok_or_else(|| format!("{text:?} is not a time like {format}"));
            }
            TimeAt::Parts { date, time } => {
                let [year, month, day] = date.map(|at| self.whole(at));
                let [hour, minute, second] = time.map(|at| at.map_or(Ok(0), |at| self.whole(at)));
                let (year, month, day) = (year?, month?, day?);
                let (hour, minute, second) = (hour?, minute?, second?);
                i32::try_from(year)
                    .ok()
                    .and_then(|year| NaiveDate::from_ymd_opt(year, month, day))
                    .and_then(|date| date.and_hms_opt(hour, minute, second))
                    .ok_or_else(|| format!("there is no {year}-{month}-{day} {hour}:{minute:02}:{second:02}"))?
            }
        };
        Ok(time.and_utc())
    }

    fn text(&self, at: usize) -> Result<&str, String> {
        let bytes = &self.record[at];
        let is_last = at + 1 == self.columns.n_columns;
        let bytes = if is_last { without_cr(bytes) } else { bytes };
        std::str::from_utf8(bytes).map_err(|_| format!("column {} is not UTF-8", at + 1))
    }

    fn whole(&self, at: usize) -> Result<u32, String> {
        let text = self.text(at)?;
        text.parse().map_err(|_| format!("column {} is not a whole number: {text:?}", at + 1))
    }
}

impl Columns {
    fn find(path: &Path, headers: &ByteRecord, mapping: &ReplayMapping) -> Result<Self, FleetError> {
        let at = |column: &str| {
            headers.iter().position(|header| without_cr(header) == column.as_bytes()).ok_or_else(|| {
                FleetError::MissingColumn {
                    path: path.to_owned(),
                    column: column.to_owned(),
                    hint: hint(headers, mapping.delimiter),
                }
            })
        };
        let time = match mapping.time_source()? {
            TimeSource::Columns { columns, format } => {
                let places = columns.iter().map(|column| at(column)).collect::<Result<_, _>>()?;
                TimeAt::Columns { at: places, format: format.to_owned() }
            }
            TimeSource::Parts { date: [year, month, day], time: [hour, minute, second] } => TimeAt::Parts {
                date: [at(year)?, at(month)?, at(day)?],
                time: [hour.map(at).transpose()?, minute.map(at).transpose()?, second.map(at).transpose()?],
            },
        };
        let id = match mapping.id_source()? {
            IdSource::Column(column) => Some(at(column)?),
            IdSource::Value => None,
        };
        let fields = mapping.fields.iter().map(|field| at(&field.column)).collect::<Result<_, _>>()?;
        Ok(Self { id, time, fields, n_columns: headers.len() })
    }
}

/// What may be wrong with a file in which a column is not found.
fn hint(headers: &ByteRecord, delimiter: char) -> String {
    if let ([header], true) = (headers.iter().collect::<Vec<_>>().as_slice(), headers.len() == 1) {
        let other = DELIMITERS.iter().filter(|other| char::from(**other) != delimiter);
        if let Some(other) = other.max_by_key(|other| header.iter().filter(|byte| byte == other).count())
            && header.contains(other)
        {
            let other = char::from(*other);
            return format!(
                "; its columns seem to be separated by {other:?}: the mapping says so by delimiter = {other:?}"
            );
        }
    }
    let names: Vec<String> =
        headers.iter().take(20).map(|name| String::from_utf8_lossy(without_cr(name)).into_owned()).collect();
    format!("; it has {}", names.join(", "))
}

/// The end of the last column of a row that ends in CRLF.
fn without_cr(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// With a zone, without one (then UTC), or a date alone.
fn parse_time(text: &str, format: &str) -> Option<DateTime<Utc>> {
    let zoned = || DateTime::parse_from_str(text, format).map(|time| time.to_utc()).ok();
    let plain = || NaiveDateTime::parse_from_str(text, format).map(|time| time.and_utc()).ok();
    let date = || Some(NaiveDate::parse_from_str(text, format).ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    zoned().or_else(plain).or_else(date)
}

fn push_member(json: &mut String, before: char, name: &str) {
    json.push(before);
    push_text(json, name);
    json.push(':');
}

fn push_text(json: &mut String, text: &str) {
    json.push_str(&serde_json::to_string(text).expect("a string is always serializable"));
}

/// The grammar of RFC 8259.
pub(super) fn is_json_number(token: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = token.strip_prefix('-').unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let n_digits = digits(fraction);
        if n_digits == 0 {
            return false;
        }
        rest = &fraction[n_digits..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let n_digits = digits(exponent);
        return n_digits > 0 && n_digits == exponent.len();
    }
    rest.is_empty()
}

/// Counts what is read, so that a progress bar knows how far a replay is.
struct Counted {
    file: File,
    progress: Arc<Progress>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.file.read(buffer)?;
        self.progress.input_bytes.fetch_add(n_bytes as u64, Relaxed);
        Ok(n_bytes)
    }
}
