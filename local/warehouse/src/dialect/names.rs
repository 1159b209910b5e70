//! Names and literals: the only two places where a client's text is written into SQL for DuckDB.

use std::fmt;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use crate::error::SqlError;

/// The schema of our own notes about tables. Clients see it through the views that Redshift has too.
pub(crate) const CATALOG: &str = "redshift_catalog";
/// What a schema is called here when a client says `public`, and back.
const PUBLIC: (&str, &str) = ("public", "main");
const NAME_BYTES_MAX: usize = 127;

/// Schemas of DuckDB's own, and ours.
const HIDDEN_SCHEMAS: [&str; 6] = ["main", "temp", "system", "pg_catalog", "information_schema", CATALOG];
/// Relations that DuckDB has in every search path.
const HIDDEN_PREFIXES: [&str; 3] = ["duckdb_", "pragma_", "sqlite_"];

/// The relations of Redshift's catalog that are here, as the views of [`CATALOG`].
const VIEWS: [(&str, &str, &str); 12] = [
    ("information_schema", "columns", "columns"),
    ("information_schema", "tables", "tables"),
    ("information_schema", "schemata", "schemata"),
    ("pg_catalog", "svv_table_info", "svv_table_info"),
    ("pg_catalog", "svv_columns", "columns"),
    ("pg_catalog", "svv_tables", "tables"),
    ("pg_catalog", "pg_table_def", "pg_table_def"),
    ("pg_catalog", "svv_all_schemas", "svv_all_schemas"),
    ("pg_catalog", "svv_external_schemas", "svv_external_schemas"),
    ("pg_catalog", "svv_external_tables", "svv_external_tables"),
    ("pg_catalog", "svv_external_columns", "svv_external_columns"),
    ("pg_catalog", "svv_external_partitions", "svv_external_partitions"),
];

/// A table or view as a client names it, in lower case; without a schema it is a temporary one or one of `public`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
}

impl TableName {
    /// Reads a name that a statement creates, changes or locks.
    pub(super) fn of(name: &ObjectName) -> Result<TableName, SqlError> {
        match name.0.as_slice() {
            [name] => Ok(TableName { schema: None, name: relation(part(name)?)? }),
            [schema, name] => {
                Ok(TableName { schema: Some(self::schema(part(schema)?)?), name: relation(part(name)?)? })
            }
            _ => Err(cross_database(name)),
        }
    }

    /// The schema as the catalog has it.
    pub(crate) fn schema_or_default(&self) -> &str {
        self.schema.as_deref().unwrap_or(PUBLIC.1)
    }

    /// As a client would write it.
    pub(crate) fn shown(&self) -> String {
        match self.schema.as_deref() {
            None => self.name.clone(),
            Some(schema) if schema == PUBLIC.1 => format!("{}.{}", PUBLIC.0, self.name),
            Some(schema) => format!("{schema}.{}", self.name),
        }
    }
}

/// As DuckDB reads it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted(schema))?;
        }
        f.write_str(&quoted(&self.name))
    }
}

/// A schema's name for DuckDB.
pub(super) fn schema(ident: &Ident) -> Result<String, SqlError> {
    let name = checked(ident)?;
    if HIDDEN_SCHEMAS.contains(&name.as_str()) {
        return Err(SqlError(format!("schema \"{name}\" does not exist")));
    }
    Ok(if name == PUBLIC.0 { PUBLIC.1.to_owned() } else { name })
}

fn relation(ident: &Ident) -> Result<String, SqlError> {
    let name = checked(ident)?;
    // A name like a path would make DuckDB look for a file.
    let hidden = HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.contains(['/', '.', ':', '*']);
    if hidden {
        return Err(SqlError(format!("relation \"{name}\" does not exist")));
    }
    Ok(name)
}

/// The relation that a query reads, as DuckDB has it.
pub(super) fn resolve(name: &mut ObjectName) -> Result<(), SqlError> {
    let (schema, relation_name) = match name.0.as_slice() {
        [name] => (None, checked(part(name)?)?),
        [schema, name] => (Some(checked(part(schema)?)?), checked(part(name)?)?),
        _ => return Err(cross_database(name)),
    };
    let of = schema.as_deref().unwrap_or("pg_catalog");
    let view = VIEWS.iter().find(|(schema, name, _)| (*schema, *name) == (of, relation_name.as_str()));
    if let Some((_, _, view)) = view {
        *name = object(&[CATALOG, view]);
        return Ok(());
    }
    let resolved = TableName::of(name)?;
    *name = match &resolved.schema {
        Some(schema) => object(&[schema, &resolved.name]),
        None => object(&[&resolved.name]),
    };
    Ok(())
}

fn object(parts: &[&str]) -> ObjectName {
    ObjectName(parts.iter().map(|part| ObjectNamePart::Identifier(Ident::with_quote('"', *part))).collect())
}

pub(super) fn part(part: &ObjectNamePart) -> Result<&Ident, SqlError> {
    match part {
        ObjectNamePart::Identifier(ident) => Ok(ident),
        ObjectNamePart::Function(_) => Err(SqlError::unsupported("a function in a name")),
    }
}

/// The one column that is named.
pub(super) fn column(name: &ObjectName) -> Result<String, SqlError> {
    match name.0.as_slice() {
        [name] => checked(part(name)?),
        _ => Err(SqlError(format!("column \"{name}\" must be named without its table"))),
    }
}

fn cross_database(name: &ObjectName) -> SqlError {
    SqlError(format!("cross-database references are not supported: {name}"))
}

/// A name in lower case, as Redshift stores it. What the printer of the parser could write in two ways is refused.
pub(super) fn checked(ident: &Ident) -> Result<String, SqlError> {
    let name = ident.value.to_lowercase();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(SqlError(format!("identifier \"{name}\" must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    if name.contains(['"', '\\']) || name.chars().any(char::is_control) {
        return Err(SqlError(format!("identifier {name:?} has a quote, a backslash or a control character")));
    }
    Ok(name)
}

/// A name in double quotes. It was checked, or is one of ours.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal as DuckDB reads it: there only a quote is special, and a backslash is not.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
