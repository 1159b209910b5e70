//! What the statements of every transaction have in common: the guard, the staging table, the service's limits.
//!
//! **Promises** no write passes the guard twice (CLEAN-ONCE); what the service would refuse for its length is refused
//! before it is sent.
//! **Not here**: which tables are written, and from what (`load.rs`, `describe.rs`).

use super::literal::{self, Unquotable};
use super::service::{BATCH_STATEMENTS_MAX, STATEMENT_BYTES_MAX};
use super::tables::Column;

/// One row if the load is new, else none: what every write is joined with.
pub(super) const GUARD: &str = "\"load_guard\"";

/// A load cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// A name or value cannot be quoted.
    #[error(transparent)]
    Unquotable(#[from] Unquotable),
    /// A statement would be longer than the service takes.
    #[error(
        "a statement of {bytes} bytes, more than the {STATEMENT_BYTES_MAX} that the service takes: load fewer epochs at once (warehouse.epochs_max)"
    )]
    Statement {
        /// Its length.
        bytes: usize,
    },
}

/// A temporary table with exactly the columns of the files, and the files of a manifest in it: COPY takes columns by
/// place. A manifest is a bucket and a key; it is read by a role, in a format.
pub(super) fn stage(
    stage: &str,
    columns: &[Column],
    (bucket, key): (&str, &str),
    (iam_role, format): (&str, &str),
    sql: &mut Vec<String>,
) -> Result<(), Unquotable> {
    let column = |column: &Column| Ok(format!("{} {}", literal::identifier(&column.name)?, column.kind.sql()));
    let columns: Vec<String> = columns.iter().map(column).collect::<Result<_, Unquotable>>()?;
    sql.push(format!("CREATE TEMP TABLE {stage} ({})", columns.join(", ")));
    let from = literal::plain_text(&format!("s3://{bucket}/{key}"))?;
    let role = literal::role(iam_role)?;
    sql.push(format!("COPY {stage} FROM {from} IAM_ROLE {role} FORMAT AS {format} MANIFEST"));
    Ok(())
}

/// The columns' names, each with a prefix.
pub(super) fn list(prefix: &str, columns: &[Column]) -> Result<String, Unquotable> {
    let column = |column: &Column| Ok(format!("{prefix}{}", literal::identifier(&column.name)?));
    let columns: Vec<String> = columns.iter().map(column).collect::<Result<_, Unquotable>>()?;
    Ok(columns.join(", "))
}

/// The statements, if the service takes them all.
pub(super) fn checked(sql: Vec<String>) -> Result<Vec<String>, TooMuch> {
    assert!(sql.len() <= BATCH_STATEMENTS_MAX, "a load has at most 39 statements, whatever is in it");
    match sql.iter().map(String::len).max() {
        Some(bytes) if bytes > STATEMENT_BYTES_MAX => Err(TooMuch::Statement { bytes }),
        _ => Ok(sql),
    }
}
