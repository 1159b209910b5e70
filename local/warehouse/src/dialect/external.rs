//! Tables over files in S3: CREATE EXTERNAL SCHEMA and TABLE, and ADD PARTITION. Read by hand: the parser knows Hive's
//! forms only.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::names::{self, TableName};
use super::plan::{CreateExternal, ExternalColumn, Partition, Plan};
use super::types::Type;
use super::{syntax, tokens};
use crate::error::SqlError;

/// What one statement of Redshift registers.
const PARTITIONS_MAX: usize = 100;
const COLUMNS_MAX: usize = 1_598;

/// `CREATE EXTERNAL SCHEMA [IF NOT EXISTS] s FROM DATA CATALOG DATABASE 'd' IAM_ROLE r [CREATE EXTERNAL DATABASE IF NOT
/// EXISTS]`. What the catalog is called is read and kept; there is one behind all of them.
pub(super) fn schema(mut parser: Parser<'_>) -> Result<Plan, SqlError> {
    words(&mut parser, &["create", "external", "schema"])?;
    let if_not_exists = if_not_exists(&mut parser)?;
    let name = names::schema(&parser.parse_identifier().map_err(syntax)?)?;
    words(&mut parser, &["from", "data", "catalog", "database"])?;
    let database = tokens::literal(&mut parser)?;
    if tokens::accept(&mut parser, "region") {
        tokens::literal(&mut parser)?;
    }
    tokens::expect(&mut parser, "iam_role")?;
    if !tokens::accept(&mut parser, "default") {
        tokens::literal(&mut parser)?;
    }
    if tokens::accept(&mut parser, "create") {
        words(&mut parser, &["external", "database", "if", "not", "exists"])?;
    }
    tokens::end(&mut parser)?;
    Ok(Plan::CreateExternalSchema { name, database, if_not_exists })
}

/// `CREATE EXTERNAL TABLE s.t (c type, ...) [PARTITIONED BY (p type, ...)] STORED AS PARQUET LOCATION 's3://b/f/'`.
pub(super) fn table(mut parser: Parser<'_>) -> Result<Plan, SqlError> {
    words(&mut parser, &["create", "external", "table"])?;
    let name = qualified(&mut parser)?;
    let columns = columns(&mut parser)?;
    let mut parts = Vec::new();
    if tokens::accept(&mut parser, "partitioned") {
        tokens::expect(&mut parser, "by")?;
        parts = self::columns(&mut parser)?;
    }
    words(&mut parser, &["stored", "as"])?;
    if !tokens::accept(&mut parser, "parquet") {
        return Err(SqlError::unsupported("An external table of anything but PARQUET on the embedded warehouse"));
    }
    let location = location(&mut parser)?;
    tokens::end(&mut parser)?;
    if columns.len() + parts.len() > COLUMNS_MAX {
        return Err(SqlError(format!("external tables can have at most {COLUMNS_MAX} columns")));
    }
    for (at, column) in columns.iter().chain(&parts).enumerate() {
        if columns.iter().chain(&parts).take(at).any(|other| other.name == column.name) {
            return Err(SqlError(format!("column \"{}\" duplicated", column.name)));
        }
    }
    if let Some(part) = parts.iter().find(|part| !is_plain(&part.name)) {
        return Err(SqlError(format!("partition column \"{}\" has other characters than a-z, 0-9 and _", part.name)));
    }
    Ok(Plan::CreateExternal(CreateExternal { name, columns, parts, location }))
}

/// Whether these tokens are an `ALTER TABLE ... ADD [IF NOT EXISTS] PARTITION`.
pub(super) fn adds_partitions(tokens: &[TokenWithSpan]) -> bool {
    let word = |at: usize| tokens.get(at).and_then(|token| tokens::word(&token.token));
    let adds = |at: usize| {
        let exists = ["if", "not", "exists"].iter().enumerate().all(|(n, w)| word(at + 1 + n).as_deref() == Some(*w));
        word(at).as_deref() == Some("add") && word(at + if exists { 4 } else { 1 }).as_deref() == Some("partition")
    };
    // Behind a name of at most three parts.
    (3..8).any(adds)
}

/// `ALTER TABLE s.t ADD [IF NOT EXISTS] PARTITION (p=v, ...) LOCATION 's3://b/f/' [PARTITION ...]`.
pub(super) fn partitions(mut parser: Parser<'_>) -> Result<Plan, SqlError> {
    words(&mut parser, &["alter", "table"])?;
    let table = qualified(&mut parser)?;
    tokens::expect(&mut parser, "add")?;
    let if_not_exists = if_not_exists(&mut parser)?;
    let mut partitions = Vec::new();
    while tokens::accept(&mut parser, "partition") {
        let mut values = Vec::new();
        listed(&mut parser, |parser| {
            let name = names::checked(&parser.parse_identifier().map_err(syntax)?)?;
            if !parser.consume_token(&Token::Eq) {
                return Err(near(parser));
            }
            values.push((name, value(parser)?));
            Ok(())
        })?;
        partitions.push(Partition { values, location: location(&mut parser)? });
    }
    tokens::end(&mut parser)?;
    match partitions.len() {
        0 => Err(SqlError::new("syntax error: expected PARTITION")),
        1..=PARTITIONS_MAX => Ok(Plan::AddPartitions { table, if_not_exists, partitions }),
        _ => Err(SqlError(format!("one statement adds at most {PARTITIONS_MAX} partitions"))),
    }
}

/// A value is a part of a folder's name here.
fn value(parser: &mut Parser<'_>) -> Result<String, SqlError> {
    let text = match parser.next_token().token {
        Token::Number(digits, false) => digits,
        Token::SingleQuotedString(text) => text,
        token => return Err(SqlError(format!("syntax error at or near \"{token}\": expected a value"))),
    };
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    {
        return Err(SqlError(format!("partition value {text:?} has other characters than letters, digits, - and _")));
    }
    Ok(text)
}

fn qualified(parser: &mut Parser<'_>) -> Result<TableName, SqlError> {
    let name = TableName::of(&parser.parse_object_name(false).map_err(syntax)?)?;
    match name.schema {
        Some(_) => Ok(name),
        None => Err(SqlError(format!("external table \"{}\" must be qualified by an external schema", name.name))),
    }
}

fn columns(parser: &mut Parser<'_>) -> Result<Vec<ExternalColumn>, SqlError> {
    let mut columns = Vec::new();
    listed(parser, |parser| {
        let name = names::checked(&parser.parse_identifier().map_err(syntax)?)?;
        let ty = Type::of(&parser.parse_data_type().map_err(syntax)?)?;
        columns.push(ExternalColumn { name, ty });
        Ok(())
    })?;
    Ok(columns)
}

/// Things between parentheses and commas.
fn listed<'a>(
    parser: &mut Parser<'a>,
    mut one: impl FnMut(&mut Parser<'a>) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    if !parser.consume_token(&Token::LParen) {
        return Err(near(parser));
    }
    loop {
        one(parser)?;
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    if parser.consume_token(&Token::RParen) { Ok(()) } else { Err(near(parser)) }
}

fn location(parser: &mut Parser<'_>) -> Result<String, SqlError> {
    tokens::expect(parser, "location")?;
    let url = tokens::literal(parser)?;
    if !url.starts_with("s3://") {
        return Err(SqlError::new("LOCATION must be s3://bucket/folder/"));
    }
    Ok(if url.ends_with('/') { url } else { format!("{url}/") })
}

fn if_not_exists(parser: &mut Parser<'_>) -> Result<bool, SqlError> {
    let is = tokens::accept(parser, "if");
    if is {
        words(parser, &["not", "exists"])?;
    }
    Ok(is)
}

fn words(parser: &mut Parser<'_>, wanted: &[&str]) -> Result<(), SqlError> {
    wanted.iter().try_for_each(|word| tokens::expect(parser, word))
}

fn near(parser: &Parser<'_>) -> SqlError {
    SqlError(format!("syntax error at or near \"{}\"", parser.peek_token().token))
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
