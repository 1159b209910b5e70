//! Values from `MANGROVE_<SECTION>__<KEY>`.
//!
//! **Owns** how a variable's text becomes a value of the type that the key's default has.
//! **Not here**: `MANGROVE_CONFIG` and `MANGROVE_FAULTS`, which belong to the command line.

use toml::{Table, Value};

use super::layers::{Source, Values};
use super::problems::Problems;

pub(super) fn set(values: &mut Values, variables: &[(String, String)], problems: &mut Problems) {
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix("MANGROVE_") else { continue };
        let source = Source::Environment(name.clone());
        match rest.split_once("__") {
            Some((section, key)) => {
                let (section, key) = (section.to_lowercase(), key.to_lowercase());
                let value = match values.find(&section, &key) {
                    Some(entry) => typed(&entry.default, text),
                    None => Value::String(text.clone()),
                };
                values.set(&section, &key, value, source, problems);
            }
            None => single_underscore(values, rest, &source, problems),
        }
    }
}

/// Other names are left alone: Kubernetes sets `MANGROVE_PORT` and more for a service that is called mangrove. But a
/// name that is a key with one underscore too few would be ignored to everybody's surprise.
fn single_underscore(values: &Values, rest: &str, source: &Source, problems: &mut Problems) {
    let meant = values.entries().iter().find(|entry| {
        let name = format!("{}_{}", entry.section, entry.key);
        name.eq_ignore_ascii_case(rest)
    });
    if let Some(entry) = meant {
        let name = format!("MANGROVE_{}__{}", entry.section, entry.key).to_uppercase();
        problems.add(source, "", format!("has no effect; two underscores divide section and key: {name}"));
    }
}

/// A text that does not fit stays a text, and is then refused as a value of the wrong type.
fn typed(default: &Value, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match default {
        Value::Integer(_) => text.trim().replace('_', "").parse().map_or_else(|_| as_text(), Value::Integer),
        Value::Float(_) => text.trim().parse().map_or_else(|_| as_text(), Value::Float),
        Value::Boolean(_) => text.trim().parse().map_or_else(|_| as_text(), Value::Boolean),
        Value::Array(_) => list(text),
        _ => as_text(),
    }
}

/// `a,b`, or a TOML list for values that have commas themselves.
fn list(text: &str) -> Value {
    if text.trim_start().starts_with('[') {
        let parsed = format!("list = {text}").parse::<Table>();
        return parsed.ok().and_then(|mut table| table.remove("list")).unwrap_or_else(|| text.into());
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(Value::from).collect())
}
