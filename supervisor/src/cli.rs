//! The command line: what can be asked for, and the small commands themselves.
//!
//! **Owns** the flags, their help, and the exit codes.
//!
//! **Promises** whatever goes wrong ends in one message on stderr, which names what to change, and in an exit code:
//! 0 done, 1 internal failure, 2 wrong flags or configuration, 3 something outside is missing or does not answer.
//!
//! **Not here**: `run` and `demo` themselves (`run.rs`, `demo.rs`); what a configuration key means.

mod ask;
mod config;
mod cost;
mod ddl;
#[cfg(feature = "local")]
mod demo;
mod dispatch;
mod fleet;
mod health;
mod leases;
mod load;
#[cfg(feature = "local")]
mod local;
mod run;
mod signal;
mod sql;
#[cfg(test)]
mod tests;
mod tree;
mod windows;

use std::time::Duration;

use clap::{Parser, Subcommand};

pub use self::config::{ConfigArgs, config};
pub use self::cost::{CostArgs, cost};
pub use self::ddl::{DdlArgs, DialectChoice, ddl};
#[cfg(feature = "local")]
pub use self::demo::DemoArgs;
pub use self::dispatch::dispatch;
pub use self::fleet::{FleetArgs, fleet};
pub use self::health::{HealthArgs, health};
pub use self::leases::{LeasesCommand, LeasesCommandArgs, RebuildArgs, leases};
pub use self::load::{LoadArgs, load};
#[cfg(feature = "local")]
pub use self::local::{LocalArgs, local};
pub use self::run::RunArgs;
pub use self::signal::stop_signal;
pub use self::sql::{SqlArgs, sql};
pub use self::tree::{ColourChoice, TreeArgs, tree};
pub use self::windows::{RecomputeArgs, WindowsArgs, WindowsCommand, recompute};

#[cfg(feature = "local")]
const EXAMPLES: &str = "\
Examples:
  mangrove demo --for 30s                           everything in one process, nothing to install
  mangrove run --config mangrove.toml               a worker, against AWS
  mangrove config --defaults > mangrove.toml        a file to start from";
/// What ships knows no demo.
#[cfg(not(feature = "local"))]
const EXAMPLES: &str = "\
Examples:
  mangrove run --config mangrove.toml               a worker, against AWS
  mangrove config --defaults > mangrove.toml        a file to start from";
const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 internal failure, 2 wrong flags or configuration, 3 something outside is missing or silent.";

/// Reads IoT events from Kinesis with one supervised actor per shard and per sensor, and lands them in S3 exactly once.
#[derive(Debug, Parser)]
#[command(name = "mangrove", version, max_term_width = 110, arg_required_else_help = true)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows it all in one process: a local cloud, a fleet of sensors and a worker
    #[cfg(feature = "local")]
    Demo(DemoArgs),
    /// Runs a worker until SIGTERM or Ctrl-C, then drains it
    Run(RunArgs),
    /// Runs the local cloud: Kinesis, S3, DynamoDB, SNS and the Redshift Data API on one loopback port
    #[cfg(feature = "local")]
    Local(LocalArgs),
    /// Drives a Kinesis stream with simulated sensors or recorded data
    Fleet(FleetArgs),
    /// Shows the effective configuration with the source of every value, or checks a file
    Config(ConfigArgs),
    /// Asks a running worker whether it is alive
    Health(HealthArgs),
    /// Shows the supervision tree of a running worker
    Tree(TreeArgs),
    /// Runs SQL in the warehouse: a statement, a file, or a prompt
    Sql(SqlArgs),
    /// Shows who holds which shard, and which workers live
    Leases(LeasesCommandArgs),
    /// Prints the statements that make the warehouse's tables
    Ddl(DdlArgs),
    /// Shows what the warehouse has, or loads by hand
    Load(LoadArgs),
    /// Prints what a month on AWS costs, and what drives it
    Cost(CostArgs),
    /// Makes hourly and daily windows anew
    Windows(WindowsArgs),
}

/// `30s`, `5m`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("write a duration above zero, such as 30s, 5m or 1h".to_owned()),
    }
}

/// Events per second.
fn rate(text: &str) -> Result<f64, String> {
    match text.replace('_', "").parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("write a number above zero, such as 5000".to_owned()),
    }
}
