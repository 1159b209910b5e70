//! The command line of the chaos runs. A subcommand is a file below this one, with its flags and a function `run`.
//!
//! **Owns** the list of subcommands, and the exit codes.
//! **Promises** exit code 0 for a clean verdict, 1 for any violation (and for bugs of the run itself), 2 for wrong
//! flags, 3 for something outside that is missing or does not answer.
//! **Fails** with the product's own [`CliError`].
//! **Not here**: what the subcommands do.

pub mod crash_points;
mod mangrove;
mod oracle;
mod processes;
pub mod sim;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use supervisor::exit::CliError;

/// Breaks Mangrove on purpose, and judges what is left.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  chaos sim --seeds 1..200
  chaos crash-points
  chaos processes --for 5m --seed 7 --workers 3 --json
  chaos oracle --ledger run/ledger.jsonl --data-dir run/cloud

Exit codes: 0 clean, 1 a violation, 2 wrong flags, 3 something outside is missing or silent.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

// The help of a subcommand is that of its flags: to add one, add its file and a line in each list.
#[derive(Debug, Subcommand)]
enum Command {
    Sim(sim::SimArgs),
    CrashPoints(crash_points::CrashPointsArgs),
    Processes(processes::Flags),
    Oracle(oracle::Flags),
    #[command(hide = true)]
    Mangrove(mangrove::Flags),
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> Result<ExitCode, CliError> {
    match cli.command {
        Command::CrashPoints(flags) => crash_points::crash_points(&flags).map(verdict).map_err(CliError::internal),
        Command::Sim(flags) => sim::sim(&flags).map(verdict).map_err(CliError::internal),
        Command::Processes(flags) => processes::run(flags),
        Command::Oracle(flags) => oracle::run(flags),
        Command::Mangrove(flags) => mangrove::run(flags),
    }
}

/// The exit code of a verdict.
fn verdict(clean: bool) -> ExitCode {
    if clean { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// The runtime of a subcommand.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| CliError::environment(format!("start the runtime: {error}")))
}

/// `30s`, `5m`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("write a duration above zero, such as 30s, 5m or 1h".to_owned()),
    }
}
