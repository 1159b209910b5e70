//! What the ledger is asked, and what it answers.
//!
//! **Promises** an answer that is not as the statement demands is an error, never a guess.
//! **Not here**: writing it (`load.rs`).

use std::collections::BTreeMap;

use messages::{EpochNumber, Position, ShardId};

use super::literal::{self, Unquotable};
use super::service::Cell;
use super::sql::ledger as sql;
use super::star::StarSchema;

/// How far a shard is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its last epoch in the ledger.
    pub epoch: EpochNumber,
    /// Where that ends, as lease rows spell it.
    pub to: String,
    /// The digest of its manifest; none in rows of earlier versions.
    pub content: Option<String>,
}

impl Tip {
    /// Whether it is the shard's last.
    pub fn ended(&self) -> bool {
        self.to == Position::ShardEnd.to_string()
    }
}

/// How far every shard of a stream is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tips(pub BTreeMap<ShardId, Tip>);

/// What the ledger has of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// Its last epoch.
    pub epoch: EpochNumber,
    /// Epochs that were loaded.
    pub loaded: u64,
    /// Epochs that were refused.
    pub refused: u64,
    /// Readings in those that were loaded.
    pub readings: u64,
    /// When the last was loaded, as the warehouse writes it.
    pub last_at: String,
}

/// An epoch that the warehouse refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEpoch {
    /// The shard.
    pub shard: ShardId,
    /// Its number.
    pub epoch: EpochNumber,
    /// The key of its manifest.
    pub manifest: String,
    /// The warehouse's words.
    pub error: String,
}

/// How much is in the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RowCounts {
    /// Rows of `sensor_readings`.
    pub sensor_readings: u64,
    /// Rows of `dim_sensors`.
    pub dim_sensors: u64,
    /// Rows of `dim_locations`.
    pub dim_locations: u64,
    /// Rows of `sensor_hourly`.
    pub sensor_hourly: u64,
    /// Rows of `sensor_daily`.
    pub sensor_daily: u64,
    /// Rows of `alerts`.
    pub alerts: u64,
}

/// An answer is not as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger answered a row that cannot be read: {0}")]
pub struct Unreadable(String);

impl Unreadable {
    pub(super) fn of(row: &[Cell]) -> Self {
        Self(format!("{row:?}").chars().take(200).collect())
    }
}

/// Asks for [`Tips`].
pub fn tips_query(star: &StarSchema, stream: &str) -> Result<String, Unquotable> {
    Ok(sql::Tips { schema: star.schema()?, stream: literal::text(stream)? }.sql().sent())
}

/// Reads [`tips_query`]'s answer.
pub fn tips(rows: &[Vec<Cell>]) -> Result<Tips, Unreadable> {
    let read = |row: &Vec<Cell>| {
        let [shard, epoch, to, content] = row.as_slice() else { return None };
        let (to, content) = (to.as_str()?.to_owned(), content.as_str().map(str::to_owned));
        let tip = Tip { epoch: number(epoch)?, to, content };
        Some((ShardId::new(shard.as_str()?), tip))
    };
    let tips = rows.iter().map(|row| read(row).ok_or_else(|| Unreadable::of(row))).collect::<Result<_, _>>()?;
    Ok(Tips(tips))
}

/// Asks for [`ShardStatus`] of every shard.
pub fn status_query(star: &StarSchema, stream: &str) -> Result<String, Unquotable> {
    Ok(sql::Status { schema: star.schema()?, stream: literal::text(stream)? }.sql().sent())
}

/// Reads [`status_query`]'s answer.
pub fn status(rows: &[Vec<Cell>]) -> Result<Vec<ShardStatus>, Unreadable> {
    let count = |cell: &Cell| cell.as_i64().and_then(|n| u64::try_from(n).ok());
    let read = |row: &Vec<Cell>| {
        let [shard, epoch, loaded, refused, readings, last_at] = row.as_slice() else { return None };
        Some(ShardStatus {
            shard: ShardId::new(shard.as_str()?),
            epoch: number(epoch)?,
            loaded: count(loaded)?,
            refused: count(refused)?,
            readings: count(readings)?,
            last_at: last_at.as_str()?.to_owned(),
        })
    };
    rows.iter().map(|row| read(row).ok_or_else(|| Unreadable::of(row))).collect()
}

/// Asks for the epochs of a shard, in an interval of numbers, that are loaded.
pub fn loaded_query(
    star: &StarSchema,
    stream: &str,
    shard: &ShardId,
    between: (EpochNumber, EpochNumber),
) -> Result<String, Unquotable> {
    let (schema, stream, shard) = (star.schema()?, literal::text(stream)?, literal::text(shard.as_str())?);
    let (first, last) = (literal::number(between.0.0), literal::number(between.1.0));
    Ok(sql::Loaded { schema, stream, shard, first, last }.sql().sent())
}

/// Reads [`loaded_query`]'s answer.
pub fn loaded(rows: &[Vec<Cell>]) -> Result<Vec<EpochNumber>, Unreadable> {
    rows.iter().map(|row| row.first().and_then(number).ok_or_else(|| Unreadable::of(row))).collect()
}

/// Asks for the first refused epochs, at most `n_max`.
pub fn refused_query(star: &StarSchema, stream: &str, n_max: usize) -> Result<String, Unquotable> {
    let (schema, stream, n_max) = (star.schema()?, literal::text(stream)?, literal::number(n_max as u64));
    Ok(sql::Refused { schema, stream, n_max }.sql().sent())
}

/// Reads [`refused_query`]'s answer.
pub fn refused(rows: &[Vec<Cell>]) -> Result<Vec<RefusedEpoch>, Unreadable> {
    let read = |row: &Vec<Cell>| {
        let [shard, epoch, manifest, error] = row.as_slice() else { return None };
        let (manifest, error) = (manifest.as_str()?.to_owned(), error.as_str()?.to_owned());
        Some(RefusedEpoch { shard: ShardId::new(shard.as_str()?), epoch: number(epoch)?, manifest, error })
    };
    rows.iter().map(|row| read(row).ok_or_else(|| Unreadable::of(row))).collect()
}

/// Asks for [`RowCounts`], and for the transactions that have brought the stream's epochs.
pub fn counts_query(star: &StarSchema, stream: &str) -> Result<String, Unquotable> {
    Ok(sql::Counts { schema: star.schema()?, stream: literal::text(stream)? }.sql().sent())
}

/// Reads [`counts_query`]'s answer.
pub fn counts(rows: &[Vec<Cell>]) -> Result<(RowCounts, u64), Unreadable> {
    let count = |cell: &Cell| cell.as_i64().and_then(|n| u64::try_from(n).ok());
    let read = |row: &Vec<Cell>| {
        let [readings, sensors, locations, hourly, daily, alerts, batches] = row.as_slice() else { return None };
        let counts = RowCounts {
            sensor_readings: count(readings)?,
            dim_sensors: count(sensors)?,
            dim_locations: count(locations)?,
            sensor_hourly: count(hourly)?,
            sensor_daily: count(daily)?,
            alerts: count(alerts)?,
        };
        Some((counts, count(batches)?))
    };
    rows.first().and_then(read).ok_or_else(|| Unreadable::of(rows.first().map_or(&[][..], Vec::as_slice)))
}

fn number(cell: &Cell) -> Option<EpochNumber> {
    cell.as_i64().and_then(|n| u64::try_from(n).ok()).map(EpochNumber)
}
