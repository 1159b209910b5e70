//! The admin listener's token.
//!
//! **Promises** it is never shown; how long a comparison takes says nothing about it.

use std::fmt;
use std::hint::black_box;

/// Shorter ones can be guessed.
pub const CHARS_MIN: usize = 32;
/// A longer one is something else, such as a key file.
pub const CHARS_MAX: usize = 512;

/// What an operator has to know.
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// Takes a token, or says what is wrong with it, without showing it.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !(CHARS_MIN..=CHARS_MAX).contains(&text.len()) {
            let n = text.len();
            return Err(format!(
                "must have {CHARS_MIN} to {CHARS_MAX} characters, not {n}; `openssl rand -hex 32` makes one"
            ));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without spaces; `openssl rand -hex 32` makes one".to_owned());
        }
        Ok(Self(text.into()))
    }

    /// Whether this is it. Every byte is compared, whichever differs.
    pub(super) fn is(&self, given: &str) -> bool {
        let (ours, given) = (self.0.as_bytes(), given.as_bytes());
        let mut differs = u8::from(ours.len() != given.len());
        for (at, byte) in ours.iter().enumerate() {
            // Of a text of another length any byte will do: it is refused anyway.
            differs |= black_box(byte ^ given.get(at).unwrap_or(&0));
        }
        black_box(differs) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_it_and_it_is_never_shown() {
        let text = "0123456789abcdef0123456789abcdef";
        let token = Token::new(&format!(" {text}\n")).unwrap();
        assert!(token.is(text));
        for other in ["", &text[1..], &format!("{text}0"), &text.replace('f', "e"), &text.to_uppercase()] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
        for bad in ["", "short", &"x".repeat(CHARS_MAX + 1), "with a space and long enough to be fine", &"ü".repeat(40)]
        {
            assert!(Token::new(bad).is_err_and(|what| bad.is_empty() || !what.contains(bad)), "{bad}");
        }
    }
}
