//! Where a value stands in an event: the keys that lead to it.
//!
//! **Owns** how a path is written in a schema file: `location.lat`, `'PM2.5'`, or a list of keys.
//! **Promises** every list of keys can be written, and what is shown of a path can be written as well; what is written
//! in another notation than ours is refused with what to write, not taken for a key that is called so.
//! **Not here**: whether two paths of a schema contradict each other (`parse.rs`).

use std::fmt;

use toml::Value;

/// Keys of one path.
const KEYS_MAX: usize = 8;

/// Keys to follow from the event's object down to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(pub Vec<String>);

impl FieldPath {
    /// The path that is called like a field: one key.
    pub(super) fn of_name(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// A path as it stands in a schema file; else what is wrong with it, and what to write.
    pub(super) fn of_toml(value: &Value) -> Result<Self, String> {
        let keys = match value {
            Value::String(text) => keys(text)?,
            Value::Array(items) => {
                let keys: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                keys.ok_or("must be a text, or a list of texts: one for each key")?
            }
            _ => return Err("must be a text such as \"location.lat\", or a list of keys".to_owned()),
        };
        if keys.iter().any(String::is_empty) || keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(format!("{value} is not a path: 1 to {KEYS_MAX} keys joined by dots"));
        }
        Ok(Self(keys))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().any(|key| key.contains('\'') && key.contains('"')) {
            return write!(f, "{:?}", self.0);
        }
        let written = |(n, key): (usize, &String)| match (meant_otherwise(key, n == 0), key.contains('\'')) {
            (None, _) if !key.contains(['.', '\'', '"']) => key.clone(),
            (_, false) => format!("'{key}'"),
            (_, true) => format!("\"{key}\""),
        };
        f.write_str(&self.0.iter().enumerate().map(written).collect::<Vec<_>>().join("."))
    }
}

/// The keys of a path that is written as one text.
fn keys(text: &str) -> Result<Vec<String>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let (key, after) = match quote {
            Some(quote) => {
                let (key, after) = rest[1..].split_once(quote).ok_or_else(|| {
                    format!("{text:?} has a quote without its end; a key with a quote in it is an entry of a list")
                })?;
                if !after.is_empty() && !after.starts_with('.') {
                    return Err(format!("{text:?}: behind a key in quotes stands a dot, or nothing"));
                }
                (key, after)
            }
            None => {
                let at = rest.find('.').unwrap_or(rest.len());
                let (key, after) = rest.split_at(at);
                if let Some(problem) = meant_otherwise(key, keys.is_empty()) {
                    return Err(format!("{text:?}: {problem}; {}", instead(text)));
                }
                (key, after)
            }
        };
        keys.push(key.to_owned());
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None => return Ok(keys),
        }
    }
}

/// Why a key without quotes is more likely something else.
fn meant_otherwise(key: &str, first: bool) -> Option<&'static str> {
    if key.contains(['[', ']']) {
        Some("lists in events are not read, so that brackets have no meaning")
    } else if key.contains('\\') {
        Some("nothing is escaped by a backslash; keys with dots are quoted")
    } else if key == "*" || key == "**" {
        Some("a path leads to one value: there are no wildcards")
    } else if first && (key == "$" || key == "@" || key.starts_with('/')) {
        Some("a path begins with a key of the event, and keys are joined by dots")
    } else if !first && !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) {
        Some("a number is no place in a list, since lists in events are not read")
    } else if key.trim() != key {
        Some("there are blanks around a key")
    } else if key.contains(['\'', '"']) {
        Some("a quote stands inside of a key")
    } else {
        None
    }
}

/// How the same keys are written, if that is what they are.
fn instead(text: &str) -> String {
    let dotted = text.replace("\\.", "\u{0}");
    let stripped = dotted.strip_prefix("$.").unwrap_or(&dotted);
    let keys: Vec<String> = match stripped.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(str::to_owned).collect(),
        None => stripped.split('.').map(|key| key.trim().replace('\u{0}', ".")).collect(),
    };
    let mut meant = format!("if keys are called so, write path = {keys:?}");
    if keys.len() == 2 && keys[1].bytes().all(|byte| byte.is_ascii_digit()) {
        meant += &format!(", and if the dot is part of one key, path = [{:?}]", keys.join("."));
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Vec<String>, String> {
        let table: toml::Table = format!("path = {toml}").parse().unwrap();
        FieldPath::of_toml(&table["path"]).map(|path| path.0)
    }

    #[test]
    fn every_key_can_be_written() {
        for (toml, keys) in [
            (r#""temperature""#, &["temperature"][..]),
            (r#""location.lat""#, &["location", "lat"]),
            (r#"["PM2.5"]"#, &["PM2.5"]),
            (r#""'PM2.5'""#, &["PM2.5"]),
            (r#"'"PM2.5"'"#, &["PM2.5"]),
            (r#""air.'PM2.5'.mean""#, &["air", "PM2.5", "mean"]),
            (r#"["readings[]", "0", "a\\b", " "]"#, &["readings[]", "0", "a\\b", " "]),
            (r#""1""#, &["1"]),
            (r#""km/h""#, &["km/h"]),
            (r#""'readings[0]'""#, &["readings[0]"]),
        ] {
            let read = read(toml).unwrap_or_else(|problem| panic!("{toml}: {problem}"));
            assert_eq!(read, keys, "{toml}");
            let shown = FieldPath(read.clone()).to_string();
            let again = FieldPath::of_toml(&Value::String(shown.clone()));
            assert_eq!(again.map(|path| path.0), Ok(read), "{toml}, shown as {shown}");
        }
        assert_eq!(FieldPath(vec!["a'\"b".to_owned()]).to_string(), r#"["a'\"b"]"#);
    }

    #[test]
    fn what_is_meant_in_another_notation_is_refused_with_what_to_write() {
        for (toml, instead) in [
            (r#""readings[].temperature""#, r#"path = ["readings[]", "temperature"]"#),
            (r#""readings[0].temperature""#, "lists in events are not read"),
            (r#""readings.0.temperature""#, "lists in events are not read"),
            (r#"'a\.b'"#, r#"path = ["a.b"]"#),
            (r#""PM2.5""#, r#"path = ["PM2.5"]"#),
            (r#""$.temperature""#, r#"path = ["temperature"]"#),
            (r#""/data/temperature""#, r#"path = ["data", "temperature"]"#),
            (r#""data.*""#, "no wildcards"),
            (r#""a. b""#, r#"path = ["a", "b"]"#),
            (r#""'PM2.5""#, "without its end"),
            (r#""'PM2.5'x""#, "stands a dot"),
            (r#""a'b""#, "inside of a key"),
            (r#""""#, "is not a path"),
            (r#""a..b""#, "is not a path"),
            (r#""a.""#, "is not a path"),
            ("[]", "is not a path"),
            (r#"["a", ""]"#, "is not a path"),
            (r#"["a", 1]"#, "a list of texts"),
            ("7", "must be a text"),
            (r#""a.b.c.d.e.f.g.h.i""#, "1 to 8 keys"),
        ] {
            let problem = read(toml).unwrap_err();
            assert!(problem.contains(instead), "{toml}: {problem}");
        }
    }
}
