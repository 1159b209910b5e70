//! `mangrove load`: what the warehouse has, and loading by hand.
//!
//! **Owns** nothing: the ledger tells what is loaded, and keeps a load by hand and the loader's apart.
//! **Promises** nothing is loaded twice, whoever else loads meanwhile.
//! **Not here**: the loader itself, which `mangrove run` runs.

use std::path::PathBuf;
use std::time::Duration;

use actors::loading::{Backfilled, LoadError, Loading};
use actors::ports::aws;
use actors::ports::leases::LeaseTable;
use actors::ports::warehouse::WarehouseFailure;
use clap::{ArgGroup, Args};
use comfy_table::{Table, presets};
use messages::{EpochNumber, ShardId};
use serde::Serialize;

use super::config::print;
use crate::config::{Config, Sources};
use crate::exit::CliError;
use crate::inert::{inert, inert_json};
use crate::run::loading;

/// `load --once` gives up after this time; what is loaded stays.
const ONCE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Hours that one backfill may span: ten years.
const BACKFILL_HOURS_MAX: i64 = 10 * 366 * 24;
const HOUR_US: i64 = 3_600_000_000;

/// Shows what the warehouse has, or loads by hand.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["status", "once", "retry", "put_aside", "backfill"])))]
#[command(after_help = "\
Examples:
  mangrove load --status --config mangrove.toml
  mangrove load --once --config mangrove.toml                    load all that waits, then end
  mangrove load --retry --config mangrove.toml                   load what the warehouse had refused
  mangrove load --put-aside shardId-000000000003:42 --config mangrove.toml    let the shard go on without it
  mangrove load --backfill 2026-01-01T00..2026-01-02T00 --config mangrove.toml

An epoch waits until the warehouse takes it, unless the warehouse says that its data is wrong. One that will never be
taken, for a reason that only you know, is put aside by --put-aside and loaded after all by --retry. A backfill loads what the ledger lacks of the epochs whose records arrived in these hours (UTC): after rows of the
tables and of load_ledger were deleted. Every load is safe beside a running loader, and is told on stderr.")]
pub struct LoadArgs {
    /// Show per shard what is loaded and what was refused, and who loads
    #[arg(long)]
    pub status: bool,
    /// Load all that waits, then end
    #[arg(long)]
    pub once: bool,
    /// Load what the warehouse had refused
    #[arg(long)]
    pub retry: bool,
    /// Put the epoch aside that a shard waits with, so that later ones are loaded
    #[arg(long, value_name = "SHARD:EPOCH", value_parser = place)]
    pub put_aside: Option<EpochPlace>,
    /// Load what the ledger lacks of these hours of arrival
    #[arg(long, value_name = "FROM..TO", value_parser = interval)]
    pub backfill: Option<Interval>,
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// An epoch of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochPlace {
    shard: ShardId,
    epoch: EpochNumber,
}

/// Hours of arrival, `[from, to)`, microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    from_us: i64,
    to_us: i64,
}

#[derive(Debug, Serialize)]
struct LoadStatusLine {
    warehouse: String,
    loader: Option<String>,
    shards: Vec<LoadShardLine>,
    refused: Vec<RefusedLine>,
}

#[derive(Debug, Serialize)]
struct LoadShardLine {
    shard: String,
    epoch: u64,
    loaded: u64,
    refused: u64,
    readings: u64,
    last_at: String,
}

#[derive(Debug, Serialize)]
struct RefusedLine {
    shard: String,
    epoch: u64,
    error: String,
}

#[derive(Debug, Default, Serialize)]
struct Retried {
    loaded: u64,
    refused: u64,
}

impl LoadArgs {
    /// Reads the configuration.
    pub fn configure(&self) -> Result<Config, CliError> {
        Ok(Config::load(&Sources::of_process(self.config.clone()))?.config)
    }
}

/// Runs the command.
pub async fn load(args: &LoadArgs, config: &Config) -> Result<(), CliError> {
    let sdk = aws::load(&config.aws).await;
    let (loading, _) = loading(config, &sdk)?.ok_or_else(no_warehouse)?;
    if args.status {
        let leases = LeaseTable::new(&sdk, &config.leases_table);
        let status = status(&loading, &leases).await?;
        return print(&match args.json {
            true => json(&status)?,
            false => status.tables(),
        });
    }
    loading.ensure_tables().await.map_err(failed)?;
    if let Some(Interval { from_us, to_us }) = args.backfill {
        let done = loading.backfill(from_us, to_us).await.map_err(failed)?;
        let Backfilled { found, known, loaded, left } = done;
        return print(&match args.json {
            true => json(&done)?,
            false => format!(
                "epochs of these hours: {found}; known to the ledger: {known}; loaded now: {loaded}; left to the loader: {left}\n"
            ),
        });
    }
    if let Some(EpochPlace { shard, epoch }) = &args.put_aside {
        loading.put_aside_by_hand(shard, *epoch).await.map_err(failed)?;
        return print(&match args.json {
            true => json(&serde_json::json!({ "shard": shard.as_str(), "epoch": epoch.0 }))?,
            false => format!("put aside: {shard} epoch {epoch}\n"),
        });
    }
    if args.retry {
        let retried = retry(&loading).await?;
        return print(&match args.json {
            true => json(&retried)?,
            false => format!("loaded: {}; still refused: {}\n", retried.loaded, retried.refused),
        });
    }
    loading.load_all(ONCE_MAX).await.map_err(failed)?;
    let figures = loading.figures();
    let (epochs, batches, readings) = (figures.epochs(), figures.batches(), figures.readings());
    print(&match args.json {
        true => json(&serde_json::json!({ "epochs": epochs, "batches": batches, "readings": readings }))?,
        false => format!("loaded: {epochs} epochs with {readings} readings in {batches} transactions\n"),
    })
}

async fn status(loading: &Loading, leases: &LeaseTable) -> Result<LoadStatusLine, CliError> {
    let row = leases.loader(&loading.name()).await?;
    let shards = loading.status().await.map_err(failed)?;
    let refused = loading.refusals().await.map_err(failed)?;
    Ok(LoadStatusLine {
        warehouse: loading.name(),
        loader: row.filter(|row| !row.released).map(|row| row.owner),
        shards: shards
            .into_iter()
            .map(|shard| LoadShardLine {
                shard: shard.shard.to_string(),
                epoch: shard.epoch.0,
                loaded: shard.loaded,
                refused: shard.refused,
                readings: shard.readings,
                last_at: shard.last_at,
            })
            .collect(),
        refused: refused
            .into_iter()
            .map(|epoch| RefusedLine { shard: epoch.shard.to_string(), epoch: epoch.epoch.0, error: epoch.error })
            .collect(),
    })
}

/// Every epoch by itself, so that one that is still refused keeps no other back.
async fn retry(loading: &Loading) -> Result<Retried, CliError> {
    let mut retried = Retried::default();
    for epoch in loading.refusals().await.map_err(failed)? {
        match loading.load_again(&epoch.manifest).await {
            Ok(_) => retried.loaded += 1,
            Err(error) if error.failure() == WarehouseFailure::Refused => {
                eprintln!("{} epoch {}: {}", epoch.shard, epoch.epoch, inert(&error.to_string()));
                retried.refused += 1;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(retried)
}

impl LoadStatusLine {
    fn tables(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["shard", "epoch", "loaded", "refused", "readings", "last load (UTC)"]);
        for line in &self.shards {
            table.add_row([
                inert(&line.shard).into_owned(),
                line.epoch.to_string(),
                line.loaded.to_string(),
                line.refused.to_string(),
                line.readings.to_string(),
                inert(&line.last_at).into_owned(),
            ]);
        }
        let mut text = format!(
            "{table}\n{} is loaded by {}\n",
            inert(&self.warehouse),
            inert(self.loader.as_deref().unwrap_or("nobody"))
        );
        for line in &self.refused {
            text.push_str(&format!("refused: {} epoch {}: {}\n", inert(&line.shard), line.epoch, inert(&line.error)));
        }
        text
    }
}

pub(super) fn no_warehouse() -> CliError {
    CliError::configuration("no warehouse is configured: set enabled = true and workgroup or cluster in [warehouse]")
}

pub(super) fn failed(error: LoadError) -> CliError {
    match error.failure() {
        WarehouseFailure::Unavailable | WarehouseFailure::Unknown | WarehouseFailure::Denied => {
            CliError::environment(error.to_string())
        }
        WarehouseFailure::Refused | WarehouseFailure::TooLarge => CliError::internal(error.to_string()),
    }
}

fn json(value: &impl Serialize) -> Result<String, CliError> {
    // The same value, whoever reads it.
    Ok(format!("{}\n", inert_json(&serde_json::to_string(value).map_err(CliError::internal)?)))
}

/// `shardId-000000000003:42`
fn place(text: &str) -> Result<EpochPlace, String> {
    let place = text.rsplit_once(':').and_then(|(shard, epoch)| Some((shard, epoch.parse().ok()?)));
    let (shard, epoch) = place.ok_or_else(|| "write SHARD:EPOCH, such as shardId-000000000003:42".to_owned())?;
    Ok(EpochPlace { shard: ShardId::new(shard), epoch: EpochNumber(epoch) })
}

/// `2026-01-01T00..2026-01-02T00`; an hour, a day, or a full time on either side.
fn interval(text: &str) -> Result<Interval, String> {
    let expected =
        || "write FROM..TO in UTC, such as 2026-01-01T00..2026-01-01T12 or 2026-01-01..2026-02-01".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(expected)?;
    let (from_us, to_us) = (time(from).ok_or_else(expected)?, time(to).ok_or_else(expected)?);
    if from_us >= to_us || (to_us - from_us) / HOUR_US > BACKFILL_HOURS_MAX {
        return Err("FROM must lie before TO, by ten years at most".to_owned());
    }
    Ok(Interval { from_us, to_us })
}

pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.trim().trim_end_matches('Z');
    let text = match text.len() {
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let seconds = humantime::parse_rfc3339(&format!("{text}Z")).ok()?;
    let since = seconds.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_named_by_shard_and_number() {
        let named = EpochPlace { shard: ShardId::new("shardId-000000000003"), epoch: EpochNumber(42) };
        assert_eq!(place("shardId-000000000003:42"), Ok(named));
        assert!(["shardId-000000000003", "a:", "a:x", ":"].iter().all(|bad| place(bad).is_err()));
    }

    #[test]
    fn intervals_are_read() {
        let day = Interval { from_us: 1_767_225_600_000_000, to_us: 1_767_312_000_000_000 };
        assert_eq!(interval("2026-01-01..2026-01-02"), Ok(day));
        assert_eq!(interval("2026-01-01T00..2026-01-02T00:00:00Z"), Ok(day));
        for bad in ["2026-01-01", "a..b", "2026-01-02..2026-01-01", "1970-01-01..2026-01-01", "2026-13-01..2027-01-01"]
        {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
