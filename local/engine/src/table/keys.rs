//! Keys of tables and of their indices.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::expression::{Comparison, Condition, Operand};
use super::number::Number;
use super::value::{Item, kind, number};
use crate::Refusal;

/// The bytes of a hash key and of a range key.
const BYTES_MAX: [usize; 2] = [2_048, 1_024];

/// One attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Element {
    pub(super) attribute_name: String,
    /// `HASH` or `RANGE`.
    pub(super) key_type: String,
}

/// The type of an attribute that is part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) attribute_name: String,
    /// `S`, `N` or `B`.
    pub(super) attribute_type: String,
}

/// The value of one attribute of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    Number(Number),
    Text(String),
}

/// Where a row is: by the attribute that is hashed, and by that which orders.
pub(super) type Key = (Part, Option<Part>);

/// A key, with the types of its attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema<'a> {
    pub(super) elements: &'a [Element],
    pub(super) definitions: &'a [Definition],
}

impl<'a> Schema<'a> {
    /// The key of a row; the error says which attribute is missing or of another type.
    pub(super) fn key(self, row: &Item) -> Result<Key, Refusal> {
        let mut parts = Vec::with_capacity(self.elements.len());
        for (element, bytes_max) in self.elements.iter().zip(BYTES_MAX) {
            parts.push(self.part(&element.attribute_name, row, bytes_max).map_err(Refusal::validation)?);
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next()) {
            (Some(hash), range) => Ok((hash, range)),
            (None, _) => Err(mismatch()),
        }
    }

    /// The key of a request, which has the attributes of the key and no others.
    pub(super) fn key_alone(self, attributes: &Item) -> Result<Key, Refusal> {
        let names: Vec<&str> = self.names().collect();
        if attributes.len() != names.len() || !names.iter().all(|name| attributes.contains_key(*name)) {
            return Err(mismatch());
        }
        let typed = |name: &&str| kind(&attributes[*name]) == self.kind(name);
        if names.iter().all(typed) { self.key(attributes) } else { Err(mismatch()) }
    }

    /// The attributes of the key, of a row.
    pub(super) fn attributes(self, row: &Item) -> Item {
        let attribute = |name: &str| Some((name.to_owned(), row.get(name)?.clone()));
        self.names().filter_map(attribute).collect()
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.elements.iter().map(|element| element.attribute_name.as_str())
    }

    fn kind(self, name: &str) -> &'a str {
        let definition = self.definitions.iter().find(|definition| definition.attribute_name == name);
        definition.map_or("", |definition| &definition.attribute_type)
    }

    fn part(self, name: &str, row: &Item, bytes_max: usize) -> Result<Part, String> {
        const INVALID: &str = "One or more parameter values were invalid: ";
        let value = row.get(name).ok_or_else(|| format!("{INVALID}Missing the key {name} in the item"))?;
        let expected = self.kind(name);
        let part = match kind(value) {
            "S" => value["S"].as_str().map(|text| Part::Text(text.to_owned())),
            "N" => number(value).map(Part::Number),
            "B" => Some(Part::Bytes(bytes_of(value))),
            _ => None,
        };
        let part = part.filter(|_| kind(value) == expected).ok_or_else(|| {
            format!("{INVALID}Type mismatch for key {name} expected: {expected} actual: {}", kind(value))
        })?;
        match &part {
            Part::Text(text) if text.is_empty() => Err(empty(name, "string")),
            Part::Bytes(bytes) if bytes.is_empty() => Err(empty(name, "binary")),
            Part::Text(text) if text.len() > bytes_max => Err(too_long(name, bytes_max)),
            Part::Bytes(bytes) if bytes.len() > bytes_max => Err(too_long(name, bytes_max)),
            _ => Ok(part),
        }
    }

    /// A query asks for one value of the hash key, and for at most one range of the other.
    pub(super) fn judge(self, condition: &Condition) -> Result<(), Refusal> {
        let parts = match condition {
            Condition::All(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let parts = parts.iter().map(key_condition).collect::<Result<Vec<_>, _>>()?;
        let mut names = self.names();
        let (hash, range) = (names.next(), names.next());
        let on = |name: Option<&str>| parts.iter().filter(|(on, _)| Some(*on) == name).count();
        let hashed = parts.iter().any(|(on, equal)| Some(*on) == hash && *equal);
        let known = on(hash) + range.map_or(0, |range| on(Some(range)));
        if !hashed || known != parts.len() || parts.len() > 2 || on(hash) > 1 {
            return Err(Refusal::validation("Query condition missed key schema element, or has one too many"));
        }
        Ok(())
    }
}

/// The attribute that a condition is on, and whether it is for equality.
fn key_condition(condition: &Condition) -> Result<(&str, bool), Refusal> {
    let (path, equal) = match condition {
        Condition::Compare(Operand::Path(path), comparison, Operand::Value(_))
            if *comparison != Comparison::NotEqual =>
        {
            (path, *comparison == Comparison::Equal)
        }
        Condition::Between(Operand::Path(path), Operand::Value(_), Operand::Value(_))
        | Condition::BeginsWith(Operand::Path(path), Operand::Value(_)) => (path, false),
        _ => return Err(Refusal::validation("Invalid operator used in KeyConditionExpression")),
    };
    if !path.rest.is_empty() {
        return Err(Refusal::validation("KeyConditionExpressions must only contain key attributes"));
    }
    Ok((&path.attribute, equal))
}

impl Part {
    /// As it is saved, and as it is in the key of a row.
    pub(super) fn saved(&self) -> String {
        match self {
            Self::Text(text) => format!("S:{text}"),
            Self::Number(number) => format!("N:{number}"),
            Self::Bytes(bytes) => format!("B:{}", STANDARD.encode(bytes)),
        }
    }
}

/// The bytes of a byte string.
pub(super) fn bytes_of(value: &Value) -> Vec<u8> {
    value["B"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default()
}

/// Both lists as the service describes them.
pub(super) fn described(elements: &[Element]) -> Value {
    let element = |element: &Element| json!({ "AttributeName": element.attribute_name, "KeyType": element.key_type });
    elements.iter().map(element).collect()
}

/// The key of a request to make a table or an index.
pub(super) fn elements(schema: &Value) -> Result<Vec<Element>, Refusal> {
    let elements: Vec<Element> = texts(schema, ["AttributeName", "KeyType"])
        .map(|[attribute_name, key_type]| Element { attribute_name, key_type })
        .collect();
    match elements.iter().map(|element| element.key_type.as_str()).collect::<Vec<_>>()[..] {
        ["HASH"] | ["HASH", "RANGE"] => Ok(elements),
        _ => Err(Refusal::validation("Invalid KeySchema: one HASH element, and at most one RANGE element behind it")),
    }
}

/// The types of a request to make a table or an index.
pub(super) fn definitions(definitions: &Value) -> Result<Vec<Definition>, Refusal> {
    let definitions: Vec<Definition> = texts(definitions, ["AttributeName", "AttributeType"])
        .map(|[attribute_name, attribute_type]| Definition { attribute_name, attribute_type })
        .collect();
    match definitions.iter().find(|definition| !["S", "N", "B"].contains(&definition.attribute_type.as_str())) {
        Some(wrong) => {
            let message = format!("the AttributeType of {} must be S, N or B", wrong.attribute_name);
            Err(Refusal::validation(message))
        }
        None => Ok(definitions),
    }
}

fn texts<const N: usize>(list: &Value, names: [&'static str; N]) -> impl Iterator<Item = [String; N]> {
    let list = list.as_array().into_iter().flatten();
    list.map(move |entry| names.map(|name| entry[name].as_str().unwrap_or_default().to_owned()))
}

fn mismatch() -> Refusal {
    Refusal::validation("The provided key element does not match the schema")
}

fn empty(name: &str, what: &str) -> String {
    format!(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {what} \
         value. Key: {name}"
    )
}

fn too_long(name: &str, bytes_max: usize) -> String {
    format!("One or more parameter values were invalid: the key {name} is longer than {bytes_max} bytes")
}

/// The rows of a table as they are saved: by hash key, then by range key.
pub(super) fn grouped(rows: &BTreeMap<Key, Item>) -> BTreeMap<String, BTreeMap<String, &Item>> {
    let mut groups: BTreeMap<String, BTreeMap<String, &Item>> = BTreeMap::new();
    for ((hash, range), row) in rows {
        let range = range.as_ref().map_or_else(String::new, Part::saved);
        groups.entry(hash.saved()).or_default().insert(range, row);
    }
    groups
}
