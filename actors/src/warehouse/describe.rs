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
use super::literal::{self, Unquotable};
use super::metadata::{Content, Sources};
use super::service::Cell;
use super::star::{self, Star};
use super::tables::{Column, Kind};
use super::transaction::{GUARD, checked, list, stage};
use super::versions;
use crate::lake::columns;

/// Where contents lie.
const FOLDER: &str = "metadata";
const STAGED: &str = "\"stg_sensor_metadata\"";
const STAGED_PLACES: &str = "\"stg_location_metadata\"";
const STAGED_REFUSED: &str = "\"stg_metadata_refused\"";
/// Rows about sensors as the table has them.
const SAID: &str = "\"load_metadata\"";
/// Sensors of which the content says anything else than the one before.
const TOUCHED: &str = "\"load_sensors\"";
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
    pub star: &'a Star,
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
pub fn in_force_query(star: &Star) -> Result<String, Unquotable> {
    let table = star.at(star::METADATA_VERSIONS)?;
    Ok(format!(
        "SELECT \"number\", \"digest\", \"stream\", \"sensors\" + \"locations\" AS \"known\" FROM {table} ORDER BY \"number\" DESC LIMIT 1"
    ))
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
        let list = object(Sources::key(&self.content.digest), sources.to_json(), sources.objects.len() as u64);
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
        let (ledger, versions) = (self.star.at(star::LEDGER)?, self.star.at(star::METADATA_VERSIONS)?);
        let number = self.before.number + 1;
        // The ledger's lock is that of the loads: one after the other, each sees what the one before has done.
        let mut sql = vec![
            format!("LOCK {ledger}"),
            format!(
                "CREATE TEMP TABLE {GUARD} AS SELECT 1 AS \"ok\" WHERE NOT EXISTS (SELECT 1 FROM {versions} WHERE \"number\" >= {number})"
            ),
        ];
        self.sensors(&mut sql)?;
        self.locations(&mut sql)?;
        self.refused(&mut sql)?;
        let content = self.content;
        let (digest, stream) = (literal::text(&content.digest)?, literal::text(self.stream)?);
        sql.push(format!(
            "INSERT INTO {versions} (\"number\", \"digest\", \"stream\", \"sensors\", \"locations\", \"refused\", \"applied_at\") \
             SELECT {number}, {digest}, {stream}, {}, {}, {}, GETDATE() FROM {GUARD}",
            content.sensors.rows, content.locations.rows, content.refusals,
        ));
        sql.push(format!("SELECT COUNT(*) AS \"fresh\" FROM {GUARD}"));
        checked(sql)
    }

    fn sensors(&self, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let table = &self.star.table(star::DESCRIBED).columns;
        // The lines name the time by its unit, and leave it out for what always held.
        let line = |column: &Column| match column.name.as_str() {
            columns::VALID_FROM => Column::optional(VALID_FROM_US, Kind::BigInt),
            _ => column.clone(),
        };
        self.stage(STAGED, "sensors", self.content.sensors.rows, table.iter().map(line).collect(), sql)?;
        let mut values = Vec::new();
        for column in table {
            let name = literal::identifier(&column.name)?;
            values.push(match column.name.as_str() {
                columns::VALID_FROM => format!(
                    "NVL(DATEADD(microsecond, \"valid_from_us\", TIMESTAMP '1970-01-01 00:00:00'), {}) AS {name}",
                    versions::BEGINNING
                ),
                _ => name,
            });
        }
        sql.push(format!("CREATE TEMP TABLE {SAID} AS SELECT {} FROM {STAGED}", values.join(", ")));
        let (described, all) = (self.star.at(star::DESCRIBED)?, list("", table)?);
        let but = |one: &str, other: &str| {
            format!("SELECT \"sensor_id\" FROM (SELECT {all} FROM {one} EXCEPT SELECT {all} FROM {other}) \"x\"")
        };
        sql.push(format!("CREATE TEMP TABLE {TOUCHED} AS {} UNION {}", but(SAID, &described), but(&described, SAID)));
        let me = literal::identifier(star::DESCRIBED)?;
        sql.push(format!(
            "DELETE FROM {described} USING {TOUCHED} \"t\", {GUARD} \"g\" WHERE {me}.\"sensor_id\" = \"t\".\"sensor_id\""
        ));
        sql.push(format!(
            "INSERT INTO {described} ({all}) SELECT {} FROM {SAID} \"s\" JOIN {TOUCHED} \"t\" ON \"t\".\"sensor_id\" = \"s\".\"sensor_id\" \
             CROSS JOIN {GUARD} \"g\"",
            list("\"s\".", table)?,
        ));
        versions::rebuild(self.star, TOUCHED, sql)?;
        versions::reassign_all(self.star, TOUCHED, sql)
    }

    fn locations(&self, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let table = &self.star.table(star::DESCRIBED_PLACES).columns;
        self.stage(STAGED_PLACES, "locations", self.content.locations.rows, table.clone(), sql)?;
        self.replace(star::DESCRIBED_PLACES, STAGED_PLACES, sql)?;
        versions::places(self.star, sql)
    }

    fn refused(&self, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let table = &self.star.table(star::METADATA_REFUSED).columns;
        self.stage(STAGED_REFUSED, "refused", self.content.refused.rows, table.clone(), sql)?;
        self.replace(star::METADATA_REFUSED, STAGED_REFUSED, sql)
    }

    /// All rows of a table give way to the staged ones.
    fn replace(&self, table: &str, staged: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let (at, columns) = (self.star.at(table)?, &self.star.table(table).columns);
        sql.push(format!("DELETE FROM {at} USING {GUARD} \"g\" WHERE \"g\".\"ok\" = 1"));
        sql.push(format!(
            "INSERT INTO {at} ({}) SELECT {} FROM {staged} \"s\", {GUARD} \"g\"",
            list("", columns)?,
            list("\"s\".", columns)?
        ));
        Ok(())
    }

    /// A temporary table with a part of the content in it.
    fn stage(
        &self,
        staged: &str,
        name: &str,
        rows: u64,
        columns: Vec<Column>,
        sql: &mut Vec<String>,
    ) -> Result<(), Unquotable> {
        let manifest = self.key(name, "manifest");
        stage(staged, &columns, (self.bucket, &manifest), (self.iam_role, "JSON 'auto'"), sql)?;
        if rows == 0 {
            // There is no object without rows.
            sql.pop();
        }
        Ok(())
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
