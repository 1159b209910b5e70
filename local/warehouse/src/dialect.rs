//! Redshift's SQL as this warehouse understands it: parsed, judged and written anew for DuckDB.
//!
//! ```text
//! text -> tokens -> tree (sqlparser) -> refusals -> judge and rewrite -> Plan -> session
//! ```
//!
//! **Owns** what is allowed: forms, functions, types and names that are not listed are refused.
//! **Promises** that no text of a client reaches DuckDB: every identifier is quoted anew, every literal written anew,
//! and every function is one of a list; so no statement can name a file, a setting or a function of DuckDB's.
//! **Fails** with Redshift's words where clients decide by them.
//! **Not here**: anything that needs the catalog (`session`).

mod alter;
mod copy;
mod create;
mod dml;
mod external;
mod functions;
mod judge;
mod names;
mod plan;
mod refusals;
mod rewrite;
mod small;
mod tokens;
mod types;

#[cfg(test)]
mod tests;

use sqlparser::ast::Statement;
use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, TokenWithSpan};

use crate::error::SqlError;

pub(crate) use names::{CATALOG, TableName, literal, quoted};
pub(crate) use plan::{
    Column, Comment, Commented, Copy, CopyFormat, CreateExternal, CreateTable, Insert, Merge, Partition, Plan, Shape,
    TimeFormat, Update,
};
pub(crate) use refusals::Rule;
pub(crate) use types::Type;

/// Nesting of a statement. Each level costs stack; Redshift's own planner gives up much earlier on real queries.
const DEPTH_MAX: usize = 60;

/// What a statement asks for.
pub(crate) fn plan(text: &str) -> Result<Plan, SqlError> {
    let mut tokens = tokens::read(text)?;
    let words = tokens::first_words(&tokens);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["copy", ..] => copy::plan(parser(tokens)),
        ["comment", ..] => small::comment(parser(tokens)),
        ["create", "external", "schema", ..] => external::schema(parser(tokens)),
        ["create", "external", ..] => external::table(parser(tokens)),
        ["alter", "table", ..] if external::adds_partitions(&tokens) => external::partitions(parser(tokens)),
        ["create", ..] | ["alter", "table", ..] => {
            tokens::drop_storage_hints(&mut tokens)?;
            statement(tokens, &[])
        }
        _ => {
            let approximate = tokens::drop_approximate(&mut tokens);
            statement(tokens, &approximate)
        }
    }
}

fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&RedshiftSqlDialect {}).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens)
}

fn statement(tokens: Vec<TokenWithSpan>, approximate: &[Location]) -> Result<Plan, SqlError> {
    let mut parser = parser(tokens);
    let statement = parser.parse_statement().map_err(syntax)?;
    tokens::end(&mut parser)?;
    refusals::judge(&statement, approximate)?;
    match statement {
        Statement::Query(query) => dml::query(query),
        Statement::Insert(insert) => dml::insert(insert),
        Statement::Update(update) => dml::update(update),
        Statement::Delete(delete) => dml::delete(delete),
        Statement::Merge(merge) => dml::merge(merge),
        Statement::Lock(lock) => small::lock(&lock),
        Statement::Truncate(truncate) => small::truncate(&truncate),
        Statement::CreateTable(create) => create::table(create),
        Statement::CreateView(view) => create::view(view),
        Statement::CreateSchema { schema_name, if_not_exists, .. } => create::schema(&schema_name, if_not_exists),
        Statement::AlterTable(alter) => alter::plan(alter),
        Statement::Drop { object_type, if_exists, names, .. } => small::drop(object_type, if_exists, &names),
        Statement::Analyze { .. } => Ok(Plan::Nothing { alone: false }),
        Statement::Vacuum { .. } => Ok(Plan::Nothing { alone: true }),
        Statement::StartTransaction { .. } | Statement::Commit { .. } | Statement::Rollback { .. } => {
            Err(SqlError::new("Transaction control is not supported: a batch is one transaction"))
        }
        _ => Err(SqlError::unsupported("This statement")),
    }
}

/// What the parser says, without its name.
fn syntax(error: sqlparser::parser::ParserError) -> SqlError {
    use sqlparser::parser::ParserError;
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => SqlError(format!("syntax error: {text}")),
        ParserError::RecursionLimitExceeded => SqlError::new("the statement is nested too deeply"),
    }
}
