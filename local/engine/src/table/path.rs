//! Paths into rows: `plan`, `map.inner`, `list[2]`.

use serde_json::{Value, json};

use super::value::Item;
use crate::Refusal;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// A way into a row; the first step is the name of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) attribute: String,
    pub(super) rest: Vec<Step>,
}

impl Path {
    pub(super) fn get<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        self.rest.iter().try_fold(item.get(&self.attribute)?, |value, step| match step {
            Step::Name(name) => value["M"].get(name),
            Step::Index(index) => value["L"].get(index),
        })
    }

    /// Puts a value there; behind the end of a list it is appended.
    pub(super) fn set(&self, item: &mut Item, value: Value) -> Result<(), Refusal> {
        let Some((last, way)) = self.rest.split_last() else {
            item.insert(self.attribute.clone(), value);
            return Ok(());
        };
        let holder = self.holder(item, way);
        match (holder, last) {
            (Some(Value::Object(holder)), Step::Name(name)) if holder.contains_key("M") => holder["M"][name] = value,
            (Some(Value::Object(holder)), Step::Index(index)) if holder.contains_key("L") => {
                match holder["L"].as_array_mut() {
                    Some(list) if *index < list.len() => list[*index] = value,
                    Some(list) => list.push(value),
                    None => return Err(no_way()),
                }
            }
            _ => return Err(no_way()),
        }
        Ok(())
    }

    /// Takes away what is there, if anything is.
    pub(super) fn remove(&self, item: &mut Item) -> Result<(), Refusal> {
        let Some((last, way)) = self.rest.split_last() else {
            item.remove(&self.attribute);
            return Ok(());
        };
        let holder = self.holder(item, way).ok_or_else(no_way)?;
        match last {
            Step::Name(name) => {
                holder["M"].as_object_mut().ok_or_else(no_way)?.remove(name);
            }
            Step::Index(index) => {
                let list = holder["L"].as_array_mut().ok_or_else(no_way)?;
                if *index < list.len() {
                    list.remove(*index);
                }
            }
        }
        Ok(())
    }

    fn holder<'a>(&self, item: &'a mut Item, way: &[Step]) -> Option<&'a mut Value> {
        way.iter().try_fold(item.get_mut(&self.attribute)?, |value, step| match step {
            Step::Name(name) => value.get_mut("M")?.get_mut(name),
            Step::Index(index) => value.get_mut("L")?.get_mut(index),
        })
    }

    /// Whether one is the other, or leads into it.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.attribute == other.attribute && self.rest.iter().zip(&other.rest).all(|(a, b)| a == b)
    }
}

fn no_way() -> Refusal {
    Refusal::validation("The document path provided in the update expression is invalid for update")
}

/// The row with nothing but what the paths lead to.
pub(super) fn project(item: &Item, paths: &[Path]) -> Item {
    let mut projected = Item::new();
    for path in paths {
        let Some(found) = path.get(item) else { continue };
        match path.rest.as_slice() {
            [] => drop(projected.insert(path.attribute.clone(), found.clone())),
            rest => {
                let first = projected.entry(path.attribute.clone()).or_insert(Value::Null);
                place(first, rest, found);
            }
        }
    }
    projected
}

/// Members of lists stand one behind the other, whatever their places were.
fn place(at: &mut Value, rest: &[Step], found: &Value) {
    match rest {
        [] => *at = found.clone(),
        [Step::Name(name), rest @ ..] => {
            if at.is_null() {
                *at = json!({ "M": {} });
            }
            place(&mut at["M"][name], rest, found);
        }
        [Step::Index(_), rest @ ..] => {
            if at.is_null() {
                *at = json!({ "L": [] });
            }
            let mut member = Value::Null;
            place(&mut member, rest, found);
            if let Some(list) = at["L"].as_array_mut() {
                list.push(member);
            }
        }
    }
}
