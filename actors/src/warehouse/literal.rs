//! Quoting: the only way by which a name or a value gets into a statement.
//!
//! **Owns** [`Sql`], which only this module makes: of names, of values, and of templates (`literal/template.rs`).
//! **Promises** whatever the text, the quoted form is one token of the dialect, or a concatenation of such, that means
//! the text and nothing else; what cannot be quoted so is refused (INERT).
//! **Not here**: statements (`sql/`).

mod template;

use std::fmt;

pub(super) use self::template::{fill, section};
#[cfg(test)]
pub(super) use self::template::{problems, sections};
use super::tables::Kind;

/// SQL in which every name and every value is quoted.
///
/// Where a template ends a line, a NUL stands, which no name and no value can have: so the layout is told from the line
/// breaks of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sql(String);

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
/// Lists are broken into lines of about this length.
const LINE_BYTES: usize = 100;

impl Sql {
    /// As it is sent: one line, without comments.
    pub(super) fn sent(&self) -> String {
        let mut sent = String::with_capacity(self.0.len());
        for line in self.code() {
            let line = line.trim_start_matches(' ');
            if !(sent.is_empty() || sent.ends_with('(') || line.starts_with([')', ','])) {
                sent.push(' ');
            }
            sent.push_str(line);
        }
        sent
    }

    /// As its templates lay it out, without comments.
    pub(super) fn laid_out(&self) -> String {
        self.code().collect::<Vec<_>>().join("\n")
    }

    /// The same with comments.
    #[cfg(test)]
    pub(super) fn with_comments(&self) -> String {
        self.0.split('\0').filter(|line| !is_empty(line)).collect::<Vec<_>>().join("\n")
    }

    fn code(&self) -> impl Iterator<Item = &str> {
        self.0.split('\0').filter(|line| !is_empty(line) && !template::is_comment(line))
    }

    /// Without the comment at the head.
    fn body(&self) -> &str {
        let mut body = self.0.as_str();
        while let Some((_, rest)) = body.split_once('\0').filter(|(line, _)| template::is_comment(line)) {
            body = rest;
        }
        body
    }

    /// Items separated by commas.
    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::broken(items, ",", "")
    }

    /// The same, each on a line of its own.
    pub(super) fn column(items: Vec<Self>) -> Self {
        Self(items.iter().map(Self::body).collect::<Vec<_>>().join(",\0"))
    }

    /// Terms joined by an operator.
    pub(super) fn joined(items: Vec<Self>, operator: &'static str) -> Self {
        Self::broken(items, "", &format!("{operator} "))
    }

    /// A line for each.
    pub(super) fn lines(items: Vec<Self>) -> Self {
        Self(items.iter().map(Self::body).collect::<Vec<_>>().join("\0"))
    }

    /// With something at the end of each line, or at the beginning of the next.
    fn broken(items: Vec<Self>, end: &str, begin: &str) -> Self {
        let (mut all, mut line) = (String::new(), 0);
        for item in items.iter().map(Self::body) {
            if !all.is_empty() {
                let full = line + item.len() > LINE_BYTES;
                line = if full { 0 } else { line };
                all = all + end + if full { "\0" } else { " " } + begin;
            }
            line += item.len();
            all += item;
        }
        Self(all)
    }
}

/// As it is sent.
impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sent())
    }
}

/// A name: of a schema, a table, a column, an alias.
pub(super) fn identifier(name: &str) -> Result<Sql, Unquotable> {
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX {
        return Err(Unquotable::Length(shown(name)));
    }
    if name.chars().any(char::is_control) {
        return Err(Unquotable::Character(shown(name)));
    }
    Ok(Sql(format!("\"{}\"", name.replace('"', "\"\""))))
}

/// A name within another one.
pub(super) fn qualified(outer: &str, name: &str) -> Result<Sql, Unquotable> {
    Ok(Sql(format!("{}.{}", identifier(outer)?.0, identifier(name)?.0)))
}

/// A text value. Whether a backslash in a literal means itself depends on the server, so none is ever written in one.
pub(super) fn text(value: &str) -> Result<Sql, Unquotable> {
    if !value.contains('\\') {
        return plain_text(value);
    }
    let part = |part| plain_text(part).map(|sql| sql.0);
    let parts: Vec<String> = value.split('\\').map(part).collect::<Result<_, _>>()?;
    Ok(Sql(format!("({})", parts.join(" || CHR(92) || "))))
}

/// A text where the grammar takes a literal and no expression, as in COPY.
pub(super) fn plain_text(value: &str) -> Result<Sql, Unquotable> {
    if value.contains('\0') {
        return Err(Unquotable::Character(shown(value)));
    }
    if value.contains('\\') {
        return Err(Unquotable::Backslash(shown(value)));
    }
    Ok(Sql(format!("'{}'", value.replace('\'', "''"))))
}

/// The role by which the warehouse reads the bucket; empty for its default one.
pub(super) fn role(arn: &str) -> Result<Sql, Unquotable> {
    if arn.is_empty() { Ok(Sql("DEFAULT".to_owned())) } else { plain_text(arn) }
}

/// A time, to the millisecond, as a literal.
pub(super) fn timestamp_ms(ms: i64) -> Sql {
    let time = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    Sql(format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.3f")))
}

/// A whole number.
pub(super) fn number(n: u64) -> Sql {
    Sql(n.to_string())
}

/// A column's type.
pub(super) fn kind(kind: Kind) -> Sql {
    Sql(kind.sql())
}

fn is_empty(line: &str) -> bool {
    line.trim_start_matches(' ').is_empty()
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
