//! Hash keys: where on a stream a record belongs, and which of them a shard takes.
//!
//! **Owns** the reading of Kinesis' decimals, which are 128-bit numbers.
//! **Promises** a range is never empty or backwards, whatever it was read from.
//! **Fails** with [`InvalidHashRange`], which names what was given.
//! **Not here**: how a partition key becomes a hash key (`actors/src/hash_key.rs`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// 2^128 - 1 has this many digits.
const DIGITS_MAX: usize = 39;

/// The hash keys that one shard takes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct HashRange {
    start: u128,
    end: u128,
}

/// The service (or a table row) gave something that is not a range of hash keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHashRange {
    /// One end is not a decimal below 2^128.
    #[error("{0:?} is not a hash key: expected a decimal number below 2^128")]
    NotAHashKey(String),
    /// The end lies before the start.
    #[error("the hash range begins at {start} and ends before that, at {end}")]
    Backwards {
        /// The start as given.
        start: u128,
        /// The end as given.
        end: u128,
    },
}

impl HashRange {
    /// Every hash key there is.
    pub const FULL: Self = Self { start: 0, end: u128::MAX };

    /// Reads the two decimals of the service.
    pub fn parse(start: &str, end: &str) -> Result<Self, InvalidHashRange> {
        let key = |text: &str| {
            parse_hash_key(text).ok_or_else(|| InvalidHashRange::NotAHashKey(text.chars().take(50).collect()))
        };
        let (start, end) = (key(start)?, key(end)?);
        if end < start {
            return Err(InvalidHashRange::Backwards { start, end });
        }
        Ok(Self { start, end })
    }

    /// Whether the shard of this range takes the key.
    pub fn contains(self, hash_key: u128) -> bool {
        (self.start..=self.end).contains(&hash_key)
    }

    /// Where the second half begins; none if there are no two halves.
    pub fn middle(self) -> Option<u128> {
        (self.end > self.start).then(|| self.start + (self.end - self.start) / 2 + 1)
    }
}

/// Reads a hash key as Kinesis writes it; none if it is not a decimal below 2^128.
pub fn parse_hash_key(text: &str) -> Option<u128> {
    // The standard library would also take a sign, and any number of leading zeros.
    let is_decimal = text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

impl TryFrom<(String, String)> for HashRange {
    type Error = InvalidHashRange;

    fn try_from((start, end): (String, String)) -> Result<Self, InvalidHashRange> {
        Self::parse(&start, &end)
    }
}

impl From<HashRange> for (String, String) {
    fn from(range: HashRange) -> Self {
        (range.start.to_string(), range.end.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: &str = "340282366920938463463374607431768211455";

    #[test]
    fn both_ends_belong_to_the_range() {
        let range = HashRange::parse("10", "20").unwrap();
        let inside = [9, 10, 15, 20, 21].map(|key| range.contains(key));
        assert_eq!(inside, [false, true, true, true, false]);
        assert!(HashRange::parse("7", "7").unwrap().contains(7));
        assert_eq!(range.to_string(), "10 to 20");
    }

    #[test]
    fn the_whole_of_a_stream_is_the_full_range() {
        let range = HashRange::parse("0", LAST).unwrap();
        assert_eq!(range, HashRange::FULL);
        assert!(range.contains(0) && range.contains(u128::MAX));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let too_large = "340282366920938463463374607431768211456";
        for end in ["", "-1", "+1", "1e3", " 1", "undefined", too_large, &"0".repeat(40), "\u{0661}"] {
            assert_eq!(HashRange::parse("0", end), Err(InvalidHashRange::NotAHashKey(end.to_owned())), "{end:?}");
            assert!(HashRange::parse(end, LAST).is_err(), "{end:?}");
        }
        let backwards = HashRange::parse("2", "1");
        assert_eq!(backwards, Err(InvalidHashRange::Backwards { start: 2, end: 1 }));
        let shown = HashRange::parse(&"9".repeat(10_000), LAST).unwrap_err().to_string();
        assert!(shown.len() < 200, "an error quotes no more than it must: {shown}");
    }

    #[test]
    fn a_stored_range_is_two_decimals() {
        let range = HashRange::parse("170141183460469231731687303715884105728", LAST).unwrap();
        let stored = serde_json::to_string(&range).unwrap();
        assert_eq!(stored, format!(r#"["170141183460469231731687303715884105728","{LAST}"]"#));
        assert_eq!(serde_json::from_str::<HashRange>(&stored).unwrap(), range);
        assert!(serde_json::from_str::<HashRange>(r#"["2","1"]"#).is_err());
    }
}
