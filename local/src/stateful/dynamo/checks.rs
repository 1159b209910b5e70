//! What DynamoDB checks and winterbaume does not.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};
use winterbaume_dynamodb::expr::{self, CompOp, Expr, Operand};
use winterbaume_dynamodb::types::{AttributeValue, PathSegment, UpdateAction};

use super::legacy::EXPRESSIONS;

/// Every placeholder is used, and those that are used are there.
pub(super) fn placeholders(request: &Map<String, Value>) -> Result<(), String> {
    let text: Vec<&str> = EXPRESSIONS.iter().filter_map(|name| request.get(*name)?.as_str()).collect();
    let text = text.join(" ");
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '#' | ':' | '-');
    let used: BTreeSet<&str> = text.split(|c| !is_part(c)).filter(|word| word.starts_with(['#', ':'])).collect();
    for name in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
        let Some(given) = request.get(name).and_then(Value::as_object) else { continue };
        if text.is_empty() {
            return Err(format!("{name} can only be specified when using expressions"));
        }
        let unused: Vec<&str> = given.keys().map(String::as_str).filter(|key| !used.contains(key)).collect();
        if !unused.is_empty() {
            return Err(format!("Value provided in {name} unused in expressions: keys: {{{}}}", unused.join(", ")));
        }
    }
    Ok(())
}

/// What a request does with one item of one table, or with all.
pub(super) struct Item {
    pub(super) table: String,
    /// The operation on a single item that it amounts to.
    pub(super) operation: &'static str,
    pub(super) request: Map<String, Value>,
}

const OF_ONE_TABLE: [&str; 8] =
    ["PutItem", "GetItem", "UpdateItem", "DeleteItem", "Query", "Scan", "UpdateTimeToLive", "DescribeTimeToLive"];
const BATCH_WRITES_MAX: usize = 25;
const BATCH_READS_MAX: usize = 100;
const TRANSACTION_MAX: usize = 100;

/// Everything that the request is about.
pub(super) fn items(operation: &str, sent: &Map<String, Value>) -> Result<Vec<Item>, String> {
    if let Some(operation) = OF_ONE_TABLE.into_iter().find(|known| *known == operation) {
        let table = sent.get("TableName").and_then(Value::as_str);
        let table = table.ok_or("The parameter 'TableName' is required but was not present in the request")?.to_owned();
        return Ok(vec![Item { table, operation, request: sent.clone() }]);
    }
    let (items, n_max) = match operation {
        "BatchWriteItem" | "BatchGetItem" => {
            let n_max = if operation == "BatchGetItem" { BATCH_READS_MAX } else { BATCH_WRITES_MAX };
            (batch(operation, sent), n_max)
        }
        "TransactWriteItems" | "TransactGetItems" => (transaction(sent), TRANSACTION_MAX),
        _ => return Ok(Vec::new()),
    };
    if items.is_empty() || items.len() > n_max {
        return Err(format!("{operation} takes 1 to {n_max} items, not {}", items.len()));
    }
    Ok(items)
}

fn batch(operation: &str, sent: &Map<String, Value>) -> Vec<Item> {
    let tables = sent.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
    let mut items = Vec::new();
    for (table, asked) in tables {
        let (list, is_read) = match operation {
            "BatchGetItem" => (&asked["Keys"], true),
            _ => (asked, false),
        };
        for asked in list.as_array().into_iter().flatten() {
            let (operation, request) = match asked {
                key if is_read => ("GetItem", Map::from_iter([("Key".to_owned(), key.clone())])),
                asked if asked["PutRequest"].is_object() => ("PutItem", object(&asked["PutRequest"])),
                asked => ("DeleteItem", object(&asked["DeleteRequest"])),
            };
            items.push(Item { table: table.clone(), operation, request });
        }
    }
    items
}

fn transaction(sent: &Map<String, Value>) -> Vec<Item> {
    let asked = sent.get("TransactItems").and_then(Value::as_array).into_iter().flatten();
    let actions = asked.flat_map(|item| item.as_object().into_iter().flatten());
    let item = |(name, request): (&String, &Value)| Item {
        table: request["TableName"].as_str().unwrap_or("").to_owned(),
        operation: match name.as_str() {
            "Put" => "PutItem",
            "Update" => "UpdateItem",
            "Delete" => "DeleteItem",
            // `ConditionCheck` has a key too.
            _ => "GetItem",
        },
        request: object(request),
    };
    actions.map(item).collect()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// The key, or the item, has the table's key attributes, each of its type; a key has no others. A query has conditions
/// on the keys of the table, or of its index, and on nothing else.
pub(super) fn keys(operation: &str, request: &Map<String, Value>, table: &Value) -> Result<(), String> {
    let (attributes, whole) = match operation {
        "Query" => return query(request, table),
        "PutItem" => (request.get("Item"), false),
        "GetItem" | "UpdateItem" | "DeleteItem" => (request.get("Key"), true),
        _ => return Ok(()),
    };
    let Some(attributes) = attributes.and_then(Value::as_object) else {
        return Err("One or more parameter values were invalid: the item or its key is missing".to_owned());
    };
    let schema: Vec<&str> = key_names(table).collect();
    if whole && (attributes.len() != schema.len() || !schema.iter().all(|name| attributes.contains_key(*name))) {
        return Err("The provided key element does not match the schema".to_owned());
    }
    for name in schema {
        let Some(value) = attributes.get(name) else {
            return Err(format!("One or more parameter values were invalid: Missing the key {name} in the item"));
        };
        let expected = key_type(table, name);
        let actual = value.as_object().and_then(|value| value.keys().next()).map_or("", String::as_str);
        if expected.is_some_and(|expected| expected != actual) {
            return Err(match whole {
                true => "The provided key element does not match the schema".to_owned(),
                false => format!(
                    "One or more parameter values were invalid: Type mismatch for key {name} expected: {} actual: {actual}",
                    expected.unwrap_or_default()
                ),
            });
        }
        if value[actual] == "" {
            return Err(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                 empty string value. Key: {name}"
            ));
        }
    }
    if operation == "UpdateItem"
        && let Some(name) = key_names(table).find(|name| changed(request).iter().any(|changed| changed == name))
    {
        return Err(format!(
            "One or more parameter values were invalid: Cannot update attribute {name}. This attribute is part of the key"
        ));
    }
    Ok(())
}

/// winterbaume leaves out a condition that is on no key, or is none of those that a sort key can have.
fn query(request: &Map<String, Value>, table: &Value) -> Result<(), String> {
    let schema = match request.get("IndexName").and_then(Value::as_str) {
        None => &table["KeySchema"],
        Some(name) => {
            let indexes = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
            let mut indexes = indexes.into_iter().flat_map(|kind| table[kind].as_array().into_iter().flatten());
            let index = indexes.find(|index| index["IndexName"] == name);
            &index.ok_or_else(|| format!("The table does not have the specified index: {name}"))?["KeySchema"]
        }
    };
    let Some(condition) = request.get("KeyConditionExpression").and_then(Value::as_str) else {
        return Err("Either the KeyConditions or KeyConditionExpression parameter must be specified".to_owned());
    };
    let condition = expr::parse_expression(condition, &names(request), &values(request))
        .map_err(|message| format!("Invalid KeyConditionExpression: {message}"))?;
    let mut conditions = Vec::new();
    key_conditions(&condition, &mut conditions)?;
    let of_type = |kind: &str| {
        let mut elements = schema.as_array().into_iter().flatten();
        elements.find(|element| element["KeyType"] == kind).and_then(|element| element["AttributeName"].as_str())
    };
    let on = |name: Option<&str>| conditions.iter().filter(|(on, _)| Some(*on) == name).count();
    let hash = conditions.iter().any(|(name, equal)| Some(*name) == of_type("HASH") && *equal);
    let known = on(of_type("HASH")) + of_type("RANGE").map_or(0, |range| on(Some(range)));
    if !hash || known != conditions.len() || conditions.len() > 2 || on(of_type("HASH")) > 1 {
        return Err("Query condition missed key schema element, or has one too many".to_owned());
    }
    Ok(())
}

/// The attributes that the condition is on, each with whether it is for equality.
fn key_conditions<'a>(condition: &'a Expr, found: &mut Vec<(&'a str, bool)>) -> Result<(), String> {
    let name = |path: &'a [PathSegment]| match path {
        [PathSegment::Attr(name)] => Ok(name.as_str()),
        _ => Err("KeyConditionExpressions must only contain key attributes".to_owned()),
    };
    match condition {
        Expr::And(one, other) => {
            key_conditions(one, found)?;
            key_conditions(other, found)?;
        }
        Expr::Comparison(Operand::Path(path), operator, Operand::Value(_)) if *operator != CompOp::Ne => {
            found.push((name(path)?, *operator == CompOp::Eq));
        }
        Expr::Between(Operand::Path(path), Operand::Value(_), Operand::Value(_))
        | Expr::BeginsWith(path, Operand::Value(_)) => {
            found.push((name(path)?, false));
        }
        _ => return Err("Invalid operator used in KeyConditionExpression".to_owned()),
    }
    Ok(())
}

/// The attributes that `UPDATED_OLD` and `UPDATED_NEW` are about.
pub(super) fn updated(request: &Map<String, Value>) -> Result<BTreeSet<String>, String> {
    let paths = paths(request).unwrap_or_default();
    if paths.iter().any(|path| path.len() > 1) {
        return Err("the local cloud has UPDATED_OLD and UPDATED_NEW for whole attributes only".to_owned());
    }
    Ok(paths.iter().filter_map(|path| top(path)).collect())
}

/// `Select` agrees with the projection.
pub(super) fn select(select: Option<&Value>, request: &Map<String, Value>) -> Result<(), String> {
    let projected = request.get("ProjectionExpression").is_some_and(|value| !value.is_null());
    match (select.and_then(Value::as_str), projected) {
        (None, _) | (Some("ALL_ATTRIBUTES" | "COUNT"), false) | (Some("SPECIFIC_ATTRIBUTES"), true) => Ok(()),
        (Some("SPECIFIC_ATTRIBUTES"), false) => {
            Err("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
                .to_owned())
        }
        (Some(other @ ("ALL_ATTRIBUTES" | "COUNT")), true) => {
            Err(format!("Cannot specify the ProjectionExpression when choosing to get {other}"))
        }
        (Some(other), _) => Err(format!("the local cloud does not support Select {other}")),
    }
}

fn changed(request: &Map<String, Value>) -> Vec<String> {
    // An expression that cannot be read is winterbaume's to refuse.
    paths(request).unwrap_or_default().iter().filter_map(|path| top(path)).collect()
}

fn paths(request: &Map<String, Value>) -> Option<Vec<Vec<PathSegment>>> {
    let expression = request.get("UpdateExpression")?.as_str()?;
    let actions = expr::parse_update_expression(expression, &names(request), &values(request)).ok()?;
    let path = |action| match action {
        UpdateAction::Set { path, .. } | UpdateAction::Remove(path) => path,
        UpdateAction::Add(name, _) | UpdateAction::Delete(name, _) => vec![PathSegment::Attr(name)],
    };
    Some(actions.into_iter().map(path).collect())
}

fn top(path: &[PathSegment]) -> Option<String> {
    match path.first() {
        Some(PathSegment::Attr(name)) => Some(name.clone()),
        Some(PathSegment::Index(_)) | None => None,
    }
}

fn names(request: &Map<String, Value>) -> HashMap<String, String> {
    let given = request.get("ExpressionAttributeNames").and_then(Value::as_object).into_iter().flatten();
    given.filter_map(|(key, name)| Some((key.clone(), name.as_str()?.to_owned()))).collect()
}

fn values(request: &Map<String, Value>) -> HashMap<String, AttributeValue> {
    let given = request.get("ExpressionAttributeValues").and_then(Value::as_object).into_iter().flatten();
    given.filter_map(|(key, value)| Some((key.clone(), serde_json::from_value(value.clone()).ok()?))).collect()
}

fn key_names(table: &Value) -> impl Iterator<Item = &str> {
    table["KeySchema"].as_array().into_iter().flatten().filter_map(|element| element["AttributeName"].as_str())
}

fn key_type<'a>(table: &'a Value, name: &str) -> Option<&'a str> {
    let mut definitions = table["AttributeDefinitions"].as_array().into_iter().flatten();
    definitions.find(|definition| definition["AttributeName"] == name)?["AttributeType"].as_str()
}
