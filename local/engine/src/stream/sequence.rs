//! Sequence numbers: 56 digits, which are more than 128 bits hold.

use std::fmt;

const HALF_DIGITS: usize = 28;
const HALF: u128 = 10_u128.pow(HALF_DIGITS as u32);
/// What all numbers begin with: as those of the service do.
const FIRST: u128 = 49_590_338 * 10_u128.pow(20);
/// So many numbers has each shard, where shards share none.
const OF_SHARD: u128 = 10_u128.pow(20);

/// A sequence number. Its text has always as many digits, so that the order of texts is that of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence {
    high: u128,
    low: u128,
}

impl Sequence {
    /// Where the numbers of the shards of a new stream begin.
    pub(super) const ZERO: Self = Self { high: FIRST, low: 0 };

    /// Where the numbers of a shard begin where shards share none: behind those of any stream that is older.
    pub(super) fn of_shard(created_ms: i64, index: usize) -> Self {
        Self { high: FIRST + u128::try_from(created_ms).unwrap_or(0), low: index as u128 * OF_SHARD % HALF }
    }

    /// So many further on.
    pub(super) fn after(self, step: u64) -> Self {
        let low = self.low + u128::from(step);
        Self { high: self.high + low / HALF, low: low % HALF }
    }

    /// None if this was never a number of a stream.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 2 * HALF_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (high, low) = text.split_at(HALF_DIGITS);
        Some(Self { high: high.parse().ok()?, low: low.parse().ok()? })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:028}{:028}", self.high, self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_texts_of_one_length_in_their_order() {
        let last = Sequence { high: FIRST, low: HALF - 1 };
        for (before, after) in [(Sequence::ZERO, Sequence::ZERO.after(1)), (last, last.after(3))] {
            assert!(before < after && before.to_string() < after.to_string());
            assert_eq!(Sequence::parse(&after.to_string()), Some(after));
            assert_eq!(after.to_string().len(), 56);
        }
        assert_eq!(last.after(3), Sequence { high: FIRST + 1, low: 2 });
        // One that an older build has given.
        let old = "49668466551374291034012345678901234567890123456789012345";
        assert_eq!(Sequence::parse(old).map(|number| number.to_string()).as_deref(), Some(old));
        assert_eq!((Sequence::parse("1"), Sequence::parse(&"x".repeat(56))), (None, None));
    }
}
