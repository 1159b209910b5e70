//! LOCK, TRUNCATE, DROP and COMMENT.

use sqlparser::ast::{Lock, ObjectName, ObjectType, Truncate};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::names::{self, TableName};
use super::plan::{Comment, Commented, Plan};
use super::{syntax, tokens};
use crate::error::SqlError;

pub(super) fn lock(lock: &Lock) -> Result<Plan, SqlError> {
    let plain = lock.lock_mode.is_none() && !lock.nowait && lock.tables.iter().all(|t| !t.only && !t.has_asterisk);
    if !plain {
        return Err(SqlError::unsupported("a mode of LOCK"));
    }
    let names = lock.tables.iter().map(|table| TableName::of(&table.name));
    names.collect::<Result<_, _>>().map(Plan::Lock)
}

pub(super) fn truncate(truncate: &Truncate) -> Result<Plan, SqlError> {
    match truncate.table_names.as_slice() {
        [table] if !truncate.if_exists && truncate.partitions.is_none() => {
            Ok(Plan::Truncate(TableName::of(&table.name)?))
        }
        _ => Err(SqlError::unsupported("This form of TRUNCATE")),
    }
}

pub(super) fn drop(what: ObjectType, if_exists: bool, names: &[ObjectName]) -> Result<Plan, SqlError> {
    let tables = || names.iter().map(TableName::of).collect::<Result<Vec<_>, _>>();
    match (what, names) {
        (ObjectType::Table, _) => Ok(Plan::DropTables { names: tables()?, if_exists }),
        (ObjectType::View, _) => Ok(Plan::DropViews { names: tables()?, if_exists }),
        (ObjectType::Schema, [name]) => match name.0.as_slice() {
            [name] => Ok(Plan::DropSchema { name: names::schema(names::part(name)?)?, if_exists }),
            _ => Err(SqlError(format!("schema \"{name}\" must be one name"))),
        },
        _ => Err(SqlError::unsupported("This DROP")),
    }
}

/// `COMMENT ON TABLE t IS 'text' | NULL`; also on a view or a column.
pub(super) fn comment(mut parser: Parser<'_>) -> Result<Plan, SqlError> {
    tokens::expect(&mut parser, "comment")?;
    tokens::expect(&mut parser, "on")?;
    let kind = tokens::word(&parser.next_token().token).unwrap_or_default();
    let name = parser.parse_object_name(false).map_err(syntax)?;
    let on = match kind.as_str() {
        "table" => Commented::Table(TableName::of(&name)?),
        "view" => Commented::View(TableName::of(&name)?),
        "column" => match name.0.split_last() {
            Some((column, table)) if !table.is_empty() => {
                let column = names::checked(names::part(column)?)?;
                Commented::Column(TableName::of(&ObjectName(table.to_vec()))?, column)
            }
            _ => return Err(SqlError::new("column name must be qualified")),
        },
        _ => return Err(SqlError::unsupported("COMMENT on this kind of object")),
    };
    tokens::expect(&mut parser, "is")?;
    let text = match parser.next_token().token {
        Token::SingleQuotedString(text) => Some(text),
        token if tokens::word(&token).as_deref() == Some("null") => None,
        token => return Err(SqlError(format!("syntax error at or near \"{token}\""))),
    };
    tokens::end(&mut parser)?;
    Ok(Plan::Comment(Comment { on, text }))
}
