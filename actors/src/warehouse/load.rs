//! The statements of one load: a transaction that does all of it, or nothing.
//!
//! **Promises**
//! - The ledger is locked before anything is read, so that loads run one after the other and each sees what the one
//!   before has done: the snapshot of a transaction begins with its first read, not with the lock.
//! - Every write is joined with `load_guard`, which is empty if the ledger knows one of the batch's epochs: a load that is
//!   repeated, or comes late, changes nothing (CLEAN-ONCE).
//!
//! **Not here**: versions and intervals (`versions.rs`), windows over shards (`windows.rs`), sending.

use super::batch::{CopyManifest, Feed, LoadBatch};
use super::literal::{self, Sql, Unquotable};
use super::sql::load as sql;
use super::sql::transaction::{Fresh, GzippedJson, Lock, Parquet, SinceEpoch};
use super::star::{self, StarSchema};
use super::tables::{Kind, TableColumn, names, qualified};
use super::transaction::{CopySource, TooMuch, checked, copy, stage};
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
    pub star: &'a StarSchema,
    /// The layout of the zones.
    pub schema: &'a messages::EventSchema,
    /// The epochs.
    pub batch: &'a LoadBatch,
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

impl Load<'_> {
    /// The statements that load the batch.
    pub fn statements(&self) -> Result<Statements, TooMuch> {
        let sql = self.transaction()?;
        let has_readings = self.manifests.iter().any(|manifest| manifest.feed == Feed::Readings);
        let guard = sql.len() - 1 - usize::from(has_readings);
        Ok(Statements { sql: checked(&sql)?, guard, ages: has_readings.then_some(guard + 1) })
    }

    /// They end with the question whether the load was new, and, if it has readings, with that for their age.
    pub(super) fn transaction(&self) -> Result<Vec<Sql>, Unquotable> {
        let mut sql = self.opening()?;
        for manifest in self.manifests {
            self.feed(manifest, &mut sql)?;
        }
        self.ledger("loaded", &mut sql)?;
        sql.push(Fresh {}.sql());
        if self.manifests.iter().any(|manifest| manifest.feed == Feed::Readings) {
            sql.push(sql::Ages { now: literal::timestamp_ms(self.now_ms) }.sql());
        }
        Ok(sql)
    }

    /// The statements that put the batch's epochs aside, with the warehouse's own words.
    pub fn refusal(&self, attempts: u32, error: &str) -> Result<Vec<String>, TooMuch> {
        let mut sql = self.opening()?;
        for epoch in &self.batch.epochs {
            let refused = sql::Refused {
                schema: self.star.schema()?,
                stream: literal::text(&self.batch.stream)?,
                shard: literal::text(epoch.shard.as_str())?,
                epoch: literal::number(epoch.epoch.0),
                manifest: literal::text(&epoch.manifest)?,
                attempts: literal::number(attempts.into()),
                error: literal::text(&kept(error))?,
            };
            sql.push(refused.sql());
        }
        self.ledger("refused", &mut sql)?;
        checked(&sql)
    }

    /// The lock, the guard, and in a second try, what the ledger says about the first.
    fn opening(&self) -> Result<Vec<Sql>, Unquotable> {
        let (schema, known) = (self.star.schema()?, self.known()?);
        let mut sql = vec![Lock { schema: schema.clone() }.sql()];
        match self.mode {
            Mode::New => sql.push(sql::Guard { schema, known }.sql()),
            Mode::Again => {
                sql.push(sql::GuardAgain { schema, known: known.clone() }.sql());
                for table in [star::LEDGER, star::REFUSED] {
                    sql.push(sql::ForgetRefused { table: self.star.at(table)?, known: known.clone() }.sql());
                }
            }
        }
        Ok(sql)
    }

    /// The condition that a row of the ledger is about an epoch of the batch.
    fn known(&self) -> Result<Sql, Unquotable> {
        let mut ranges = Vec::new();
        for (shard, first, last) in self.batch.ranges() {
            let (first, last) = (literal::number(first.0), literal::number(last.0));
            ranges.push(sql::Range { shard: literal::text(shard.as_str())?, first, last }.sql());
        }
        let stream = literal::text(&self.batch.stream)?;
        Ok(sql::Known { stream, ranges: Sql::joined(ranges, "OR") }.sql())
    }

    fn feed(&self, manifest: &CopyManifest, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        match manifest.feed {
            Feed::Readings => self.readings(manifest, sql),
            Feed::Dimensions => self.dimensions(manifest, sql),
            Feed::Hourly => self.windows((star::HOURLY, star::HOURLY_PARTS), manifest, sql),
            Feed::Daily => self.windows((star::DAILY, star::DAILY_PARTS), manifest, sql),
            Feed::Alerts => self.alerts(manifest, sql),
        }
    }

    fn readings(&self, manifest: &CopyManifest, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let zone = star::of_zone(&columns::cleansed(self.schema), self.schema);
        self.copy(manifest, &zone, sql)?;
        let value = |column: &TableColumn| match column.name.as_str() {
            columns::SENSOR_VERSION => Ok(sql::VersionInForce {}.sql()),
            name => qualified("s", name),
        };
        let values = Sql::list(zone.iter().map(value).collect::<Result<_, _>>()?);
        sql.push(sql::Readings { schema: self.star.schema()?, columns: names(&zone)?, values }.sql());
        Ok(())
    }

    fn dimensions(&self, manifest: &CopyManifest, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let zone = star::of_zone(&columns::dimensions(self.schema), self.schema);
        let stage = self.copy(manifest, &zone, sql)?;
        versions::say(self.star, sql)?;
        versions::rebuild(self.star, &stage, sql)?;
        versions::reassign_new(self.star, sql)?;
        versions::places(self.star, sql)
    }

    /// The latest revision of what a shard has counted takes the place of an earlier one, and the windows concerned are
    /// added up anew.
    fn windows(&self, tables: (&str, &str), manifest: &CopyManifest, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let zone = star::of_zone(&columns::aggregates(), self.schema);
        let stage = self.copy(manifest, &zone, sql)?;
        windows::merge(self.star, tables, &stage, sql)
    }

    fn alerts(&self, manifest: &CopyManifest, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let alerts = self.star.columns(star::ALERTS);
        // The lines name their times by their units.
        let line = |column: &TableColumn| match column.name.as_str() {
            columns::EVENT_TIME => TableColumn::required("event_time_us", Kind::BigInt),
            columns::ARRIVAL_TIME => TableColumn::required("arrival_ms", Kind::BigInt),
            _ => column.clone(),
        };
        self.copy(manifest, &alerts.iter().map(line).collect::<Vec<_>>(), sql)?;
        let value = |column: &TableColumn| match column.name.as_str() {
            columns::EVENT_TIME => Ok(SinceEpoch { us: qualified("s", "event_time_us")? }.sql()),
            columns::ARRIVAL_TIME => Ok(sql::ArrivalTime {}.sql()),
            name => qualified("s", name),
        };
        let values = Sql::list(alerts.iter().map(value).collect::<Result<_, _>>()?);
        sql.push(sql::Alerts { schema: self.star.schema()?, columns: names(alerts)?, values }.sql());
        Ok(())
    }

    /// The files of a manifest in a temporary table; answers its name.
    fn copy(&self, manifest: &CopyManifest, columns: &[TableColumn], sql: &mut Vec<Sql>) -> Result<Sql, Unquotable> {
        let format = match manifest.feed {
            Feed::Readings | Feed::Dimensions | Feed::Hourly | Feed::Daily => Parquet {}.sql(),
            Feed::Alerts => GzippedJson {}.sql(),
        };
        let staged = literal::identifier(&format!("stg_{}", manifest.feed.as_str()))?;
        let source = CopySource { bucket: self.bucket, key: &manifest.key, iam_role: self.iam_role, format };
        sql.extend([stage(&staged, columns)?, copy(&staged, source)?]);
        Ok(staged)
    }

    fn ledger(&self, state: &str, sql: &mut Vec<Sql>) -> Result<(), Unquotable> {
        let mut rows = Vec::new();
        for epoch in &self.batch.epochs {
            let row = sql::EpochRow {
                shard: literal::text(epoch.shard.as_str())?,
                epoch: literal::number(epoch.epoch.0),
                to: literal::text(&epoch.to.to_string())?,
                readings: literal::number(epoch.readings),
                content: literal::text(&epoch.content)?,
            };
            rows.push(row.sql());
        }
        let ledger = sql::Ledger {
            schema: self.star.schema()?,
            stream: literal::text(&self.batch.stream)?,
            batch: literal::text(&self.batch.id)?,
            state: literal::text(state)?,
        };
        sql.extend([sql::Epochs {}.sql(), sql::EpochRows { rows: Sql::list(rows) }.sql(), ledger.sql()]);
        Ok(())
    }
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
