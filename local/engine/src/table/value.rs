//! Values of attributes, as DynamoDB's JSON has them: `{"S": "text"}`, `{"N": "1"}`, `{"SS": ["a", "b"]}`.
//!
//! **Promises** what is kept is well-formed: one type, numbers in their one form, sets without doubles.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::number::Number;
use crate::Refusal;

/// A row: attributes as DynamoDB's JSON, by name.
pub type Item = BTreeMap<String, Value>;

const DEPTH_MAX: u8 = 32;
const SETS: [(&str, &str); 3] = [("SS", "S"), ("NS", "N"), ("BS", "B")];

/// The attributes of a row, or of a key.
pub(super) fn item(attributes: &Value) -> Result<Item, Refusal> {
    let Some(attributes) = attributes.as_object() else {
        return Err(Refusal::validation("One or more parameter values were invalid: the item or its key is missing"));
    };
    attributes.iter().map(|(name, value)| Ok((name.clone(), checked(value)?))).collect()
}

/// A value in the form in which it is kept.
pub(super) fn checked(value: &Value) -> Result<Value, Refusal> {
    well_formed(value, 0).map_err(Refusal::validation)
}

fn well_formed(value: &Value, depth: u8) -> Result<Value, String> {
    const INVALID: &str = "One or more parameter values were invalid: ";
    let (kind, inner) = typed(value).ok_or_else(|| {
        format!("{INVALID}Supplied AttributeValue has more than one datatypes set, must contain exactly one: {value}")
    })?;
    let scalar = |kind: &str, inner: &Value| match (kind, inner) {
        ("S", Value::String(_)) | ("BOOL", Value::Bool(_)) | ("NULL", Value::Bool(true)) => Some(inner.clone()),
        ("N", Value::String(text)) => Some(Number::parse(text)?.to_string().into()),
        ("B", Value::String(text)) => STANDARD.decode(text).ok().map(|_| inner.clone()),
        _ => None,
    };
    if depth > DEPTH_MAX {
        return Err(format!("{INVALID}Nesting Levels have exceeded supported limits"));
    }
    let inner = match (kind, inner) {
        ("L", Value::Array(list)) => {
            list.iter().map(|value| well_formed(value, depth + 1)).collect::<Result<Value, _>>()?
        }
        ("M", Value::Object(map)) => {
            let entry = |(name, value): (&String, &Value)| Ok((name.clone(), well_formed(value, depth + 1)?));
            Value::Object(map.iter().map(entry).collect::<Result<_, String>>()?)
        }
        (kind, Value::Array(members)) => {
            let of = SETS.iter().find(|(set, _)| *set == kind).map(|(_, of)| *of);
            let members = of.and_then(|of| members.iter().map(|member| scalar(of, member)).collect::<Option<Vec<_>>>());
            let members = members.ok_or_else(|| format!("{INVALID}{value} is not of the type {kind}"))?;
            let distinct: BTreeSet<String> = members.iter().map(Value::to_string).collect();
            if members.is_empty() || distinct.len() != members.len() {
                return Err(format!("{INVALID}a set is neither empty nor has doubles: {value}"));
            }
            members.into()
        }
        (kind, inner) => scalar(kind, inner).ok_or_else(|| format!("{INVALID}{value} is not of the type {kind}"))?,
    };
    Ok(json!({ kind: inner }))
}

/// The type of a value, and what it is of.
pub(super) fn typed(value: &Value) -> Option<(&str, &Value)> {
    let mut entries = value.as_object()?.iter().filter(|(_, value)| !value.is_null());
    let (kind, inner) = entries.next()?;
    entries.next().is_none().then_some((kind.as_str(), inner))
}

/// The type of a value.
pub(super) fn kind(value: &Value) -> &str {
    typed(value).map_or("", |(kind, _)| kind)
}

/// The members of a set.
pub(super) fn members(value: &Value) -> Option<(&str, &Vec<Value>)> {
    let (kind, inner) = typed(value)?;
    SETS.iter().any(|(set, _)| *set == kind).then_some((kind, inner.as_array()?))
}

/// The number that a value is.
pub(super) fn number(value: &Value) -> Option<Number> {
    value["N"].as_str().and_then(Number::parse)
}

/// Whether values are equal as DynamoDB sees it: sets have no order.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    let sorted = |members: &Vec<Value>| members.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    match (members(a), members(b)) {
        (Some((one, a)), Some((other, b))) => one == other && sorted(a) == sorted(b),
        _ => a == b,
    }
}

/// The order of two texts, numbers or byte strings; none of anything else.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let bytes = |value: &Value| STANDARD.decode(value["B"].as_str()?).ok();
    match (kind(a), kind(b)) {
        ("S", "S") => Some(a["S"].as_str()?.cmp(b["S"].as_str()?)),
        ("N", "N") => Some(number(a)?.cmp(&number(b)?)),
        ("B", "B") => Some(bytes(a)?.cmp(&bytes(b)?)),
        _ => None,
    }
}

/// The bytes that the service counts for a row: names and values.
pub(super) fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + bytes(value)).sum()
}

/// The bytes that the service counts for a value, to within a few.
pub(super) fn bytes(value: &Value) -> usize {
    match typed(value) {
        Some(("S", Value::String(text))) => text.len(),
        Some(("N", Value::String(text))) => text.len().div_ceil(2) + 1,
        Some(("B", Value::String(text))) => text.len() / 4 * 3,
        Some(("L", Value::Array(list))) => 3 + list.iter().map(|value| 1 + bytes(value)).sum::<usize>(),
        Some(("M", Value::Object(map))) => 3 + map.iter().map(|(name, v)| 1 + name.len() + bytes(v)).sum::<usize>(),
        Some((_, Value::Array(set))) => set.iter().map(|member| member.as_str().map_or(0, str::len)).sum(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_well_formed() {
        let kept = checked(&json!({ "L": [{ "N": "01.0" }, { "M": { "a": { "NS": ["2", "1e1"] } } }] })).unwrap();
        assert_eq!(kept, json!({ "L": [{ "N": "1" }, { "M": { "a": { "NS": ["2", "10"] } } }] }));
        for wrong in [
            json!({}),
            json!("text"),
            json!({ "S": "a", "N": "1" }),
            json!({ "S": 1 }),
            json!({ "N": "x" }),
            json!({ "B": "%" }),
            json!({ "NULL": false }),
            json!({ "SS": [] }),
            json!({ "NS": ["1", "1.0"] }),
            json!({ "X": "a" }),
            json!({ "L": [{ "S": 1 }] }),
        ] {
            assert!(checked(&wrong).is_err(), "{wrong}");
        }
        let deep = (0..40).fold(json!({ "S": "a" }), |value, _| json!({ "L": [value] }));
        assert!(checked(&deep).is_err());
    }

    #[test]
    fn values_are_compared_by_their_type() {
        assert!(equal(&json!({ "SS": ["a", "b"] }), &json!({ "SS": ["b", "a"] })));
        assert!(!equal(&json!({ "S": "1" }), &json!({ "N": "1" })));
        assert_eq!(order(&json!({ "N": "10" }), &json!({ "N": "9" })), Some(Ordering::Greater));
        assert_eq!(order(&json!({ "S": "10" }), &json!({ "S": "9" })), Some(Ordering::Less));
        assert_eq!(order(&json!({ "B": "/w==" }), &json!({ "B": "AA==" })), Some(Ordering::Greater));
        assert_eq!(order(&json!({ "S": "1" }), &json!({ "N": "1" })), None);
        assert_eq!(item_bytes(&Item::from([("ab".to_owned(), json!({ "S": "cde" }))])), 5);
    }
}
