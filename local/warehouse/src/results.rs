//! Rows as the Data API has them: one of a few kinds of field, and metadata for each column.
//!
//! **Owns** the wire form of a value.
//! **Promises** that a number is the number, a time is what Redshift prints, and that a result has a bound in bytes.
//! **Fails** when the result is larger than that bound.
//! **Not here**: which result belongs to which statement.

use std::sync::Arc;

use duckdb::Statement;
use duckdb::arrow::datatypes::DataType;
use duckdb::types::{TimeUnit, ValueRef};
use serde_json::{Value, json};

use crate::dialect::Rule;
use crate::error::SqlError;

/// A page is handed out whole; the Data API's are of this order.
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_ROWS_MAX: usize = 1_000;
/// The Data API hands out no longer row.
const ROW_BYTES_MAX: usize = 64 * 1024;

/// The rows of a statement.
#[derive(Debug, Clone)]
pub(crate) struct ResultSet {
    pub(crate) columns: Arc<Vec<Value>>,
    /// Records as JSON, `[field, ...],[field, ...]`: written once, handed out as they are.
    pub(crate) pages: Arc<Vec<String>>,
    pub(crate) n_rows: u64,
    pub(crate) n_bytes: usize,
}

impl ResultSet {
    /// Runs a query and keeps what it returns.
    pub(crate) fn of(statement: &mut Statement<'_>, n_bytes_max: usize) -> Result<ResultSet, SqlError> {
        let mut rows = statement.query([])?;
        let schema = rows.as_ref().map(|statement| statement.schema());
        let fields = schema.map(|schema| schema.fields().clone()).unwrap_or_default();
        let columns = fields.iter().map(|field| column(field.name(), field.data_type(), field.is_nullable())).collect();
        let (mut pages, mut page, mut n_in_page) = (Vec::new(), String::new(), 0);
        let (mut n_rows, mut n_bytes) = (0, 0);
        while let Some(row) = rows.next()? {
            if n_in_page == PAGE_ROWS_MAX || page.len() >= PAGE_BYTES {
                pages.push(std::mem::take(&mut page));
                n_in_page = 0;
            }
            let (before, mut n_row_bytes) = (page.len(), 0);
            page.push_str(if n_in_page == 0 { "[" } else { ",[" });
            for at in 0..fields.len() {
                if at > 0 {
                    page.push(',');
                }
                let value = row.get_ref(at)?;
                n_row_bytes += n_bytes_of(&value);
                page.push_str(&field(value)?.to_string());
            }
            if n_row_bytes > ROW_BYTES_MAX {
                return Err(Rule::LongRow.refuses(&ROW_BYTES_MAX.to_string()));
            }
            page.push(']');
            n_in_page += 1;
            n_rows += 1;
            n_bytes += page.len() - before;
            if n_bytes > n_bytes_max {
                return Err(SqlError(format!(
                    "the result is larger than {n_bytes_max} bytes: use LIMIT or fewer columns"
                )));
            }
        }
        pages.push(page);
        Ok(ResultSet { columns: Arc::new(columns), pages: Arc::new(pages), n_rows, n_bytes })
    }
}

fn column(name: &str, data_type: &DataType, nullable: bool) -> Value {
    let (type_name, precision, scale) = match data_type {
        DataType::Boolean => ("bool", 1, 0),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ("int2", 5, 0),
        DataType::Int32 | DataType::UInt16 => ("int4", 10, 0),
        DataType::Int64 | DataType::UInt32 => ("int8", 19, 0),
        DataType::Float32 => ("float4", 8, 8),
        DataType::Float64 => ("float8", 17, 17),
        DataType::Decimal128(precision, scale) => ("numeric", i64::from(*precision), i64::from(*scale)),
        DataType::Date32 => ("date", 13, 0),
        DataType::Timestamp(..) => ("timestamp", 29, 6),
        _ => ("varchar", 65_535, 0),
    };
    json!({
        "name": name,
        "label": name,
        "typeName": type_name,
        "precision": precision,
        "scale": scale,
        "length": 0,
        "nullable": i64::from(nullable),
        "isCaseSensitive": type_name == "varchar",
        "isCurrency": false,
        "isSigned": matches!(type_name, "int2" | "int4" | "int8" | "float4" | "float8" | "numeric"),
        "schemaName": "",
        "tableName": "",
    })
}

/// What a value takes of its row; all but texts are short.
fn n_bytes_of(value: &ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(bytes) => bytes.len(),
        _ => size_of::<u64>(),
    }
}

fn field(value: ValueRef<'_>) -> Result<Value, SqlError> {
    let long = |n: i64| json!({ "longValue": n });
    let text = |text: String| json!({ "stringValue": text });
    Ok(match value {
        ValueRef::Null => json!({ "isNull": true }),
        ValueRef::Boolean(b) => json!({ "booleanValue": b }),
        ValueRef::TinyInt(n) => long(n.into()),
        ValueRef::SmallInt(n) => long(n.into()),
        ValueRef::Int(n) => long(n.into()),
        ValueRef::BigInt(n) => long(n),
        ValueRef::UTinyInt(n) => long(n.into()),
        ValueRef::USmallInt(n) => long(n.into()),
        ValueRef::UInt(n) => long(n.into()),
        // Redshift's NUMERIC: a text, so that no digit is lost.
        ValueRef::UBigInt(n) => text(n.to_string()),
        ValueRef::HugeInt(n) => text(n.to_string()),
        ValueRef::Decimal(n) => text(n.to_string()),
        // By its shortest digits: 0.1 stays 0.1.
        ValueRef::Float(x) => double(x.to_string().parse().unwrap_or(f64::from(x))),
        ValueRef::Double(x) => double(x),
        ValueRef::Timestamp(unit, n) => text(timestamp(unit.to_micros(n))?),
        ValueRef::Date32(days) => text(date(days)?),
        ValueRef::Time64(unit, n) => text(time_of_day(unit, n)),
        ValueRef::Text(bytes) => text(String::from_utf8_lossy(bytes).into_owned()),
        other => return Err(SqlError(format!("a value of the type {:?} has no form in a result", other.data_type()))),
    })
}

/// JSON has no words for what is no number; the protocol has.
fn double(x: f64) -> Value {
    match () {
        () if x.is_nan() => json!({ "doubleValue": "NaN" }),
        () if x.is_infinite() => json!({ "doubleValue": if x > 0.0 { "Infinity" } else { "-Infinity" } }),
        () => json!({ "doubleValue": x }),
    }
}

fn out_of_range() -> SqlError {
    SqlError::new("timestamp out of range")
}

fn timestamp(micros: i64) -> Result<String, SqlError> {
    let time = chrono::DateTime::from_timestamp_micros(micros).ok_or_else(out_of_range)?;
    let whole = time.format("%Y-%m-%d %H:%M:%S").to_string();
    Ok(whole + &fraction(micros.rem_euclid(1_000_000)))
}

/// Redshift leaves zeros at the end away.
fn fraction(micros: i64) -> String {
    if micros == 0 { String::new() } else { format!(".{micros:06}").trim_end_matches('0').to_owned() }
}

fn date(days: i32) -> Result<String, SqlError> {
    let time = chrono::DateTime::from_timestamp(i64::from(days) * 86_400, 0).ok_or_else(out_of_range)?;
    Ok(time.format("%Y-%m-%d").to_string())
}

fn time_of_day(unit: TimeUnit, n: i64) -> String {
    let micros = unit.to_micros(n);
    let seconds = micros / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{}", fraction(micros % 1_000_000))
}
