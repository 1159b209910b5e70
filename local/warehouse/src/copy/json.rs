//! JSON lines: columns by name, each text converted to its column's type, bad rows counted.

use std::fs;
use std::io::{BufRead, BufReader, Read};

use duckdb::types::Value as Cell;
use duckdb::{Connection, appender_params_from_iter};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};

use super::{File, Target};
use crate::dialect::{CopyFormat, TimeFormat};
use crate::error::SqlError;
use crate::session::{Outcome, Session, StoredColumn, list, places};

/// Redshift's limit for one row.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Rows as texts, before they are converted; no name of a client's can have a space at its end.
const STAGE: &str = "temp.\"copy stage \"";
const STAGE_NAME: &str = "copy stage ";

/// What COPY's options say about a line.
struct Rules<'a> {
    target: &'a Target<'a>,
    ignore_case: bool,
    time: TimeFormat,
    truncate: bool,
    replace_invalid: Option<char>,
}

pub(super) fn load(
    session: &mut Session,
    target: &Target<'_>,
    files: &[File],
    format: &CopyFormat,
) -> Result<Outcome, SqlError> {
    let CopyFormat::Json { ignore_case, gzip, time, n_errors_max, truncate, replace_invalid } = format else {
        return Ok(Outcome::default());
    };
    let (ignore_case, time, truncate, replace_invalid) = (*ignore_case, *time, *truncate, *replace_invalid);
    let rules = Rules { target, ignore_case, time, truncate, replace_invalid };
    let places = places(target.columns.len());
    let texts: Vec<String> = places.iter().map(|place| format!("{place} VARCHAR")).collect();
    session.change(&format!("CREATE TEMP TABLE \"{STAGE_NAME}\" (file INTEGER, line BIGINT, {})", texts.join(", ")))?;

    let mut bad = Bad { table: target.table.shown(), n_max: *n_errors_max, n: 0 };
    stage(&session.connection, &rules, files, *gzip, &mut bad)?;
    let wrong: Vec<String> =
        target.columns.iter().zip(&places).map(|(column, place)| is_wrong(target, column, place)).collect();
    for (column, wrong) in target.columns.iter().zip(&wrong) {
        let sql = format!("SELECT count(*), min(file), min(line) FROM {STAGE} WHERE {wrong}");
        let row =
            |row: &duckdb::Row<'_>| Ok((row.get(0)?, row.get::<_, Option<i32>>(1)?, row.get::<_, Option<i64>>(2)?));
        let (n, file, line): (u64, _, _) = session.connection.query_row(&sql, [], row)?;
        if let (Some(file), Some(line)) = (file, line) {
            let url = files.get(usize::try_from(file).unwrap_or_default()).map_or("", |file| file.url.as_str());
            bad.count(n, url, line, &format!("no {} for column {}", column.duck, column.name))?;
        }
    }
    let values: Vec<String> =
        target.columns.iter().zip(&places).map(|(column, place)| format!("CAST({place} AS {})", column.duck)).collect();
    let names = list(target.columns.iter().map(|column| column.name.as_str()));
    let (values, wrong) = (values.join(", "), wrong.join(" OR "));
    let inserted = session
        .change(&format!("INSERT INTO {} ({names}) SELECT {values} FROM {STAGE} WHERE NOT ({wrong})", target.table))?;
    session.change(&format!("DROP TABLE {STAGE}"))?;
    Ok(inserted)
}

/// Bad rows so far, and how many there may be.
struct Bad {
    table: String,
    n_max: u64,
    n: u64,
}

impl Bad {
    fn count(&mut self, n: u64, url: &str, line: i64, why: &str) -> Result<(), SqlError> {
        self.n += n;
        if self.n <= self.n_max {
            return Ok(());
        }
        Err(SqlError(format!(
            "Load into table '{}' failed. Check 'stl_load_errors' system table for details: {url} line {line}: {why}",
            self.table
        )))
    }
}

/// Whether a text is no value of its column's type.
fn is_wrong(target: &Target<'_>, column: &StoredColumn, place: &str) -> String {
    let converts = match column.duck.as_str() {
        // DuckDB would round.
        "BIGINT" | "INTEGER" | "SMALLINT" => format!(
            "(TRY_CAST({place} AS {}) IS NULL OR NOT regexp_full_match({place}, '\\s*[-+]?[0-9]+\\s*'))",
            column.duck
        ),
        duck => format!("TRY_CAST({place} AS {duck}) IS NULL"),
    };
    let null = if column.not_null { format!("{place} IS NULL OR ") } else { String::new() };
    let limit = target.limits.iter().find(|limit| limit.column == column.name);
    // Of a NULL, which is no text, no length is asked.
    let long = limit.map_or(String::new(), |limit| format!(" OR coalesce(strlen({place}), 0) > {}", limit.n_bytes_max));
    format!("({null}({place} IS NOT NULL AND {converts}){long})")
}

fn stage(
    connection: &Connection,
    rules: &Rules<'_>,
    files: &[File],
    gzip: bool,
    bad: &mut Bad,
) -> Result<(), SqlError> {
    let mut appender = connection.appender_to_catalog_and_db(STAGE_NAME, "temp", "main")?;
    for (number, file) in files.iter().enumerate() {
        let failed = |error: std::io::Error| SqlError(format!("S3ServiceException: {error}: {}", file.url));
        let opened = fs::File::open(&file.object.path).map_err(failed)?;
        let bytes: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(opened)) } else { Box::new(opened) };
        let mut lines = BufReader::new(bytes);
        for line in 1.. {
            let mut bytes = Vec::new();
            let n = lines.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes).map_err(failed)?;
            if n == 0 {
                break;
            }
            if bytes.len() as u64 > LINE_BYTES_MAX {
                return Err(SqlError(format!("{} line {line} is longer than {LINE_BYTES_MAX} bytes", file.url)));
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match rules.cells(&bytes) {
                Ok(cells) => {
                    let place = [Cell::Int(number as i32), Cell::BigInt(line)];
                    appender.append_row(appender_params_from_iter(place.into_iter().chain(cells)))?;
                }
                Err(why) => bad.count(1, &file.url, line, &why)?,
            }
        }
    }
    Ok(appender.flush()?)
}

impl Rules<'_> {
    /// The texts of one line, by column.
    fn cells(&self, line: &[u8]) -> Result<Vec<Cell>, String> {
        let text = match (String::from_utf8_lossy(line), self.replace_invalid) {
            (std::borrow::Cow::Borrowed(text), _) => text.to_owned(),
            (std::borrow::Cow::Owned(text), Some(instead)) => text.replace('\u{fffd}', &instead.to_string()),
            (std::borrow::Cow::Owned(_), None) => return Err("String contains invalid or unsupported UTF8".to_owned()),
        };
        let mut object: Map<String, Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if self.ignore_case {
            object = object.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
        }
        self.target.columns.iter().map(|column| self.cell(column, object.remove(&column.name))).collect()
    }

    fn cell(&self, column: &StoredColumn, value: Option<Value>) -> Result<Cell, String> {
        let text = match value {
            None | Some(Value::Null) => return Ok(Cell::Null),
            // In a SUPER column a text stays a text of JSON.
            Some(Value::String(text)) if column.duck != "JSON" => text,
            Some(other) => other.to_string(),
        };
        if column.duck == "TIMESTAMP" && self.time != TimeFormat::Auto {
            return self.moment(&text).map(Cell::Text);
        }
        let limit = self.target.limits.iter().find(|limit| limit.column == column.name);
        let limit = limit.filter(|_| self.truncate).map_or(usize::MAX, |limit| limit.n_bytes_max as usize);
        let end = (0..=text.len().min(limit)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Ok(Cell::Text(text[..end].to_owned()))
    }

    /// A count since the epoch, as a timestamp is written.
    fn moment(&self, text: &str) -> Result<String, String> {
        let wrong = || format!("Invalid timestamp format or value: {text}");
        let micros = match self.time {
            TimeFormat::EpochSeconds => text.parse::<i64>().ok().and_then(|n| n.checked_mul(1_000_000)),
            TimeFormat::EpochMillis | TimeFormat::Auto => text.parse::<i64>().ok().and_then(|n| n.checked_mul(1_000)),
        };
        let time = micros.and_then(chrono::DateTime::from_timestamp_micros).ok_or_else(wrong)?;
        Ok(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    }
}
