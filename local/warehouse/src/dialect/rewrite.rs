//! What Redshift and DuckDB say differently, expression by expression. Functions are in `functions`.

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, CharacterLength, DataType, DateTimeField, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, TypedString,
    UnaryOperator, Value,
};

use super::functions;
use super::types::Type;
use crate::error::SqlError;

/// Before the parts of an expression are walked.
pub(super) fn before(expr: &mut Expr) -> Result<(), SqlError> {
    if matches!(expr, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("sysdate"))
    {
        // A function, but for its parentheses.
        *expr = call("sysdate", Vec::new());
    }
    match expr {
        Expr::Cast { kind, data_type, format, .. } => {
            if matches!(kind, CastKind::TryCast | CastKind::SafeCast) || format.is_some() {
                return Err(SqlError::unsupported("TRY_CAST, SAFE_CAST or FORMAT in a cast"));
            }
            Type::of(data_type).map(drop)
        }
        Expr::TypedString(TypedString { data_type, uses_odbc_syntax, .. }) => {
            let known = matches!(data_type, DataType::Date | DataType::Timestamp(None, _));
            if !known || *uses_odbc_syntax {
                return Err(SqlError::unsupported("a typed literal other than DATE and TIMESTAMP"));
            }
            Ok(())
        }
        Expr::Interval(interval) => {
            let plain = matches!(*interval.value, Expr::Value(_))
                && interval.leading_precision.is_none()
                && interval.last_field.is_none()
                && interval.fractional_seconds_precision.is_none();
            if plain { Ok(()) } else { Err(SqlError::unsupported("This form of INTERVAL")) }
        }
        Expr::Ceil { field, .. } | Expr::Floor { field, .. } => match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => Ok(()),
            _ => Err(SqlError::unsupported("CEIL or FLOOR to a field")),
        },
        Expr::Substring { special, .. } if *special => Ok(()),
        Expr::Trim { trim_characters: Some(_), .. } => Err(SqlError::unsupported("TRIM with a list")),
        Expr::Function(function) => functions::judge(function),
        _ => Ok(()),
    }
}

/// After they were: identifiers are quoted, literals written anew, inner functions rewritten.
pub(super) fn after(expr: &mut Expr) -> Result<(), SqlError> {
    let rewritten = match expr {
        Expr::CompoundIdentifier(parts) => {
            if let [schema, _, _] = parts.as_mut_slice()
                && schema.value == "public"
            {
                schema.value = "main".to_owned();
            }
            None
        }
        Expr::Cast { expr: inner, data_type, .. } => Some(cast_to(take(inner), data_type)?),
        Expr::BinaryOp { left, op, right } => regex(left, op, right),
        Expr::Like { escape_char, .. } | Expr::ILike { escape_char, .. } => {
            // Redshift's default; DuckDB has none.
            escape_char.get_or_insert_with(|| Box::new(raw("'\\'")));
            None
        }
        Expr::Extract { field, expr: inner, .. } => Some(part_of(&field.to_string(), take(inner))?),
        Expr::Function(function) => functions::rewritten(function)?,
        _ => None,
    };
    if let Some(rewritten) = rewritten {
        *expr = rewritten;
    }
    Ok(())
}

/// What is inside, leaving a NULL that nobody prints.
pub(super) fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, raw("NULL"))
}

/// A cast. A text that is too long is cut by a cast, and refused by a column.
fn cast_to(inner: Expr, data_type: &DataType) -> Result<Expr, SqlError> {
    let ty = Type::of(data_type)?;
    let explicit = match data_type {
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::Nvarchar(length) => {
            matches!(length, Some(CharacterLength::IntegerLength { .. }))
        }
        DataType::Char(_) | DataType::Character(_) => true,
        _ => false,
    };
    let cast = cast(inner, &ty.duck);
    Ok(match ty.n_bytes_max {
        Some(n) if explicit => call("left", vec![cast, number(u64::from(n))]),
        _ => cast,
    })
}

/// Redshift finds a pattern anywhere; DuckDB's `~` wants the whole text to match.
fn regex(left: &mut Expr, op: &BinaryOperator, right: &mut Expr) -> Option<Expr> {
    let (negated, options) = match op {
        BinaryOperator::PGRegexMatch => (false, "'c'"),
        BinaryOperator::PGRegexIMatch => (false, "'i'"),
        BinaryOperator::PGRegexNotMatch => (true, "'c'"),
        BinaryOperator::PGRegexNotIMatch => (true, "'i'"),
        _ => return None,
    };
    let found = call("regexp_matches", vec![take(left), take(right), raw(options)]);
    Some(if negated {
        Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) }))
    } else {
        found
    })
}

/// `EXTRACT(field FROM t)` and `DATE_PART`. Seconds since the epoch are whole for a timestamp.
pub(super) fn part_of(field: &str, from: Expr) -> Result<Expr, SqlError> {
    let field = functions::date_part(field)?;
    let part = call("date_part", vec![raw(&format!("'{field}'")), from]);
    Ok(if field == "epoch" { cast(call("floor", vec![part]), "BIGINT") } else { part })
}

/// A piece of SQL of our own: the printer prints a placeholder as it is.
pub(super) fn raw(sql: &str) -> Expr {
    Expr::Value(Value::Placeholder(sql.to_owned()).with_empty_span())
}

pub(super) fn number(n: u64) -> Expr {
    Expr::Value(Value::Number(n.to_string(), false).with_empty_span())
}

/// A call of one of DuckDB's functions.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let args = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: function_name(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(args),
        within_group: Vec::new(),
        filter: None,
        null_treatment: None,
        over: None,
    })
}

pub(super) fn function_name(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

/// A cast to one of DuckDB's types, written out.
pub(super) fn cast(expr: Expr, duck: &str) -> Expr {
    raw(&format!("CAST({expr} AS {duck})"))
}
