//! The source text that the rules look at.

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One file: its path below the workspace and its text.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Every Rust file of the members of the workspace. The rules' own files spell what they forbid, and are left out.
    pub(super) fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        for member in members(&fs::read_to_string(root().join("Cargo.toml")).unwrap()) {
            walk(&root().join(member), &mut paths);
        }
        paths.sort();
        // A member may lie in the folder of another one.
        paths.dedup();
        let read = |path: &PathBuf| {
            let below = path.strip_prefix(root()).unwrap();
            Self::new(below.to_str().unwrap(), &fs::read_to_string(path).unwrap())
        };
        let sources = paths.iter().map(read).filter(|source| !source.path.starts_with("tests/it/tidy"));
        sources.collect()
    }

    /// Whether the whole file is a test.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// What ships, and what is compiled for tests only.
    pub(super) fn split(&self) -> (&str, &str) {
        let at = match self.is_test() {
            true => 0,
            false => self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len()),
        };
        self.text.split_at(at)
    }

    /// The lines that ship, with their numbers, without comments.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        code_of(self.split().0)
    }

    /// All lines with their numbers, without comments.
    pub(super) fn all_code(&self) -> impl Iterator<Item = (usize, &str)> {
        code_of(&self.text)
    }
}

fn code_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = |line: &str| match line.trim_start().starts_with("//") {
        true => 0,
        // Not the slashes of an address.
        false => line.find(" // ").unwrap_or(line.len()),
    };
    text.lines().enumerate().map(move |(at, line)| (at + 1, &line[..code(line)]))
}

/// The folders that a workspace's manifest lists.
pub(super) fn members(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap().iter();
    members.map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Whether the line has the word. One that begins with a small letter has to begin an identifier: `ractor` is not in
/// `extractor`.
pub(super) fn has(line: &str, word: &str) -> bool {
    let whole = word.starts_with(|c: char| c.is_ascii_lowercase());
    line.match_indices(word)
        .any(|(at, _)| !whole || !line[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_'))
}
