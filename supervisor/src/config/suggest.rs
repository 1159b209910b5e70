//! What somebody may have meant who wrote a key that does not exist.
//!
//! **Not here**: anything that decides; these are words for people.

pub(super) use messages::closest;

use super::layers::{KeyEntry, Values};

/// For a key that its section does not have.
pub(super) fn unknown_key(values: &Values, section: &str, key: &str) -> String {
    if !section.is_empty() && !values.has_section(section) {
        return unknown_section(values, section);
    }
    let keys: Vec<&str> = in_section(values, section).map(|entry| entry.key.as_str()).collect();
    if let Some(meant) = closest(key, keys.iter().copied()) {
        return format!("is not a key that exists; did you mean {meant}?");
    }
    let elsewhere: Vec<String> =
        values.entries().iter().filter(|e| e.key == key).map(|e| format!("[{}]", e.section)).collect();
    match (elsewhere.is_empty(), keys.is_empty()) {
        (false, _) => format!("is not a key that exists here; it belongs into {}", elsewhere.join(" or ")),
        (true, true) => "is not a key that exists; every key stands in a section".to_owned(),
        (true, false) => format!("is not a key that exists; [{section}] has {}", keys.join(", ")),
    }
}

/// For a section that does not exist.
pub(super) fn unknown_section(values: &Values, section: &str) -> String {
    let mut sections: Vec<&str> = values.entries().iter().map(|entry| entry.section.as_str()).collect();
    sections.dedup();
    match closest(section, sections.iter().copied()) {
        Some(meant) => format!("is not a section that exists; did you mean [{meant}]?"),
        None => format!("is not a section that exists; there are {}", sections.join(", ")),
    }
}

fn in_section<'a>(values: &'a Values, section: &'a str) -> impl Iterator<Item = &'a KeyEntry> {
    values.entries().iter().filter(move |entry| entry.section == section)
}
