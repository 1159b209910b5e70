//! What somebody may have meant who wrote a key that does not exist.
//!
//! **Not here**: anything that decides; these are words for people.

use super::layers::{Entry, Values};

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

fn in_section<'a>(values: &'a Values, section: &'a str) -> impl Iterator<Item = &'a Entry> {
    values.entries().iter().filter(move |entry| entry.section == section)
}

/// The candidate that is the fewest edits away, if they are few for its length.
pub(super) fn closest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.map(|candidate| (edits(&written.to_lowercase(), candidate), candidate));
    let (distance, candidate) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= (candidate.len() / 3).max(1)).then_some(candidate)
}

/// The Levenshtein distance, one row at a time.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (n, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (m, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let keys = ["age_max", "bytes_max", "partitions_max"];
        assert_eq!(closest("agemax", keys.into_iter()), Some("age_max"));
        assert_eq!(closest("Bytes_Max", keys.into_iter()), Some("bytes_max"));
        assert_eq!(closest("colour", keys.into_iter()), None);
    }
}
