//! What conditions mean for a row.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::expression::{Comparison, Condition, Operand};
use super::value::{Item, bytes, equal, kind, members, order};

impl Condition {
    /// Whether it holds for a row, or for none. What is not there, or of another type, is unequal and not in order.
    pub(super) fn holds(&self, row: Option<&Item>) -> bool {
        let get = |operand: &Operand| operand.get(row);
        match self {
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(row)),
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(row)),
            Self::Not(condition) => !condition.holds(row),
            Self::Compare(left, comparison, right) => comparison.holds(get(left).as_ref(), get(right).as_ref()),
            Self::Between(value, low, high) => {
                let (value, low, high) = (get(value), get(low), get(high));
                Comparison::GreaterOrEqual.holds(value.as_ref(), low.as_ref())
                    && Comparison::LessOrEqual.holds(value.as_ref(), high.as_ref())
            }
            Self::In(value, among) => {
                let value = get(value);
                among.iter().any(|other| Comparison::Equal.holds(value.as_ref(), get(other).as_ref()))
            }
            Self::Exists(path) => row.is_some_and(|row| path.get(row).is_some()),
            Self::NotExists(path) => row.is_none_or(|row| path.get(row).is_none()),
            Self::OfType(path, wanted) => {
                let found = row.and_then(|row| path.get(row));
                found.zip(get(wanted)).is_some_and(|(found, wanted)| wanted["S"] == kind(found))
            }
            Self::BeginsWith(text, beginning) => {
                get(text).zip(get(beginning)).is_some_and(|(text, beginning)| begins_with(&text, &beginning))
            }
            Self::Contains(holder, wanted) => {
                get(holder).zip(get(wanted)).is_some_and(|(holder, wanted)| contains(&holder, &wanted))
            }
        }
    }
}

impl Operand {
    fn get(&self, row: Option<&Item>) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Path(path) => path.get(row?).cloned(),
            Self::Size(path) => Some(json!({ "N": size(path.get(row?)?)?.to_string() })),
        }
    }
}

impl Comparison {
    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let same = left.zip(right).is_some_and(|(left, right)| equal(left, right));
        let order = || left.zip(right).and_then(|(left, right)| order(left, right));
        match self {
            Self::Equal => same,
            Self::NotEqual => !same,
            Self::Less => order() == Some(Ordering::Less),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::Greater => order() == Some(Ordering::Greater),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
        }
    }
}

/// Characters of a text, bytes, or members.
fn size(value: &Value) -> Option<usize> {
    match kind(value) {
        "S" => Some(value["S"].as_str()?.chars().count()),
        "B" => Some(bytes(value)),
        "L" => Some(value["L"].as_array()?.len()),
        "M" => Some(value["M"].as_object()?.len()),
        _ => Some(members(value)?.1.len()),
    }
}

fn begins_with(text: &Value, beginning: &Value) -> bool {
    let text_of = |value: &Value| value["S"].as_str().map(str::to_owned);
    match (kind(text), kind(beginning)) {
        ("S", "S") => text_of(text).zip(text_of(beginning)).is_some_and(|(text, start)| text.starts_with(&start)),
        ("B", "B") => super::keys::bytes_of(text).starts_with(&super::keys::bytes_of(beginning)),
        _ => false,
    }
}

fn contains(holder: &Value, wanted: &Value) -> bool {
    if let (Some(text), Some(part)) = (holder["S"].as_str(), wanted["S"].as_str()) {
        return text.contains(part);
    }
    if let Some((set, found)) = members(holder) {
        return set.strip_suffix('S') == Some(kind(wanted)) && found.contains(&wanted[kind(wanted)]);
    }
    holder["L"].as_array().is_some_and(|list| list.iter().any(|member| equal(member, wanted)))
}
