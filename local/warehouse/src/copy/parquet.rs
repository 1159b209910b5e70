//! Parquet: columns by place, types as strict as Redshift's.

use std::path::{Path, PathBuf};

use duckdb::Connection;

use super::{File, Links, Target, layout};
use crate::dialect::{Rule, literal};
use crate::error::SqlError;
use crate::session::{Outcome, Session, StoredColumn, TextLimit, list, places};

pub(super) fn load(session: &mut Session, target: &Target<'_>, files: &[File]) -> Result<Outcome, SqlError> {
    let links = Links::new(session.shared.engine.links(), files)?;
    let mut groups: Vec<(Vec<(String, String)>, Vec<PathBuf>)> = Vec::new();
    for (file, path) in files.iter().zip(&links.paths) {
        let shape = shape(&session.connection, path).map_err(|error| scan_error(file, &links.hide(&error.0)))?;
        compatible(file, &shape, &target.columns)?;
        if let Some(why) = layout::problem(path) {
            return Err(scan_error(file, &why));
        }
        // Files are read together while they look the same: DuckDB goes by names, and COPY by places.
        match groups.last_mut() {
            Some((last, paths)) if *last == shape => paths.push(path.clone()),
            _ => groups.push((shape, vec![path.clone()])),
        }
    }
    let mut n_rows = 0;
    for (_, paths) in &groups {
        let inserted = session.change(&insert(target, paths)).map_err(|error| SqlError(links.hide(&error.0)))?;
        n_rows += inserted.n_rows;
    }
    Ok(Outcome { n_rows, result: None })
}

fn read(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| literal(&path.display().to_string())).collect();
    format!("SELECT * FROM read_parquet([{}], hive_partitioning = false, filename = false)", paths.join(", "))
}

/// Names and types of a file's columns.
fn shape(connection: &Connection, path: &Path) -> Result<Vec<(String, String)>, SqlError> {
    let sql = format!("SELECT column_name, column_type FROM (DESCRIBE {})", read(&[path.to_owned()]));
    let mut statement = connection.prepare(&sql)?;
    let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(columns.collect::<Result<_, _>>()?)
}

fn insert(target: &Target<'_>, paths: &[PathBuf]) -> String {
    let places = places(target.columns.len());
    let values = target.columns.iter().zip(&places).map(|(column, place)| {
        let value = format!("CAST({place} AS {})", column.duck);
        fitting(target, column, &value)
    });
    let values = values.collect::<Vec<_>>().join(", ");
    let names = list(target.columns.iter().map(|column| column.name.as_str()));
    let (table, source, places) = (target.table, read(paths), places.join(", "));
    format!("INSERT INTO {table} ({names}) SELECT {values} FROM ({source}) AS source({places})")
}

fn fitting(target: &Target<'_>, column: &StoredColumn, value: &str) -> String {
    let Some(TextLimit { n_bytes_max, .. }) = target.limits.iter().find(|limit| limit.column == column.name) else {
        return value.to_owned();
    };
    let message = format!(
        "Spectrum Scan Error: The length of the data column {} is longer than the length defined in the table \
         ({n_bytes_max}): value too long for character type",
        column.name
    );
    let (long, nul) = (literal(&message), literal(&Rule::Nul.refuses(&column.name).0));
    format!(
        "CASE WHEN strlen({value}) > {n_bytes_max} THEN error({long}) \
         WHEN contains({value}, chr(0)) THEN error({nul}) ELSE {value} END"
    )
}

fn compatible(file: &File, shape: &[(String, String)], columns: &[StoredColumn]) -> Result<(), SqlError> {
    if shape.len() != columns.len() {
        let (n_table, n_file) = (columns.len(), shape.len());
        let why = format!(
            "Unmatched number of columns between table and file. Table columns: {n_table}, Data columns: {n_file}"
        );
        return Err(scan_error(file, &why));
    }
    for ((name, found), column) in shape.iter().zip(columns) {
        if !fits(found, &column.duck) {
            let why = format!(
                "incompatible Parquet schema for column {name}. Column type: {}, Parquet schema: {found}",
                column.duck
            );
            return Err(scan_error(file, &why));
        }
    }
    Ok(())
}

/// Redshift converts almost nothing: a 32-bit column of a file does not go into a BIGINT.
fn fits(file: &str, table: &str) -> bool {
    match table {
        "TIMESTAMP" => file.starts_with("TIMESTAMP"),
        "SMALLINT" => ["SMALLINT", "TINYINT", "UTINYINT"].contains(&file),
        "INTEGER" => ["INTEGER", "USMALLINT", "SMALLINT", "TINYINT", "UTINYINT"].contains(&file),
        "JSON" => ["VARCHAR", "JSON"].contains(&file),
        _ if table.starts_with("DECIMAL") => file.starts_with("DECIMAL"),
        _ => file == table,
    }
}

fn scan_error(file: &File, why: &str) -> SqlError {
    SqlError(format!("Spectrum Scan Error: File '{}': {why}", file.url))
}
