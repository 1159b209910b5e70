//! The warehouse's own words about a failure, without those of the data.
//!
//! **Promises** what data or people choose decides nothing about an error (INERT).

/// Quoted texts that may be a name or a key have at most this length.
const NAME_BYTES_MAX: usize = 1_200;
/// Words are compared up to this length.
const ALIKE_CHARS_MAX: usize = 200;

/// The words of an error without what differs from one epoch to the next: names, keys, numbers, values. Equal words are
/// one cause.
pub(crate) fn alike(message: &str) -> String {
    let told = told(message, |_| "?");
    let bare = |word: &str| match word.contains("://") || word.chars().any(|c| c.is_ascii_digit()) {
        true => "#".to_owned(),
        false => word.to_owned(),
    };
    let words = told.split_whitespace().map(bare).collect::<Vec<_>>().join(" ");
    words.chars().take(ALIKE_CHARS_MAX).collect()
}

/// What the warehouse itself says, in lower case: up to the first quoted text that is no name. Quoted names are what
/// `show` makes of them.
pub(crate) fn told(message: &str, show: impl Fn(&str) -> &str) -> String {
    let name = |text: &str| {
        let part = |c: char| c.is_ascii_alphanumeric() || "_-./:=%+,@$#".contains(c);
        text.len() <= NAME_BYTES_MAX && text.chars().all(part)
    };
    let (mut told, mut rest) = (String::new(), message);
    while let Some((before, quoted)) = rest.split_once(['\'', '"', '`']) {
        told.push_str(before);
        let quote = rest[before.len()..].chars().next().unwrap_or_default();
        match quoted.split_once(quote).filter(|(inner, _)| name(inner)) {
            Some((inner, after)) => (told, rest) = (told + show(inner), after),
            None => return told.to_lowercase(),
        }
    }
    (told + rest).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn words_are_alike_whatever_the_epoch() {
        let of = |batch: &str, key: &str, value: &str| {
            let error = "ERROR: Spectrum Scan Error: File";
            alike(&format!(
                "run mangrove: load {batch}: statement 5: {error} '{key}' has a bad page, s3://b/{key} \"{value}\""
            ))
        };
        let one = of("ab12", "cleansed/a-1.parquet", "x y");
        assert_eq!(one, of("cd34", "cleansed/b-2.parquet", "z\nq"));
        assert_eq!(one, "run mangrove: load # statement # error: spectrum scan error: file ? has a bad page, #");
        assert_ne!(alike("ERROR: value too long"), alike("ERROR: out of range"));
    }
}
