//! Why a statement fails, in the words a client of Redshift knows, and why a warehouse does not open.
//!
//! **Owns** the two error types of the crate.
//! **Promises** that a statement's error names the statement's own objects and never a file of this machine.
//! **Fails** never.
//! **Not here**: errors of requests; those are `wire`'s.

use std::path::PathBuf;

/// Why [`Warehouse::open`](crate::Warehouse::open) gave up.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// DuckDB does not open the file: another process holds it, or it is damaged.
    #[error("cannot open the warehouse {}: close what else has it open, or move the file away ({detail})", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What DuckDB said.
        detail: String,
    },
    /// The folder for links to objects cannot be made.
    #[error("cannot use {}: make it a folder this user can write", path.display())]
    Folder {
        /// What could not be used.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for statements: raise the limit of threads of this user")]
    Thread(#[source] std::io::Error),
}

/// Why a statement failed: what DescribeStatement shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERROR: {0}")]
pub(crate) struct SqlError(pub(crate) String);

impl SqlError {
    pub(crate) fn new(message: impl Into<String>) -> SqlError {
        SqlError(message.into())
    }

    /// What Redshift says to a form that this warehouse, or Redshift itself, does not have.
    pub(crate) fn unsupported(what: &str) -> SqlError {
        SqlError(format!("{what} is not supported"))
    }
}

/// What DuckDB says, as Redshift would have said it where clients decide by the words.
impl From<duckdb::Error> for SqlError {
    fn from(error: duckdb::Error) -> SqlError {
        let text = match error {
            duckdb::Error::DuckDBFailure(_, Some(text)) => text,
            other => other.to_string(),
        };
        SqlError(translated(&text))
    }
}

const CONFLICT: &str = "1023 Serializable isolation violation on table";

fn translated(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    let (kind, detail) = text.split_once(": ").unwrap_or(("", text));
    let quoted = || quoted(detail);
    if text.contains("INTERRUPT") {
        return "Query cancelled on user's request".to_owned();
    }
    let conflicts = ["onflict on ", "write-write conflict", "Conflict on"];
    if kind == "TransactionContext Error" && conflicts.iter().any(|part| detail.contains(part)) {
        return format!("{CONFLICT}: concurrent transactions changed the same rows ({detail})");
    }
    if kind == "Catalog Error" && detail.contains("write-write conflict") {
        return format!("{CONFLICT}: concurrent transactions changed the same object ({detail})");
    }
    if let Some(column) = detail.strip_prefix("NOT NULL constraint failed: ") {
        let column = column.rsplit('.').next().unwrap_or(column);
        return format!("Cannot insert a NULL value into column {column}");
    }
    if kind == "Catalog Error" && detail.contains("does not exist") {
        let name = detail.split("with name ").nth(1).and_then(|rest| rest.split(' ').next());
        if let Some(name) = name {
            let name = name.trim_matches('"');
            return match detail.split(' ').next() {
                Some("Table" | "View") => format!("relation \"{name}\" does not exist"),
                Some("Schema") => format!("schema \"{name}\" does not exist"),
                _ => detail.to_owned(),
            };
        }
    }
    if kind == "Catalog Error" && detail.contains("already exists") {
        let name = quoted().unwrap_or_default();
        return format!("Relation \"{name}\" already exists");
    }
    if kind == "Binder Error"
        && detail.starts_with("Referenced column")
        && let Some(name) = quoted()
    {
        return format!("column \"{name}\" does not exist");
    }
    match detail.strip_prefix("error() raised: ") {
        Some(own) => own.to_owned(),
        None => detail.to_owned(),
    }
}

fn quoted(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}
