//! The binary as a user starts it, judged by what it prints, how it ends, and what lies in its folder.
//!
//! Whatever runs longer than a moment takes a turn: at most two tests at once, and one that measures alone.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on shall say where")]

mod analyst;
mod bad_configuration;
mod config_command;
mod crowd;
mod demo;
mod kill;
mod log;
mod memory;
mod operate;
mod poison;
mod rebuild;
mod run_against_local;
mod thousand;
mod traces;
mod waiting;

use mangrove_tests::process::Call;

fn mangrove(args: &[&str]) -> Call {
    Call::new(env!("CARGO_BIN_EXE_mangrove"), args)
}
