//! Everything that is wrong with a configuration.
//!
//! **Owns** the problems found so far.
//! **Promises** one line a problem: where it stands, the key, what is wrong and what would be right.
//! **Not here**: deciding what is wrong.

use std::fmt;

use super::layers::Source;

/// Everything that is wrong with the configuration, one line a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigProblems(pub Vec<String>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "the configuration has {} problem{plural}:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Problems being collected.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    unreadable_file: bool,
}

#[derive(Debug)]
struct Problem {
    stands: String,
    key: String,
    what: String,
}

impl Problems {
    /// A key is wrong where `source` says.
    pub(super) fn add(&mut self, source: &Source, key: impl Into<String>, what: impl Into<String>) {
        self.add_at(source.to_string(), key, what);
    }

    /// A key is wrong in a place that is not a source of values.
    pub(super) fn add_at(&mut self, stands: impl Into<String>, key: impl Into<String>, what: impl Into<String>) {
        self.found.push(Problem { stands: stands.into(), key: key.into(), what: what.into() });
    }

    /// The file cannot be read as a whole.
    pub(super) fn unreadable(&mut self, source: &Source, what: impl Into<String>) {
        self.unreadable_file = true;
        self.add(source, "", what);
    }

    pub(super) fn has_unreadable_file(&self) -> bool {
        self.unreadable_file
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether a key is known to be wrong: what follows from its value is not worth a line.
    pub(super) fn concern(&self, key: &str) -> bool {
        self.found.iter().any(|problem| {
            let rest = problem.key.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        })
    }

    pub(super) fn into_report(self) -> ConfigProblems {
        let line = |Problem { stands, key, what }: Problem| match key.as_str() {
            "" => format!("{stands}: {what}"),
            key => format!("{stands}: {key}: {what}"),
        };
        ConfigProblems(self.found.into_iter().map(line).collect())
    }
}
