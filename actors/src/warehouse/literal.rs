//! Quoting: the only way by which a name or a value gets into a statement.
//!
//! **Promises** whatever the text, the quoted form is one token of the dialect, or a concatenation of such, that means
//! the text and nothing else; what cannot be quoted so is refused (INERT).
//! **Not here**: statements.

/// A text that no statement can carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unquotable {
    /// Redshift has no text with this character.
    #[error("{0:?} contains a character that the warehouse cannot hold")]
    Character(String),
    /// The text has a backslash where only a plain literal can stand.
    #[error("{0:?} contains a backslash")]
    Backslash(String),
    /// A name is empty or too long.
    #[error("{0:?} must have 1 to {IDENTIFIER_BYTES_MAX} bytes to be a name in the warehouse")]
    Length(String),
}

/// Redshift's bound on names.
const IDENTIFIER_BYTES_MAX: usize = 127;
/// Quoted texts in errors are cut to this.
const SHOWN_CHARS_MAX: usize = 80;

/// A name: of a schema, a table, a column, an alias.
pub(super) fn identifier(name: &str) -> Result<String, Unquotable> {
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX {
        return Err(Unquotable::Length(shown(name)));
    }
    if name.chars().any(char::is_control) {
        return Err(Unquotable::Character(shown(name)));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// A text value. Whether a backslash in a literal means itself depends on the server, so none is ever written in one.
pub(super) fn text(value: &str) -> Result<String, Unquotable> {
    if !value.contains('\\') {
        return plain_text(value);
    }
    let parts: Vec<String> = value.split('\\').map(plain_text).collect::<Result<_, _>>()?;
    Ok(format!("({})", parts.join(" || CHR(92) || ")))
}

/// A text where the grammar takes a literal and no expression, as in COPY.
pub(super) fn plain_text(value: &str) -> Result<String, Unquotable> {
    if value.contains('\0') {
        return Err(Unquotable::Character(shown(value)));
    }
    if value.contains('\\') {
        return Err(Unquotable::Backslash(shown(value)));
    }
    Ok(format!("'{}'", value.replace('\'', "''")))
}

/// The role by which the warehouse reads the bucket; empty for its default one.
pub(super) fn role(arn: &str) -> Result<String, Unquotable> {
    if arn.is_empty() { Ok("DEFAULT".to_owned()) } else { plain_text(arn) }
}

/// A time, to the millisecond, as a literal.
pub(super) fn timestamp_ms(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.3f"))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
