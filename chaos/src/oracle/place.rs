//! Places in a shard.
//!
//! **Owns** the compact form of a sequence number: millions of them are sorted.
//! **Promises** the order of the numbers. Kinesis writes 56 digits; 76 fit.
//! **Fails** with none on anything else.
//! **Not here**: shards.

use std::fmt;

use messages::Position;

/// Decimal digits that a `u128` always holds.
const HALF: usize = 38;

/// A sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u128, u128);

impl Place {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_start_matches('0');
        if text.is_empty() || digits.len() > 2 * HALF || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (high, low) = digits.split_at(digits.len().saturating_sub(HALF));
        let number = |part: &str| if part.is_empty() { Some(0) } else { part.parse().ok() };
        Some(Self(number(high)?, number(low)?))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(0, low) => write!(f, "{low}"),
            Self(high, low) => write!(f, "{high}{low:0width$}", width = HALF),
        }
    }
}

/// How far a shard is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pos {
    /// Nothing is.
    Start,
    /// Everything up to and including this record.
    At(Place),
    /// Everything.
    End,
}

impl Pos {
    pub(super) fn of(position: &Position) -> Option<Self> {
        Some(match position {
            Position::TrimHorizon => Self::Start,
            Position::At(sequence) => Self::At(Place::parse(sequence.as_str())?),
            Position::ShardEnd => Self::End,
        })
    }

    /// Reads a lease row's checkpoint.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::of(&Position::parse(text).ok()?)
    }

    /// Whether the record lies behind `from` and not behind `self`.
    pub(super) fn covers(self, from: Self, place: Place) -> bool {
        from < Self::At(place) && Self::At(place) <= self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_compare_as_numbers_and_show_what_they_were() {
        let long = "49590338271490256608559692538361571095921575989136588898";
        let texts =
            ["0", "9", "10", "99999999999999999999999999999999999999", "100000000000000000000000000000000000000", long];
        let places: Vec<Place> = texts.iter().map(|text| Place::parse(text).unwrap()).collect();
        assert!(places.is_sorted_by(|a, b| a < b));
        assert_eq!(places.iter().map(Place::to_string).collect::<Vec<_>>(), texts);
        assert_eq!(Place::parse("007"), Place::parse("7"));
        for text in ["", "-1", "+1", "1e3", "12 ", &"9".repeat(77)] {
            assert_eq!(Place::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_interval_is_open_at_its_beginning() {
        let at = |text: &str| Place::parse(text).unwrap();
        assert!(Pos::At(at("5")).covers(Pos::Start, at("5")));
        assert!(!Pos::At(at("5")).covers(Pos::At(at("5")), at("5")));
        assert!(Pos::End.covers(Pos::At(at("4")), at("5")));
        assert!(!Pos::At(at("4")).covers(Pos::Start, at("5")));
    }
}
