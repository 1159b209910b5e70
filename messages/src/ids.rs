//! Identities as types, so that a shard id can never be passed where a sensor id is meant.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A shard's id as Kinesis names it, for example `shardId-000000000003`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(Arc<str>);

impl ShardId {
    /// Wraps the service's own id.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as Kinesis writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id without Kinesis' fixed prefix: short enough for object keys and actor names.
    pub fn short(&self) -> &str {
        self.0.strip_prefix("shardId-").unwrap_or(&self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sensor's id, already validated: bounded length, allowed characters only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SensorId(Arc<str>);

impl SensorId {
    /// Wraps an id that passed the schema's id rules.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as the device writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for SensorId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Kinesis sequence number: a decimal of up to 129 digits, too large for `u128`, so it stays text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SequenceNumber(Arc<str>);

/// The service (or a table row) gave something that is not a sequence number.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a sequence number: expected up to 129 decimal digits")]
pub struct InvalidSequence(pub String);

impl SequenceNumber {
    /// Parses the service's decimal; leading zeros are dropped so that equal numbers are equal values.
    pub fn parse(text: &str) -> Result<Self, InvalidSequence> {
        let digits = !text.is_empty() && text.len() <= 129 && text.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return Err(InvalidSequence(text.chars().take(140).collect()));
        }
        let trimmed = text.trim_start_matches('0');
        Ok(Self(if trimmed.is_empty() { "0" } else { trimmed }.into()))
    }

    /// The number before this one; none before zero.
    pub fn predecessor(&self) -> Option<Self> {
        let at = self.0.rfind(|digit| digit != '0')?;
        let mut digits = self.0.as_bytes().to_vec();
        digits[at] -= 1;
        digits[at + 1..].fill(b'9');
        let text: String = digits.into_iter().map(char::from).collect();
        Self::parse(&text).ok()
    }

    /// The decimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    // Without leading zeros the longer number is the larger one, and equal lengths compare as text.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SequenceNumber {
    type Error = InvalidSequence;

    fn try_from(text: String) -> Result<Self, InvalidSequence> {
        Self::parse(&text)
    }
}

impl From<SequenceNumber> for String {
    fn from(number: SequenceNumber) -> Self {
        number.0.to_string()
    }
}

/// How far a shard has been read. The text forms are KCL's sentinels, so that a lease row can be shared with KCL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Position {
    /// Nothing yet: the oldest record that the stream still holds comes next.
    TrimHorizon,
    /// Everything up to and including this record.
    At(SequenceNumber),
    /// The shard was closed by a reshard and all of it has been read.
    ShardEnd,
}

impl Position {
    /// Parses a lease row's `checkpoint`.
    pub fn parse(text: &str) -> Result<Self, InvalidSequence> {
        match text {
            "TRIM_HORIZON" => Ok(Self::TrimHorizon),
            "SHARD_END" => Ok(Self::ShardEnd),
            digits => SequenceNumber::parse(digits).map(Self::At),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::At(sequence) => sequence.fmt(f),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

/// The number of an epoch within its shard: 1, 2, 3, ... without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochNumber(pub u64);

impl EpochNumber {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for EpochNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(text: &str) -> SequenceNumber {
        SequenceNumber::parse(text).unwrap()
    }

    #[test]
    fn predecessors() {
        for (of, expected) in
            [("1", Some("0")), ("10", Some("9")), ("2000", Some("1999")), ("120", Some("119")), ("0", None)]
        {
            assert_eq!(seq(of).predecessor(), expected.map(seq), "{of}");
        }
    }

    #[test]
    fn sequence_numbers_compare_as_numbers() {
        assert!(seq("9") < seq("10"));
        assert!(
            seq("49590338271490256608559692538361571095921575989136588898")
                > seq("340282366920938463463374607431768211455")
        );
        assert_eq!(seq("007"), seq("7"));
        assert_eq!(seq("000"), seq("0"));
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in ["", "-1", "1e3", "12 ", "LATEST", &"9".repeat(130)] {
            assert!(SequenceNumber::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn positions_keep_kcl_sentinels_and_order() {
        for text in ["TRIM_HORIZON", "SHARD_END", "42"] {
            assert_eq!(Position::parse(text).unwrap().to_string(), text);
        }
        assert!(Position::TrimHorizon < Position::At(seq("0")));
        assert!(Position::At(seq("99")) < Position::ShardEnd);
    }
}
