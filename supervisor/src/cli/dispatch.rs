//! Runs a command that was asked for: its logging, its runtime, its output.
//!
//! **Owns** nothing; a process dispatches once.
//! **Promises** logs go to stderr: stdout belongs to results.
//! **Fails** with a [`CliError`], which knows the exit code.
//! **Not here**: the process's allocator and its exit (`main.rs`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::{CliError, Command, config, fleet, health, leases, stop_signal, tree};
use crate::config::{LogConfig, LogFormat};
use crate::run::run;

/// Runs a command to its end.
pub fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        #[cfg(feature = "local")]
        Command::Demo(args) => demo(args),
        Command::Run(args) => {
            let effective = args.configure()?;
            log(&effective.config.log)?;
            runtime(effective.config.threads)?.block_on(async { run(effective, stop_signal()).await })
        }
        #[cfg(feature = "local")]
        Command::Local(args) => runtime(None)?.block_on(super::local(&args)),
        Command::Fleet(args) => runtime(None)?.block_on(fleet(&args)),
        Command::Config(args) => config(&args),
        Command::Health(args) => runtime(None)?.block_on(health(&args)),
        Command::Tree(args) => runtime(None)?.block_on(tree(&args)),
        Command::Leases(args) => runtime(None)?.block_on(leases(&args)),
    }
}

#[cfg(feature = "local")]
fn demo(args: super::DemoArgs) -> Result<(), CliError> {
    use crate::demo;

    let options = args.options()?;
    log(&LogConfig { level: "warn".to_owned(), format: LogFormat::Text })?;
    let configure = |endpoint: &str, webhook: &str| args.configure(endpoint, webhook);
    let report = runtime(None)?.block_on(async { demo::demo(options.clone(), configure, stop_signal()).await })?;
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(CliError::internal)?);
    } else {
        println!("{}", report.table());
    }
    eprintln!("{}", demo::next_steps(&options, &report.bucket));
    Ok(())
}

fn runtime(threads: Option<usize>) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(|e| CliError::environment(format!("start the runtime: {e}")))
}

fn log(config: &LogConfig) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&config.level).map_err(|e| CliError::configuration(format!("log.level: {e}")))?;
    // ractor logs every actor's start and stop, with sensors by the thousand.
    let quiet = "ractor=warn".parse().map_err(CliError::internal)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter.add_directive(quiet)).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
