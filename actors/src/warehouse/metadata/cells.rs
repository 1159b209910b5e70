//! One cell: from whatever a file says to a value of its column's type.

use chrono::{NaiveDate, NaiveDateTime};
use messages::schema::{FieldKind, Value};

/// A cell as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawCell {
    Absent,
    Text(String),
    /// A text of a file in which a comma may stand for the point of a number.
    Localised(String),
    Float(f64),
    Integer(i64),
    Boolean(bool),
    /// Microseconds since 1970.
    Time(i64),
    /// Something that no column can hold.
    Other(&'static str),
}

/// Integers that a float holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Times outside these years are nobody's knowledge.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2999;

impl RawCell {
    /// The value for a column of this type; none if the cell is empty.
    pub(super) fn value(self, kind: FieldKind, text_bytes_max: usize) -> Result<Option<Value>, String> {
        let value = match (kind, self) {
            (FieldKind::Float | FieldKind::Integer, Self::Localised(text)) => {
                return Self::Text(with_point(text)).value(kind, text_bytes_max);
            }
            (_, Self::Localised(text)) => return Self::Text(text).value(kind, text_bytes_max),
            (_, Self::Absent) => return Ok(None),
            (FieldKind::Text, Self::Text(text)) => Value::Text(checked(text, text_bytes_max)?),
            (FieldKind::Float, Self::Float(x)) if x.is_finite() => Value::Float(x),
            (FieldKind::Float, Self::Integer(n)) => Value::Float(n as f64),
            (FieldKind::Float, Self::Text(text)) => match text.trim().parse::<f64>() {
                Ok(x) if x.is_finite() => Value::Float(x),
                _ => return Err("must be a number".to_owned()),
            },
            (FieldKind::Integer, Self::Integer(n)) => Value::Integer(n),
            (FieldKind::Integer, Self::Float(x)) if x.fract() == 0.0 && x.abs() < EXACT => Value::Integer(x as i64),
            (FieldKind::Integer, Self::Text(text)) => Value::Integer(whole(text.trim())?),
            (FieldKind::Boolean, Self::Boolean(b)) => Value::Boolean(b),
            (FieldKind::Boolean, Self::Text(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => return Err("must be true or false".to_owned()),
            },
            (kind, other) => return Err(format!("must be {}, not {}", expected(kind), other.what())),
        };
        Ok(Some(value))
    }

    /// The time that it says, in microseconds since 1970; none if the cell is empty.
    pub(super) fn time(self) -> Result<Option<i64>, String> {
        let wrong = "must be a time of the years 1900 to 2999, such as 2026-11-22 or 2026-11-22T15:04:05Z";
        let us = match self {
            Self::Absent => return Ok(None),
            Self::Time(us) => us,
            Self::Text(text) | Self::Localised(text) => parsed(text.trim()).ok_or(wrong)?,
            _ => return Err(wrong.to_owned()),
        };
        let year = chrono::DateTime::from_timestamp_micros(us).map(|time| chrono::Datelike::year(&time));
        if year.is_some_and(|year| YEARS.contains(&year)) { Ok(Some(us)) } else { Err(wrong.to_owned()) }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Text(_) | Self::Localised(_) => "a text",
            Self::Float(_) | Self::Integer(_) => "this number",
            Self::Boolean(_) => "true or false",
            Self::Time(_) => "a time",
            Self::Other(what) => what,
        }
    }
}

/// A whole number as people write it, or as programs do that know floats only: 2020.0.
fn whole(text: &str) -> Result<i64, String> {
    if let Ok(n) = text.parse() {
        return Ok(n);
    }
    // Digits and a point, so that what is not exact is not read as if it were.
    let (digits, zeros) = text.split_once('.').unwrap_or((text, ""));
    let is_whole = !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0');
    digits.parse().ok().filter(|_| is_whole).ok_or_else(|| "must be a whole number of 64 bits".to_owned())
}

/// A number with its comma as a point; what has more than one of them stays, and is none.
fn with_point(text: String) -> String {
    match text.bytes().filter(|byte| matches!(byte, b',' | b'.')).count() {
        1 => text.replace(',', "."),
        _ => text,
    }
}

/// A text that the warehouse can hold, and that is no longer than it may be.
pub(super) fn checked(text: String, bytes_max: usize) -> Result<String, String> {
    if text.len() > bytes_max {
        return Err(format!("has {} bytes, more than the {bytes_max} allowed", text.len()));
    }
    if text.contains('\0') {
        return Err("has a NUL character".to_owned());
    }
    Ok(text)
}

fn expected(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Float => "a number",
        FieldKind::Integer => "a whole number of 64 bits",
        FieldKind::Boolean => "true or false",
        FieldKind::Text => "a text",
    }
}

/// A moment as people and programs write it; without an offset it is UTC.
fn parsed(text: &str) -> Option<i64> {
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    let midnight = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?;
    Some(midnight.and_utc().timestamp_micros())
}
