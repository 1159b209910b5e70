//! `mangrove health`: asks a running worker whether it is alive, for health checks where there is no `curl`.
//!
//! **Promises** the exit code says it: 0 yes, 1 no, 3 no answer.

use std::time::Duration;

use clap::Args;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::ask::{ask, ops_address, unexpected};
use super::config::print;
use crate::exit::CliError;

/// Asks a running worker whether it is alive; 0 yes, 1 no, 3 no answer.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove health                                   alive? (/livez)
  mangrove health --ready                           does data flow? (/readyz)
  mangrove health --ops http://127.0.0.1:9090 --timeout 1s")]
pub struct HealthArgs {
    /// The worker's ops endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = ops_address)]
    pub ops: Url,
    /// Ask whether data flows, not only whether the worker is alive
    #[arg(long)]
    pub ready: bool,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = super::duration)]
    pub timeout: Duration,
}

#[derive(Debug, Deserialize)]
struct HealthAnswer {
    worker: String,
    checks: Vec<ReadyCheck>,
}

#[derive(Debug, Deserialize)]
struct ReadyCheck {
    name: String,
    ok: bool,
    why: String,
}

/// Runs the command.
pub async fn health(args: &HealthArgs) -> Result<(), CliError> {
    let (path, word) = if args.ready { ("readyz", "ready") } else { ("livez", "alive") };
    let (status, text) = ask(&args.ops, path, args.timeout).await?;
    let health: HealthAnswer = match status {
        StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => {
            serde_json::from_str(&text).map_err(|_| unexpected(&args.ops, status, &text))?
        }
        _ => return Err(unexpected(&args.ops, status, &text)),
    };
    if status == StatusCode::OK {
        return print(&format!("{} is {word}\n", health.worker.escape_debug()));
    }
    let failing = health.checks.iter().filter(|check| !check.ok);
    let failing: Vec<String> = failing.map(|check| format!("{}: {}", check.name, check.why)).collect();
    Err(CliError::internal(format!("{} is not {word}: {}", health.worker, failing.join("; ")).escape_debug()))
}
