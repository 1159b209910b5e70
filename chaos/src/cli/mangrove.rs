//! `chaos mangrove ...`: the product's own command line, so that its processes are always of the same build.
//!
//! **Owns** the tie to the process that started it.
//! **Promises** a tied process does not outlive its starter, however that one ended.
//! **Fails** as the product does.
//! **Not here**: the commands themselves.

use std::io::Read;
use std::process::ExitCode;
use std::thread;

use clap::Args;
use supervisor::cli::{Command, dispatch};
use supervisor::exit::CliError;

/// The product's own command line.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// End at once when stdin ends
    #[arg(long)]
    tied: bool,
    #[command(subcommand)]
    command: Command,
}

/// Runs it to its end.
pub(super) fn run(flags: Flags) -> Result<ExitCode, CliError> {
    if flags.tied {
        thread::spawn(|| {
            // Nothing is ever sent: the end of the pipe is the message, and an error says the same.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::abort();
        });
    }
    dispatch(flags.command).map(|()| ExitCode::SUCCESS)
}
