//! What people are told to open and to run is there: files, packages, tests, recipes. A page that sends a newcomer to
//! what is gone is worse than none.
//!
//! **Not here**: whether the advice is good.

use std::fs;

use super::rules::finding;
use super::source::{Source, members, root};

const RULE: &str = "what people are told to open and to run exists";
/// The page whose every path is one of the repository; others name folders of the lake too.
pub(super) const CONTRIBUTING: &str = "CONTRIBUTING.md";
const ENDINGS: [&str; 8] = [".rs", ".md", ".toml", ".json", ".yaml", ".py", ".js", ".sql"];

/// What there is to name.
pub(super) struct House {
    packages: Vec<(String, Vec<String>)>,
    profiles: Vec<String>,
    recipes: Vec<String>,
    sources: Vec<Source>,
}

impl House {
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
        let recipe = |line: &str| {
            let name = line.split([' ', ':']).next().unwrap_or_default();
            line.contains(':') && !name.is_empty() && !line.starts_with('#')
        };
        let justfile = text("justfile");
        // The rules' own files are no sources to them, but tests that one can ask for.
        let mut sources = Source::all();
        sources.push(Source::new("tests/it/tidy.rs", &text("tests/it/tidy.rs")));
        let recipes = justfile.lines().filter(|line| recipe(line)).filter_map(|line| line.split([' ', ':']).next());
        Self {
            packages: members(&text("Cargo.toml")).iter().map(|member| package(member)).collect(),
            profiles: manifest["profile"].as_table().unwrap().keys().cloned().collect(),
            recipes: recipes.map(str::to_owned).collect(),
            sources,
        }
    }

    /// What a page names and the repository lacks. Of the justfile only the commands are looked at.
    pub(super) fn lacks(&self, page: &Source) -> Vec<String> {
        let mut found = Vec::new();
        let mut fenced = false;
        for (at, line) in page.text.lines().enumerate() {
            fenced ^= line.starts_with("```");
            let missing = match page.path.as_str() {
                "justfile" if line.starts_with("    ") => self.command(line),
                "justfile" => Vec::new(),
                _ if fenced => self.command(line),
                path => self.prose(line, path == CONTRIBUTING),
            };
            found.extend(missing.iter().map(|what| finding(page, at + 1, what, RULE)));
        }
        found
    }

    fn prose(&self, line: &str, paths: bool) -> Vec<String> {
        let spans: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.starts_with("http")).map(|link| link.split('#').next().unwrap_or(link));
        let files: Vec<&str> = match paths {
            true => spans.iter().copied().filter(|span| is_path(span)).collect(),
            false => Vec::new(),
        };
        let gone = links.chain(files.iter().copied()).filter(|path| !exists(path));
        let mut missing: Vec<String> = gone.map(str::to_owned).collect();
        missing.extend(spans.iter().flat_map(|span| self.command(span)));
        let words = spans.iter().filter(|span| is_word(span) && !files.is_empty());
        missing.extend(
            words.filter(|word| !self.said(word, &files)).map(|word| format!("{word} in {}", files.join(", "))),
        );
        missing
    }

    /// Whether one of the files, or of the folders, has the word.
    fn said(&self, word: &str, files: &[&str]) -> bool {
        let word = word.rsplit("::").next().unwrap_or(word);
        let within = |path: &&str| match fs::read_to_string(root().join(path)) {
            Ok(text) => text.contains(word),
            Err(_) => {
                self.sources.iter().any(|file| file.path.starts_with(until_hole(path)) && file.text.contains(word))
            }
        };
        files.iter().any(within)
    }

    /// What a command names. Words with holes in them stand for anything.
    fn command(&self, line: &str) -> Vec<String> {
        let line = without_holes(line);
        let line = line.split(" # ").next().unwrap_or_default();
        let mut words = line.split_whitespace().skip_while(|word| word.contains('=') && !word.starts_with('-'));
        let (program, words) = (words.next(), words.collect::<Vec<_>>());
        match program {
            Some("cargo") => self.cargo(&words),
            Some("just") => words
                .first()
                .filter(|name| !self.recipes.iter().any(|recipe| recipe == *name))
                .map_or(Vec::new(), |name| vec![format!("just {name}")]),
            Some("deploy/check") => check(&words),
            Some(path) if path.contains('/') && words.len() > 1 && !exists(path) => vec![path.to_owned()],
            Some(_) | None => Vec::new(),
        }
    }

    fn cargo(&self, words: &[&str]) -> Vec<String> {
        let mut missing = Vec::new();
        let mut words = words.iter();
        let verb = words.next().copied().unwrap_or_default();
        while let Some(word) = words.next() {
            let known = match *word {
                // The program's own words follow.
                "--" if verb != "test" => break,
                "-p" => words.next().is_none_or(|name| hole(name) || self.packages.iter().any(|(own, _)| own == name)),
                "--test" | "--bin" => words
                    .next()
                    .is_none_or(|name| self.packages.iter().any(|(_, own)| own.iter().any(|own| own == name))),
                "--profile" => words.next().is_none_or(|name| self.profiles.iter().any(|own| own == name)),
                option if option.starts_with('-') || hole(option) => true,
                filter => verb != "test" || self.sources.iter().any(|source| has_test(source, filter)),
            };
            if !known {
                missing.push(format!("cargo {verb}: {word}"));
            }
        }
        missing
    }
}

/// Its name, and the names of its tests and programs.
fn package(member: &str) -> (String, Vec<String>) {
    let manifest: toml::Table = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap().parse().unwrap();
    let declared = ["test", "bin"].iter().filter_map(|kind| manifest.get(*kind)?.as_array()).flatten();
    let mut targets: Vec<String> = declared.map(|target| target["name"].as_str().unwrap().to_owned()).collect();
    let files = fs::read_dir(root().join(member).join("tests")).into_iter().flatten().map(|file| file.unwrap().path());
    targets
        .extend(files.filter(|file| file.is_file()).map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()));
    (manifest["package"]["name"].as_str().unwrap().to_owned(), targets)
}

fn is_path(span: &str) -> bool {
    let plain = !span.starts_with(['/', '-']) && !span.contains(char::is_whitespace) && !span.contains("://");
    plain && (span.contains('/') || ENDINGS.iter().any(|ending| span.ends_with(ending)))
}

fn is_word(span: &str) -> bool {
    !span.is_empty() && span.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':')
}

fn hole(word: &str) -> bool {
    word.contains(['<', '{', '$'])
}

/// A recipe's `{{ ... }}` is whatever is put there.
fn without_holes(line: &str) -> String {
    let (mut said, mut rest) = (String::new(), line);
    while let Some((before, hole)) = rest.split_once("{{") {
        said.extend([before, "<>"]);
        rest = hole.split_once("}}").map_or("", |(_, after)| after);
    }
    said + rest
}

/// As far as the path is said: up to the last folder before `<name>`.
fn until_hole(path: &str) -> &str {
    match path.split_once('<') {
        Some((said, _)) => said.rsplit_once('/').map_or("", |(folder, _)| folder),
        None => path,
    }
}

fn exists(path: &str) -> bool {
    root().join(until_hole(path)).exists()
}

fn check(words: &[&str]) -> Vec<String> {
    let Some(name) = words.iter().skip_while(|word| **word != "--only").nth(1) else { return Vec::new() };
    let scripts = fs::read_dir(root().join("deploy/checks")).unwrap().map(|file| file.unwrap().path());
    let mut scripts = scripts.filter(|file| file.extension().is_some_and(|ending| ending == "py"));
    let defined = scripts.any(|file| fs::read_to_string(file).unwrap().contains(&format!("def {name}(")));
    (!defined).then(|| format!("deploy/check --only {name}")).into_iter().collect()
}

/// Whether a filter would select a test of the file: by its path, or by the name of a function.
fn has_test(source: &Source, filter: &str) -> bool {
    let name = |line: &str| line.trim_start().trim_start_matches("async ").strip_prefix("fn ").map(str::to_owned);
    let named = |line: &str| name(line).is_some_and(|rest| rest.split('(').next().unwrap_or_default().contains(filter));
    source.path.contains(filter) || source.text.lines().any(named)
}
