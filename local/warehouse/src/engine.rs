//! DuckDB: the file, its settings, and the views that stand for Redshift's catalog.
//!
//! **Owns** the database file and the folder through which objects are read.
//! **Promises** that DuckDB reads no file but its own and links in that folder, loads no extension, and keeps to the
//! memory and the threads it was given; that a committed change is there after `kill -9`.
//! **Fails** at opening, with what holds the file.
//! **Not here**: statements of clients.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use duckdb::{Config, Connection};

use crate::WarehouseOptions;
use crate::dialect::{CATALOG, literal};
use crate::error::{SqlError, WarehouseError};
use crate::session;

/// What is spilled to disk by all statements together.
const SPILL_MAX: &str = "8GB";
/// A format that DuckDB has read since that version, so that an older client opens the file too.
const STORAGE_VERSION: &str = "v1.2.0";

/// The open database.
pub(crate) struct Engine {
    /// What all sessions are cloned from; `None` once closed.
    main: Mutex<Option<Connection>>,
    links: PathBuf,
    /// Whether there may be external tables: whoever has none pays nothing for them.
    external: AtomicBool,
    linking: Mutex<()>,
}

impl Engine {
    /// Opens the file of the options, or another database instead of it, with these settings of DuckDB's.
    pub(crate) fn open(
        options: &WarehouseOptions,
        database: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Engine, WarehouseError> {
        let links = options.path.with_extension("links");
        let folder = |source| WarehouseError::Folder { path: links.clone(), source };
        // Links that a killed process left behind.
        if links.exists() {
            std::fs::remove_dir_all(&links).map_err(folder)?;
        }
        std::fs::create_dir_all(&links).map_err(folder)?;
        let links = std::fs::canonicalize(&links).map_err(folder)?;
        let failed = |error: duckdb::Error| WarehouseError::Open {
            path: options.path.clone(),
            detail: error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let connection = connect(options, (database, settings), &links).map_err(failed)?;
        let external = session::restore_external(&connection, &links)
            .map_err(|error| WarehouseError::Open { path: options.path.clone(), detail: error.to_string() })?;
        Ok(Engine {
            main: Mutex::new(Some(connection)),
            links,
            external: AtomicBool::new(external),
            linking: Mutex::new(()),
        })
    }

    /// A session of its own: temporary tables are seen by it alone.
    pub(crate) fn session(&self) -> Result<Connection, SqlError> {
        match &*self.main() {
            Some(main) => Ok(main.try_clone()?),
            None => Err(SqlError::new("the warehouse has stopped")),
        }
    }

    /// Where links to objects lie while COPY reads them, and those of external tables.
    pub(crate) fn links(&self) -> &Path {
        &self.links
    }

    /// There is an external table from now on.
    pub(crate) fn has_external(&self) {
        self.external.store(true, Ordering::SeqCst);
    }

    /// Whether there may be one.
    pub(crate) fn may_be_external(&self) -> bool {
        self.external.load(Ordering::SeqCst)
    }

    /// Held by whoever changes links that others read.
    pub(crate) fn linking(&self) -> MutexGuard<'_, ()> {
        self.linking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything into the file, so that any client of DuckDB can open it. The first call does it.
    pub(crate) fn close(&self) {
        let Some(main) = self.main().take() else { return };
        if let Err(error) = main.execute_batch("FORCE CHECKPOINT") {
            tracing::warn!(%error, "the warehouse keeps its log for the next start");
        }
        if let Err((_, error)) = main.close() {
            tracing::warn!(%error, "the warehouse did not close cleanly");
        }
    }

    fn main(&self) -> MutexGuard<'_, Option<Connection>> {
        self.main.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(
    options: &WarehouseOptions,
    (database, settings): (&Path, &[(&str, &str)]),
    links: &Path,
) -> duckdb::Result<Connection> {
    let config = Config::default()
        .with("storage_compatibility_version", STORAGE_VERSION)?
        .with("autoinstall_known_extensions", "false")?
        .with("autoload_known_extensions", "false")?
        .max_memory(&format!("{}MiB", options.memory_mib))?
        .threads(options.threads as i64)?;
    let config = settings.iter().try_fold(config, |config, (name, value)| config.with(name, value))?;
    let connection = Connection::open_with_flags(database, config)?;
    let folder = literal(&format!("{}/", links.display()));
    connection.execute_batch(&format!(
        "SET GLOBAL preserve_insertion_order = false;
         SET GLOBAL integer_division = true;
         SET GLOBAL default_null_order = 'nulls_last_on_asc_first_on_desc';
         SET GLOBAL max_temp_directory_size = '{SPILL_MAX}';
         SET GLOBAL allowed_directories = [{folder}];
         SET GLOBAL enable_external_access = false;
         SET GLOBAL lock_configuration = true;"
    ))?;
    connection.execute_batch(&catalog())?;
    connection.execute_batch(&session::external_catalog())?;
    Ok(connection)
}

/// Our notes about columns, and the views over them. Views are made anew at every start: a later version may differ.
fn catalog() -> String {
    let shown = |column: &str| format!("CASE {column} WHEN 'main' THEN 'public' ELSE {column} END");
    let of_clients = "database_name = current_database() AND NOT internal";
    format!(
        "CREATE SCHEMA IF NOT EXISTS {CATALOG};
         CREATE TABLE IF NOT EXISTS {CATALOG}.texts (
             schema_name VARCHAR NOT NULL, table_name VARCHAR NOT NULL, column_name VARCHAR NOT NULL,
             type_name VARCHAR NOT NULL, n_bytes_max INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS {CATALOG}.pinned (
             schema_name VARCHAR NOT NULL, table_name VARCHAR NOT NULL, column_name VARCHAR NOT NULL,
             why VARCHAR NOT NULL);
         CREATE OR REPLACE VIEW {CATALOG}.columns AS
             SELECT 'warehouse' AS table_catalog, {schema} AS table_schema, c.table_name, c.column_name,
                    c.column_index AS ordinal_position, c.column_default,
                    CASE WHEN c.is_nullable THEN 'YES' ELSE 'NO' END AS is_nullable,
                    CASE WHEN t.type_name IS NOT NULL THEN t.type_name
                         WHEN c.data_type = 'VARCHAR' THEN 'character varying'
                         WHEN c.data_type = 'TIMESTAMP' THEN 'timestamp without time zone'
                         WHEN c.data_type = 'FLOAT' THEN 'real'
                         WHEN c.data_type = 'DOUBLE' THEN 'double precision'
                         WHEN c.data_type = 'JSON' THEN 'super'
                         WHEN c.data_type LIKE 'DECIMAL%' OR c.data_type = 'HUGEINT' THEN 'numeric'
                         ELSE lower(c.data_type) END AS data_type,
                    t.n_bytes_max AS character_maximum_length, c.numeric_precision, c.numeric_scale,
                    c.comment AS remarks
             FROM duckdb_columns() c
             LEFT JOIN {CATALOG}.texts t
               ON (t.schema_name, t.table_name, t.column_name) = (c.schema_name, c.table_name, c.column_name)
             WHERE c.{of_clients} AND c.schema_name <> '{CATALOG}';
         CREATE OR REPLACE VIEW {CATALOG}.tables AS
             SELECT 'warehouse' AS table_catalog, {bare} AS table_schema, table_name, 'BASE TABLE' AS table_type,
                    comment AS remarks
             FROM duckdb_tables() WHERE {of_clients} AND schema_name <> '{CATALOG}'
             UNION ALL
             SELECT 'warehouse', {bare}, view_name, 'VIEW', comment
             FROM duckdb_views() WHERE {of_clients} AND schema_name <> '{CATALOG}';
         CREATE OR REPLACE VIEW {CATALOG}.schemata AS
             SELECT 'warehouse' AS catalog_name, {bare} AS schema_name
             FROM duckdb_schemas() WHERE database_name = current_database()
               AND (NOT internal OR schema_name = 'main') AND schema_name <> '{CATALOG}';
         CREATE OR REPLACE VIEW {CATALOG}.svv_table_info AS
             SELECT 'warehouse' AS \"database\", {bare} AS \"schema\", table_oid AS table_id, table_name AS \"table\",
                    'N' AS encoded, 'AUTO(ALL)' AS diststyle, estimated_size AS tbl_rows,
                    estimated_size AS estimated_visible_rows
             FROM duckdb_tables() WHERE {of_clients} AND schema_name <> '{CATALOG}';
         CREATE OR REPLACE VIEW {CATALOG}.pg_table_def AS
             SELECT table_schema AS schemaname, table_name AS tablename, column_name AS \"column\",
                    CASE WHEN character_maximum_length IS NULL THEN data_type
                         ELSE data_type || '(' || character_maximum_length || ')' END AS \"type\",
                    'none' AS \"encoding\", false AS distkey, 0 AS sortkey, is_nullable = 'NO' AS \"notnull\"
             FROM {CATALOG}.columns;",
        schema = shown("c.schema_name"),
        bare = shown("schema_name"),
    )
}
