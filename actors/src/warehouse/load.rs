//! The statements of one load: a transaction that does all of it, or nothing.
//!
//! **Promises**
//! - The ledger is locked before anything is read, so that loads run one after the other and each sees what the one
//!   before has done: the snapshot of a transaction begins with its first read, not with the lock.
//! - Every write is joined with `load_guard`, which is empty if the ledger knows one of the batch's epochs: a load that is
//!   repeated, or comes late, changes nothing (CLEAN-ONCE).
//!
//! **Not here**: versions and intervals (`versions.rs`), windows over shards (`windows.rs`), sending.

use super::batch::{Batch, CopyManifest, Feed};
use super::freshness;
use super::literal::{self, Unquotable};
use super::star::{self, Star};
use super::tables::{Column, Kind, names};
use super::transaction::{GUARD, TooMuch, checked, list, stage};
use super::versions;
use super::windows;
use crate::lake::columns;

/// What the epochs of a batch are to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It must know none of them.
    New,
    /// It may know them as refused: then they are loaded after all.
    Again,
}

/// What a load needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// The tables.
    pub star: &'a Star,
    /// The layout of the zones.
    pub schema: &'a messages::EventSchema,
    /// The epochs.
    pub batch: &'a Batch,
    /// The manifests of the batch, which lie in the bucket by now.
    pub manifests: &'a [CopyManifest],
    /// The bucket.
    pub bucket: &'a str,
    /// The role by which the warehouse reads it; empty for the warehouse's default role.
    pub iam_role: &'a str,
    /// What the ledger may know already.
    pub mode: Mode,
    /// The time, from which the age of readings is counted.
    pub now_ms: i64,
}

/// A load as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements {
    /// In order; one transaction.
    pub sql: Vec<String>,
    /// Which of them answers whether the load was new: 1 if it was, 0 if the ledger knew it.
    pub guard: usize,
    /// Which of them answers how old the readings were; none for a load without readings.
    pub ages: Option<usize>,
}

const EPOCHS: &str = "\"load_epochs\"";

impl Load<'_> {
    /// The statements that load the batch.
    pub fn statements(&self) -> Result<Statements, TooMuch> {
        let mut sql = self.opening()?;
        for manifest in self.manifests {
            match manifest.feed {
                Feed::Readings => self.readings(manifest, &mut sql)?,
                Feed::Dimensions => self.dimensions(manifest, &mut sql)?,
                Feed::Hourly => self.windows((star::HOURLY, star::HOURLY_PARTS), manifest, &mut sql)?,
                Feed::Daily => self.windows((star::DAILY, star::DAILY_PARTS), manifest, &mut sql)?,
                Feed::Alerts => self.alerts(manifest, &mut sql)?,
            }
        }
        self.ledger("loaded", &mut sql)?;
        let guard = sql.len();
        sql.push(format!("SELECT COUNT(*) AS \"fresh\" FROM {GUARD}"));
        let has_readings = self.manifests.iter().any(|manifest| manifest.feed == Feed::Readings);
        let ages = has_readings.then_some(guard + 1);
        if has_readings {
            sql.push(freshness::query(&staged(Feed::Readings), GUARD, self.now_ms));
        }
        Ok(Statements { sql: checked(sql)?, guard, ages })
    }

    /// The statements that put the batch's epochs aside, with the warehouse's own words.
    pub fn refusal(&self, attempts: u32, error: &str) -> Result<Vec<String>, TooMuch> {
        let mut sql = self.opening()?;
        let refused = self.star.at(star::REFUSED)?;
        let columns = names(&["stream", "shard", "epoch", "manifest", "attempts", "error", "refused_at"])?;
        let (stream, error) = (literal::text(&self.batch.stream)?, literal::text(&kept(error))?);
        let mut rows = Vec::new();
        for epoch in &self.batch.epochs {
            let (shard, manifest) = (literal::text(epoch.shard.as_str())?, literal::text(&epoch.manifest)?);
            rows.push(format!(
                "SELECT {stream}, {shard}, {}, {manifest}, {attempts}, {error}, GETDATE() FROM {GUARD}",
                epoch.epoch.0
            ));
        }
        sql.extend(rows.into_iter().map(|row| format!("INSERT INTO {refused} ({columns}) {row}")));
        self.ledger("refused", &mut sql)?;
        checked(sql)
    }

    /// The lock, the guard, and in a second try, what the ledger says about the first.
    fn opening(&self) -> Result<Vec<String>, Unquotable> {
        let (ledger, known) = (self.star.at(star::LEDGER)?, self.known()?);
        let loaded = match self.mode {
            Mode::New => "",
            Mode::Again => " AND \"state\" = 'loaded'",
        };
        let mut sql = vec![
            format!("LOCK {ledger}"),
            format!(
                "CREATE TEMP TABLE {GUARD} AS SELECT 1 AS \"ok\" WHERE NOT EXISTS (SELECT 1 FROM {ledger} WHERE {known}{loaded})"
            ),
        ];
        if self.mode == Mode::Again {
            for table in [star::LEDGER, star::REFUSED] {
                let table = self.star.at(table)?;
                sql.push(format!("DELETE FROM {table} USING {GUARD} WHERE {known}"));
            }
        }
        Ok(sql)
    }

    /// The condition that a row of the ledger is about an epoch of the batch.
    fn known(&self) -> Result<String, Unquotable> {
        let stream = literal::text(&self.batch.stream)?;
        let mut ranges = Vec::new();
        for (shard, first, last) in self.batch.ranges() {
            let shard = literal::text(shard.as_str())?;
            ranges.push(format!("(\"shard\" = {shard} AND \"epoch\" BETWEEN {} AND {})", first.0, last.0));
        }
        Ok(format!("\"stream\" = {stream} AND ({})", ranges.join(" OR ")))
    }

    /// A reading carries the version that holds at its event time, and not that of its arrival: the result must not
    /// depend on what came first.
    fn readings(&self, manifest: &CopyManifest, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let zone = star::of_zone(&columns::cleansed(self.schema), self.schema);
        self.copy(manifest, &zone, sql)?;
        let readings = self.star.at(star::READINGS)?;
        let stage = staged(manifest.feed);
        let mut values = Vec::new();
        for column in &zone {
            let name = literal::identifier(&column.name)?;
            values.push(match column.name.as_str() {
                columns::SENSOR_VERSION => "NVL(\"v\".\"version\", 0)".to_owned(),
                _ => format!("\"s\".{name}"),
            });
        }
        sql.push(format!(
            "INSERT INTO {readings} ({}, \"quality\") SELECT {}, CASE WHEN \"s\".\"late\" THEN 'late' \
             WHEN \"s\".\"anomalies\" <> 0 THEN 'suspect' ELSE 'good' END FROM {stage} \"s\" CROSS JOIN {GUARD} \"g\" \
             LEFT JOIN {} \"v\" ON \"v\".\"sensor_id\" = \"s\".\"sensor_id\" AND \"s\".\"event_time\" >= \"v\".\"since\" \
             AND \"s\".\"event_time\" < \"v\".\"until\"",
            list("", &zone)?,
            values.join(", "),
            versions::intervals(self.star, &stage)?,
        ));
        Ok(())
    }

    fn dimensions(&self, manifest: &CopyManifest, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let zone = star::of_zone(&columns::dimensions(self.schema), self.schema);
        self.copy(manifest, &zone, sql)?;
        let stage = staged(manifest.feed);
        versions::say(self.star, &stage, sql)?;
        versions::rebuild(self.star, &stage, sql)?;
        versions::reassign_new(self.star, &stage, sql)?;
        versions::places(self.star, sql)
    }

    /// The latest revision of what a shard has counted takes the place of an earlier one, and the windows concerned are
    /// added up anew.
    fn windows(&self, tables: (&str, &str), manifest: &CopyManifest, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let zone = star::of_zone(&columns::aggregates(), self.schema);
        self.copy(manifest, &zone, sql)?;
        windows::merge(self.star, tables, &staged(manifest.feed), sql)
    }

    fn alerts(&self, manifest: &CopyManifest, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let alerts = self.star.table(star::ALERTS);
        // The lines name their times by their units.
        let lines: Vec<Column> = alerts
            .columns
            .iter()
            .map(|column| match column.name.as_str() {
                columns::EVENT_TIME => Column::required("event_time_us", Kind::BigInt),
                columns::ARRIVAL_TIME => Column::required("arrival_ms", Kind::BigInt),
                _ => column.clone(),
            })
            .collect();
        self.copy(manifest, &lines, sql)?;
        let (at, stage) = (self.star.at(star::ALERTS)?, staged(manifest.feed));
        const EPOCH: &str = "TIMESTAMP '1970-01-01 00:00:00'";
        let mut taken = Vec::new();
        for column in &lines {
            let name = literal::identifier(&column.name)?;
            taken.push(match column.name.as_str() {
                "event_time_us" => format!("DATEADD(microsecond, \"s\".{name}, {EPOCH})"),
                "arrival_ms" => format!("DATEADD(millisecond, \"s\".{name}, {EPOCH})"),
                _ => format!("\"s\".{name}"),
            });
        }
        sql.push(format!(
            "INSERT INTO {at} ({}) SELECT {} FROM {stage} \"s\", {GUARD} \"g\"",
            list("", &alerts.columns)?,
            taken.join(", "),
        ));
        Ok(())
    }

    fn copy(&self, manifest: &CopyManifest, columns: &[Column], sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let format = match manifest.feed {
            Feed::Readings | Feed::Dimensions | Feed::Hourly | Feed::Daily => "PARQUET",
            Feed::Alerts => "JSON 'auto' GZIP",
        };
        let from = (self.bucket, manifest.key.as_str());
        stage(&staged(manifest.feed), columns, from, (self.iam_role, format), sql)
    }

    /// The batch's rows of the ledger, in the same transaction as what they stand for.
    fn ledger(&self, state: &str, sql: &mut Vec<String>) -> Result<(), Unquotable> {
        let ledger = self.star.at(star::LEDGER)?;
        sql.push(format!(
            "CREATE TEMP TABLE {EPOCHS} (\"shard\" VARCHAR(128), \"epoch\" BIGINT, \"to_position\" VARCHAR(129), \"readings\" BIGINT, \"content\" VARCHAR(64))"
        ));
        let mut rows = Vec::new();
        for epoch in &self.batch.epochs {
            let (shard, to) = (literal::text(epoch.shard.as_str())?, literal::text(&epoch.to.to_string())?);
            let content = literal::text(&epoch.content)?;
            rows.push(format!("({shard}, {}, {to}, {}, {content})", epoch.epoch.0, epoch.readings));
        }
        sql.push(format!("INSERT INTO {EPOCHS} VALUES {}", rows.join(", ")));
        let (stream, batch) = (literal::text(&self.batch.stream)?, literal::text(&self.batch.id)?);
        let metadata = self.star.at(star::METADATA_VERSIONS)?;
        sql.push(format!(
            "INSERT INTO {ledger} (\"stream\", \"shard\", \"epoch\", \"to_position\", \"batch\", \"state\", \"readings\", \"loaded_at\", \"metadata\", \"content\") \
             SELECT {stream}, \"e\".\"shard\", \"e\".\"epoch\", \"e\".\"to_position\", {batch}, '{state}', \"e\".\"readings\", GETDATE(), \
             (SELECT MAX(\"digest\") FROM {metadata} WHERE \"number\" = (SELECT MAX(\"number\") FROM {metadata})), \
             \"e\".\"content\" \
             FROM {EPOCHS} \"e\", {GUARD} \"g\""
        ));
        Ok(())
    }
}

/// The temporary table that a feed's files are copied into.
fn staged(feed: Feed) -> String {
    format!("\"stg_{}\"", feed.as_str())
}

/// As much of an error as the table holds, without what it cannot hold.
fn kept(error: &str) -> String {
    let mut kept = String::new();
    for c in error.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > star::ERROR_BYTES as usize {
            break;
        }
        kept.push(c);
    }
    kept
}
