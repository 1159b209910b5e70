//! Text from outside, for terminals and for whoever reads a log.
//!
//! **Promises** INERT: no character of it is obeyed instead of shown, neither by a terminal (ESC, C1) nor by what lays
//! out lines (line breaks, direction). It stays readable: what is replaced is named.

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether something obeys the character instead of showing it.
pub(crate) fn is_obeyed(c: char) -> bool {
    let lays_out = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}'
    );
    c.is_control() || lays_out
}

/// The text with names for what would be obeyed: `\n`, `\u{1b}`.
pub(crate) fn inert(text: &str) -> Cow<'_, str> {
    named(text, name)
}

/// As [`inert`], but lines stay lines: for messages of several lines, which are ours.
pub(crate) fn inert_lines(text: &str) -> Cow<'_, str> {
    named(text, |c| if c == '\n' { "\n".to_owned() } else { name(c) })
}

/// JSON in which nothing is obeyed, with the same meaning: outside of texts it has no such characters, but line breaks.
pub(crate) fn inert_json(json: &str) -> Cow<'_, str> {
    named(json, |c| if c == '\n' { "\n".to_owned() } else { format!("\\u{:04x}", u32::from(c)) })
}

fn name(c: char) -> String {
    match c {
        '\n' | '\r' | '\t' | '\0' => c.escape_debug().to_string(),
        c => c.escape_unicode().to_string(),
    }
}

fn named(text: &str, name: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut named = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) { named.push_str(&name(c)) } else { named.push(c) }
    }
    Cow::Owned(named)
}

/// Writes lines of JSON so that nothing in them is obeyed. Each must come in one piece.
#[derive(Debug)]
pub(crate) struct InertJson<W>(pub(crate) W);

impl<W: Write> Write for InertJson<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(json) => self.0.write_all(inert_json(json).as_bytes())?,
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_obeyed_is_named_and_the_rest_stays() {
        let hostile = "a\u{1b}]0;x\u{7}\r\n\u{9b}31m\u{202e}gpj\u{2066}\u{7f}\u{0}é '\"\\ \u{1f600}";
        let shown = inert(hostile);
        assert_eq!(shown, "a\\u{1b}]0;x\\u{7}\\r\\n\\u{9b}31m\\u{202e}gpj\\u{2066}\\u{7f}\\0é '\"\\ \u{1f600}",);
        assert!(!shown.contains(is_obeyed));
        assert!(matches!(inert("plain ü"), Cow::Borrowed("plain ü")));
        assert_eq!(inert_lines("a\nb\u{1b}"), "a\nb\\u{1b}");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "a\u{9b}": "b\u{202e}\u{85}\u{7f}\n\u{1b}" });
        let shown = inert_json(&value.to_string()).into_owned();
        assert!(!shown.contains(is_obeyed), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
