//! Finds the event schema: built in, or a file.
//!
//! **Promises** every problem of a schema file is one of the configuration, under the file's name.
//! **Not here**: the schema itself (`messages/src/schema.rs`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use messages::EventSchema;
use messages::schema::BUILT_IN;

use super::layers::{Source, read_text};
use super::section::Section;
use super::suggest::closest;

pub(super) fn read(section: &mut Section<'_>) -> Option<Arc<EventSchema>> {
    let (name, file) = (section.text("use", |_| Ok(())), section.text("file", |_| Ok(())));
    let schema = match (name.as_str(), file.as_str()) {
        ("", "") => {
            section.missing("use", &format!("a built-in schema ({}) or a file is needed", names().join(", ")));
            None
        }
        (name, "") => built_in(section, name),
        ("", file) => from_file(section, file),
        _ => {
            let other = section.source("use");
            section.problem(
                "file",
                format!("only one of use and file can be set, and use is too (by {other}); empty one of them"),
            );
            None
        }
    };
    schema.map(Arc::new)
}

fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

fn built_in(section: &mut Section<'_>, name: &str) -> Option<EventSchema> {
    let found = EventSchema::built_in(name);
    if found.is_none() {
        let meant = closest(name, names().into_iter()).map(|meant| format!("; did you mean {meant:?}?"));
        let known = names().join(", ");
        let what = format!("{name:?} is not a built-in schema; there are {known}{}", meant.unwrap_or_default());
        section.problem("use", what);
    }
    found
}

fn from_file(section: &mut Section<'_>, file: &str) -> Option<EventSchema> {
    let path = resolve(&section.source("file"), file);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(what) => {
            section.problem("file", format!("{} {what}", path.display()));
            return None;
        }
    };
    match EventSchema::parse(&text) {
        Ok(schema) => Some(schema),
        Err(found) => {
            for problem in found.0 {
                section.problems.add_at(path.display().to_string(), "", problem);
            }
            None
        }
    }
}

/// A path in a file is relative to that file, so that the two can be moved together; any other to where we are.
fn resolve(source: &Source, file: &str) -> PathBuf {
    match source {
        Source::File(config) => config.parent().unwrap_or(Path::new("")).join(file),
        Source::Default | Source::Derived(_) | Source::Command(_) | Source::Environment(_) | Source::Flag(_) => {
            file.into()
        }
    }
}
