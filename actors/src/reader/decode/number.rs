//! Numbers as they were written: whole ones exactly, the others as the nearest double.
//!
//! **Owns** what a JSON number means for an integer, a time and a float.
//! **Promises** no whole number passes through a float: `1e3`, `1000.0` and `100000e-2` are 1000, and
//! 9007199254740993.0 keeps its last digit. Work is linear in the digits, whatever the exponent says.
//! **Not here**: whether the text is a JSON number. The parser has checked that.

/// Exponents beyond this are the same as this: a record has far fewer digits.
const EXPONENT_MAX: i64 = 1 << 40;
/// Digits of a number that are shown to a person.
const SHOWN_CHARS_MAX: usize = 60;

/// The whole number nearest to a decimal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nearest {
    /// It is that number.
    Exact(i64),
    /// It has a fraction; of two that are equally near, this is the one farther from zero.
    Rounded(i64),
    /// 64 bits do not hold it.
    Beyond,
}

/// The number as a whole one.
pub(super) fn whole(text: &str) -> Nearest {
    // What nearly all are: digits alone, of which 18 always fit.
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let n = digits.bytes().fold(0_i64, |n, digit| n * 10 + i64::from(digit - b'0'));
        return Nearest::Exact(if digits.len() < text.len() { -n } else { n });
    }
    times_ten_to(text, 0)
}

/// The number times a power of ten, as a whole one.
pub(super) fn times_ten_to(text: &str, power: i64) -> Nearest {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, 0), |(m, e)| (m, exponent(e)));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // Where the point stands among all digits, once exponent and power have moved it.
    let mut point = before.len() as i64 + exponent + power;
    let mut magnitude = 0_u64;
    let (mut rest, mut first_of_rest) = (false, None);
    for digit in before.bytes().chain(after.bytes()).map(|byte| byte - b'0') {
        if point > 0 {
            let grown = magnitude.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
            let Some(grown) = grown else { return Nearest::Beyond };
            magnitude = grown;
        } else {
            // A digit behind the first place is preceded by zeros.
            first_of_rest.get_or_insert(if point == 0 { digit } else { 0 });
            rest |= digit != 0;
        }
        point -= 1;
    }
    while point > 0 && magnitude > 0 {
        let Some(grown) = magnitude.checked_mul(10) else { return Nearest::Beyond };
        magnitude = grown;
        point -= 1;
    }
    let up = u64::from(first_of_rest.is_some_and(|digit| digit >= 5));
    let Some(signed) = magnitude.checked_add(up).and_then(|magnitude| signed(negative, magnitude)) else {
        return Nearest::Beyond;
    };
    if rest { Nearest::Rounded(signed) } else { Nearest::Exact(signed) }
}

fn exponent(text: &str) -> i64 {
    let digits = text.trim_start_matches(['+', '-']);
    let size = digits.bytes().fold(0_i64, |n, digit| (n * 10 + i64::from(digit - b'0')).min(EXPONENT_MAX));
    if text.starts_with('-') { -size } else { size }
}

fn signed(negative: bool, magnitude: u64) -> Option<i64> {
    match negative {
        false => i64::try_from(magnitude).ok(),
        true => 0_i64.checked_sub_unsigned(magnitude),
    }
}

/// The nearest double; none beyond the largest.
pub(super) fn float(text: &str) -> Option<f64> {
    // The standard library rounds correctly, also what is subnormal or has more digits than a double.
    text.parse().ok().filter(|x: &f64| x.is_finite())
}

/// Whether it is written without point and exponent.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// The number as it was sent, for a person.
pub(super) fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    match text.len() <= SHOWN_CHARS_MAX {
        true => text.into(),
        false => format!("{}... ({} characters)", &text[..SHOWN_CHARS_MAX], text.len()).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_whole_number_is_exact_in_every_spelling() {
        for (text, n) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0e-7", 0),
            ("0e999999999999999999999", 0),
            ("1e3", 1_000),
            ("1E+2", 100),
            ("1000.0", 1_000),
            ("100e-2", 1),
            ("100000e-2", 1_000),
            ("0.001e3", 1),
            ("12345678901234567.0", 12_345_678_901_234_567),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9.007199254740993e15", 9_007_199_254_740_993),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-9223372036854775808.000", i64::MIN),
            ("922337203685477580700e-2", i64::MAX),
        ] {
            assert_eq!(whole(text), Nearest::Exact(n), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "1e19", "18446744073709551616.5", "1e99999999999"] {
            assert_eq!(whole(text), Nearest::Beyond, "{text}");
        }
    }

    #[test]
    fn a_fraction_is_noticed_however_small() {
        for (text, n) in [("1.5", 2), ("-1.5", -2), ("1.4999", 1), ("1e-400", 0), ("5e-1", 1), ("5e-2", 0), ("-0.1", 0)]
        {
            assert_eq!(whole(text), Nearest::Rounded(n), "{text}");
        }
        assert_eq!(times_ten_to("1795359845.1234565", 6), Nearest::Rounded(1_795_359_845_123_457));
        assert_eq!(times_ten_to("1.795359845123456e9", 6), Nearest::Exact(1_795_359_845_123_456));
        assert_eq!(whole(&format!("1.{}1", "0".repeat(100_000))), Nearest::Rounded(1));
    }

    #[test]
    fn a_float_is_the_nearest() {
        assert_eq!(float("29.099999999999998"), Some(29.099999999999998));
        assert_eq!(float("5e-324"), Some(f64::from_bits(1)));
        assert_eq!(float("2.4703282292062328e-324"), Some(f64::from_bits(1)));
        assert_eq!(float("9007199254740993"), Some(9_007_199_254_740_992.0));
        assert_eq!(float("1.7976931348623158e308"), Some(f64::MAX));
        assert_eq!(float("-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(float("1e400"), None);
    }

    proptest! {
        #[test]
        fn spellings_of_one_number_agree(n in any::<i64>(), zeros in 0..30_usize, moved in 0..19_usize) {
            let digits = n.unsigned_abs().to_string();
            let sign = if n < 0 { "-" } else { "" };
            prop_assert_eq!(whole(&n.to_string()), Nearest::Exact(n));
            prop_assert_eq!(whole(&format!("{n}.{}", "0".repeat(zeros + 1))), Nearest::Exact(n));
            prop_assert_eq!(whole(&format!("{n}{}e-{zeros}", "0".repeat(zeros))), Nearest::Exact(n));
            let at = moved.min(digits.len() - 1);
            let (before, after) = digits.split_at(digits.len() - at);
            let after = if after.is_empty() { "0" } else { after };
            prop_assert_eq!(whole(&format!("{sign}{before}.{after}E+{at}")), Nearest::Exact(n));
        }

        #[test]
        fn rounding_agrees_with_wide_integers(mantissa in -1_000_000_i64..1_000_000, exponent in -9_i64..9) {
            let scaled = i128::from(mantissa) * 10_i128.pow((exponent + 9) as u32);
            let unit = 1_000_000_000_i128;
            let nearest = (scaled.abs() + unit / 2) / unit * scaled.signum();
            let expected = match scaled % unit {
                0 => Nearest::Exact(nearest as i64),
                _ => Nearest::Rounded(nearest as i64),
            };
            prop_assert_eq!(whole(&format!("{mantissa}e{exponent}")), expected);
        }
    }
}
