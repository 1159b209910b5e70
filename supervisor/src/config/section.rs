//! Reads the values of one section into domain types, and goes on after a wrong one.
//!
//! **Promises** every reader returns something: where the value is wrong the problem is noted and the shipped default
//! stands in for it, so that the rest can be checked too. A configuration with a problem is never used.
//! **Not here**: which keys there are, and their bounds (`actors`).

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::layers::{KeyEntry, Source, Values};
use super::problems::Problems;
use super::report::is_secret;
use super::units::{bytes_of, show_bytes};

/// A wrong value is quoted up to this length.
const SHOWN_CHARS_MAX: usize = 60;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A configuration being read.
pub(super) struct Reading<'a> {
    pub(super) values: &'a mut Values,
    pub(super) problems: &'a mut Problems,
}

impl Reading<'_> {
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { name, values: self.values, problems: self.problems }
    }
}

/// One section being read.
pub(super) struct Section<'a> {
    pub(super) name: &'static str,
    pub(super) values: &'a mut Values,
    pub(super) problems: &'a mut Problems,
}

/// A value under scrutiny.
pub(super) struct Found<'a> {
    pub(super) value: &'a Value,
    secret: bool,
}

impl Found<'_> {
    /// A size within these bounds.
    pub(super) fn bytes<N: TryFrom<u64>>(&self, bounds: RangeInclusive<u64>, such_as: &str) -> Result<N, String> {
        let bytes = match self.value {
            Value::Integer(n) => u64::try_from(*n).ok(),
            Value::String(text) => bytes_of(text),
            _ => None,
        };
        match bytes.filter(|n| bounds.contains(n)).and_then(|n| N::try_from(n).ok()) {
            Some(bytes) => Ok(bytes),
            None => {
                let (least, most) = (show_bytes(*bounds.start()), show_bytes(*bounds.end()));
                self.wrong(&format!("a size from {least} to {most}, such as \"{such_as}\""))
            }
        }
    }

    /// The problem of a value that is not `expected`.
    pub(super) fn wrong<T>(&self, expected: &str) -> Result<T, String> {
        if self.secret {
            return Err(format!("must be {expected}"));
        }
        let mut shown = self.value.to_string();
        if shown.chars().count() > SHOWN_CHARS_MAX {
            shown = shown.chars().take(SHOWN_CHARS_MAX - 3).chain("...".chars()).collect();
        }
        Err(format!("must be {expected}, not {shown}"))
    }
}

impl Section<'_> {
    fn entry(&self, key: &str) -> &KeyEntry {
        self.values.find(self.name, key).expect("a test reads every key from the shipped defaults")
    }

    /// Whether the value is the empty text that stands for "not set".
    pub(super) fn is_unset(&self, key: &str) -> bool {
        self.entry(key).value.as_str() == Some("")
    }

    /// Where the value comes from; an item of a list comes from where the list does.
    pub(super) fn source(&self, key: &str) -> Source {
        let key = key.split_once('[').map_or(key, |(list, _)| list);
        self.entry(key).source.clone()
    }

    /// The key's value is wrong.
    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        let source = self.source(key);
        self.problems.add(&source, format!("{}.{key}", self.name), what);
    }

    /// A value that has no default is missing.
    pub(super) fn missing(&mut self, key: &str, what: &str) {
        let variable = format!("MANGROVE_{}__{key}", self.name).to_uppercase();
        let what = format!("is not set; {what}: set {key} in [{}], or {variable}", self.name);
        self.problems.add_at(self.values.home().to_owned(), format!("{}.{key}", self.name), what);
    }

    /// An empty default stands for this value.
    pub(super) fn derive(&mut self, key: &str, value: impl Into<Value>, from: &'static str) {
        self.values.set(self.name, key, value.into(), Source::Derived(from), self.problems);
    }

    /// The value, or the default if it is wrong.
    pub(super) fn read<T>(&mut self, key: &str, parse: impl Fn(Found<'_>) -> Result<T, String>) -> T {
        let secret = is_secret(self.name, key);
        let entry = self.entry(key);
        match parse(Found { value: &entry.value, secret }) {
            Ok(value) => value,
            Err(what) => {
                let standing_in = parse(Found { value: &entry.default, secret });
                self.problem(key, what);
                standing_in.expect("a test reads every shipped default")
            }
        }
    }

    /// A text that `check` lets pass.
    pub(super) fn text(&mut self, key: &str, check: impl Fn(&str) -> Result<(), String>) -> String {
        self.read(key, |found| match found.value {
            Value::String(text) => check(text).map(|()| text.clone()),
            _ => found.wrong("a text"),
        })
    }

    /// A list of texts that `check` lets pass. Every item that it does not is a problem of its own.
    pub(super) fn texts(
        &mut self,
        key: &str,
        items_max: usize,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Vec<String> {
        let texts = self.read(key, |found| {
            let items = found.value.as_array().filter(|items| items.len() <= items_max);
            let texts = items.map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
            match texts.flatten() {
                Some(texts) => Ok::<Vec<String>, _>(texts),
                None => found.wrong(&format!("a list of at most {items_max} texts")),
            }
        });
        for (n, text) in texts.iter().enumerate() {
            if let Err(what) = check(text) {
                self.problem(&format!("{key}[{n}]"), what);
            }
        }
        texts
    }

    pub(super) fn count<N: TryFrom<u64>>(&mut self, key: &str, bounds: RangeInclusive<u64>) -> N {
        self.read(key, |found| {
            let number = found.value.as_integer().and_then(|n| u64::try_from(n).ok()).filter(|n| bounds.contains(n));
            match number.and_then(|n| N::try_from(n).ok()) {
                Some(number) => Ok(number),
                None => found.wrong(&format!("a whole number from {} to {}", bounds.start(), bounds.end())),
            }
        })
    }

    /// A part of all: 0 is none, 1 is all.
    pub(super) fn share(&mut self, key: &str) -> f64 {
        self.read(key, |found| {
            let number = match found.value {
                Value::Float(number) => Some(*number),
                Value::Integer(0) => Some(0.0),
                Value::Integer(1) => Some(1.0),
                _ => None,
            };
            match number.filter(|number| (0.0..=1.0).contains(number)) {
                Some(number) => Ok(number),
                None => found.wrong("a number from 0 to 1, such as 0.1"),
            }
        })
    }

    pub(super) fn bytes<N: TryFrom<u64>>(&mut self, key: &str, bounds: RangeInclusive<u64>) -> N {
        self.read(key, |found| found.bytes(bounds.clone(), "32MiB"))
    }

    pub(super) fn duration(&mut self, key: &str, bounds: RangeInclusive<Duration>) -> Duration {
        self.read(key, |found| {
            let duration = found.value.as_str().and_then(|text| humantime::parse_duration(text).ok());
            match duration.filter(|duration| bounds.contains(duration)) {
                Some(duration) => Ok(duration),
                None => {
                    let [least, most] = [bounds.start(), bounds.end()].map(|d| humantime::format_duration(*d));
                    found.wrong(&format!("a duration from {least} to {most}, such as \"10s\""))
                }
            }
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.read(key, |found| match found.value {
            Value::Boolean(flag) => Ok(*flag),
            _ => found.wrong("true or false"),
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Clone>(&mut self, key: &str, choices: &[(&str, T)]) -> T {
        self.read(key, |found| {
            let chosen = choices.iter().find(|(name, _)| found.value.as_str() == Some(*name));
            match chosen {
                Some((_, choice)) => Ok(choice.clone()),
                None => {
                    let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
                    found.wrong(&format!("one of {}", names.join(", ")))
                }
            }
        })
    }
}
