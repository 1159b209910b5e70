//! Conditions and updates as they were written before there were expressions, put into expressions: KCL writes its
//! leases so.
//!
//! **Promises** the same outcome as `Expected`, `AttributeUpdates`, `KeyConditions`, `QueryFilter`, `ScanFilter` and
//! `AttributesToGet` have in DynamoDB, or its `ValidationException`.
//! **Not here**: whether the operation has the parameter (`parameters`).

use serde_json::{Map, Value, json};

use super::expression::EXPRESSIONS;

/// What was there before expressions.
const LEGACY: [&str; 7] = [
    "Expected",
    "AttributeUpdates",
    "ConditionalOperator",
    "KeyConditions",
    "QueryFilter",
    "ScanFilter",
    "AttributesToGet",
];

const INVALID: &str = "One or more parameter values were invalid: ";

/// The request with expressions only. The error is the message of a `ValidationException`.
pub(super) fn translated(mut request: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let present = |names: &[&'static str]| -> Vec<&'static str> {
        names.iter().copied().filter(|name| request.get(*name).is_some_and(|value| !value.is_null())).collect()
    };
    let (legacy, expressions) = (present(&LEGACY), present(&EXPRESSIONS));
    if legacy.is_empty() {
        return Ok(request);
    }
    if !expressions.is_empty() {
        return Err(format!(
            "Can not use both expression and non-expression parameters in the same request: Non-expression \
             parameters: {{{}}} Expression parameters: {{{}}}",
            legacy.join(", "),
            expressions.join(", ")
        ));
    }
    if let [name, ..] = present(&["ExpressionAttributeNames", "ExpressionAttributeValues"])[..] {
        return Err(format!("{name} can only be specified when using expressions"));
    }

    let mut expressions = Expressions::default();
    let operator = request.remove("ConditionalOperator");
    let mut n_conditions = 0;
    for (name, expression) in [
        ("Expected", "ConditionExpression"),
        ("QueryFilter", "FilterExpression"),
        ("ScanFilter", "FilterExpression"),
        ("KeyConditions", "KeyConditionExpression"),
    ] {
        let Some(conditions) = taken(&mut request, name)? else { continue };
        let join = match name {
            "KeyConditions" => " AND ",
            _ => {
                n_conditions += conditions.len();
                joined(operator.as_ref())?
            }
        };
        let mut parts = Vec::with_capacity(conditions.len());
        for (attribute, condition) in &conditions {
            parts.push(match name {
                "Expected" => expressions.expected(attribute, condition)?,
                _ => expressions.condition(attribute, condition)?,
            });
        }
        if !parts.is_empty() {
            request.insert(expression.to_owned(), parts.join(join).into());
        }
    }
    if operator.is_some() && n_conditions < 2 {
        let message = match n_conditions {
            0 => "ConditionalOperator cannot be used without Filter or Expected",
            _ => "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        };
        return Err(message.to_owned());
    }
    if let Some(updates) = taken(&mut request, "AttributeUpdates")?.filter(|updates| !updates.is_empty()) {
        request.insert("UpdateExpression".to_owned(), expressions.updates(&updates)?.into());
    }
    if let Some(attributes) = request.remove("AttributesToGet") {
        let attributes = attributes.as_array().filter(|attributes| !attributes.is_empty());
        let attributes = attributes.ok_or("AttributesToGet must have length greater than or equal to 1")?;
        let names: Vec<String> =
            attributes.iter().filter_map(Value::as_str).map(|name| expressions.name(name)).collect();
        request.insert("ProjectionExpression".to_owned(), names.join(", ").into());
    }
    expressions.put_into(&mut request);
    Ok(request)
}

fn taken(request: &mut Map<String, Value>, name: &str) -> Result<Option<Map<String, Value>>, String> {
    match request.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(entries)) => Ok(Some(entries)),
        Some(_) => Err(format!("{name} must be a map of attributes")),
    }
}

fn joined(operator: Option<&Value>) -> Result<&'static str, String> {
    match operator.map(Value::as_str) {
        None | Some(Some("AND")) => Ok(" AND "),
        Some(Some("OR")) => Ok(" OR "),
        Some(_) => Err("ConditionalOperator must be AND or OR".to_owned()),
    }
}

/// The placeholders of all expressions of a request.
#[derive(Default)]
struct Expressions {
    names: Map<String, Value>,
    values: Map<String, Value>,
}

impl Expressions {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#l{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.into());
        placeholder
    }

    fn value(&mut self, value: &Value) -> String {
        let placeholder = format!(":l{}", self.values.len());
        self.values.insert(placeholder.clone(), value.clone());
        placeholder
    }

    fn put_into(self, request: &mut Map<String, Value>) {
        for (name, placeholders) in
            [("ExpressionAttributeNames", self.names), ("ExpressionAttributeValues", self.values)]
        {
            if !placeholders.is_empty() {
                request.insert(name.to_owned(), placeholders.into());
            }
        }
    }

    /// A condition of `Expected`: a value, or that there is none, or a comparison.
    fn expected(&mut self, attribute: &str, condition: &Value) -> Result<String, String> {
        let has = |name: &str| condition.get(name).is_some_and(|value| !value.is_null());
        if has("AttributeValueList") && has("Value") {
            return Err(format!(
                "{INVALID}Value and AttributeValueList cannot be used together for Attribute: {attribute}"
            ));
        }
        if has("ComparisonOperator") {
            if has("Exists") {
                return Err(format!(
                    "{INVALID}Exists and ComparisonOperator cannot be used together for Attribute: {attribute}"
                ));
            }
            return self.condition(attribute, condition);
        }
        if has("AttributeValueList") {
            return Err(format!(
                "{INVALID}AttributeValueList can only be used with a ComparisonOperator for Attribute: {attribute}"
            ));
        }
        let exists = condition.get("Exists").and_then(Value::as_bool);
        match (exists.unwrap_or(true), condition.get("Value").filter(|value| !value.is_null())) {
            (true, Some(value)) => Ok(format!("{} = {}", self.name(attribute), self.value(value))),
            (false, None) => Ok(format!("attribute_not_exists({})", self.name(attribute))),
            (true, None) => Err(format!(
                "{INVALID}Value must be provided when Exists is {} for Attribute: {attribute}",
                exists.map_or("null", |_| "true")
            )),
            (false, Some(_)) => {
                Err(format!("{INVALID}Value cannot be used when Exists is false for Attribute: {attribute}"))
            }
        }
    }

    /// A comparison, of a filter or of `Expected`.
    fn condition(&mut self, attribute: &str, condition: &Value) -> Result<String, String> {
        let operator = condition["ComparisonOperator"].as_str().unwrap_or("");
        let single = condition.get("Value").filter(|value| !value.is_null());
        let values: Vec<&Value> =
            single.into_iter().chain(condition["AttributeValueList"].as_array().into_iter().flatten()).collect();
        let (n_min, n_max) = match operator {
            "NULL" | "NOT_NULL" => (0, 0),
            "BETWEEN" => (2, 2),
            "IN" => (1, usize::MAX),
            "EQ" | "NE" | "LE" | "LT" | "GE" | "GT" | "CONTAINS" | "NOT_CONTAINS" | "BEGINS_WITH" => (1, 1),
            _ => {
                return Err(format!("{INVALID}ComparisonOperator is not known: {operator} for Attribute: {attribute}"));
            }
        };
        if values.is_empty() && n_min > 0 {
            return Err(format!(
                "{INVALID}Value or AttributeValueList must be used with ComparisonOperator: {operator} for Attribute: \
                 {attribute}"
            ));
        }
        if !(n_min..=n_max).contains(&values.len()) {
            return Err(format!("{INVALID}Invalid number of argument(s) for the {operator} ComparisonOperator"));
        }
        let name = self.name(attribute);
        let values: Vec<String> = values.into_iter().map(|value| self.value(value)).collect();
        Ok(match (operator, values.as_slice()) {
            ("NULL", _) => format!("attribute_not_exists({name})"),
            ("NOT_NULL", _) => format!("attribute_exists({name})"),
            ("EQ", [value]) => format!("{name} = {value}"),
            // Also of an attribute that is not there, or of another type.
            ("NE", [value]) => format!("NOT ({name} = {value})"),
            ("LE", [value]) => format!("{name} <= {value}"),
            ("LT", [value]) => format!("{name} < {value}"),
            ("GE", [value]) => format!("{name} >= {value}"),
            ("GT", [value]) => format!("{name} > {value}"),
            ("CONTAINS", [value]) => format!("contains({name}, {value})"),
            ("NOT_CONTAINS", [value]) => format!("NOT contains({name}, {value})"),
            ("BEGINS_WITH", [value]) => format!("begins_with({name}, {value})"),
            ("BETWEEN", [low, high]) => format!("({name} BETWEEN {low} AND {high})"),
            _ => format!("{name} IN ({})", values.join(", ")),
        })
    }

    /// `AttributeUpdates` as an update expression.
    fn updates(&mut self, updates: &Map<String, Value>) -> Result<String, String> {
        let (mut set, mut remove, mut add, mut delete) = (vec![], vec![], vec![], vec![]);
        for (attribute, update) in updates {
            let value = update.get("Value").filter(|value| !value.is_null());
            let action = update.get("Action").and_then(Value::as_str).unwrap_or("PUT");
            let kind = value.and_then(kind).unwrap_or("");
            let unsupported = || format!("{INVALID}{action} action is not supported for the type {kind}");
            let name = self.name(attribute);
            match (action, value) {
                ("DELETE", None) => remove.push(name),
                ("DELETE", Some(value)) if ["SS", "NS", "BS"].contains(&kind) => {
                    delete.push(format!("{name} {}", self.value(value)));
                }
                ("PUT" | "ADD", None) => {
                    return Err(format!("{INVALID}Only DELETE action is allowed when no attribute value is specified"));
                }
                ("PUT", Some(value)) => set.push(format!("{name} = {}", self.value(value))),
                ("ADD", Some(value)) if ["N", "SS", "NS", "BS"].contains(&kind) => {
                    add.push(format!("{name} {}", self.value(value)));
                }
                ("ADD", Some(value)) if kind == "L" => {
                    let (empty, value) = (self.value(&json!({ "L": [] })), self.value(value));
                    set.push(format!("{name} = list_append(if_not_exists({name}, {empty}), {value})"));
                }
                _ => return Err(unsupported()),
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove), ("ADD", add), ("DELETE", delete)];
        let clauses = clauses.into_iter().filter(|(_, actions)| !actions.is_empty());
        Ok(clauses.map(|(word, actions)| format!("{word} {}", actions.join(", "))).collect::<Vec<_>>().join(" "))
    }
}

/// The type of an attribute's value: its only key.
fn kind(value: &Value) -> Option<&str> {
    value.as_object()?.keys().next().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(request: Value) -> Result<Value, String> {
        let Value::Object(request) = request else { unreachable!() };
        translated(request).map(Value::Object)
    }

    #[test]
    fn what_is_written_in_expressions_stays_as_it_is() {
        let request =
            json!({ "TableName": "t", "ConditionExpression": "a = :a", "ExpressionAttributeValues": { ":a": 1 } });
        assert_eq!(of(request.clone()), Ok(request));
    }

    #[test]
    fn a_lease_as_kcl_renews_it() {
        let renewed = of(json!({
            "AttributeUpdates": {
                "leaseCounter": { "Value": { "N": "2" }, "Action": "PUT" },
                "pending": { "Action": "DELETE" },
                "n": { "Value": { "N": "1" }, "Action": "ADD" },
            },
            "Expected": { "leaseCounter": { "Value": { "N": "1" } }, "leaseOwner": { "Exists": false } },
        }));
        assert_eq!(
            renewed,
            Ok(json!({
                "ConditionExpression": "#l0 = :l0 AND attribute_not_exists(#l1)",
                "UpdateExpression": "SET #l2 = :l1 REMOVE #l4 ADD #l3 :l2",
                "ExpressionAttributeNames": {
                    "#l0": "leaseCounter", "#l1": "leaseOwner", "#l2": "leaseCounter", "#l3": "n", "#l4": "pending",
                },
                "ExpressionAttributeValues": { ":l0": { "N": "1" }, ":l1": { "N": "2" }, ":l2": { "N": "1" } },
            }))
        );
    }

    #[test]
    fn what_the_service_refuses_is_refused() {
        let value = json!({ "N": "1" });
        for (request, part) in [
            (json!({ "Expected": {}, "ConditionExpression": "a" }), "Non-expression parameters: {Expected}"),
            (json!({ "Expected": {}, "ExpressionAttributeNames": {} }), "can only be specified when"),
            (json!({ "ConditionalOperator": "OR" }), "without Filter or Expected"),
            (json!({ "ConditionalOperator": "OR", "Expected": { "a": { "Value": value } } }), "two or more elements"),
            (json!({ "Expected": { "a": {} } }), "Value must be provided when Exists is null"),
            (json!({ "Expected": { "a": { "Exists": true } } }), "Value must be provided when Exists is true"),
            (
                json!({ "Expected": { "a": { "Exists": false, "Value": value } } }),
                "cannot be used when Exists is false",
            ),
            (json!({ "Expected": { "a": { "ComparisonOperator": "EQ" } } }), "must be used with ComparisonOperator"),
            (json!({ "Expected": { "a": { "ComparisonOperator": "NULL", "Value": value } } }), "Invalid number"),
            (json!({ "Expected": { "a": { "ComparisonOperator": "LIKE", "Value": value } } }), "not known: LIKE"),
            (json!({ "Expected": { "a": { "AttributeValueList": [value] } } }), "only be used with a Comparison"),
            (json!({ "AttributeUpdates": { "a": { "Action": "PUT" } } }), "Only DELETE action"),
            (json!({ "AttributeUpdates": { "a": { "Action": "ADD", "Value": { "S": "x" } } } }), "ADD action is not"),
            (json!({ "AttributesToGet": [] }), "length"),
        ] {
            let refused = of(request.clone());
            assert!(refused.as_ref().is_err_and(|message| message.contains(part)), "{request}: {refused:?}");
        }
    }
}
