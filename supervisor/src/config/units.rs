//! Sizes as people write them.

/// Units of sizes: powers of 1024 with an `i`, powers of 1000 without.
const UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

/// `32MiB`, `32 MiB`, `1.5GB`, `4096`; none if it is not a size.
pub(super) fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.replace('_', "");
    let unit = match unit.trim().to_ascii_lowercase() {
        unit if unit.is_empty() => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    // Whole bytes only, and no more than a float counts exactly.
    (bytes.fract() == 0.0 && bytes < (1_u64 << 53) as f64).then_some(bytes as u64)
}

/// The shortest exact way to write a size.
pub(super) fn show_bytes(bytes: u64) -> String {
    let exact = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = exact.into_iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, size)| format!("{}{name}", bytes / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_all_spellings() {
        for (text, bytes) in [
            ("32MiB", 32 << 20),
            ("32 mib", 32 << 20),
            ("4096", 4096),
            ("1_000 B", 1000),
            ("1.5KiB", 1536),
            ("2GB", 2_000_000_000),
        ] {
            assert_eq!(bytes_of(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5", "12 parsecs", "1..2MB", "99999999999TiB"] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_exactly() {
        assert_eq!(show_bytes(32 << 20), "32MiB");
        assert_eq!(show_bytes(1536), "1536 bytes");
        assert_eq!(show_bytes(3 << 30), "3GiB");
    }
}
