//! The binary: hands the command line to the library, and turns errors into exit codes.

use std::process::ExitCode;

use clap::Parser;
use mangrove_supervisor::cli::{Cli, dispatch};

// Messages to actors are many small allocations: measured 10 to 65 % cheaper than with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
