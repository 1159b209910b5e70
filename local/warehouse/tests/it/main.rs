//! The warehouse through its requests, on a folder of its own per test, with objects as plain files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod copy;
mod external;
mod forms;
mod hostile;
mod load;
mod queries;
mod reopen;
mod requests;
mod stepped;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use mangrove_local_warehouse::{Object, ObjectError, ObjectSource, Warehouse, WarehouseOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Objects in a folder: `s3://bucket/key` is `<folder>/bucket/key`.
pub(crate) struct Objects(pub(crate) PathBuf);

impl ObjectSource for Objects {
    fn object(&self, url: &str) -> Result<Object, ObjectError> {
        let path = self.0.join(url.strip_prefix("s3://").ok_or(ObjectError::BadUrl)?);
        let metadata = path.metadata().map_err(|_| ObjectError::Missing)?;
        Ok(Object { path, n_bytes: metadata.len() })
    }

    fn folder(&self, url: &str) -> Result<Vec<(String, Object)>, ObjectError> {
        let folder = self.0.join(url.strip_prefix("s3://").ok_or(ObjectError::BadUrl)?);
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
        let found = entries.map(|entry| {
            let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name().into_string().unwrap());
            let n_bytes = path.metadata().unwrap().len();
            (name, Object { path, n_bytes })
        });
        Ok(found.collect())
    }
}

/// A warehouse in a folder.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) warehouse: Arc<Warehouse>,
}

impl World {
    pub(crate) fn new() -> World {
        World::on(tempfile::tempdir().unwrap())
    }

    pub(crate) fn on(dir: TempDir) -> World {
        let warehouse = open(dir.path(), |_| {});
        World { dir, warehouse }
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.path().join("s3")
    }

    /// Stores an object; returns its url.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) -> String {
        let path = self.objects().join("lake").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        format!("s3://lake/{key}")
    }

    /// Stores a manifest of objects with their lengths.
    pub(crate) fn manifest(&self, key: &str, urls: &[&str]) -> String {
        let entry = |url: &&str| {
            let n_bytes = Objects(self.objects()).object(url).map_or(0, |object| object.n_bytes);
            json!({ "url": url, "mandatory": true, "meta": { "content_length": n_bytes } })
        };
        let entries: Vec<Value> = urls.iter().map(entry).collect();
        self.put(key, json!({ "entries": entries }).to_string().as_bytes())
    }

    /// The rows of a statement, or its error.
    pub(crate) fn sql(&self, sql: &str) -> Result<Vec<Vec<Value>>, String> {
        run(&self.warehouse, sql)
    }

    /// What every statement must say.
    pub(crate) fn all(&self, statements: &[&str]) {
        for statement in statements {
            self.sql(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The rows, as texts between commas.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.into_iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join(",")).collect()
    }

    /// The error of a statement.
    pub(crate) fn error(&self, sql: &str) -> String {
        self.sql(sql).expect_err(sql)
    }

    /// A batch: the shown statement of its end.
    pub(crate) fn batch(&self, statements: &[String]) -> Value {
        batch(&self.warehouse, statements)
    }
}

pub(crate) fn open(dir: &Path, change: impl FnOnce(&mut WarehouseOptions)) -> Arc<Warehouse> {
    let mut options = WarehouseOptions::new(dir.join("warehouse.duckdb"));
    change(&mut options);
    Arc::new(Warehouse::open(options, Arc::new(Objects(dir.join("s3")))).unwrap())
}

/// One request: its status and its answer.
pub(crate) fn call(warehouse: &Warehouse, operation: &str, request: Value) -> (u16, Value) {
    let answer = warehouse.handle(operation, request.to_string().as_bytes());
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

/// One request that is answered.
pub(crate) fn ask(warehouse: &Warehouse, operation: &str, request: Value) -> Value {
    let (status, answer) = call(warehouse, operation, request);
    assert_eq!(status, 200, "{answer}");
    answer
}

pub(crate) fn ended(warehouse: &Warehouse, submitted: &Value) -> Value {
    loop {
        let shown = ask(warehouse, "DescribeStatement", json!({ "Id": submitted["Id"], "WaitTimeSeconds": 30 }));
        if !["SUBMITTED", "PICKED", "STARTED"].contains(&shown["Status"].as_str().unwrap()) {
            return shown;
        }
    }
}

pub(crate) fn batch(warehouse: &Warehouse, statements: &[String]) -> Value {
    let request = json!({ "WorkgroupName": "w", "Database": "d", "Sqls": statements });
    ended(warehouse, &ask(warehouse, "BatchExecuteStatement", request))
}

pub(crate) fn run(warehouse: &Warehouse, sql: &str) -> Result<Vec<Vec<Value>>, String> {
    let request = json!({ "WorkgroupName": "w", "Database": "d", "Sql": sql });
    let shown = ended(warehouse, &ask(warehouse, "ExecuteStatement", request));
    if shown["Status"] != "FINISHED" {
        return Err(shown["Error"].as_str().unwrap_or("no error").to_owned());
    }
    if shown["HasResultSet"] != true {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    let mut next = Value::Null;
    loop {
        let page = ask(warehouse, "GetStatementResult", json!({ "Id": shown["Id"], "NextToken": next }));
        let records: Vec<Vec<Value>> = serde_json::from_value(page["Records"].clone()).unwrap();
        rows.extend(records);
        next = page["NextToken"].clone();
        if next.is_null() {
            return Ok(rows);
        }
    }
}

/// A field without its kind.
pub(crate) fn shown(field: &Value) -> String {
    match field.as_object().and_then(|object| object.iter().next()) {
        Some((kind, _)) if kind == "isNull" => "null".to_owned(),
        Some((_, Value::String(text))) => text.clone(),
        Some((_, value)) => value.to_string(),
        None => panic!("{field}"),
    }
}

/// A file of Parquet with these columns.
pub(crate) fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}
