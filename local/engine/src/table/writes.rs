//! Writes of rows: one by one, in batches, in transactions.

use serde_json::{Map, Value, json};

use super::expression::{Action, Definitions};
use super::keys::Key;
use super::path::{Path, project};
use super::update::updated;
use super::value::{Item, item, item_bytes, kind};
use super::{Asking, RowWrite, Table, Tables, name_of, shown};
use crate::Refusal;

const ITEM_BYTES_MAX: usize = 400 * 1024;
const BATCH_MAX: usize = 25;
const TRANSACTION_MAX: usize = 100;
const WRITE_UNIT_BYTES: usize = 1024;
/// How long a transaction is known by its token.
const TOKEN_KEPT_MS: i64 = 10 * 60 * 1_000;
/// And how many are, the oldest forgotten first.
const TOKENS_MAX: usize = 1_000;

/// A write that is ready to be applied, if its condition holds.
struct Write {
    key: Key,
    before: Option<Item>,
    after: Option<Item>,
    holds: bool,
    /// Whether it is more than a question.
    changes: bool,
    /// What an update is about.
    paths: Vec<Path>,
}

impl Tables {
    pub(super) fn on_write(
        &mut self,
        asking: Asking<'_>,
        operation: &str,
        request: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let table = self.table_mut(asking, name_of(request)?)?;
        let write = table.weighed(operation, request)?;
        let returned = write.returned(operation, request)?;
        if !write.holds {
            let mut refusal = Refusal::new(400, "ConditionalCheckFailedException", "The conditional request failed");
            refusal.extra = write.shown_on_failure(request).map(|row| ("Item", json!(row)));
            return Err(refusal);
        }
        let mut answer = returned.map_or_else(|| json!({}), |row| json!({ "Attributes": row }));
        if request.get("ReturnConsumedCapacity").and_then(Value::as_str).is_some_and(|wanted| wanted != "NONE") {
            let bytes = write.before.iter().chain(&write.after).map(item_bytes).max().unwrap_or(1);
            let units = bytes.max(1).div_ceil(WRITE_UNIT_BYTES) as f64;
            answer["ConsumedCapacity"] = json!({ "TableName": table.name, "CapacityUnits": units });
        }
        table.apply(asking, write);
        Ok(answer)
    }

    pub(super) fn on_batch_write(
        &mut self,
        asking: Asking<'_>,
        request: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let asked = request.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let mut writes = Vec::new();
        for (name, asked) in asked {
            for asked in asked.as_array().into_iter().flatten() {
                let (operation, one) = match (asked["PutRequest"].as_object(), asked["DeleteRequest"].as_object()) {
                    (Some(put), None) => ("PutItem", put),
                    (None, Some(delete)) => ("DeleteItem", delete),
                    _ => return Err(Refusal::validation("a write of a batch needs PutRequest or DeleteRequest")),
                };
                writes.push((name.clone(), self.table_mut(asking, name)?.weighed(operation, one)?));
            }
        }
        self.apply_all(asking, "BatchWriteItem", BATCH_MAX, writes)?;
        Ok(json!({ "UnprocessedItems": {} }))
    }

    pub(super) fn on_transact_write(
        &mut self,
        asking: Asking<'_>,
        request: &Map<String, Value>,
    ) -> Result<Value, Refusal> {
        let token = request.get("ClientRequestToken").and_then(Value::as_str);
        self.transactions.retain(|_, (at_ms, _)| asking.now_ms - *at_ms <= TOKEN_KEPT_MS);
        let whole = request.get("TransactItems").cloned().unwrap_or_default();
        match token.and_then(|token| self.transactions.get(token)) {
            Some((_, applied)) if *applied == whole => return Ok(json!({})),
            Some(_) => {
                let message = "the token was used by another transaction";
                return Err(Refusal::new(400, "IdempotentParameterMismatchException", message));
            }
            None => {}
        }
        let (mut writes, mut reasons) = (Vec::new(), Vec::new());
        for asked in whole.as_array().into_iter().flatten() {
            let (operation, one) = action(asked)?;
            let name = name_of(one)?.to_owned();
            let write = self.table_mut(asking, &name)?.weighed(operation, one)?;
            reasons.push(write.reason(one));
            writes.push((name, write));
        }
        if reasons.iter().any(|reason| reason["Code"] != "None") {
            return Err(cancelled(&reasons));
        }
        self.apply_all(asking, "TransactWriteItems", TRANSACTION_MAX, writes)?;
        if let Some(token) = token {
            let oldest = self.transactions.iter().min_by_key(|(_, (at_ms, _))| *at_ms).map(|(token, _)| token.clone());
            if let Some(oldest) = oldest.filter(|_| self.transactions.len() >= TOKENS_MAX) {
                self.transactions.remove(&oldest);
            }
            self.transactions.insert(token.to_owned(), (asking.now_ms, whole));
        }
        Ok(json!({}))
    }

    fn apply_all(
        &mut self,
        asking: Asking<'_>,
        operation: &str,
        n_max: usize,
        writes: Vec<(String, Write)>,
    ) -> Result<(), Refusal> {
        if writes.is_empty() || writes.len() > n_max {
            return Err(Refusal::validation(format!("{operation} takes 1 to {n_max} items, not {}", writes.len())));
        }
        let twice = |n: usize| writes[..n].iter().any(|(name, w)| (name, &w.key) == (&writes[n].0, &writes[n].1.key));
        if (1..writes.len()).any(twice) {
            return Err(Refusal::validation(format!("{operation} cannot include multiple operations on one item")));
        }
        for (name, write) in writes.into_iter().filter(|(_, write)| write.changes) {
            self.table_mut(asking, &name)?.apply(asking, write);
        }
        Ok(())
    }
}

impl Table {
    fn weighed(&self, operation: &str, request: &Map<String, Value>) -> Result<Write, Refusal> {
        let given = |name: &str| item(request.get(name).unwrap_or(&Value::Null));
        let (key, put) = match operation {
            "PutItem" => {
                let row = given("Item")?;
                (self.schema().key(&row)?, Some(row))
            }
            _ => (self.schema().key_alone(&given("Key")?)?, None),
        };
        let definitions = Definitions::of(request);
        let condition = definitions.condition("ConditionExpression")?;
        let actions = definitions.update()?;
        definitions.all_used()?;
        self.keep_key(&actions)?;
        let before = self.rows.get(&key).cloned();
        let holds = condition.is_none_or(|condition| condition.holds(before.as_ref()));
        let after = match operation {
            "PutItem" => put,
            "DeleteItem" => None,
            // An update of a row that is not there makes one. What a row cannot become is told if its condition holds.
            "UpdateItem" if holds => {
                let from = before.clone().map_or_else(|| given("Key"), Ok)?;
                Some(updated(&actions, &from)?)
            }
            _ => before.clone(),
        };
        if let Some(row) = &after {
            self.check(row)?;
        }
        let paths = actions.iter().map(|action| action.path().clone()).collect();
        Ok(Write { key, before, after, holds, changes: operation != "ConditionCheck", paths })
    }

    fn keep_key(&self, actions: &[Action]) -> Result<(), Refusal> {
        let mut names = self.schema().names();
        match names.find(|name| actions.iter().any(|action| action.path().attribute == *name)) {
            Some(name) => Err(Refusal::validation(format!(
                "One or more parameter values were invalid: Cannot update attribute {name}. This attribute is part of the \
                 key"
            ))),
            None => Ok(()),
        }
    }

    /// A row is not too large, and what indices are about is of their types.
    fn check(&self, row: &Item) -> Result<(), Refusal> {
        if item_bytes(row) > ITEM_BYTES_MAX {
            return Err(Refusal::validation("Item size has exceeded the maximum allowed size"));
        }
        for index in self.indices() {
            let schema = self.schema_of(index);
            if schema.names().all(|name| row.contains_key(name)) {
                schema.key(row)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, asking: Asking<'_>, write: Write) {
        let Write { key, after, .. } = write;
        let shown = shown(&key);
        let before = match after.clone() {
            Some(after) => self.rows.insert(key, after),
            None => self.rows.remove(&key),
        };
        if asking.habits.keeps_history {
            let Asking { now_ms: at_ms, client, .. } = asking;
            self.history.push(RowWrite { at_ms, client, key: shown, before, after });
        }
    }
}

impl Write {
    /// What `ReturnValues` asks for.
    fn returned(&self, operation: &str, request: &Map<String, Value>) -> Result<Option<Item>, Refusal> {
        let wanted = request.get("ReturnValues").and_then(Value::as_str).unwrap_or("NONE");
        let row = match (wanted, operation) {
            ("NONE", _) => None,
            ("ALL_OLD", _) => self.before.clone(),
            ("ALL_NEW", "UpdateItem") => self.after.clone(),
            ("UPDATED_OLD", "UpdateItem") => self.before.as_ref().map(|row| project(row, &self.paths)),
            ("UPDATED_NEW", "UpdateItem") => self.after.as_ref().map(|row| project(row, &self.paths)),
            _ => return Err(Refusal::validation(format!("ReturnValues can not be {wanted} of {operation}"))),
        };
        Ok(row.filter(|row| !row.is_empty()))
    }

    fn shown_on_failure(&self, request: &Map<String, Value>) -> Option<&Item> {
        let wanted = request.get("ReturnValuesOnConditionCheckFailure").and_then(Value::as_str) == Some("ALL_OLD");
        self.before.as_ref().filter(|_| wanted)
    }

    /// Why a transaction cannot be, as far as it is by this write.
    fn reason(&self, request: &Map<String, Value>) -> Value {
        if self.holds {
            return json!({ "Code": "None" });
        }
        let mut reason = json!({ "Code": "ConditionalCheckFailed", "Message": "The conditional request failed" });
        if let Some(row) = self.shown_on_failure(request) {
            reason["Item"] = json!(row);
        }
        reason
    }
}

/// What a transaction does with one row, as the operation that it amounts to.
fn action(asked: &Value) -> Result<(&'static str, &Map<String, Value>), Refusal> {
    let actions =
        [("Put", "PutItem"), ("Update", "UpdateItem"), ("Delete", "DeleteItem"), ("ConditionCheck", "ConditionCheck")];
    let mut found = actions.iter().filter_map(|(name, operation)| Some((*operation, asked[*name].as_object()?)));
    match (found.next(), found.next()) {
        (Some(action), None) => Ok(action),
        _ => Err(Refusal::validation(format!(
            "TransactItems can only contain one of Check, Put, Update or Delete, not {}",
            kind(asked)
        ))),
    }
}

fn cancelled(reasons: &[Value]) -> Refusal {
    let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let codes = codes.join(", ");
    let message = format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]");
    let mut refusal = Refusal::new(400, "TransactionCanceledException", message);
    refusal.extra = Some(("CancellationReasons", json!(reasons)));
    refusal
}
