//! Metadata in the warehouse: what is in force, and the transaction that puts another content in force.
//!
//! **Promises**
//! - A content takes the place of the one before whole, or not at all; sent twice, the second time changes nothing. One
//!   that comes late, behind a newer one, changes nothing either: each says which number it is to have.
//! - Afterwards dimensions and the versions of readings are what they would be if this content had been in force from
//!   the beginning.
//!
//! **Not here**: reading metadata (`metadata.rs`), how intervals follow (`versions.rs`).

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::TooMuch;
use super::batch::hex;
use super::ledger::Unreadable;
use super::literal::{self, Sql, Unquotable};
use super::metadata::{Content, ContentSources};
use super::service::Cell;
use super::sql::describe as sql;
use super::sql::transaction::{Fresh, Json, Lock, SinceEpoch};
use super::star::{self, StarSchema};
use super::tables::{Kind, TableColumn, names, names_of};
use super::transaction::{CopySource, checked, copy, stage};
use super::versions;
use crate::lake::columns;

/// Where contents lie.
const FOLDER: &str = "metadata";
/// Sensors of which the content says anything else than the one before.
const TOUCHED: &str = "load_sensors";
/// The time in a line, in microseconds since 1970.
const VALID_FROM_US: &str = "valid_from_us";

/// Which content is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Its number; 0 for none.
    pub number: u64,
    /// Its digest; empty for none.
    pub digest: String,
    /// The stream whose loader put it in force.
    pub stream: String,
    /// Its rows, of sensors and of places.
    pub rows: u64,
}

/// An object to be put into the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentObject {
    /// Its key.
    pub key: String,
    /// What is in it.
    pub body: Vec<u8>,
    /// SHA-256 of that, in hex.
    pub digest: String,
    /// Its rows.
    pub rows: u64,
}

/// What is needed to put a content in force.
#[derive(Clone, Copy, Debug)]
pub struct Describe<'a> {
    /// The tables.
    pub star: &'a StarSchema,
    /// The stream.
    pub stream: &'a str,
    /// The content.
    pub content: &'a Content,
    /// What is in force so far.
    pub before: &'a InForce,
    /// The bucket.
    pub bucket: &'a str,
    /// The role by which the warehouse reads it; empty for the warehouse's default role.
    pub iam_role: &'a str,
}

/// Asks for [`InForce`].
pub fn in_force_query(star: &StarSchema) -> Result<String, Unquotable> {
    Ok(sql::InForce { schema: star.schema()? }.sql().sent())
}

/// Reads [`in_force_query`]'s answer.
pub fn in_force(rows: &[Vec<Cell>]) -> Result<InForce, Unreadable> {
    let Some(row) = rows.first() else { return Ok(InForce::default()) };
    let read = |row: &Vec<Cell>| {
        let [number, digest, stream, rows] = row.as_slice() else { return None };
        let count = |cell: &Cell| u64::try_from(cell.as_i64()?).ok();
        let text = |cell: &Cell| cell.as_str().map(str::to_owned);
        Some(InForce { number: count(number)?, digest: text(digest)?, stream: text(stream)?, rows: count(rows)? })
    };
    read(row).ok_or_else(|| Unreadable::of(row))
}

impl Describe<'_> {
    /// The content as objects that never change: where it comes from, rows, then the manifests that name them.
    pub fn objects(&self) -> Vec<ContentObject> {
        let sources = &self.content.sources;
        let list = object(ContentSources::key(&self.content.digest), sources.to_json(), sources.objects.len() as u64);
        let mut objects = vec![list];
        for (name, lines) in self.parts().into_iter().filter(|(_, lines)| lines.rows > 0) {
            objects.push(object(self.key(name, "jsonl"), lines.body.clone(), lines.rows));
        }
        for (name, lines) in self.parts().into_iter().filter(|(_, lines)| lines.rows > 0) {
            let url = format!("s3://{}/{}", self.bucket, self.key(name, "jsonl"));
            let entry = json!({ "url": url, "mandatory": true, "meta": { "content_length": lines.body.len() } });
            let body = serde_json::to_vec(&json!({ "entries": [entry] })).expect("it is plain data with text keys");
            objects.push(object(self.key(name, "manifest"), body, lines.rows));
        }
        objects
    }

    /// The statements, one transaction; the last answers whether it was new.
    pub fn statements(&self) -> Result<Vec<String>, TooMuch> {
        checked(&self.transaction()?)
    }

    pub(super) fn transaction(&self) -> Result<Vec<Sql>, Unquotable> {
        let (schema, number) = (self.star.schema()?, literal::number(self.before.number + 1));
        // The ledger's lock is that of the loads.
        let lock = Lock { schema: schema.clone() }.sql();
        let mut sql = vec![lock, sql::Guard { schema, number: number.clone() }.sql()];
        self.sensors(&mut sql)?;
        self.locations(&mut sql)?;
        self.refused(&mut sql)?;
        let version = sql::Version {
            schema: self.star.schema()?,
            number,
            digest: literal::text(&self.content.digest)?,
            stream: literal::text(self.stream)?,
            sensors: literal::number(self.content.sensors.rows),
            locations: literal::number(self.content.locations.rows),
            refused: literal::number(self.content.refusals),
        };
        sql.extend([version.sql(), Fresh {}.sql()]);
        Ok(sql)
    }

    fn sensors(&self, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let table = self.star.columns(star::DESCRIBED);
        // The lines name the time by its unit, and leave it out for what always held.
        let line = |column: &TableColumn| match column.name.as_str() {
            columns::VALID_FROM => TableColumn::optional(VALID_FROM_US, Kind::BigInt),
            _ => column.clone(),
        };
        let lines: Vec<TableColumn> = table.iter().map(line).collect();
        self.stage("stg_sensor_metadata", ("sensors", self.content.sensors.rows), &lines, sql)?;
        let value = |column: &TableColumn| {
            let name = literal::identifier(&column.name)?;
            if column.name != columns::VALID_FROM {
                return Ok(name);
            }
            let from = SinceEpoch { us: literal::identifier(VALID_FROM_US)? }.sql();
            Ok(sql::ValidFrom { from, name }.sql())
        };
        let values = Sql::list(table.iter().map(value).collect::<Result<_, Unquotable>>()?);
        let (schema, columns, all) = (self.star.schema()?, names(table)?, names_of("s", table)?);
        sql.extend([
            sql::Rows { values }.sql(),
            sql::Touched { schema: schema.clone(), columns: columns.clone() }.sql(),
            sql::ForgetSensors { schema: schema.clone() }.sql(),
            sql::Sensors { schema, columns, values: all }.sql(),
        ]);
        let touched = literal::identifier(TOUCHED)?;
        versions::rebuild(self.star, &touched, sql)?;
        versions::reassign_all(self.star, &touched, sql)
    }

    fn locations(&self, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let part = ("locations", self.content.locations.rows);
        self.replace(star::DESCRIBED_PLACES, "stg_location_metadata", part, sql)?;
        versions::places(self.star, sql)
    }

    fn refused(&self, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let part = ("refused", self.content.refused.rows);
        self.replace(star::METADATA_REFUSED, "stg_metadata_refused", part, sql)
    }

    /// All rows of a table give way to those of a part of the content.
    fn replace(&self, name: &str, staged: &str, part: (&str, u64), sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let (table, columns) = (self.star.at(name)?, self.star.columns(name));
        let staged = self.stage(staged, part, columns, sql)?;
        let (names, values) = (names(columns)?, names_of("s", columns)?);
        sql.push(sql::Clear { table: table.clone() }.sql());
        sql.push(sql::Fill { table, columns: names, values, staged }.sql());
        Ok(())
    }

    /// A temporary table with a part of the content in it, which has a name and rows; answers the table's name.
    fn stage(
        &self,
        staged: &str,
        (part, rows): (&str, u64),
        columns: &[TableColumn],
        sql: &mut Vec<Sql>,
    ) -> Result<Sql, Unquotable> {
        let (staged, key) = (literal::identifier(staged)?, self.key(part, "manifest"));
        sql.push(stage(&staged, columns)?);
        // There is no object without rows.
        if rows > 0 {
            let format = Json {}.sql();
            sql.push(copy(&staged, CopySource { bucket: self.bucket, key: &key, iam_role: self.iam_role, format })?);
        }
        Ok(staged)
    }

    fn parts(&self) -> [(&'static str, &super::metadata::Lines); 3] {
        let content = self.content;
        [("sensors", &content.sensors), ("locations", &content.locations), ("refused", &content.refused)]
    }

    fn key(&self, name: &str, ending: &str) -> String {
        format!("{FOLDER}/{}/{name}.{ending}", self.content.digest)
    }
}

fn object(key: String, body: Vec<u8>, rows: u64) -> ContentObject {
    ContentObject { key, digest: hex(&Sha256::digest(&body)), body, rows }
}
