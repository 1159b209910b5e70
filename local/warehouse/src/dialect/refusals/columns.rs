//! How a column is stored, and what it holds if nothing is said.

use sqlparser::ast::{Expr, UnaryOperator, Value};

use super::Rule;
use crate::error::SqlError;

const WHOLE: [&str; 6] = ["int", "integer", "int4", "bigint", "int8", "smallint"];
const TIMES: [&str; 4] = ["date", "timestamp", "timestamptz", "time"];
const TEXTS: [&str; 6] = ["varchar", "nvarchar", "text", "char", "character", "bpchar"];

/// Every encoding, with what it is for.
const ENCODINGS: [(&str, fn(&str) -> bool); 14] = [
    ("auto", |_| true),
    ("raw", |_| true),
    ("az64", |ty| is_whole(ty) || is_decimal(ty) || TIMES.contains(&ty)),
    ("bytedict", |ty| !matches!(ty, "boolean" | "bool" | "super")),
    ("delta", |ty| is_whole(ty) || is_decimal(ty) || TIMES.contains(&ty)),
    ("delta32k", |ty| is_whole(ty) && !is_small(ty) || is_decimal(ty) || TIMES.contains(&ty)),
    ("lzo", |ty| !matches!(ty, "boolean" | "bool") && !is_float(ty)),
    ("mostly8", |ty| is_whole(ty) || is_decimal(ty)),
    ("mostly16", |ty| is_whole(ty) && !is_small(ty) || is_decimal(ty)),
    ("mostly32", |ty| matches!(ty, "bigint" | "int8") || is_decimal(ty)),
    ("runlength", |ty| ty != "super"),
    ("text255", |ty| TEXTS.contains(&ty)),
    ("text32k", |ty| TEXTS.contains(&ty)),
    ("zstd", |_| true),
];

fn is_small(ty: &str) -> bool {
    matches!(ty, "smallint" | "int2")
}

fn is_whole(ty: &str) -> bool {
    WHOLE.contains(&ty) || is_small(ty)
}

fn is_decimal(ty: &str) -> bool {
    matches!(ty, "decimal" | "numeric")
}

fn is_float(ty: &str) -> bool {
    matches!(ty, "real" | "float4" | "double" | "float8" | "float")
}

/// Whether a word is an encoding; refuses one that a column of this type, by its first word, does not have.
pub(crate) fn encoding(word: &str, column: Option<(&str, &str)>) -> Result<bool, SqlError> {
    let Some((_, takes)) = ENCODINGS.iter().find(|(name, _)| *name == word) else { return Ok(false) };
    match column {
        Some((name, ty)) if !takes(ty) => Err(Rule::Encoding.refuses(&format!("{name}: {word} for {ty}"))),
        _ => Ok(true),
    }
}

/// Refuses a literal that is no value of its column's type. A text is one of every type.
pub(crate) fn default(column: &str, ty: &str, value: &Expr) -> Result<(), SqlError> {
    let is_of_type = match literal(value) {
        Some(Value::Number(..)) => {
            matches!(ty, "smallint" | "integer" | "bigint" | "real" | "double precision" | "numeric" | "super")
        }
        Some(Value::Boolean(_)) => matches!(ty, "boolean" | "super"),
        _ => true,
    };
    if is_of_type { Ok(()) } else { Err(Rule::DefaultType.refuses(&format!("\"{column}\" {ty} DEFAULT {value}"))) }
}

fn literal(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::Value(value) => Some(&value.value),
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr } => literal(expr),
        _ => None,
    }
}
