//! `chaos processes`: the flags of a run of real processes.
//!
//! **Owns** nothing.
//! **Promises** one line of JSON on stdout if asked for; everything else goes to stderr.
//! **Fails** as [`processes::run`](crate::processes::run).
//! **Not here**: the run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use supervisor::exit::CliError;

use crate::processes::{Options, run as run_processes, stopped};

/// Runs several workers, a producer and a local cloud as processes, and breaks them.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  chaos processes --for 5m --seed 7 --workers 3 --json
  chaos processes --for 60s --seed 1 --data-dir run-1       keeps the logs, the ledger and the data

Every few seconds something is broken: a worker is killed, stopped for longer than others wait, or asked to end; an
actor is killed; the stream is split or merged; services throttle, fail, hang, or lose their answers. Then all comes to
rest, and the oracle judges what is in the bucket and in the warehouse. The same seed chooses the same faults at the same times; what they
hit depends on the processes.")]
pub(super) struct Flags {
    /// How long things are broken
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = super::duration)]
    duration: Duration,
    /// Chooses the faults and the events
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Workers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=32))]
    workers: u32,
    /// Time between two faults
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = super::duration)]
    every: Duration,
    /// Events per second
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Simulated sensors
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sensors: u32,
    /// Shards in the beginning
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    shards: u32,
    /// Load the warehouse too, break its loader and its Data API, and judge its tables: on or off
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = on_or_off, action = clap::ArgAction::Set)]
    warehouse: bool,
    /// Where logs, ledger and data go; must be new or empty [default: a temporary folder, removed if all is well]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the verdict as JSON on stdout
    #[arg(long)]
    json: bool,
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

/// Runs it to its verdict.
pub(super) fn run(flags: Flags) -> Result<ExitCode, CliError> {
    let options = Options {
        duration: flags.duration,
        seed: flags.seed,
        workers: flags.workers as usize,
        every: flags.every,
        rate: flags.rate,
        sensors: flags.sensors,
        shards: flags.shards,
        warehouse: flags.warehouse,
        data_dir: flags.data_dir,
    };
    let report = super::runtime()?.block_on(async {
        // Dropping the run ends its processes.
        tokio::select! {
            report = run_processes(&options) => report,
            () = stopped() => Err(CliError::environment("interrupted; all processes of the run were ended")),
        }
    })?;
    eprint!("{}", report.text());
    if flags.json {
        println!("{}", serde_json::to_string(&report).map_err(CliError::internal)?);
    }
    Ok(super::verdict(report.ok))
}
