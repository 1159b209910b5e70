//! The statement as tokens: what is decided before the parser sees it.

use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::{refusals, syntax};
use crate::error::SqlError;

/// Operators of a statement. A chain of them is a tree as deep as it is long, and every walk over it takes stack: a
/// thread for statements has [`STACK_BYTES`](crate::STACK_BYTES).
const OPERATORS_MAX: usize = 10_000;
const OPERATOR_WORDS: [&str; 16] = [
    "and",
    "or",
    "not",
    "is",
    "in",
    "like",
    "ilike",
    "between",
    "similar",
    "union",
    "except",
    "minus",
    "intersect",
    "join",
    "collate",
    "at",
];

/// The tokens of one statement, without space, comments and semicolons at its end.
pub(super) fn read(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    if text.contains('\0') {
        return Err(SqlError::new("invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    let all = Tokenizer::new(&RedshiftSqlDialect {}, text).tokenize_with_location();
    let all = all.map_err(|error| syntax(error.into()))?;
    let mut tokens: Vec<_> = all.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    while tokens.last().is_some_and(|token| matches!(token.token, Token::SemiColon | Token::EOF)) {
        tokens.pop();
    }
    if tokens.is_empty() {
        return Err(SqlError::new("the statement is empty"));
    }
    if tokens.iter().any(|token| token.token == Token::SemiColon) {
        return Err(SqlError::new("cannot insert multiple commands into a prepared statement"));
    }
    if tokens.iter().filter(|token| operates(&token.token)).count() > OPERATORS_MAX {
        return Err(SqlError(format!("the statement has more than {OPERATORS_MAX} operators")));
    }
    Ok(tokens)
}

fn operates(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && OPERATOR_WORDS.contains(&word.value.to_lowercase().as_str()),
        Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::Period => false,
        Token::LParen | Token::RParen => false,
        _ => true,
    }
}

/// The words it begins with, in lower case; at most four.
pub(super) fn first_words(tokens: &[TokenWithSpan]) -> Vec<String> {
    tokens.iter().take(4).map_while(|token| word(&token.token)).collect()
}

/// An unquoted word in lower case.
pub(super) fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        _ => None,
    }
}

/// How columns are stored is read by nobody here: `ENCODE x`, which must be one for the column's type, and the word before
/// SORTKEY.
pub(super) fn drop_storage_hints(tokens: &mut Vec<TokenWithSpan>) -> Result<(), SqlError> {
    let mut kept: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = std::mem::take(tokens).into_iter().peekable();
    while let Some(token) = rest.next() {
        let name = word(&token.token);
        let next = rest.peek().and_then(|token| word(&token.token));
        match (name.as_deref(), next.as_deref()) {
            (Some("encode"), Some(encoding)) => {
                let column = column(&kept);
                let column = column.as_ref().map(|(name, ty)| (name.as_str(), ty.as_str()));
                match refusals::encoding(encoding, column)? {
                    true => drop(rest.next()),
                    false => kept.push(token),
                }
            }
            (Some("compound" | "interleaved"), Some("sortkey")) => {}
            _ => kept.push(token),
        }
    }
    *tokens = kept;
    Ok(())
}

/// The column whose definition these tokens end with: its name, and the first word of its type.
fn column(tokens: &[TokenWithSpan]) -> Option<(String, String)> {
    let mut depth = 0;
    let begins = |token: &TokenWithSpan| {
        match &token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth > 0 => depth -= 1,
            Token::LParen | Token::Comma if depth == 0 => return true,
            other => return depth == 0 && word(other).as_deref() == Some("column"),
        }
        false
    };
    let start = tokens.iter().rposition(begins)? + 1;
    match &tokens.get(start)?.token {
        Token::Word(name) => Some((name.value.clone(), word(&tokens.get(start + 1)?.token)?)),
        _ => None,
    }
}

/// `APPROXIMATE COUNT(...)`: an exact count is one of the answers an approximate one may give. Where such calls stand.
pub(super) fn drop_approximate(tokens: &mut Vec<TokenWithSpan>) -> Vec<Location> {
    let (mut at, mut calls) = (0, Vec::new());
    while at + 1 < tokens.len() {
        let next = word(&tokens[at + 1].token);
        let counts = matches!(next.as_deref(), Some("count" | "percentile_disc"));
        if counts && word(&tokens[at].token).as_deref() == Some("approximate") {
            tokens.remove(at);
            calls.push(tokens[at].span.start);
        }
        at += 1;
    }
    calls
}

/// Nothing may follow.
pub(super) fn end(parser: &mut Parser<'_>) -> Result<(), SqlError> {
    match parser.next_token().token {
        Token::EOF => Ok(()),
        token => Err(SqlError(format!("syntax error at or near \"{token}\""))),
    }
}

/// Takes the next token if it is this word.
pub(super) fn accept(parser: &mut Parser<'_>, wanted: &str) -> bool {
    let is = word(&parser.peek_token().token).as_deref() == Some(wanted);
    if is {
        parser.next_token();
    }
    is
}

/// The next token is this word.
pub(super) fn expect(parser: &mut Parser<'_>, wanted: &str) -> Result<(), SqlError> {
    if accept(parser, wanted) {
        return Ok(());
    }
    let found = parser.peek_token().token;
    Err(SqlError(format!("syntax error at or near \"{found}\": expected {}", wanted.to_uppercase())))
}

/// A literal in single quotes.
pub(super) fn literal(parser: &mut Parser<'_>) -> Result<String, SqlError> {
    match parser.next_token().token {
        Token::SingleQuotedString(text) => Ok(text),
        token => Err(SqlError(format!("syntax error at or near \"{token}\": expected a literal"))),
    }
}
