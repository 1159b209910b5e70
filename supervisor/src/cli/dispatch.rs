//! Runs a command that was asked for: its logging, its runtime, its output.
//!
//! **Owns** nothing; a process dispatches once.
//! **Promises** logs go to stderr: stdout belongs to results.
//! **Fails** with a [`CliError`], which knows the exit code.
//! **Not here**: the process's allocator and its exit (`main.rs`).

use super::{Command, WindowsArgs, WindowsCommand, config, cost, ddl, fleet, health, leases, load, stop_signal, tree};
use crate::exit::CliError;
use crate::log;
use crate::run::run;

/// Runs a command to its end.
pub fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        #[cfg(feature = "local")]
        Command::Demo(args) => demo(args),
        Command::Run(args) => {
            let effective = args.configure()?;
            let limit = log::install(&effective.config.log)?;
            let runtime = runtime(effective.config.threads)?;
            runtime.spawn(limit.report());
            runtime.block_on(async { run(effective, stop_signal()).await })
        }
        #[cfg(feature = "local")]
        Command::Local(args) => runtime(None)?.block_on(super::local(&args)),
        Command::Fleet(args) => runtime(None)?.block_on(fleet(&args)),
        Command::Config(args) => config(&args),
        Command::Cost(args) => cost(&args),
        Command::Health(args) => runtime(None)?.block_on(health(&args)),
        Command::Tree(args) => runtime(None)?.block_on(tree(&args)),
        Command::Sql(args) => runtime(None)?.block_on(super::sql(&args)),
        Command::Leases(args) => runtime(None)?.block_on(leases(&args)),
        Command::Ddl(args) => runtime(None)?.block_on(ddl(&args)),
        Command::Load(args) => {
            let config = args.configure()?;
            let limit = log::install(&config.log)?;
            let runtime = runtime(None)?;
            runtime.spawn(limit.report());
            runtime.block_on(load(&args, &config))
        }
        Command::Windows(WindowsArgs { command: WindowsCommand::Recompute(args) }) => {
            let config = args.configure()?;
            let limit = log::install(&config.log)?;
            let runtime = runtime(None)?;
            runtime.spawn(limit.report());
            runtime.block_on(super::recompute(&args, &config))
        }
    }
}

#[cfg(feature = "local")]
fn demo(args: super::DemoArgs) -> Result<(), CliError> {
    use crate::config::{LogConfig, LogFormat};
    use crate::demo;

    /// As the default of log.lines_max.
    const LINES_MAX: u64 = 200;

    let options = args.options()?;
    let limit = log::install(&LogConfig { level: "warn".to_owned(), format: LogFormat::Text, lines_max: LINES_MAX })?;
    let configure = |endpoint: &str, webhook: &str| args.configure(endpoint, webhook);
    let runtime = runtime(None)?;
    runtime.spawn(limit.report());
    let report = runtime.block_on(async { demo::demo(options.clone(), configure, stop_signal()).await })?;
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(CliError::internal)?);
    } else {
        println!("{}", report.table());
    }
    eprintln!("{}", demo::next_steps(&options, &report.bucket));
    Ok(())
}

/// Fewest threads of the runtime, if their number is not configured.
const THREADS_MIN: usize = 4;

fn runtime(threads: Option<usize>) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // More than cores: a thread that is at something long must leave others to those who have to be in time.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    builder.worker_threads(threads.unwrap_or(cores.max(THREADS_MIN)));
    builder.enable_all().build().map_err(|e| CliError::environment(format!("start the runtime: {e}")))
}
