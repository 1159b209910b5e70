//! Redshift's types and what DuckDB stores them as.

use sqlparser::ast::{CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use crate::error::SqlError;

const VARCHAR_DEFAULT: u32 = 256;
const VARCHAR_MAX: u32 = 65_535;
const CHAR_MAX: u32 = 4_096;

/// The type of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Type {
    /// For DuckDB.
    pub(crate) duck: String,
    /// As Redshift's catalog spells it.
    pub(crate) name: &'static str,
    /// Bytes of a text; the catalog keeps them, DuckDB does not.
    pub(crate) n_bytes_max: Option<u32>,
}

impl Type {
    fn plain(duck: &str, name: &'static str) -> Type {
        Type { duck: duck.to_owned(), name, n_bytes_max: None }
    }

    fn text(name: &'static str, n_bytes_max: u32) -> Type {
        Type { duck: "VARCHAR".to_owned(), name, n_bytes_max: Some(n_bytes_max) }
    }

    /// The type of a column.
    pub(super) fn of(data_type: &DataType) -> Result<Type, SqlError> {
        let varchar = "character varying";
        Ok(match data_type {
            DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::Nvarchar(length) => {
                Type::text(varchar, characters(*length, VARCHAR_DEFAULT, VARCHAR_MAX)?)
            }
            DataType::Text => Type::text(varchar, VARCHAR_DEFAULT),
            DataType::Char(length) | DataType::Character(length) => {
                Type::text("character", characters(*length, 1, CHAR_MAX)?)
            }
            DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                Type::plain("TIMESTAMP", "timestamp without time zone")
            }
            DataType::Date => Type::plain("DATE", "date"),
            DataType::BigInt(None) | DataType::Int8(None) => Type::plain("BIGINT", "bigint"),
            DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Type::plain("INTEGER", "integer"),
            DataType::SmallInt(None) | DataType::Int2(None) => Type::plain("SMALLINT", "smallint"),
            DataType::Real | DataType::Float4 => Type::plain("FLOAT", "real"),
            DataType::DoublePrecision | DataType::Float8 | DataType::Float(ExactNumberInfo::None) => {
                Type::plain("DOUBLE", "double precision")
            }
            DataType::Boolean | DataType::Bool => Type::plain("BOOLEAN", "boolean"),
            DataType::Numeric(info) | DataType::Decimal(info) => numeric(info)?,
            DataType::Custom(name, arguments) if arguments.is_empty() => match name.to_string().as_str() {
                name if name.trim_matches('"').eq_ignore_ascii_case("super") => Type::plain("JSON", "super"),
                _ => return Err(SqlError(format!("type {name} does not exist"))),
            },
            other => return Err(SqlError::unsupported(&format!("type {other} on the embedded warehouse"))),
        })
    }
}

fn characters(length: Option<CharacterLength>, default: u32, max: u32) -> Result<u32, SqlError> {
    match length {
        None => Ok(default),
        Some(CharacterLength::Max) => Ok(max),
        Some(CharacterLength::IntegerLength { length, unit: None }) => match u32::try_from(length) {
            Ok(length) if (1..=max).contains(&length) => Ok(length),
            _ => Err(SqlError(format!("length for a character type must be between 1 and {max}"))),
        },
        Some(other) => Err(SqlError::unsupported(&format!("the length {other}"))),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<Type, SqlError> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (18, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=38).contains(&precision) || scale < 0 || scale.unsigned_abs() > precision {
        return Err(SqlError(format!("NUMERIC({precision},{scale}) is not a numeric type")));
    }
    Ok(Type { duck: format!("DECIMAL({precision},{scale})"), name: "numeric", n_bytes_max: None })
}
