//! What the service takes and gives, as far as SQL has to know it: lengths, and values.

/// The longest statement that the service takes, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 100_000;
/// The most statements that one batch may have.
pub const BATCH_STATEMENTS_MAX: usize = 40;

/// One value of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// `BOOLEAN`.
    Boolean(bool),
    /// Whole numbers.
    Integer(i64),
    /// `REAL` and `DOUBLE PRECISION`.
    Float(f64),
    /// Everything that the service writes as text, also dates, times and decimals.
    Text(String),
    /// `VARBYTE`.
    Bytes(Vec<u8>),
}

impl Cell {
    /// The whole number, if it is one, also one that is written as text.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            Self::Text(text) => text.parse().ok(),
            Self::Null | Self::Boolean(_) | Self::Float(_) | Self::Bytes(_) => None,
        }
    }

    /// The number, if it is one, also one that is written as text.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(*n as f64),
            Self::Float(x) => Some(*x),
            Self::Text(text) => text.parse().ok(),
            Self::Null | Self::Boolean(_) | Self::Bytes(_) => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Boolean(_) | Self::Integer(_) | Self::Float(_) | Self::Bytes(_) => None,
        }
    }
}
