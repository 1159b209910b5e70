//! What updates make of a row.

use serde_json::{Value, json};

use super::expression::{Action, Term};
use super::value::{Item, kind, members, number};
use crate::Refusal;

/// The row after all actions. Each sees the row as it was before.
pub(super) fn updated(actions: &[Action], before: &Item) -> Result<Item, Refusal> {
    let mut row = before.clone();
    let mut removals = Vec::new();
    for action in actions {
        match action {
            Action::Set(path, term) => path.set(&mut row, term.value(before)?)?,
            Action::Remove(path) => removals.push(path),
            Action::Add(path, value) => path.set(&mut row, sum(path.get(before), value)?)?,
            Action::Delete(path, value) => match difference(path.get(before), value)? {
                Some(rest) => path.set(&mut row, rest)?,
                None => path.remove(&mut row)?,
            },
        }
    }
    // From the end of a list, at every depth: the places before it stay.
    removals.sort_by(|a, b| b.rest.cmp(&a.rest));
    for path in removals {
        path.remove(&mut row)?;
    }
    Ok(row)
}

impl Term {
    fn value(&self, row: &Item) -> Result<Value, Refusal> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Path(path) => path.get(row).cloned().ok_or_else(|| {
                Refusal::validation("The provided expression refers to an attribute that does not exist in the item")
            }),
            Self::IfNotExists(path, or) => path.get(row).map_or_else(|| or.value(row), |value| Ok(value.clone())),
            Self::Append(first, second) => {
                let (first, second) = (first.value(row)?, second.value(row)?);
                let (Some(first), Some(second)) = (first["L"].as_array(), second["L"].as_array()) else {
                    return Err(wrong_type());
                };
                let both = [first.as_slice(), second.as_slice()].concat();
                Ok(json!({ "L": both }))
            }
            Self::Plus(left, right) => added(&left.value(row)?, &right.value(row)?, false),
            Self::Minus(left, right) => added(&left.value(row)?, &right.value(row)?, true),
        }
    }
}

fn added(left: &Value, right: &Value, subtract: bool) -> Result<Value, Refusal> {
    let (Some(left), Some(right)) = (number(left), number(right)) else { return Err(wrong_type()) };
    let sum = left.plus(if subtract { right.negated() } else { right });
    let sum = sum.ok_or_else(|| Refusal::validation("Number overflow: the result has too many digits"))?;
    Ok(json!({ "N": sum.to_string() }))
}

/// `ADD`: of numbers the sum, of sets the union; what is not there is 0, or empty.
fn sum(found: Option<&Value>, value: &Value) -> Result<Value, Refusal> {
    match (found, members(value)) {
        (None, Some(_)) => Ok(value.clone()),
        (Some(found), Some((kind, more))) => {
            let (_, all) = members(found).filter(|(other, _)| *other == kind).ok_or_else(wrong_type)?;
            let new = more.iter().filter(|member| !all.contains(member));
            Ok(json!({ kind: all.iter().chain(new).collect::<Vec<_>>() }))
        }
        (found, None) => added(found.unwrap_or(&json!({ "N": "0" })), value, false),
    }
}

/// `DELETE`: the set without these members; nothing if none is left.
fn difference(found: Option<&Value>, value: &Value) -> Result<Option<Value>, Refusal> {
    let (_, less) = members(value).ok_or_else(wrong_type)?;
    let Some(found) = found else { return Ok(None) };
    let (_, all) = members(found).filter(|(set, _)| *set == kind(value)).ok_or_else(wrong_type)?;
    let rest: Vec<&Value> = all.iter().filter(|member| !less.contains(member)).collect();
    Ok((!rest.is_empty()).then(|| json!({ kind(value): rest })))
}

fn wrong_type() -> Refusal {
    Refusal::validation("An operand in the update expression has an incorrect data type")
}
