//! Numbers as DynamoDB keeps them: decimal, up to 38 digits, from 1E-130 to 9.99E+125.

use std::cmp::Ordering;
use std::fmt;

const DIGITS_MAX: u32 = 38;
const MAGNITUDE_MAX: i32 = 126;
const EXPONENT_MIN: i32 = -130;

/// A number. The last digit is not 0, so that one value is written in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    negative: bool,
    digits: u128,
    exponent: i32,
}

const ZERO: Number = Number { negative: false, digits: 0, exponent: 0 };

impl Number {
    /// None if it is no number, or has too many digits, or is out of the range.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let written = format!("{whole}{fraction}");
        if written.is_empty() || !written.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let significant = written.trim_end_matches('0');
        let n_zeros = i32::try_from(written.len() - significant.len()).ok()?;
        let significant = significant.trim_start_matches('0');
        if significant.len() > DIGITS_MAX as usize {
            return None;
        }
        let digits = if significant.is_empty() { 0 } else { significant.parse().ok()? };
        let exponent = i32::from(exponent) - i32::try_from(fraction.len()).ok()? + n_zeros;
        Self::of(negative, digits, exponent)
    }

    fn of(negative: bool, mut digits: u128, mut exponent: i32) -> Option<Self> {
        if digits == 0 {
            return Some(ZERO);
        }
        while digits.is_multiple_of(10) {
            (digits, exponent) = (digits / 10, exponent + 1);
        }
        let number = Self { negative, digits, exponent };
        let fits = number.n_digits() <= DIGITS_MAX && number.magnitude() <= MAGNITUDE_MAX && exponent >= EXPONENT_MIN;
        fits.then_some(number)
    }

    /// The sum; none if it has too many digits.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        if self == ZERO || other == ZERO {
            return Some(if self == ZERO { other } else { self });
        }
        let exponent = self.exponent.min(other.exponent);
        let scaled = |number: Self| -> Option<i128> {
            let scale = 10_u128.checked_pow(u32::try_from(number.exponent - exponent).ok()?)?;
            let digits = i128::try_from(number.digits.checked_mul(scale)?).ok()?;
            Some(if number.negative { -digits } else { digits })
        };
        let sum = scaled(self)?.checked_add(scaled(other)?)?;
        Self::of(sum < 0, sum.unsigned_abs(), exponent)
    }

    /// With the other sign.
    pub(super) fn negated(self) -> Self {
        Self { negative: !self.negative && self != ZERO, ..self }
    }

    fn n_digits(self) -> u32 {
        self.digits.checked_ilog10().map_or(0, |log| log + 1)
    }

    /// The place of the first digit.
    fn magnitude(self) -> i32 {
        self.n_digits() as i32 + self.exponent
    }

    fn size_order(self, other: Self) -> Ordering {
        let scaled = |number: Self| number.digits * 10_u128.pow(DIGITS_MAX - number.n_digits());
        self.magnitude().cmp(&other.magnitude()).then_with(|| scaled(self).cmp(&scaled(other)))
    }

    fn sign(self) -> i8 {
        i8::from(self != ZERO) * if self.negative { -1 } else { 1 }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sign().cmp(&other.sign()).then_with(|| match self.sign() {
            0 => Ordering::Equal,
            1 => self.size_order(*other),
            _ => other.size_order(*self),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    /// Without an exponent, as the service answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let digits = self.digits.to_string();
        if self.exponent >= 0 {
            return write!(f, "{sign}{digits}{}", "0".repeat(self.exponent as usize));
        }
        let n_fraction = self.exponent.unsigned_abs() as usize;
        let digits = format!("{}{digits}", "0".repeat((n_fraction + 1).saturating_sub(digits.len())));
        let (whole, fraction) = digits.split_at(digits.len() - n_fraction);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text} is no number"))
    }

    #[test]
    fn a_value_is_written_in_one_way() {
        for (text, written) in [
            ("007", "7"),
            ("-0", "0"),
            ("+1.50", "1.5"),
            ("1e2", "100"),
            ("120E-3", "0.12"),
            (".5", "0.5"),
            ("-0.001", "-0.001"),
            ("100", "100"),
        ] {
            assert_eq!(number(text).to_string(), written, "{text}");
        }
        let longest = "9".repeat(38);
        assert_eq!(number(&longest).to_string(), longest);
        for wrong in ["", "-", "x", "1x", "1.2.3", "--1", "NaN", "1e", "1e126", "1e-131", &"9".repeat(39)] {
            assert_eq!(Number::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_have_an_order_and_sums() {
        let ascending = ["-1e50", "-10", "-9.99", "-0.1", "0", "1e-130", "0.1", "2", "10", "10.5", "1e100"];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
        }
        let sum = |a: &str, b: &str| number(a).plus(number(b)).map(|sum| sum.to_string());
        assert_eq!(sum("1.5", "-0.25").as_deref(), Some("1.25"));
        assert_eq!(sum("5", "-5").as_deref(), Some("0"));
        assert_eq!(sum("0", "1e-130"), sum("1e-130", "0"));
        assert_eq!(sum("1e100", "1"), None);
        assert_eq!(sum(&"9".repeat(38), "1").as_deref(), Some(format!("1{}", "0".repeat(38)).as_str()));
        assert_eq!(number("3").negated().plus(number("1")).unwrap().to_string(), "-2");
    }
}
