//! The tables of one region: DynamoDB, as far as the local cloud and the simulation offer it.
//!
//! ```text
//! request -> parameters   what nobody heeds is refused
//!         -> legacy       conditions from before expressions become expressions
//!         -> admin        tables, indices, tags
//!         -> reads        rows, queries, scans         -> expression: read once, then
//!         -> writes       rows, batches, transactions     condition, update, path: what it means for a row
//! ```
//!
//! **Owns** the tables with their rows, in the form in which the local cloud saves them.
//! **Promises** nothing is answered with 200 and not done: neither an operation, nor a parameter, nor a condition. Every
//! write is whole; conditions are judged against the row as it is.
//! **Fails** with DynamoDB's `ValidationException`, or `UnknownOperationException`; nothing is changed then.
//! **Not here**: stale reads, PartiQL, backups, streams, expiry (`TimeToLive` is kept and not acted on), permissions.

mod admin;
mod condition;
mod expression;
mod keys;
mod legacy;
mod number;
mod parameters;
mod path;
mod reads;
mod saved;
mod tokens;
mod update;
mod value;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ClientId, Place, Refusal, Reply};

use keys::{Definition, Element, Key, Part, Schema};
pub use value::Item;

/// What differs between a cloud to work with and one to find faults with.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Rows on a page of a scan or a query; the service fills 1 MB.
    pub rows_per_page: usize,
    /// How long a new table cannot be used, in milliseconds.
    pub creating_ms: i64,
    /// Whether every write is remembered.
    pub keeps_history: bool,
}

/// The client that asks, where, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The region and the account.
    pub place: Place<'a>,
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// The client.
    pub client: ClientId,
    /// How this cloud is.
    pub habits: Habits,
}

/// A write that was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct RowWrite {
    /// When.
    pub at_ms: i64,
    /// The client.
    pub client: ClientId,
    /// The row: the value of its key.
    pub key: String,
    /// The row before; none if there was none.
    pub before: Option<Item>,
    /// The row after; none if it was deleted.
    pub after: Option<Item>,
}

/// All tables of a region.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tables {
    #[serde(default)]
    tables: BTreeMap<String, Table>,
    /// By ARN.
    #[serde(default)]
    tags: BTreeMap<String, Vec<Tag>>,
    #[serde(default)]
    ttl_configs: BTreeMap<String, TimeToLive>,
    #[serde(default)]
    continuous_backups: BTreeMap<String, ContinuousBackups>,
    /// When a transaction with this token was applied, and what it was.
    #[serde(skip)]
    transactions: BTreeMap<String, (i64, Value)>,
}

/// A table with its rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "saved::SavedTable")]
pub struct Table {
    name: String,
    arn: String,
    key_schema: Vec<Element>,
    attribute_definitions: Vec<Definition>,
    billing_mode: String,
    provisioned_throughput: Option<Throughput>,
    created_ms: i64,
    global_secondary_index: Vec<Index>,
    local_secondary_index: Vec<Index>,
    #[serde(rename = "items", serialize_with = "saved::rows")]
    rows: BTreeMap<Key, Item>,
    #[serde(skip)]
    active_at_ms: i64,
    #[serde(skip)]
    history: Vec<RowWrite>,
}

/// Rows by another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    index_name: String,
    key_schema: Vec<Element>,
    /// `ALL`, `KEYS_ONLY` or `INCLUDE`.
    projection_type: String,
    #[serde(default)]
    non_key_attributes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Throughput {
    read_capacity_units: i64,
    write_capacity_units: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tag {
    key: String,
    value: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct TimeToLive {
    attribute_name: String,
    enabled: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct ContinuousBackups {
    point_in_time_recovery_enabled: bool,
}

/// Whether an operation leaves the tables as they are.
pub fn only_reads(operation: &str) -> bool {
    let reads = ["Get", "Query", "Scan", "BatchGet", "TransactGet", "Describe", "List"];
    reads.iter().any(|prefix| operation.starts_with(prefix))
}

impl Tables {
    /// Answers one request.
    pub fn serve(&mut self, asking: Asking<'_>, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        if !parameters::is_known(operation) {
            let message = format!("this cloud does not have the operation {operation:?}");
            return Err(Refusal::new(400, "UnknownOperationException", message));
        }
        let Value::Object(sent) = input else {
            return Err(Refusal::new(400, "SerializationException", "the body is not a JSON object"));
        };
        parameters::understood(operation, sent)?;
        let sent = legacy::translated(sent.clone()).map_err(Refusal::validation)?;
        let answer = match operation {
            "GetItem" => self.on_get(asking, &sent)?,
            "Query" | "Scan" => self.on_list(asking, operation, &sent)?,
            "BatchGetItem" => self.on_batch_get(asking, &sent)?,
            "TransactGetItems" => self.on_transact_get(asking, &sent)?,
            "PutItem" | "UpdateItem" | "DeleteItem" => self.on_write(asking, operation, &sent)?,
            "BatchWriteItem" => self.on_batch_write(asking, &sent)?,
            "TransactWriteItems" => self.on_transact_write(asking, &sent)?,
            _ => self.on_admin(asking, operation, &sent)?,
        };
        Ok(Reply::json(&answer))
    }

    /// All of them, in the order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.tables.values()
    }

    /// All of them, to be changed as by nobody.
    pub fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.tables.values_mut()
    }

    /// The table that a request names; the error says that there is none.
    fn table(&self, asking: Asking<'_>, request: &Map<String, Value>) -> Result<&Table, Refusal> {
        let name = name_of(request)?;
        let table = self.tables.get(name).filter(|table| table.active_at_ms <= asking.now_ms);
        table.ok_or_else(|| not_found(name))
    }

    fn table_mut(&mut self, asking: Asking<'_>, name: &str) -> Result<&mut Table, Refusal> {
        let table = self.tables.get_mut(name).filter(|table| table.active_at_ms <= asking.now_ms);
        table.ok_or_else(|| not_found(name))
    }
}

impl Table {
    /// The rows, by the value of their key.
    pub fn rows(&self) -> BTreeMap<String, Item> {
        self.rows.iter().map(|(key, row)| (shown(key), row.clone())).collect()
    }

    /// Every write that was applied, in order, if they are remembered.
    pub fn history(&self) -> &[RowWrite] {
        &self.history
    }

    /// Puts a row, whatever is there, as nobody's write.
    ///
    /// # Panics
    /// If the row has not the table's key.
    pub fn plant(&mut self, row: Item) {
        let key = self.schema().key(&row).unwrap_or_else(|refusal| panic!("no row of this table: {}", refusal.message));
        self.rows.insert(key, row);
    }

    /// Puts back all rows of another time. Rows that are as they were then are not written.
    pub fn restore(&mut self, at_ms: i64, client: ClientId, rows: BTreeMap<String, Item>) {
        let before = self.rows();
        self.rows.clear();
        rows.into_values().for_each(|row| self.plant(row));
        let after = self.rows();
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (before, after) = (before.get(key).cloned(), after.get(key).cloned());
            if before != after {
                self.history.push(RowWrite { at_ms, client, key: key.clone(), before, after });
            }
        }
    }

    fn schema(&self) -> Schema<'_> {
        Schema { elements: &self.key_schema, definitions: &self.attribute_definitions }
    }

    fn indices(&self) -> impl Iterator<Item = &Index> {
        self.global_secondary_index.iter().chain(&self.local_secondary_index)
    }

    fn schema_of<'a>(&'a self, index: &'a Index) -> Schema<'a> {
        Schema { elements: &index.key_schema, definitions: &self.attribute_definitions }
    }
}

/// A key for people: as it is in the row.
fn shown((hash, range): &Key) -> String {
    let part = |part: &Part| part.saved()[2..].to_owned();
    range.as_ref().map_or_else(|| part(hash), |range| format!("{}/{}", part(hash), part(range)))
}

fn name_of(request: &Map<String, Value>) -> Result<&str, Refusal> {
    request
        .get("TableName")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::validation("The parameter 'TableName' is required but was not present in the request"))
}

fn not_found(name: &str) -> Refusal {
    let message = format!("Requested resource not found: Table: {name} not found");
    Refusal::new(400, "ResourceNotFoundException", message)
}
