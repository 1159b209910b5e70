//! The tables: names, columns, types, and the DDL that makes them.
//!
//! **Owns** the layout of the warehouse as an analyst sees it.
//! **Promises** `sensor_readings` has the columns of the cleansed zone, in order, and `quality`; what a schema adds can be
//! added to existing tables (`diff.rs`).
//! **Not here**: which tables there are (`star.rs`).

pub(super) use super::literal::qualified;
use super::literal::{self, Sql, Unquotable};
pub use super::star::StarSchema;

/// A column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `VARCHAR` of this many bytes.
    Text(u32),
    /// Microseconds, UTC.
    Timestamp,
    /// 64 bits.
    BigInt,
    /// 32 bits.
    Integer,
    /// A 32-bit floating-point number.
    Real,
    /// A 64-bit floating-point number.
    Double,
    /// True or false.
    Boolean,
}

impl Kind {
    /// As DDL writes it.
    pub fn sql(self) -> String {
        match self {
            Self::Text(bytes) => format!("VARCHAR({bytes})"),
            Self::Timestamp => "TIMESTAMP".to_owned(),
            Self::BigInt => "BIGINT".to_owned(),
            Self::Integer => "INTEGER".to_owned(),
            Self::Real => "REAL".to_owned(),
            Self::Double => "DOUBLE PRECISION".to_owned(),
            Self::Boolean => "BOOLEAN".to_owned(),
        }
    }

    fn encoding(self) -> &'static str {
        match self {
            Self::Timestamp | Self::BigInt | Self::Integer => "AZ64",
            Self::Text(_) => "ZSTD",
            // Noise does not compress, and ZSTD finds that out at the cost of a little time.
            Self::Real | Self::Double => "ZSTD",
            Self::Boolean => "ZSTD",
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether every row has a value.
    pub required: bool,
    /// What it means, for people; empty says that the name does.
    pub comment: &'static str,
    /// Stored as it is: the first column of a sort key is scanned block by block.
    pub raw: bool,
    /// The bytes that a text in a key has to have room for today: the column is as wide as it can ever have to be,
    /// because Redshift alters no column of a key. None if it is no such column.
    pub needs: Option<u32>,
}

impl TableColumn {
    /// A column that every row has.
    pub fn required(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), kind, required: true, comment: "", raw: false, needs: None }
    }

    /// A column that may be empty.
    pub fn optional(name: &str, kind: Kind) -> Self {
        Self { required: false, ..Self::required(name, kind) }
    }

    fn ddl(&self) -> Result<String, Unquotable> {
        let null = if self.required { " NOT NULL" } else { "" };
        let encoding = if self.raw { "RAW" } else { self.kind.encoding() };
        Ok(format!("{} {}{null} ENCODE {encoding}", literal::identifier(&self.name)?, self.kind.sql()))
    }
}

impl AsRef<str> for TableColumn {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// How rows are spread over the warehouse's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// By the value of this column: rows that are joined by it lie together.
    By(&'static str),
    /// A copy on every node.
    Everywhere,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: Vec<TableColumn>,
    /// What tells its rows apart. Redshift does not enforce it; the loader does.
    pub key: Vec<&'static str>,
    /// How it is spread.
    pub spread: Spread,
    /// By what it is sorted.
    pub sorted_by: Vec<&'static str>,
    /// What it holds, for people.
    pub comment: &'static str,
}

impl Table {
    /// The statement that makes the table unless it is there.
    pub fn create(&self, namespace: &str) -> Result<String, Unquotable> {
        let mut lines: Vec<String> = self.columns.iter().map(TableColumn::ddl).collect::<Result<_, _>>()?;
        if !self.key.is_empty() {
            lines.push(format!("PRIMARY KEY ({})", names(&self.key)?));
        }
        let spread = match self.spread {
            Spread::By(column) => format!("DISTSTYLE KEY DISTKEY ({})", literal::identifier(column)?),
            Spread::Everywhere => "DISTSTYLE ALL".to_owned(),
        };
        let sorted = match self.sorted_by.is_empty() {
            true => String::new(),
            false => format!(" COMPOUND SORTKEY ({})", names(&self.sorted_by)?),
        };
        let table = qualified(namespace, self.name)?;
        Ok(format!("CREATE TABLE IF NOT EXISTS {table} (\n  {}\n) {spread}{sorted}", lines.join(",\n  ")))
    }

    /// The statements that say what the table and its columns mean.
    pub fn comments(&self, namespace: &str) -> Result<Vec<String>, Unquotable> {
        let table = qualified(namespace, self.name)?;
        let mut statements = vec![format!("COMMENT ON TABLE {table} IS {}", literal::plain_text(self.comment)?)];
        for column in self.columns.iter().filter(|column| !column.comment.is_empty()) {
            let name = literal::identifier(&column.name)?;
            let comment = literal::plain_text(column.comment)?;
            statements.push(format!("COMMENT ON COLUMN {table}.{name} IS {comment}"));
        }
        Ok(statements)
    }

    /// Whether Redshift refuses to alter this column.
    pub fn is_key(&self, column: &str) -> bool {
        let of = |names: &[&str]| names.contains(&column);
        of(&self.key) || of(&self.sorted_by) || matches!(self.spread, Spread::By(by) if by == column)
    }

    /// A text in a key gets the room that it can ever need.
    pub(super) fn widen_key(&mut self, name: &str, bytes_max: u32) {
        if !self.is_key(name) {
            return;
        }
        for column in self.columns.iter_mut().filter(|column| column.name == name) {
            if let Kind::Text(bytes) = column.kind {
                (column.kind, column.needs) = (Kind::Text(bytes.max(bytes_max)), Some(bytes));
            }
        }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Names, separated by commas.
pub(super) fn names<N: AsRef<str>>(names: &[N]) -> Result<Sql, Unquotable> {
    let names = names.iter().map(|name| literal::identifier(name.as_ref())).collect::<Result<_, _>>()?;
    Ok(Sql::list(names))
}

/// The same, each of the table or subquery that is called so.
pub(super) fn names_of<N: AsRef<str>>(alias: &str, names: &[N]) -> Result<Sql, Unquotable> {
    let names = names.iter().map(|name| qualified(alias, name.as_ref())).collect::<Result<_, _>>()?;
    Ok(Sql::list(names))
}
