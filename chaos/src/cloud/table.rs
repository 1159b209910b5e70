//! The table: DynamoDB's operations on one table with a single text key.
//!
//! **Promises** every write is atomic; conditions are judged against the row as it is; the history has each applied
//! write with the row before and after.
//! **Not here**: stale reads, indices, transactions. A parameter that is not known is refused.

use std::collections::BTreeMap;

use local_engine::{ClientId, Refusal, Reply, Service};
use serde_json::{Value, json};

use super::expression::Definitions;
use super::state::Context;

/// KCL's key, until the table says otherwise.
const KEY: &str = "leaseKey";
/// A new table cannot be used at once.
const CREATING_MS: i64 = 1_000;
/// The service would fill 1 MB: small pages make every scan use its tokens.
const ROWS_PER_PAGE_MAX: usize = 3;
const BATCH_MAX: usize = 100;
const ITEM_BYTES_MAX: usize = 400 * 1024;

/// The writer of rows when a table is restored: no worker.
pub const RESTORER: ClientId = ClientId(u32::MAX);

/// A row: attributes as DynamoDB's JSON, for example `{"S": "text"}`.
pub type Item = BTreeMap<String, Value>;

/// A write that was applied.
#[derive(Clone, Debug, PartialEq)]
pub struct RowWrite {
    /// When.
    pub at_ms: i64,
    /// The client.
    pub client: ClientId,
    /// The row.
    pub key: String,
    /// The row before; none if there was none.
    pub before: Option<Item>,
    /// The row after; none if it was deleted.
    pub after: Option<Item>,
}

pub(super) struct Table {
    name: Option<String>,
    key: String,
    active_at_ms: i64,
    pub(super) rows: BTreeMap<String, Item>,
    pub(super) history: Vec<RowWrite>,
}

/// What each operation takes. Anything else could change its meaning.
fn parameters(operation: &str) -> &'static [&'static str] {
    const NAMES: &str = "ExpressionAttributeNames";
    const VALUES: &str = "ExpressionAttributeValues";
    const CONDITION: &str = "ConditionExpression";
    const ON_FAILURE: &str = "ReturnValuesOnConditionCheckFailure";
    match operation {
        "CreateTable" => &["TableName", "KeySchema", "AttributeDefinitions", "BillingMode"],
        "DescribeTable" => &["TableName"],
        "GetItem" => &["TableName", "Key", "ConsistentRead"],
        "PutItem" => &["TableName", "Item", CONDITION, NAMES, VALUES, ON_FAILURE, "ReturnValues"],
        "UpdateItem" => &["TableName", "Key", "UpdateExpression", CONDITION, NAMES, VALUES, ON_FAILURE, "ReturnValues"],
        "DeleteItem" => &["TableName", "Key", CONDITION, NAMES, VALUES, ON_FAILURE, "ReturnValues"],
        // A projection leaves out what nobody asks for: the row as it is has all that it would.
        "Scan" => &[
            "TableName",
            "ConsistentRead",
            "Limit",
            "ExclusiveStartKey",
            "ProjectionExpression",
            "ReturnConsumedCapacity",
        ],
        "BatchGetItem" => &["RequestItems", "ReturnConsumedCapacity"],
        _ => &[],
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self { name: None, key: KEY.to_owned(), active_at_ms: 0, rows: BTreeMap::new(), history: Vec::new() }
    }

    pub(super) fn plant(&mut self, item: Item) {
        let key = item.get(&self.key).and_then(|value| value["S"].as_str());
        let key = key.expect("a row has the table's key, as text").to_owned();
        self.rows.insert(key, item);
    }

    /// Rows that are as they were then are not written.
    pub(super) fn restore(&mut self, at_ms: i64, rows: BTreeMap<String, Item>) {
        let before = std::mem::replace(&mut self.rows, rows);
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(self.rows.keys()).collect();
        for key in keys {
            let (before, after) = (before.get(key).cloned(), self.rows.get(key).cloned());
            if before != after {
                self.history.push(RowWrite { at_ms, client: RESTORER, key: key.clone(), before, after });
            }
        }
    }

    pub(super) fn serve(&mut self, context: Context, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let (known, given) = (parameters(operation), input.as_object().into_iter().flat_map(|input| input.keys()));
        if known.is_empty() || given.clone().any(|name| !known.contains(&name.as_str())) {
            let given: Vec<_> = given.map(String::as_str).collect();
            return Err(Refusal::unknown(Service::DynamoDb, &format!("{operation} with {}", given.join(", "))));
        }
        if operation == "CreateTable" {
            return self.on_create(context, input);
        }
        let active = self.active_at_ms <= context.now_ms;
        let of_a_batch = input["RequestItems"].as_object().and_then(|tables| tables.keys().next());
        let name = input["TableName"].as_str().or(of_a_batch.map(String::as_str));
        if self.name.as_deref() != name || !(active || operation == "DescribeTable") {
            return Err(Refusal::new(400, "ResourceNotFoundException", "requested resource not found"));
        }
        match operation {
            "DescribeTable" => Ok(Reply::json(&json!({ "Table": self.describe(active) }))),
            "GetItem" => self.on_get(input),
            "Scan" => self.on_scan(input),
            "BatchGetItem" => self.on_batch_get(input),
            _ => self.on_write(context, operation, input),
        }
    }

    fn on_create(&mut self, context: Context, input: &Value) -> Result<Reply, Refusal> {
        let name = input["TableName"].as_str().unwrap_or_default();
        match self.name.as_deref() {
            Some(found) if found == name => {
                return Err(Refusal::new(400, "ResourceInUseException", "the table exists"));
            }
            Some(_) => return Err(Refusal::new(400, "LimitExceededException", "this cloud has one table")),
            None => {}
        }
        let key = match input["KeySchema"].as_array().map(Vec::as_slice) {
            Some([key]) => key["AttributeName"].as_str(),
            _ => None,
        };
        self.key = key.ok_or_else(|| Refusal::validation("KeySchema must name one attribute"))?.to_owned();
        self.name = Some(name.to_owned());
        self.active_at_ms = context.now_ms.saturating_add(CREATING_MS);
        Ok(Reply::json(&json!({ "TableDescription": self.describe(false) })))
    }

    fn describe(&self, active: bool) -> Value {
        let status = if active { "ACTIVE" } else { "CREATING" };
        let key = json!([{ "AttributeName": self.key, "KeyType": "HASH" }]);
        json!({ "TableName": self.name, "TableStatus": status, "KeySchema": key })
    }

    fn on_get(&self, input: &Value) -> Result<Reply, Refusal> {
        let row = self.rows.get(&self.key_of(&input["Key"], true)?);
        Ok(Reply::json(&row.map_or_else(|| json!({}), |row| json!({ "Item": row }))))
    }

    fn on_scan(&self, input: &Value) -> Result<Reply, Refusal> {
        let start = &input["ExclusiveStartKey"];
        let after = if start.is_null() { None } else { Some(self.key_of(start, true)?) };
        let most = input["Limit"].as_u64().map_or(ROWS_PER_PAGE_MAX, |n| n as usize).clamp(1, ROWS_PER_PAGE_MAX);
        let mut page: Vec<_> = self
            .rows
            .iter()
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .take(most + 1)
            .collect();
        let more = page.len() > most;
        page.truncate(most);
        let items: Vec<_> = page.iter().map(|(_, row)| row).collect();
        let mut out = json!({ "Items": items, "Count": items.len(), "ScannedCount": items.len() });
        if input["ReturnConsumedCapacity"] == "TOTAL" {
            let units = items.len() as f64 / 2.0;
            out["ConsumedCapacity"] = json!({ "TableName": self.name, "CapacityUnits": units });
        }
        if let (true, Some((last, _))) = (more, page.last()) {
            out["LastEvaluatedKey"] = json!({ &self.key: { "S": last } });
        }
        Ok(Reply::json(&out))
    }

    fn on_batch_get(&self, input: &Value) -> Result<Reply, Refusal> {
        let name = self.name.as_deref().unwrap_or_default();
        let keys = input["RequestItems"][name]["Keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        if keys.is_empty() || keys.len() > BATCH_MAX {
            return Err(Refusal::validation(format!("a batch of {} keys", keys.len())));
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key_of(key, true)).collect::<Result<_, _>>()?;
        let items: Vec<_> = keys.iter().filter_map(|key| self.rows.get(key)).collect();
        let consumed = json!([{ "TableName": name, "CapacityUnits": keys.len() as f64 / 2.0 }]);
        Ok(Reply::json(&json!({ "Responses": { name: items }, "UnprocessedKeys": {}, "ConsumedCapacity": consumed })))
    }

    fn on_write(&mut self, context: Context, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let put = operation == "PutItem";
        let key = self.key_of(if put { &input["Item"] } else { &input["Key"] }, !put)?;
        let before = self.rows.get(&key);
        let definitions = Definitions::of(input);
        let condition = input["ConditionExpression"].as_str();
        let holds = condition.map_or(Ok(true), |condition| definitions.holds(condition, before))?;
        let after = match operation {
            "PutItem" => Some(item(&input["Item"])),
            "UpdateItem" => Some(self.updated(&definitions, input, before)?),
            _ => None,
        };
        definitions.all_used()?;
        if !holds {
            return Err(condition_failed(input, before));
        }
        if after.as_ref().is_some_and(|after| json!(after).to_string().len() > ITEM_BYTES_MAX * 4 / 3) {
            return Err(Refusal::validation("item size has exceeded the maximum allowed size"));
        }
        let returned = match input["ReturnValues"].as_str().unwrap_or("NONE") {
            "NONE" => None,
            "ALL_OLD" => before.cloned(),
            "ALL_NEW" if operation == "UpdateItem" => after.clone(),
            other => return Err(Refusal::validation(format!("ReturnValues {other:?} of {operation}"))),
        };
        let before = match &after {
            Some(after) => self.rows.insert(key.clone(), after.clone()),
            None => self.rows.remove(&key),
        };
        let Context { now_ms: at_ms, client, .. } = context;
        self.history.push(RowWrite { at_ms, client, key, before, after });
        Ok(Reply::json(&returned.map_or_else(|| json!({}), |row| json!({ "Attributes": row }))))
    }

    /// The row after an update; an update of a row that is not there makes one.
    fn updated(&self, definitions: &Definitions<'_>, input: &Value, before: Option<&Item>) -> Result<Item, Refusal> {
        let mut row = before.cloned().unwrap_or_else(|| item(&input["Key"]));
        let update = input["UpdateExpression"].as_str();
        for (name, value) in update.map_or(Ok(Vec::new()), |update| definitions.changes(update, &row))? {
            if name == self.key {
                return Err(Refusal::validation("the key of a row cannot be updated"));
            }
            match value {
                Some(value) => drop(row.insert(name, value)),
                None => drop(row.remove(&name)),
            }
        }
        Ok(row)
    }

    fn key_of(&self, attributes: &Value, alone: bool) -> Result<String, Refusal> {
        let n = attributes.as_object().map_or(0, serde_json::Map::len);
        let key = attributes[&self.key]["S"].as_str().filter(|key| !key.is_empty() && (n == 1 || !alone));
        key.map(str::to_owned).ok_or_else(|| Refusal::validation("the key does not match the schema"))
    }
}

fn item(attributes: &Value) -> Item {
    let attributes = attributes.as_object().into_iter().flatten();
    attributes.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn condition_failed(input: &Value, before: Option<&Item>) -> Refusal {
    let mut refusal = Refusal::new(400, "ConditionalCheckFailedException", "the conditional request failed");
    if input["ReturnValuesOnConditionCheckFailure"].as_str() == Some("ALL_OLD") {
        refusal.item = before.map(|row| json!(row));
    }
    refusal
}
