//! What existing tables lack, and what in them cannot be kept.
//!
//! **Promises** every change only adds: a table, a column that may be empty, room in a text column. What would lose or
//! change data is refused, with what to do, and so is room in a column of a key, which Redshift never alters. Applied twice,
//! the second time finds nothing to do.
//! **Not here**: applying.

use std::collections::BTreeMap;

use super::literal::{self, Unquotable};
use super::service::Cell;
use super::sql::tables as sql;
use super::star::{self, StarSchema};
use super::tables::{Kind, Table, TableColumn, qualified};

/// A column as the warehouse has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundColumn {
    /// Its type, as the warehouse writes it.
    pub type_name: String,
    /// The bytes that a text may have, if the warehouse says so.
    pub bytes: Option<u32>,
    /// Whether every row must have a value.
    pub required: bool,
    /// Whether it has a default.
    pub has_default: bool,
}

/// The tables as the warehouse has them, by table and column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualTables(pub BTreeMap<String, BTreeMap<String, FoundColumn>>);

/// Existing tables do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// Changes that would lose or change data.
    #[error("the warehouse's tables do not fit the event schema:\n  {}", .0.join("\n  "))]
    Incompatible(Vec<String>),
    /// A name cannot be quoted.
    #[error(transparent)]
    Unquotable(#[from] Unquotable),
}

/// Asks for the columns of every table in the warehouse's schema.
pub fn columns_query(star: &StarSchema) -> Result<String, Unquotable> {
    Ok(sql::Columns { namespace: literal::text(&star.namespace)? }.sql().sent())
}

/// Reads [`columns_query`]'s answer.
pub fn found(rows: &[Vec<Cell>]) -> ActualTables {
    let mut found = ActualTables::default();
    for row in rows {
        let [table, column, type_name, bytes, nullable, default] = row.as_slice() else { continue };
        let (Some(table), Some(column), Some(type_name)) = (table.as_str(), column.as_str(), type_name.as_str()) else {
            continue;
        };
        let column_found = FoundColumn {
            type_name: type_name.to_lowercase(),
            bytes: bytes.as_i64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
            required: nullable.as_str() == Some("NO"),
            has_default: *default != Cell::Null,
        };
        found.0.entry(table.to_owned()).or_default().insert(column.to_owned(), column_found);
    }
    found
}

/// The statements that bring the tables up to the star, in order. Each stands for itself: Redshift widens no column
/// inside a transaction.
pub fn changes(star: &StarSchema, found: &ActualTables) -> Result<Vec<String>, DiffError> {
    let (mut statements, mut problems) = (Vec::new(), Vec::new());
    for table in &star.tables {
        match found.0.get(table.name) {
            None => {
                statements.push(table.create(&star.namespace)?);
                statements.extend(table.comments(&star.namespace)?);
            }
            Some(columns) => {
                if table.name == star::SENSORS && !columns.contains_key(star::SOURCE) {
                    statements.push(kept(star, (star::SENSORS, star::SAID), columns)?);
                }
                let parts = [(star::HOURLY, star::HOURLY_PARTS), (star::DAILY, star::DAILY_PARTS)];
                if let Some(parts) = parts.into_iter().find(|(windows, _)| table.name == *windows)
                    && !columns.contains_key(star::SHARDS)
                {
                    statements.push(kept(star, parts, columns)?);
                }
                table_changes(star, table, columns, &mut statements, &mut problems)?;
            }
        }
    }
    if problems.is_empty() { Ok(statements) } else { Err(DiffError::Incompatible(problems)) }
}

/// The statement that remembers a change.
pub fn record(star: &StarSchema, statement: &str) -> Result<String, Unquotable> {
    let (fingerprint, statement) = (literal::text(&star.fingerprint)?, literal::text(statement)?);
    Ok(sql::Record { schema: star.schema()?, fingerprint, statement }.sql().sent())
}

fn table_changes(
    star: &StarSchema,
    table: &Table,
    found: &BTreeMap<String, FoundColumn>,
    statements: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Result<(), Unquotable> {
    let at = qualified(&star.namespace, table.name)?;
    for column in &table.columns {
        let name = literal::identifier(&column.name)?;
        let Some(known) = found.get(&column.name) else {
            let kind = literal::kind(column.kind);
            statements.push(sql::AddColumn { table: at.clone(), name, kind }.sql().sent());
            continue;
        };
        match fit(column, known) {
            Fit::Same => {}
            Fit::Widen(_) if table.is_key(&column.name) => problems.push(narrow_key(star, table, column, found)?),
            Fit::Widen(bytes) => {
                let kind = literal::kind(Kind::Text(bytes));
                statements.push(sql::Widen { table: at.clone(), name, kind }.sql().sent());
            }
            Fit::Not => problems.push(format!(
                "{}.{}.{} is {} and would have to be {}: rename the field in the event schema, or load into another \
                 schema (warehouse.schema)",
                star.namespace,
                table.name,
                column.name,
                known.type_name,
                column.kind.sql()
            )),
        }
    }
    // A column of somebody else's is left alone, as long as a row can do without it.
    let needed = |(name, column): &(&String, &FoundColumn)| {
        table.column(name).is_none() && column.required && !column.has_default
    };
    for (name, _) in found.iter().filter(needed) {
        problems.push(format!(
            "{}.{}.{name} needs a value in every row, and the event schema has no such field any more: give the column \
             a default or drop it, or load into another schema (warehouse.schema)",
            star.namespace, table.name
        ));
    }
    Ok(())
}

/// A table from before keys were as wide as they can be: it has to be made anew, by forms that Redshift documents.
fn narrow_key(
    star: &StarSchema,
    table: &Table,
    column: &TableColumn,
    found: &BTreeMap<String, FoundColumn>,
) -> Result<String, Unquotable> {
    let has = found.get(&column.name).and_then(|known| known.bytes).unwrap_or(0);
    let needs = column.needs.unwrap_or(0);
    let (at, old) = (qualified(&star.namespace, table.name)?, format!("{}_old", table.name));
    let old = qualified(&star.namespace, &old)?;
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let columns: Vec<&str> = columns.into_iter().filter(|name| found.contains_key(*name)).collect();
    let columns = super::tables::names(&columns)?;
    Ok(format!(
        "{}.{}.{} holds {has} bytes and would have to hold {needs}, and Redshift alters no column of a key. Make the table \
         anew while no worker loads, and give its grants again: CREATE TABLE {old} AS SELECT * FROM {at}; DROP TABLE {at}; \
         then what `mangrove ddl` says of {at}; INSERT INTO {at} ({columns}) SELECT {columns} FROM {old}; DROP TABLE {old}. \
         Or load into another schema (warehouse.schema)",
        star.namespace, table.name, column.name
    ))
}

/// A warehouse from before the table that another is made of has its rows in that other one alone. They are copied
/// before the column is added by which the latter is known to be new, and so again until that is there.
fn kept(
    star: &StarSchema,
    (table, source): (&str, &str),
    found: &BTreeMap<String, FoundColumn>,
) -> Result<String, Unquotable> {
    let columns = star.table(source).columns.iter().filter(|column| found.contains_key(&column.name));
    let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
    let (columns, table, source) = (super::tables::names(&columns)?, star.at(table)?, star.at(source)?);
    Ok(sql::Keep { source, columns, table }.sql().sent())
}

enum Fit {
    Same,
    Widen(u32),
    Not,
}

fn fit(column: &TableColumn, known: &FoundColumn) -> Fit {
    let bare = known.type_name.split('(').next().unwrap_or_default().trim();
    let names: &[&str] = match column.kind {
        Kind::Text(_) => &["character varying", "varchar", "text"],
        Kind::Timestamp => &["timestamp without time zone", "timestamp"],
        Kind::BigInt => &["bigint", "int8"],
        Kind::Integer => &["integer", "int4", "int"],
        Kind::Real => &["real", "float4", "float"],
        Kind::Double => &["double precision", "float8", "double"],
        Kind::Boolean => &["boolean", "bool"],
    };
    match (column.kind, known.bytes) {
        _ if !names.contains(&bare) => Fit::Not,
        (Kind::Text(bytes), Some(room)) if room < column.needs.unwrap_or(bytes) => {
            Fit::Widen(column.needs.unwrap_or(bytes))
        }
        _ => Fit::Same,
    }
}
