//! `mangrove config`: what is in effect, and where it comes from.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, DEFAULTS, Sources};
use crate::cost::{self, Prices};
use crate::exit::CliError;

/// Shows the effective configuration with the source of every value, or checks a file.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove config --config mangrove.toml            every value, and where it comes from
  mangrove config --config mangrove.toml --json     the same for scripts
  mangrove config --check mangrove.toml             all problems at once, and what costs more than it need; exit code 0 or 2
  mangrove config --defaults > mangrove.toml        a commented file to start from")]
pub struct ConfigArgs {
    /// The configuration file; without it, defaults and environment only
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Check this file, with the environment as it is, and show nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "defaults"])]
    pub check: Option<PathBuf>,
    /// Show JSON instead of TOML
    #[arg(long, conflicts_with = "defaults")]
    pub json: bool,
    /// Print the shipped file with all defaults and their comments
    #[arg(long)]
    pub defaults: bool,
}

/// Runs the command. What it shows goes to stdout, also beside problems.
pub fn config(args: &ConfigArgs) -> Result<(), CliError> {
    let shown = match &args.check {
        Some(file) => {
            let effective = Config::load(&Sources::of_process(Some(file.clone())))?;
            for hint in cost::hints(&effective.config, &Prices::shipped()) {
                eprintln!("hint: {hint}");
            }
            format!("{}: ok\n", file.display())
        }
        None if args.defaults => DEFAULTS.to_owned(),
        None => return show(args),
    };
    print(&shown)
}

fn show(args: &ConfigArgs) -> Result<(), CliError> {
    let (report, config) = Config::inspect(&Sources::of_process(args.config.clone()));
    print(&match args.json {
        true => format!("{:#}\n", report.to_json()),
        false => report.to_toml(),
    })?;
    config?;
    Ok(())
}

/// `print!` would panic when the reader of a pipe has gone.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    use std::io::{ErrorKind, Write};

    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::environment(format!("write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}
