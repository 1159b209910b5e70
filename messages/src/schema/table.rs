//! Walks a TOML table and remembers every problem instead of stopping at the first.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::{Table, Value};

use super::FieldPath;

/// What comes of reading beside the values.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Everything that is wrong.
    pub(super) problems: Vec<String>,
    /// The names of all keys that were asked for.
    pub(super) asked: BTreeSet<String>,
}

/// A table being read, with the dotted name of where it stands in the file.
pub(super) struct SchemaTable<'a> {
    at: String,
    table: Table,
    notes: &'a mut Notes,
}

impl<'a> SchemaTable<'a> {
    pub(super) fn new(at: String, table: Table, notes: &'a mut Notes) -> Self {
        Self { at, table, notes }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let name = self.name(key);
        self.notes.asked.insert(name);
        self.table.remove(key)
    }

    /// The full name of a key, as a person would look for it.
    pub(super) fn name(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    pub(super) fn problem(&mut self, key: &str, what: &str) {
        let name = self.name(key);
        self.notes.problems.push(format!("{name}: {what}"));
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, "a text", &other),
        }
    }

    pub(super) fn required_text(&mut self, key: &str) -> Option<String> {
        if !self.table.contains_key(key) {
            self.problem(key, "is missing; it must be a text");
        }
        self.text(key)
    }

    pub(super) fn path(&mut self, key: &str) -> Option<FieldPath> {
        match FieldPath::of_toml(&self.take(key)?) {
            Ok(path) => Some(path),
            Err(problem) => {
                self.problem(key, &problem);
                None
            }
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.take(key)?;
        match as_number(&value) {
            Some(number) => Some(number),
            None => self.wrong(key, "a finite number", &value),
        }
    }

    pub(super) fn count(&mut self, key: &str, least: u32) -> Option<u32> {
        match self.take(key)? {
            Value::Integer(n) if n >= i64::from(least) && n <= i64::from(u32::MAX) => Some(n as u32),
            other => self.wrong(key, &format!("a whole number from {least}"), &other),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            other => self.wrong(key, "true or false", &other),
        }
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.text(key)?;
        match humantime::parse_duration(&text) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            _ => {
                self.problem(
                    key,
                    &format!("{text:?} is not a duration above zero; write for example \"30s\" or \"7d\""),
                );
                None
            }
        }
    }

    /// A pair `[low, high]` with low below high.
    pub(super) fn band(&mut self, key: &str) -> Option<(f64, f64)> {
        let value = self.take(key)?;
        let pair = value.as_array().filter(|array| array.len() == 2);
        let band = pair.and_then(|array| Some((as_number(&array[0])?, as_number(&array[1])?)));
        match band {
            Some((low, high)) if low < high => Some((low, high)),
            _ => self.wrong(key, "[low, high] with two finite numbers, low below high", &value),
        }
    }

    pub(super) fn tables(&mut self, key: &str) -> Vec<Table> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.iter().all(Value::is_table) => {
                items.into_iter().filter_map(|item| item.try_into().ok()).collect()
            }
            Some(other) => {
                self.wrong::<()>(key, &format!("a list of tables, each headed [[{key}]]"), &other);
                Vec::new()
            }
        }
    }

    /// Reads a sub-table, if there is one, and checks that nothing unknown is left in it.
    pub(super) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut SchemaTable<'_>) -> T) -> Option<T> {
        let name = self.name(key);
        match self.take(key)? {
            Value::Table(table) => {
                let mut inner = SchemaTable::new(name, table, self.notes);
                let value = read(&mut inner);
                inner.finish();
                Some(value)
            }
            other => self.wrong(key, "a table", &other),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whatever was not asked for is a mistake: most likely a typing error in a key.
    pub(super) fn finish(mut self) {
        let unknown: Vec<String> = self.table.keys().cloned().collect();
        for key in unknown {
            self.problem(&key, "is not a key that exists here; check its spelling");
        }
    }

    fn wrong<T>(&mut self, key: &str, expected: &str, found: &Value) -> Option<T> {
        let mut shown = found.to_string();
        if shown.chars().count() > 60 {
            shown = shown.chars().take(57).chain("...".chars()).collect();
        }
        self.problem(key, &format!("must be {expected}, not {shown}"));
        None
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(x) if x.is_finite() => Some(*x),
        _ => None,
    }
}
