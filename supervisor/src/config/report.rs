//! The effective configuration for people: every value with its source, nothing secret.
//!
//! **Promises** the TOML form loads again, as far as nothing in it was hidden.

use std::fmt::Write;

use serde_json::json;
use toml::Value;

use super::addresses::redacted;
use super::layers::{KeyEntry, Values};

/// Values that can hold credentials. All are addresses but the token, which is nothing that can be shown in part.
const SECRET: [&str; 5] =
    ["alerts.webhooks", "alerts.alertmanagers", "aws.endpoint_url", "traces.endpoint", "admin.token"];

/// Sources are aligned behind values up to this width.
const VALUE_WIDTH: usize = 40;

pub(super) fn is_secret(section: &str, key: &str) -> bool {
    SECRET.iter().any(|secret| secret.split_once('.') == Some((section, key)))
}

/// Every value with its source.
#[derive(Clone, Debug)]
pub struct Report {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    section: String,
    key: String,
    value: Value,
    source: String,
}

impl Report {
    pub(super) fn new(values: &Values) -> Self {
        let line = |entry: &KeyEntry| {
            let secret = is_secret(&entry.section, &entry.key);
            Line {
                section: entry.section.clone(),
                key: entry.key.clone(),
                value: match secret {
                    true if entry.section == "admin" && entry.value.as_str() != Some("") => "***".into(),
                    true => hidden(&entry.value),
                    false => entry.value.clone(),
                },
                source: entry.source.to_string(),
            }
        };
        Self { lines: values.entries().iter().map(line).collect() }
    }

    /// As TOML, each value followed by its source as a comment.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for line in &self.lines {
            if line.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = &line.section;
                let _ = writeln!(text, "{gap}[{section}]");
            }
            let value = format!("{} = {}", line.key, line.value);
            let _ = writeln!(text, "{value:<VALUE_WIDTH$} # from {}", one_line(&line.source));
        }
        text
    }

    /// As JSON: `{section: {key: {value, source}}}`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut sections = serde_json::Map::new();
        for Line { section, key, value, source } in &self.lines {
            let section = sections.entry(section).or_insert_with(|| json!({}));
            section[key] = json!({ "value": value, "source": source });
        }
        sections.into()
    }

    /// Where a value comes from; `key` is `section.key`.
    pub fn source_of(&self, key: &str) -> Option<&str> {
        let (section, key) = key.split_once('.')?;
        let line = self.lines.iter().find(|line| line.section == section && line.key == key)?;
        Some(&line.source)
    }
}

/// A path can hold a line break; a comment cannot.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Only texts can be secret; a number in the place of an address is merely wrong.
fn hidden(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => value.clone(),
        Value::String(text) => redacted(text).into(),
        Value::Array(items) => Value::Array(items.iter().map(hidden).collect()),
        Value::Table(table) => Value::Table(table.iter().map(|(key, value)| (key.clone(), hidden(value))).collect()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => value.clone(),
    }
}
