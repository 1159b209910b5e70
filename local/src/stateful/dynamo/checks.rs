//! What DynamoDB checks and winterbaume does not.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};
use winterbaume_dynamodb::expr;
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
    match request.get("KeyConditionExpression").and_then(Value::as_str) {
        // winterbaume would go on with the half that it can read.
        Some(condition) => match expr::parse_expression(condition, &names(request), &values(request)) {
            Ok(_) => Ok(()),
            Err(message) => Err(format!("Invalid KeyConditionExpression: {message}")),
        },
        None => Ok(()),
    }
}

/// The key, or the item, has the table's key attributes, each of its type; a key has no others.
pub(super) fn keys(operation: &str, request: &Map<String, Value>, table: &Value) -> Result<(), String> {
    let (attributes, whole) = match operation {
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
