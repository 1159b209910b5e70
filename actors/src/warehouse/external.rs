//! The cleansed zone as an external table: Redshift Spectrum reads the files where they lie.
//!
//! **Owns** the SQL of the external schema, its one table and its partitions.
//! **Promises** that a partition is registered under the values that its folder's name tells, and twice is as once.
//! **Not here**: when (`loading/spectrum.rs`); the table that COPY fills (`star.rs`).

use std::collections::BTreeSet;

use messages::schema::PartitionBy;
use messages::{EventSchema, Zone};

use super::literal::{self, Unquotable};
use super::service::Cell;
use super::star;
use super::tables::qualified;
use crate::lake::columns;

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
    columns: Vec<super::tables::Column>,
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

    /// Makes the schema, unless it is there.
    pub fn create_namespace(&self, iam_role: &str) -> Result<String, Unquotable> {
        let (name, database) = (literal::identifier(&self.namespace)?, literal::plain_text(&self.database)?);
        let role = literal::role(iam_role)?;
        Ok(format!(
            "CREATE EXTERNAL SCHEMA IF NOT EXISTS {name} FROM DATA CATALOG DATABASE {database} IAM_ROLE {role} \
             CREATE EXTERNAL DATABASE IF NOT EXISTS"
        ))
    }

    /// Makes the table, which must not be there.
    pub fn create(&self) -> Result<String, Unquotable> {
        let column = |column: &super::tables::Column| {
            Ok(format!("{} {}", literal::identifier(&column.name)?, column.kind.sql()))
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect::<Result<_, Unquotable>>()?;
        let parts: Vec<String> = self.parts.iter().map(|part| format!("\"{part}\" INTEGER")).collect();
        Ok(format!(
            "CREATE EXTERNAL TABLE {} (\n  {}\n) PARTITIONED BY ({}) STORED AS PARQUET LOCATION {}",
            self.at()?,
            columns.join(",\n  "),
            parts.join(", "),
            literal::plain_text(&self.location)?
        ))
    }

    /// Takes the table away, if it is there; the files stay.
    pub fn drop(&self) -> Result<String, Unquotable> {
        Ok(format!("DROP TABLE IF EXISTS {}", self.at()?))
    }

    /// Asks whether the table is there: one row, or none.
    pub fn exists_query(&self) -> Result<String, Unquotable> {
        let (namespace, table) = (literal::text(&self.namespace)?, literal::text(star::READINGS)?);
        Ok(format!("SELECT tablename FROM svv_external_tables WHERE schemaname = {namespace} AND tablename = {table}"))
    }

    /// Asks for the statements by which external tables were made, the last one last.
    pub fn made_query(&self, star: &star::Star) -> Result<String, Unquotable> {
        let versions = star.at(star::VERSIONS)?;
        Ok(format!(
            "SELECT \"statement\" FROM {versions} WHERE \"statement\" LIKE 'CREATE EXTERNAL TABLE %' ORDER BY \"applied_at\""
        ))
    }

    /// Whether, by [`made_query`](Self::made_query)'s answer, the table was last made by this statement.
    pub fn is_made(&self, rows: &[Vec<Cell>], statement: &str) -> Result<bool, Unquotable> {
        let begin = format!("CREATE EXTERNAL TABLE {} ", self.at()?);
        let made = rows.iter().filter_map(|row| row.first()?.as_str()).filter(|made| made.starts_with(&begin));
        Ok(made.last() == Some(statement))
    }

    /// Registers folders of the bucket, each a key up to its last slash; as many statements as it takes. None, if a
    /// folder is not named as one of the zone.
    pub fn add(&self, folders: &BTreeSet<String>) -> Result<Option<Vec<String>>, Unquotable> {
        let folders: Vec<&String> = folders.iter().collect();
        let mut statements = Vec::new();
        for some in folders.chunks(PARTITIONS_MAX) {
            let mut parts = Vec::new();
            for folder in some {
                let Some((values, below)) = self.values(folder) else { return Ok(None) };
                let url = literal::plain_text(&format!("{}{below}/", self.location))?;
                parts.push(format!("PARTITION ({values}) LOCATION {url}"));
            }
            statements.push(format!("ALTER TABLE {} ADD IF NOT EXISTS {}", self.at()?, parts.join(" ")));
        }
        Ok(Some(statements))
    }

    /// How many folders lie in each other, below the zone's.
    pub fn depth(&self) -> usize {
        self.parts.len()
    }

    /// What a folder tells, and its name below the zone's.
    fn values<'a>(&self, name: &'a str) -> Option<(String, &'a str)> {
        let below = name.strip_prefix(&folder())?.trim_end_matches('/');
        let mut values = Vec::new();
        let mut found = below.split('/');
        for part in self.parts {
            let value: u32 = found.next()?.strip_prefix(part)?.strip_prefix('=')?.parse().ok()?;
            values.push(format!("\"{part}\"={value}"));
        }
        found.next().is_none().then(|| (values.join(", "), below))
    }

    fn at(&self) -> Result<String, Unquotable> {
        qualified(&self.namespace, star::READINGS)
    }
}

/// The zone's folder, with a slash.
pub fn folder() -> String {
    format!("{}/", Zone::Cleansed.folder())
}
