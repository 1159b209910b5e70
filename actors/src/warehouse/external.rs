//! The cleansed zone as an external table: Redshift Spectrum reads the files where they lie.
//!
//! **Owns** the SQL of the external schema, its one table and its partitions.
//! **Promises** that a partition is registered under the values that its folder's name tells, and twice is as once.
//! **Not here**: when (`loading/spectrum.rs`); the table that COPY fills (`star.rs`).

use std::collections::BTreeSet;

use messages::schema::PartitionBy;
use messages::{EventSchema, Zone};

use super::literal::{self, Sql, Unquotable};
use super::service::Cell;
use super::sql::external as sql;
use super::sql::tables::HasNamespace;
use super::star;
use super::tables::{TableColumn, qualified};
use crate::lake::columns;

/// As much of a statement as is asked for: a row of a result holds 64 KB at most.
const MADE_CHARS_MAX: usize = 60_000;

/// What one statement registers at most.
pub const PARTITIONS_MAX: usize = 100;
/// The columns that the folders tell, from the outermost on.
pub(super) const PARTS: [&str; 4] = ["year", "month", "day", "hour"];

/// Whether and how the cleansed zone is asked where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpectrumMode {
    /// Beside the table of readings that COPY fills.
    Beside,
    /// Instead of it: readings are not copied.
    Instead,
}

/// The external table.
#[derive(Clone, Debug)]
pub struct External {
    namespace: String,
    database: String,
    columns: Vec<TableColumn>,
    parts: &'static [&'static str],
    location: String,
}

/// The external table cannot be made of this schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the field {0:?} is called like a part of the folders' names, which an external table has as a column: rename it, or switch warehouse.spectrum off"
)]
pub struct Taken(String);

impl External {
    /// The readings of events like this in this bucket, in an external schema over a database of the data catalog.
    pub fn new(schema: &EventSchema, namespace: &str, database: &str, bucket: &str) -> Result<Self, Taken> {
        let columns = star::of_zone(&columns::cleansed(schema), schema);
        let parts = match schema.partition_by {
            PartitionBy::Hour => &PARTS[..],
            PartitionBy::Day => &PARTS[..3],
        };
        if let Some(column) = columns.iter().find(|column| parts.contains(&column.name.as_str())) {
            return Err(Taken(column.name.clone()));
        }
        let location = format!("s3://{bucket}/{}", folder());
        Ok(Self { namespace: namespace.to_owned(), database: database.to_owned(), columns, parts, location })
    }

    /// Asks whether the schema is there: one row, or none.
    pub fn has_namespace(&self) -> Result<String, Unquotable> {
        Ok(HasNamespace { namespace: literal::text(&self.namespace)? }.sql().sent())
    }

    /// Makes the schema, unless it is there.
    pub fn create_namespace(&self, iam_role: &str) -> Result<String, Unquotable> {
        let (namespace, database) = (literal::identifier(&self.namespace)?, literal::plain_text(&self.database)?);
        Ok(sql::CreateNamespace { namespace, database, role: literal::role(iam_role)? }.sql().sent())
    }

    /// Makes the table, which must not be there.
    pub fn create(&self) -> Result<String, Unquotable> {
        let column = |column: &TableColumn| {
            Ok(sql::Column { name: literal::identifier(&column.name)?, kind: literal::kind(column.kind) }.sql())
        };
        let part = |part: &&str| Ok(sql::Part { name: literal::identifier(part)? }.sql());
        let columns = Sql::column(self.columns.iter().map(column).collect::<Result<_, Unquotable>>()?);
        let parts = Sql::list(self.parts.iter().map(part).collect::<Result<_, Unquotable>>()?);
        let location = literal::plain_text(&self.location)?;
        Ok(sql::Create { table: self.at()?, columns, parts, location }.sql().laid_out())
    }

    /// Takes the table away, if it is there; the files stay.
    pub fn drop(&self) -> Result<String, Unquotable> {
        Ok(sql::Drop { table: self.at()? }.sql().sent())
    }

    /// Asks whether the table is there: one row, or none.
    pub fn exists_query(&self) -> Result<String, Unquotable> {
        let (namespace, table) = (literal::text(&self.namespace)?, literal::text(star::READINGS)?);
        Ok(sql::Exists { namespace, table }.sql().sent())
    }

    /// Asks for the statements by which external tables were made, the last one last.
    pub fn made_query(&self, star: &star::StarSchema) -> Result<String, Unquotable> {
        Ok(sql::Made { schema: star.schema()? }.sql().sent())
    }

    /// Whether, by [`made_query`](Self::made_query)'s answer, the table was last made by this statement.
    pub fn is_made(&self, rows: &[Vec<Cell>], statement: &str) -> Result<bool, Unquotable> {
        let begin = format!("CREATE EXTERNAL TABLE {} ", self.at()?);
        let mut made = rows.iter().filter_map(|row| row.first()?.as_str()).filter(|made| made.starts_with(&begin));
        let beginning = |text: &str| text.chars().take(MADE_CHARS_MAX).collect::<String>();
        Ok(made.next_back() == Some(beginning(statement).as_str()))
    }

    /// Registers folders of the bucket, each a key up to its last slash; as many statements as it takes. None, if a
    /// folder is not named as one of the zone.
    pub fn add(&self, folders: &BTreeSet<String>) -> Result<Option<Vec<String>>, Unquotable> {
        let folders: Vec<&String> = folders.iter().collect();
        let mut statements = Vec::new();
        for some in folders.chunks(PARTITIONS_MAX) {
            let mut parts = Vec::new();
            for folder in some {
                let Some((values, below)) = self.values(folder)? else { return Ok(None) };
                let url = literal::plain_text(&format!("{}{below}/", self.location))?;
                parts.push(sql::Partition { values, url }.sql());
            }
            statements.push(sql::Add { table: self.at()?, partitions: Sql::lines(parts) }.sql().sent());
        }
        Ok(Some(statements))
    }

    /// How many folders lie in each other, below the zone's.
    pub fn depth(&self) -> usize {
        self.parts.len()
    }

    /// What a folder tells, and its name below the zone's.
    fn values<'a>(&self, name: &'a str) -> Result<Option<(Sql, &'a str)>, Unquotable> {
        let Some((numbers, below)) = self.numbers(name) else { return Ok(None) };
        let value = |(part, n): (&&str, u32)| {
            Ok(sql::Value { name: literal::identifier(part)?, value: literal::number(n.into()) }.sql())
        };
        let values = self.parts.iter().zip(numbers).map(value).collect::<Result<_, Unquotable>>()?;
        Ok(Some((Sql::list(values), below)))
    }

    fn numbers<'a>(&self, name: &'a str) -> Option<(Vec<u32>, &'a str)> {
        let below = name.strip_prefix(&folder())?.trim_end_matches('/');
        let mut found = below.split('/');
        let number = |part| found.next()?.strip_prefix(part)?.strip_prefix('=')?.parse().ok();
        let numbers = self.parts.iter().copied().map(number).collect::<Option<_>>()?;
        found.next().is_none().then_some((numbers, below))
    }

    fn at(&self) -> Result<Sql, Unquotable> {
        qualified(&self.namespace, star::READINGS)
    }
}

/// The zone's folder, with a slash.
pub fn folder() -> String {
    format!("{}/", Zone::Cleansed.folder())
}
