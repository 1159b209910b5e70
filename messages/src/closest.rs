//! What somebody may have meant who wrote a name that does not exist.
//!
//! **Not here**: anything that decides; this is for words to people.

/// The candidate that is the fewest edits away, if they are few for its length.
pub fn closest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
