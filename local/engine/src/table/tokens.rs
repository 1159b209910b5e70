//! The words of an expression.

use crate::Refusal;

/// A word; of names and values the placeholder with its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Name(&'a str),
    Value(&'a str),
    Digits(&'a str),
    Mark(&'a str),
}

const MARKS: [&str; 14] = ["<>", "<=", ">=", "<", ">", "=", "(", ")", "[", "]", ",", ".", "+", "-"];

/// All words of a text, in order.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let mark = MARKS.into_iter().find(|mark| rest.starts_with(mark));
        let token = match (first, mark) {
            ('#', _) => Token::Name(&rest[..=word(&rest[1..])]),
            (':', _) => Token::Value(&rest[..=word(&rest[1..])]),
            (c, _) if c.is_ascii_digit() => Token::Digits(&rest[..word(rest)]),
            (c, _) if c.is_ascii_alphabetic() || c == '_' => Token::Word(&rest[..word(rest)]),
            (_, Some(mark)) => Token::Mark(mark),
            (other, None) => return Err(Refusal::validation(format!("Syntax error in an expression, at {other:?}"))),
        };
        rest = rest[token.text().len()..].trim_start();
        tokens.push(token);
    }
    if tokens.is_empty() { Err(Refusal::validation("The expression can not be empty")) } else { Ok(tokens) }
}

impl<'a> Token<'a> {
    pub(super) fn text(self) -> &'a str {
        let (Self::Word(text) | Self::Name(text) | Self::Value(text) | Self::Digits(text) | Self::Mark(text)) = self;
        text
    }
}
