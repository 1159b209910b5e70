//! The binary of the chaos runs: picks the subcommand and turns its outcome into an exit code.

use std::process::ExitCode;

use chaos::cli::{Cli, run};
use clap::Parser;

// As in the product: what runs here as `chaos mangrove` is the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}
