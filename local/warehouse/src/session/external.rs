//! Tables over files in S3, as Spectrum has them: a view over a folder of links.
//!
//! ```text
//! <links>/<id>/year=2026/month=11/<hash>.parquet  ->  the objects that lie in the partition's folder now
//! ```
//!
//! **Owns** our notes about external schemas, tables and partitions, and the folders.
//! **Promises** that a query sees the objects of every registered partition as they are when it begins, by the names of
//! their columns, and nothing else.
//! **Not here**: formats other than Parquet; INSERT.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use duckdb::{Connection, params};

use super::Session;
use crate::copy::layout;
use crate::dialect::{CATALOG, CreateExternal, Partition, TableName, literal, quoted};
use crate::error::SqlError;
use crate::object::{Object, ObjectSource};

/// Tables of the notes, and the views that clients know them by.
pub(crate) fn catalog() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {CATALOG}.external_schemas (schema_name VARCHAR NOT NULL, database_name VARCHAR NOT NULL);
         CREATE TABLE IF NOT EXISTS {CATALOG}.external_tables (
             id VARCHAR NOT NULL, schema_name VARCHAR NOT NULL, table_name VARCHAR NOT NULL, location VARCHAR NOT NULL);
         CREATE TABLE IF NOT EXISTS {CATALOG}.external_columns (
             id VARCHAR NOT NULL, number INTEGER NOT NULL, part INTEGER NOT NULL, column_name VARCHAR NOT NULL,
             type_name VARCHAR NOT NULL, duck VARCHAR NOT NULL);
         CREATE TABLE IF NOT EXISTS {CATALOG}.external_partitions (
             id VARCHAR NOT NULL, folder VARCHAR NOT NULL, part_values VARCHAR NOT NULL, location VARCHAR NOT NULL);
         CREATE OR REPLACE VIEW {CATALOG}.svv_external_schemas AS
             SELECT schema_name AS schemaname, database_name AS databasename FROM {CATALOG}.external_schemas;
         CREATE OR REPLACE VIEW {CATALOG}.svv_all_schemas AS
             SELECT 'warehouse' AS database_name, schema_name, 'local' AS schema_type FROM {CATALOG}.schemata
             WHERE schema_name NOT IN (SELECT schema_name FROM {CATALOG}.external_schemas)
             UNION ALL
             SELECT 'warehouse', schema_name, 'external' FROM {CATALOG}.external_schemas
             UNION ALL
             -- It shows those of other databases as well.
             SELECT 'another', schema_name, 'local' FROM (VALUES ('mangrove'), ('public')) AS others (schema_name);
         CREATE OR REPLACE VIEW {CATALOG}.svv_external_tables AS
             SELECT schema_name AS schemaname, table_name AS tablename, \"location\" FROM {CATALOG}.external_tables;
         CREATE OR REPLACE VIEW {CATALOG}.svv_external_columns AS
             SELECT t.schema_name AS schemaname, t.table_name AS tablename, c.column_name AS columnname,
                    c.type_name AS external_type, c.number AS columnnum, c.part AS part_key
             FROM {CATALOG}.external_columns c JOIN {CATALOG}.external_tables t ON t.id = c.id;
         CREATE OR REPLACE VIEW {CATALOG}.svv_external_partitions AS
             SELECT t.schema_name AS schemaname, t.table_name AS tablename, p.part_values AS \"values\", p.location
             FROM {CATALOG}.external_partitions p JOIN {CATALOG}.external_tables t ON t.id = p.id;"
    )
}

/// An external table as the notes have it.
struct External {
    id: String,
    name: TableName,
    location: String,
}

/// A column: its name, its type for DuckDB, and whether it is told by the partition.
struct Stored {
    name: String,
    duck: String,
    part: bool,
}

/// Makes the views anew over the folder that this process reads objects through. Returns whether there are any.
pub(crate) fn restore(connection: &Connection, links: &Path) -> Result<bool, SqlError> {
    let tables = tables(connection)?;
    for table in &tables {
        view(connection, links, table)?;
    }
    Ok(!tables.is_empty())
}

impl Session {
    pub(super) fn create_external_schema(
        &mut self,
        name: &str,
        database: &str,
        if_not_exists: bool,
    ) -> Result<(), SqlError> {
        if if_not_exists && self.is_external(name)? {
            return Ok(());
        }
        self.execute(&format!("CREATE SCHEMA {}", quoted(name)))?;
        let sql = format!("INSERT INTO {CATALOG}.external_schemas VALUES (?, ?)");
        self.connection.execute(&sql, params![name, database])?;
        Ok(())
    }

    /// Whether a schema holds external tables, and only those.
    pub(super) fn is_external(&self, schema: &str) -> Result<bool, SqlError> {
        let sql = format!("SELECT count(*) FROM {CATALOG}.external_schemas WHERE schema_name = ?");
        let n: i64 = self.connection.query_row(&sql, params![schema], |row| row.get(0))?;
        Ok(n > 0)
    }

    pub(super) fn create_external(&mut self, create: &CreateExternal) -> Result<(), SqlError> {
        let name = &create.name;
        if !self.is_external(name.schema_or_default())? {
            return Err(SqlError(format!("schema \"{}\" is no external schema", name.schema_or_default())));
        }
        if self.exists(name)? {
            return Err(SqlError(format!("Relation \"{}\" already exists", name.name)));
        }
        let id = format!("{:016x}", rand::random::<u64>());
        let sql = format!("INSERT INTO {CATALOG}.external_tables VALUES (?, ?, ?, ?)");
        self.connection.execute(&sql, params![id, name.schema_or_default(), name.name, create.location])?;
        let sql = format!("INSERT INTO {CATALOG}.external_columns VALUES (?, ?, ?, ?, ?, ?)");
        let columns = create.columns.iter().map(|column| (0, column));
        let parts = (1..).zip(&create.parts);
        for (number, (part, column)) in (1_i32..).zip(columns.chain(parts)) {
            let row = params![id, number, part, column.name, column.ty.name, column.ty.duck];
            self.connection.execute(&sql, row)?;
        }
        let table = External { id, name: name.clone(), location: create.location.clone() };
        view(&self.connection, self.shared.engine.links(), &table)?;
        self.shared.engine.has_external();
        Ok(())
    }

    pub(super) fn add_partitions(
        &mut self,
        name: &TableName,
        if_not_exists: bool,
        partitions: &[Partition],
    ) -> Result<(), SqlError> {
        let table = self.external(name)?;
        let Some(table) = table else {
            return Err(SqlError(format!("external table \"{}\" does not exist", name.shown())));
        };
        let columns = columns(&self.connection, &table.id)?;
        let parts: Vec<&str> = columns.iter().filter(|column| column.part).map(|column| column.name.as_str()).collect();
        let known = folders(&self.connection, &table.id)?;
        let mut known: BTreeSet<String> = known.into_iter().map(|(folder, _)| folder).collect();
        let sql = format!("INSERT INTO {CATALOG}.external_partitions VALUES (?, ?, ?, ?)");
        for partition in partitions {
            let names: Vec<&str> = partition.values.iter().map(|(name, _)| name.as_str()).collect();
            if names != parts {
                return Err(SqlError(format!("partition keys {names:?} do not match the table's, {parts:?}")));
            }
            let pairs = partition.values.iter().map(|(name, value)| format!("{name}={value}"));
            let folder = pairs.collect::<Vec<_>>().join("/");
            if !known.insert(folder.clone()) {
                if if_not_exists {
                    continue;
                }
                return Err(SqlError(format!("Partition already exists: {folder}")));
            }
            let values: Vec<&str> = partition.values.iter().map(|(_, value)| value.as_str()).collect();
            let values = serde_json::to_string(&values).unwrap_or_default();
            self.connection.execute(&sql, params![table.id, folder, values, partition.location])?;
        }
        Ok(())
    }

    /// Drops it if it is an external table; says whether it was one. Its files stay.
    pub(super) fn drop_external(&mut self, name: &TableName) -> Result<bool, SqlError> {
        let Some(table) = self.external(name)? else { return Ok(false) };
        self.execute(&format!("DROP VIEW IF EXISTS {name}"))?;
        for notes in ["external_tables", "external_columns", "external_partitions"] {
            self.connection.execute(&format!("DELETE FROM {CATALOG}.{notes} WHERE id = ?"), params![table.id])?;
        }
        Ok(true)
    }

    pub(super) fn forget_external_schema(&mut self, name: &str) -> Result<(), SqlError> {
        let sql = format!("DELETE FROM {CATALOG}.external_schemas WHERE schema_name = ?");
        self.connection.execute(&sql, params![name])?;
        Ok(())
    }

    /// Links the objects of every external table that a statement may read.
    pub(super) fn look_at_objects(&self, text: &str) -> Result<(), SqlError> {
        if !self.shared.engine.may_be_external() {
            return Ok(());
        }
        let text = text.to_lowercase();
        for table in tables(&self.connection)?.iter().filter(|table| text.contains(&table.name.name)) {
            let _one_at_a_time = self.shared.engine.linking();
            let (columns, objects) = (columns(&self.connection, &table.id)?, self.shared.objects.as_ref());
            let folder = folder(&self.connection, self.shared.engine.links(), &table.id)?;
            if !columns.iter().any(|column| column.part) {
                link(objects, &folder, &table.location)?;
            }
            for (part, location) in folders(&self.connection, &table.id)? {
                link(objects, &folder.join(part), &location)?;
            }
        }
        Ok(())
    }

    fn external(&self, name: &TableName) -> Result<Option<External>, SqlError> {
        Ok(tables(&self.connection)?.into_iter().find(|table| table.name == *name))
    }
}

fn tables(connection: &Connection) -> Result<Vec<External>, SqlError> {
    let mut statement =
        connection.prepare(&format!("SELECT id, schema_name, table_name, location FROM {CATALOG}.external_tables"))?;
    let tables = statement.query_map([], |row| {
        let name = TableName { schema: Some(row.get(1)?), name: row.get(2)? };
        Ok(External { id: row.get(0)?, name, location: row.get(3)? })
    })?;
    Ok(tables.collect::<Result<_, _>>()?)
}

fn columns(connection: &Connection, id: &str) -> Result<Vec<Stored>, SqlError> {
    let sql =
        format!("SELECT column_name, duck, part > 0 FROM {CATALOG}.external_columns WHERE id = ? ORDER BY number");
    let mut statement = connection.prepare(&sql)?;
    let columns = statement
        .query_map(params![id], |row| Ok(Stored { name: row.get(0)?, duck: row.get(1)?, part: row.get(2)? }))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

/// The partitions: a folder of links, and where the objects are.
fn folders(connection: &Connection, id: &str) -> Result<Vec<(String, String)>, SqlError> {
    let sql = format!("SELECT folder, location FROM {CATALOG}.external_partitions WHERE id = ?");
    let mut statement = connection.prepare(&sql)?;
    let folders = statement.query_map(params![id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(folders.collect::<Result<_, _>>()?)
}

/// The folder of a table, with a file that has its columns and no row: a table without objects has columns too.
fn folder(connection: &Connection, links: &Path, id: &str) -> Result<PathBuf, SqlError> {
    let folder = links.join(id);
    let columns = columns(connection, id)?;
    let parts = columns.iter().filter(|column| column.part);
    let path = parts.fold(folder.clone(), |path, part| path.join(format!("{}=0", part.name)));
    let file = path.join("columns.parquet");
    if !file.exists() {
        std::fs::create_dir_all(&path).map_err(|error| failed(&error))?;
        let columns = columns.iter().filter(|column| !column.part);
        let columns = columns.map(|column| format!("CAST(NULL AS {}) AS {}", column.duck, quoted(&column.name)));
        let (columns, file) = (columns.collect::<Vec<_>>().join(", "), literal(&file.display().to_string()));
        connection.execute_batch(&format!("COPY (SELECT {columns} LIMIT 0) TO {file} (FORMAT parquet)"))?;
    }
    Ok(folder)
}

fn view(connection: &Connection, links: &Path, table: &External) -> Result<(), SqlError> {
    let folder = folder(connection, links, &table.id)?;
    let columns = columns(connection, &table.id)?;
    let columns = columns.iter().map(|Stored { name, duck, .. }| {
        let name = quoted(name);
        format!("CAST({name} AS {duck}) AS {name}")
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    let files = literal(&folder.join("**").join("*.parquet").display().to_string());
    let name = &table.name;
    connection.execute_batch(&format!(
        "CREATE OR REPLACE VIEW {name} AS SELECT {columns} \
         FROM read_parquet({files}, hive_partitioning = true, union_by_name = true, filename = false)"
    ))?;
    Ok(())
}

/// Makes the links of a partition what its objects are now.
fn link(objects: &dyn ObjectSource, folder: &Path, location: &str) -> Result<(), SqlError> {
    std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let mut wanted = BTreeSet::new();
    let found =
        objects.folder(location).map_err(|error| SqlError(format!("S3ServiceException: {error}: {location}")))?;
    for (name, object) in found.iter().filter(|(name, _)| !is_hidden(name)) {
        let path = folder.join(format!("{:016x}.parquet", identity(name, object)));
        if !path.exists() {
            if let Some(why) = layout::problem(&object.path) {
                return Err(SqlError(format!("Spectrum Scan Error: File '{location}{name}' {why}")));
            }
            std::fs::hard_link(&object.path, &path).map_err(|error| failed(&error))?;
        }
        wanted.insert(path);
    }
    for entry in std::fs::read_dir(folder).map_err(|error| failed(&error))? {
        let path = entry.map_err(|error| failed(&error))?.path();
        let is_link = path.extension().is_some_and(|end| end == "parquet") && !path.ends_with("columns.parquet");
        if is_link && !wanted.contains(&path) {
            std::fs::remove_file(&path).map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}

/// What tells an object from another one of the same name that took its place.
fn identity(name: &str, object: &Object) -> u64 {
    let modified = object.path.metadata().and_then(|metadata| metadata.modified()).ok();
    let mut hash = DefaultHasher::new();
    (name, object.n_bytes, modified).hash(&mut hash);
    hash.finish()
}

/// Spectrum does not read files, or below folders, that begin so.
fn is_hidden(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with(['.', '_']))
}

fn failed(error: &std::io::Error) -> SqlError {
    SqlError(format!("Spectrum Scan Error: {error}"))
}
