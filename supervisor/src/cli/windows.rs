//! `mangrove windows`: hours and days made anew from the cleansed zone.
//!
//! **Owns** nothing: what is published stands in the bucket, and the loader takes it from there.
//! **Promises** safe beside running workers, when it is run twice, and when it is interrupted.
//! **Not here**: how (`actors/src/recompute.rs`).

use std::path::PathBuf;
use std::sync::Arc;

use actors::ports::aws;
use actors::ports::leases::LeaseTable;
use actors::recompute::{Day, Recompute, RecomputeError, Wanted};
use clap::{Args, Subcommand};
use messages::SensorId;

use super::config::print;
use super::load::time;
use crate::config::{Config, Sources};
use crate::exit::CliError;

/// Windows of a field that are held at once; some 300 bytes each.
const WINDOWS_MAX: usize = 500_000;
/// Ten years, as for a backfill.
const DAYS_MAX: i64 = 10 * 366;
const DAY_US: i64 = 86_400_000_000;

/// Makes hourly and daily windows anew
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove windows recompute --from 2026-11-28 --to 2026-11-30 --config mangrove.toml")]
pub struct WindowsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: WindowsCommand,
}

/// What can be done with windows.
#[derive(Clone, Debug, Subcommand)]
pub enum WindowsCommand {
    /// Makes closed windows of an interval anew from the cleansed zone, late readings included
    Recompute(RecomputeArgs),
}

/// Makes closed windows of an interval anew.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove windows recompute --from 2026-11-28 --to 2026-11-30 --config mangrove.toml
  mangrove windows recompute --from 2026-11-29T10 --to 2026-11-29T15 --sensor s-1 --config mangrove.toml
  mangrove windows recompute --from 2026-11-28 --to 2026-11-30 --dry-run --config mangrove.toml

A window is made anew from all readings of the cleansed zone, those that came too late for it included. What says
something else than before is published as a revision higher than any, so that the warehouse and whoever takes the
highest revision in aggregates/ have it; run twice, the second run writes nothing. Windows that are open still are left
to the workers: closed is what ended `aggregator.allowed_lateness` before the watermark of the shard that counts it.
Hours that overlap with the interval are made anew, and the days. Times are UTC.")]
pub struct RecomputeArgs {
    /// Windows that overlap with the interval from here: a day, an hour, or a full time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: i64,
    /// to before here
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: i64,
    /// This sensor only
    #[arg(long, value_name = "ID")]
    pub sensor: Option<String>,
    /// Tell what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl RecomputeArgs {
    /// Reads the configuration.
    pub fn configure(&self) -> Result<Config, CliError> {
        Ok(Config::load(&Sources::of_process(self.config.clone()))?.config)
    }

    fn wanted(&self) -> Result<Wanted, CliError> {
        if self.from >= self.to || (self.to - self.from) / DAY_US > DAYS_MAX {
            return Err(CliError::configuration("--from must lie before --to, by ten years at most"));
        }
        let sensor = self.sensor.as_deref().map(SensorId::new);
        Ok(Wanted { from_us: self.from, to_us: self.to, sensor, dry_run: self.dry_run })
    }
}

/// Runs the command.
pub async fn recompute(args: &RecomputeArgs, config: &Config) -> Result<(), CliError> {
    let wanted = args.wanted()?;
    let sdk = aws::load(&config.aws).await;
    let shard = &config.worker().shard;
    let recompute = Recompute {
        objects: config.objects(&sdk).with(config.faults.clone()),
        leases: LeaseTable::new(&sdk, &config.leases_table),
        stream: config.stream_name.clone(),
        schema: Arc::new(config.schema().clone()),
        encoding: shard.sinks.encoding,
        lateness: shard.aggregator.allowed_lateness,
        windows_max: WINDOWS_MAX,
    };
    let days = recompute.run(&wanted, &mut |day| eprintln!("{}", line(day, args.dry_run))).await.map_err(failed)?;
    print(&match args.json {
        true => format!("{}\n", serde_json::to_string(&days).map_err(CliError::internal)?),
        false => summary(&days, args.dry_run),
    })
}

/// One day, for whoever waits.
fn line(day: &Day, dry_run: bool) -> String {
    let Day { day: date, files, readings, windows, changed, fewer, open, published } = day;
    let mut line = format!("{date}: {readings} readings of {files} files, {windows} windows, {changed} ");
    line.push_str(if dry_run { "would change" } else { "changed" });
    if !published.is_empty() {
        let numbers: Vec<String> = published.iter().map(u64::to_string).collect();
        line.push_str(&format!(" (published as {})", numbers.join(", ")));
    }
    if *open > 0 {
        line.push_str(&format!(", {open} hours and days are open still"));
    }
    if *fewer > 0 {
        line.push_str(&format!(", {fewer} count more readings than the cleansed zone has and are left as they are"));
    }
    line
}

fn summary(days: &[Day], dry_run: bool) -> String {
    let sum = |of: fn(&Day) -> u64| days.iter().map(of).sum::<u64>();
    let (windows, changed, open) = (sum(|day| day.windows), sum(|day| day.changed), sum(|day| day.open));
    let word = if dry_run { "would change" } else { "changed" };
    format!("windows of a field: {windows}; {word}: {changed}; hours and days open still: {open}\n")
}

fn failed(error: RecomputeError) -> CliError {
    match error {
        RecomputeError::Call(_)
        | RecomputeError::Lease(_)
        | RecomputeError::Lake { .. }
        | RecomputeError::File { .. } => CliError::environment(error.to_string()),
        RecomputeError::NothingCommitted { .. } | RecomputeError::TooMany { .. } => {
            CliError::configuration(error.to_string())
        }
        RecomputeError::Raced { .. } => CliError::environment(error.to_string()),
        RecomputeError::Encode(_) | RecomputeError::Internal(_) => CliError::internal(error.to_string()),
    }
}

fn moment(text: &str) -> Result<i64, String> {
    time(text)
        .ok_or_else(|| "write a time in UTC, such as 2026-11-29, 2026-11-29T10 or 2026-11-29T10:30:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_in_one_line() {
        let day = Day {
            day: "2026-11-29".to_owned(),
            files: 2,
            readings: 30,
            windows: 14,
            changed: 3,
            published: vec![7],
            ..Day::default()
        };
        let said = "2026-11-29: 30 readings of 2 files, 14 windows, 3 changed (published as 7)";
        assert_eq!(line(&day, false), said);
        let rest = Day { fewer: 1, open: 2, published: Vec::new(), ..day };
        assert!(line(&rest, true).contains("3 would change, 2 hours and days are open still, 1 count more readings"));
        assert!(moment("2026-11-29T10").is_ok() && moment("yesterday").is_err());
    }
}
