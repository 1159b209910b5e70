//! Puts the layers together: the shipped defaults say which keys exist, every later layer replaces values.
//!
//! **Owns** the effective value of every key, its default and its source.
//! **Promises** a key that no default has is a problem in whatever layer it stands.
//! **Not here**: what a value means.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::DEFAULTS;
use super::environment;
use super::problems::Problems;
use super::sources::{Setting, Sources};
use super::suggest::{unknown_key, unknown_section};

/// No sensible configuration is near this size; a wrong path to something huge is caught early.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The shipped defaults.
    Default,
    /// The default is empty and stands for something else.
    Derived(&'static str),
    /// A subcommand that sets it by itself.
    Command(&'static str),
    /// The user's file.
    File(PathBuf),
    /// A variable.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived(from) => write!(f, "default, {from}"),
            Self::Command(command) => f.write_str(command),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One key.
#[derive(Clone)]
pub(super) struct KeyEntry {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) default: Value,
    pub(super) source: Source,
}

/// Without the value, which may be secret.
impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} from {}", self.section, self.key, self.source)
    }
}

/// Every key that exists, in the order of the shipped defaults.
#[derive(Clone, Debug)]
pub(super) struct Values {
    entries: Vec<KeyEntry>,
    /// Where to look when a value is missing: the file, if there is one.
    home: String,
}

impl Values {
    /// Reads all layers. Unknown keys are problems; wrong values are found later, once it is clear which one counts.
    pub(super) fn merge(sources: &Sources, problems: &mut Problems) -> Self {
        let mut values = Self::defaults();
        values.set_all(&sources.presets, problems);
        if let Some(path) = &sources.file {
            values.home = path.display().to_string();
            match read_toml(path) {
                Ok(table) => values.set_file(path, table, problems),
                Err(what) => problems.unreadable(&Source::File(path.clone()), what),
            }
        }
        environment::set(&mut values, &sources.environment, problems);
        values.set_all(&sources.flags, problems);
        values
    }

    fn defaults() -> Self {
        let table: Table = DEFAULTS.parse().expect("a test parses the shipped defaults");
        let mut entries = Vec::new();
        for (section, keys) in table {
            let Value::Table(keys) = keys else { unreachable!("the shipped defaults have sections only") };
            entries.extend(keys.into_iter().map(|(key, value)| KeyEntry {
                section: section.clone(),
                key,
                default: value.clone(),
                value,
                source: Source::Default,
            }));
        }
        Self { entries, home: "configuration".to_owned() }
    }

    pub(super) fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    pub(super) fn find(&self, section: &str, key: &str) -> Option<&KeyEntry> {
        self.entries.iter().find(|entry| entry.section == section && entry.key == key)
    }

    /// Where to point to when a key should be set and is not.
    pub(super) fn home(&self) -> &str {
        &self.home
    }

    /// Replaces a value.
    pub(super) fn set(&mut self, section: &str, key: &str, value: Value, source: Source, problems: &mut Problems) {
        let entry = self.entries.iter_mut().find(|entry| entry.section == section && entry.key == key);
        match entry {
            Some(entry) => (entry.value, entry.source) = (value, source),
            None => problems.add(&source, format!("{section}.{key}"), unknown_key(self, section, key)),
        }
    }

    fn set_all(&mut self, settings: &[Setting], problems: &mut Problems) {
        for Setting { source, key, value } in settings {
            let (section, key) = key.split_once('.').unwrap_or(("", key));
            self.set(section, key, value.clone(), source.clone(), problems);
        }
    }

    fn set_file(&mut self, path: &Path, table: Table, problems: &mut Problems) {
        let source = Source::File(path.to_owned());
        for (section, keys) in table {
            match keys {
                Value::Table(keys) if self.has_section(&section) => {
                    for (key, value) in keys {
                        self.set(&section, &key, value, source.clone(), problems);
                    }
                }
                Value::Table(_) => problems.add(&source, &section, unknown_section(self, &section)),
                _ if self.has_section(&section) => {
                    problems.add(&source, &section, format!("must be a section, headed [{section}]"));
                }
                _ => problems.add(&source, &section, unknown_key(self, "", &section)),
            }
        }
    }

    pub(super) fn has_section(&self, section: &str) -> bool {
        self.entries.iter().any(|entry| entry.section == section)
    }
}

/// A file of moderate size as text.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes; is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))
}

fn read_toml(path: &Path) -> Result<Table, String> {
    let text = read_text(path)?;
    text.parse().map_err(|error: toml::de::Error| {
        // Not the error's own snapshot of the line: the line may hold a secret.
        let before = &text[..error.span().map_or(0, |span| span.start.min(text.len()))];
        let line = before.matches('\n').count() + 1;
        format!("is not TOML: line {line}: {}", error.message())
    })
}
