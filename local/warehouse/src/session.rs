//! One batch: a session of DuckDB, a transaction, and what only this batch sees.
//!
//! **Owns** the transaction and the locks of a batch; temporary tables end with it.
//! **Promises** that all statements apply or none; that the snapshot is taken by the first statement that is no LOCK,
//! so that whoever waited for a lock sees what its holder left.
//! **Fails** by rolling back.
//! **Not here**: which batch runs when (`statements`).

mod change;
mod define;
mod external;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use duckdb::Connection;

use crate::Shared;
use crate::copy;
use crate::dialect::{self, CATALOG, Plan, TableName, quoted};
use crate::error::SqlError;
use crate::locks::Held;
use crate::results::ResultSet;
use crate::statements::Cancel;

pub(crate) use external::{catalog as external_catalog, restore as restore_external};

/// What a statement did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Rows returned or changed.
    pub(crate) n_rows: u64,
    pub(crate) result: Option<ResultSet>,
}

/// How long a text in a column may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextLimit {
    pub(crate) column: String,
    pub(crate) type_name: String,
    pub(crate) n_bytes_max: u32,
}

/// A column as DuckDB has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredColumn {
    pub(crate) name: String,
    pub(crate) duck: String,
    pub(crate) not_null: bool,
}

/// A batch that runs.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    cancel: Arc<Cancel>,
    // Given back after the transaction has ended: whoever waits must see it whole.
    held: Held,
    began: bool,
    n_statements: usize,
    temporary: HashMap<String, Vec<TextLimit>>,
}

impl Session {
    pub(crate) fn new(shared: &Arc<Shared>, cancel: &Arc<Cancel>, n_statements: usize) -> Result<Session, SqlError> {
        let connection = shared.engine.session()?;
        let held = shared.locks.session();
        let (shared, cancel) = (Arc::clone(shared), Arc::clone(cancel));
        Ok(Session { shared, connection, cancel, held, began: false, n_statements, temporary: HashMap::new() })
    }

    /// Whether the statement can run now. One that cannot is a LOCK, and stands in line from now on.
    pub(crate) fn is_free(&mut self, text: &str) -> bool {
        let is_lock = text.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("lock"));
        match is_lock.then(|| dialect::plan(text)) {
            Some(Ok(Plan::Lock(tables))) => tables.iter().all(|table| self.held.ask(table).unwrap_or(true)),
            // What is wrong with it is told when it runs.
            _ => true,
        }
    }

    /// Runs one statement of the batch.
    pub(crate) fn run(&mut self, text: &str) -> Result<Outcome, SqlError> {
        let fails = self.shared.fails.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(fails) = fails.into_iter().find(|fails| text.contains(&fails.matching)) {
            return Err(SqlError(fails.error));
        }
        let plan = dialect::plan(text)?;
        if self.n_statements > 1
            && let Some(what) = plan.must_be_alone()
        {
            return Err(SqlError(format!("{what} cannot run inside a transaction block")));
        }
        if let Plan::Lock(tables) = plan {
            return self.lock(tables);
        }
        self.begin()?;
        self.look_at_objects(text)?;
        // DuckDB names the links of an external table's objects.
        let links = self.shared.engine.links().display().to_string();
        self.apply(plan).map_err(|error| SqlError(error.0.replace(&links, "s3:/")))
    }

    fn apply(&mut self, plan: Plan) -> Result<Outcome, SqlError> {
        match plan {
            Plan::Query(sql) => self.query(&sql),
            Plan::Insert(insert) => self.insert(&insert),
            Plan::Update(update) => self.update(&update),
            Plan::Delete(sql) => self.change(&sql),
            Plan::Merge(merge) => self.merge(&merge),
            Plan::Copy(copy) => copy::load(self, &copy),
            Plan::Nothing { .. } => Ok(Outcome::default()),
            definition => self.define(definition).map(|()| Outcome::default()),
        }
    }

    /// Makes all of it visible.
    pub(crate) fn commit(&self) -> Result<(), SqlError> {
        if self.began {
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    /// Leaves nothing of it.
    pub(crate) fn roll_back(&self) {
        // What failed may have ended the transaction already.
        if self.began
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::debug!(%error, "nothing to roll back");
        }
    }

    fn begin(&mut self) -> Result<(), SqlError> {
        if !self.began {
            self.connection.execute_batch("BEGIN TRANSACTION")?;
            self.began = true;
        }
        Ok(())
    }

    fn lock(&mut self, tables: Vec<TableName>) -> Result<Outcome, SqlError> {
        for table in tables {
            self.held.take(table.clone(), self.cancel.flag())?;
            if !self.exists(&table)? {
                return Err(SqlError(format!("relation \"{}\" does not exist", table.shown())));
            }
        }
        Ok(Outcome::default())
    }

    fn query(&mut self, sql: &str) -> Result<Outcome, SqlError> {
        let mut statement = self.connection.prepare(sql)?;
        let result = ResultSet::of(&mut statement, self.shared.options.result_mib_max * 1024 * 1024)?;
        Ok(Outcome { n_rows: result.n_rows, result: Some(result) })
    }

    /// Runs SQL that changes rows.
    pub(crate) fn change(&self, sql: &str) -> Result<Outcome, SqlError> {
        let n_rows = self.connection.execute(sql, [])?;
        Ok(Outcome { n_rows: n_rows as u64, result: None })
    }

    pub(crate) fn exists(&self, table: &TableName) -> Result<bool, SqlError> {
        if table.schema.is_none() && self.temporary.contains_key(&table.name) {
            return Ok(true);
        }
        let sql = format!(
            "SELECT count(*) FROM (
                 SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()
                 UNION ALL
                 SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = current_database())
             WHERE {}",
            is_about(table)
        );
        let n: i64 = self.connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(n > 0)
    }

    /// The columns of a table in their order.
    pub(crate) fn columns(&self, table: &TableName) -> Result<Vec<StoredColumn>, SqlError> {
        let sql = format!("SELECT column_name, column_type, \"null\" FROM (DESCRIBE {table})");
        let mut statement = self.connection.prepare(&sql)?;
        let columns = statement.query_map([], |row| {
            let nullable: String = row.get(2)?;
            Ok(StoredColumn { name: row.get(0)?, duck: row.get(1)?, not_null: nullable == "NO" })
        })?;
        Ok(columns.collect::<Result<_, _>>()?)
    }

    /// The named columns, or all of them.
    pub(crate) fn chosen(&self, table: &TableName, names: &[String]) -> Result<Vec<StoredColumn>, SqlError> {
        let all = self.columns(table)?;
        if names.is_empty() {
            return Ok(all);
        }
        let find = |name: &String| match all.iter().find(|column| column.name == *name) {
            Some(column) => Ok(column.clone()),
            None => Err(SqlError(format!("column \"{name}\" of relation \"{}\" does not exist", table.shown()))),
        };
        names.iter().map(find).collect()
    }

    /// How long the texts of a table may be.
    pub(crate) fn limits(&self, table: &TableName) -> Result<Vec<TextLimit>, SqlError> {
        if table.schema.is_none()
            && let Some(limits) = self.temporary.get(&table.name)
        {
            return Ok(limits.clone());
        }
        let sql = format!("SELECT column_name, type_name, n_bytes_max FROM {CATALOG}.texts WHERE {}", is_about(table));
        let mut statement = self.connection.prepare(&sql)?;
        let limits = statement.query_map([], |row| {
            Ok(TextLimit { column: row.get(0)?, type_name: row.get(1)?, n_bytes_max: row.get(2)? })
        })?;
        Ok(limits.collect::<Result<_, _>>()?)
    }
}

/// The condition on the catalog's rows. With values in it: DuckDB plans a statement with parameters twice.
fn is_about(table: &TableName) -> String {
    let (schema, name) = (dialect::literal(table.schema_or_default()), dialect::literal(&table.name));
    format!("schema_name = {schema} AND table_name = {name}")
}

/// An expression that fails when the text is too long for its column.
pub(crate) fn fitting(limits: &[TextLimit], column: &str, expr: &str) -> String {
    match limits.iter().find(|limit| limit.column == column) {
        None => expr.to_owned(),
        Some(TextLimit { n_bytes_max, type_name, .. }) => {
            let message = format!("value too long for character type: {column} is {type_name}({n_bytes_max})");
            let message = dialect::literal(&message);
            format!(
                "CASE WHEN strlen(CAST(({expr}) AS VARCHAR)) > {n_bytes_max} THEN error({message}) ELSE ({expr}) END"
            )
        }
    }
}

/// Names for the columns of a source, by place: what they are called there may be ambiguous.
pub(crate) fn places(n: usize) -> Vec<String> {
    (0..n).map(|at| format!("c{at}")).collect()
}

/// Quoted names between commas.
pub(crate) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}
