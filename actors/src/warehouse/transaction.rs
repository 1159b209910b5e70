//! What the statements of every transaction have in common: staging tables, COPY, the service's limits.
//!
//! **Promises** what the service would refuse for its length is refused before it is sent.
//! **Not here**: which tables are written, and from what (`load.rs`, `describe.rs`).

use super::literal::{self, Sql, Unquotable};
use super::service::{BATCH_STATEMENTS_MAX, STATEMENT_BYTES_MAX};
use super::sql::transaction::{Copy, Lock, Stage, StageBySensor, StageColumn};
use super::star::StarSchema;
use super::tables::TableColumn;
use crate::lake::columns as zone;

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

/// A manifest that is copied: its bucket and key, the role by which it is read, and its format.
pub(super) struct CopySource<'a> {
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) iam_role: &'a str,
    pub(super) format: Sql,
}

/// The statement that makes transactions of the loader run one after the other.
pub(crate) fn lock(star: &StarSchema) -> Result<String, Unquotable> {
    Ok(Lock { schema: star.schema()? }.sql().sent())
}

/// A temporary table with these columns.
pub(super) fn stage(stage: &Sql, columns: &[TableColumn]) -> Result<Sql, Unquotable> {
    let by_sensor = columns.iter().any(|column| column.name == zone::SENSOR_ID);
    let column = |column: &TableColumn| {
        Ok(StageColumn { name: literal::identifier(&column.name)?, kind: literal::kind(column.kind) }.sql())
    };
    let columns = columns.iter().map(column).collect::<Result<_, Unquotable>>()?;
    let (stage, columns) = (stage.clone(), Sql::list(columns));
    Ok(if by_sensor { StageBySensor { stage, columns }.sql() } else { Stage { stage, columns }.sql() })
}

/// The files of a manifest in it.
pub(super) fn copy(stage: &Sql, source: CopySource<'_>) -> Result<Sql, Unquotable> {
    let from = literal::plain_text(&format!("s3://{}/{}", source.bucket, source.key))?;
    let role = literal::role(source.iam_role)?;
    Ok(Copy { stage: stage.clone(), from, role, format: source.format }.sql())
}

/// The statements, if the service takes them all.
pub(super) fn checked(sql: &[Sql]) -> Result<Vec<String>, TooMuch> {
    let sql: Vec<String> = sql.iter().map(Sql::sent).collect();
    assert!(sql.len() <= BATCH_STATEMENTS_MAX, "a load has at most 39 statements, whatever is in it");
    match sql.iter().map(String::len).max() {
        Some(bytes) if bytes > STATEMENT_BYTES_MAX => Err(TooMuch::Statement { bytes }),
        _ => Ok(sql),
    }
}
