//! `mangrove sql`: runs SQL in the warehouse through the Data API.
//!
//! **Owns** where statements come from (an argument, a file, stdin, a prompt) and how rows are printed.
//! **Promises** rows go to stdout and everything else to stderr; a result is printed page by page, not held.
//! **Fails** with the first statement that fails, except at the prompt, which tells it and goes on.
//! **Not here**: what the warehouse understands.

mod print;
mod prompt;
mod shorthand;
mod split;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use actors::ports::aws::{self, AwsSettings};
use actors::ports::warehouse::{Warehouse, WarehouseError, WarehouseFailure, WarehousePlace, WarehouseTarget};
use clap::Args;
use tokio::sync::watch;

use self::print::PrintFormat;
use super::stop_signal;
use crate::config::{Config, Sources};
use crate::exit::CliError;

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// A day, like the service's own limit.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// A file of statements is read whole.
const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What people see in the list of statements.
const NAME: &str = "mangrove-sql";

/// Runs SQL in the warehouse.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove sql \"SELECT COUNT(*) FROM mangrove.sensor_readings\" --config mangrove.toml
  mangrove sql --endpoint-url http://127.0.0.1:4566           a prompt on a local cloud; Ctrl-D leaves it
  mangrove sql --csv --file questions.sql > answers.csv
  echo 'SELECT 1; SELECT 2' | mangrove sql --json

At the prompt a statement ends with a semicolon, and Ctrl-C cancels the one that runs. \\d lists the tables, \\d TABLE its
columns, there and anywhere else.")]
pub struct SqlArgs {
    /// The statement; several are separated by semicolons, and each is a transaction of its own
    #[arg(value_name = "SQL", conflicts_with = "file")]
    pub statement: Option<String>,
    /// A file of statements
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print one JSON object per row
    #[arg(long)]
    pub json: bool,
    /// The configuration file, with the section of the warehouse
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Another endpoint than AWS; without a configuration, a local cloud's
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// The region [default: as every AWS tool]
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub region: Option<String>,
    /// A Redshift Serverless workgroup, instead of a configuration
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub workgroup: Option<String>,
    /// The database
    #[arg(long, value_name = "NAME", conflicts_with = "config", default_value = "dev")]
    pub database: String,
}

impl SqlArgs {
    fn form(&self) -> PrintFormat {
        match (self.csv, self.json) {
            (true, _) => PrintFormat::Csv,
            (_, true) => PrintFormat::Json,
            (false, false) => PrintFormat::Table,
        }
    }

    async fn warehouse(&self) -> Result<Warehouse, CliError> {
        let workgroup = match (&self.config, &self.workgroup, &self.endpoint_url) {
            (Some(_), _, _) => None,
            (None, Some(workgroup), _) => Some(workgroup.clone()),
            // A local cloud has one warehouse behind every name.
            (None, None, Some(_)) => Some("local".to_owned()),
            (None, None, None) => {
                let message = "where the warehouse is: give --config, --workgroup, or --endpoint-url of a local cloud";
                return Err(CliError::configuration(message));
            }
        };
        let Some(workgroup) = workgroup else { return self.configured().await };
        let sdk = aws::load(&AwsSettings {
            region: self.region.clone(),
            endpoint_url: self.endpoint_url.clone(),
            attempt_timeout: ATTEMPT_TIMEOUT,
        })
        .await;
        let place = WarehousePlace::Workgroup(workgroup);
        let target = WarehouseTarget { place, database: self.database.clone(), db_user: None, secret_arn: None };
        Ok(Warehouse::new(&sdk, target, STATEMENT_TIMEOUT))
    }

    async fn configured(&self) -> Result<Warehouse, CliError> {
        let sources = Sources::of_process(self.config.clone());
        let sources = sources.flag("--endpoint-url", "aws.endpoint_url", self.endpoint_url.as_deref());
        let config = Config::load(&sources)?.config;
        let Some(warehouse) = config.warehouse else {
            return Err(CliError::configuration("warehouse.enabled is false: enable it, or give --workgroup"));
        };
        Ok(Warehouse::new(&aws::load(&config.aws).await, warehouse.target, STATEMENT_TIMEOUT))
    }
}

/// Runs the command.
pub async fn sql(args: &SqlArgs) -> Result<(), CliError> {
    let warehouse = args.warehouse().await?;
    let text = match (&args.statement, &args.file) {
        (Some(statement), _) => statement.clone(),
        (None, Some(file)) => {
            let shown = file.display();
            let opened = std::fs::File::open(file).map_err(|e| CliError::configuration(format!("{shown}: {e}")))?;
            read(opened, &shown.to_string())?
        }
        (None, None) if std::io::stdin().is_terminal() => return prompt::start(&warehouse, args.form()).await,
        (None, None) => read(std::io::stdin(), "stdin")?,
    };
    let mut stop = stop_signal();
    for statement in split::statements(&text) {
        run(&warehouse, &statement, args.form(), &mut stop).await?;
    }
    Ok(())
}

fn read(from: impl Read, what: &str) -> Result<String, CliError> {
    let mut text = String::new();
    let read = from.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|e| CliError::configuration(format!("{what}: {e}")))?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        return Err(CliError::configuration(format!("{what}: larger than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Runs a statement to its end, or to the signal, and prints what it returns.
async fn run(
    warehouse: &Warehouse,
    statement: &str,
    form: PrintFormat,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), CliError> {
    let statement = shorthand::statement(statement)?;
    let id = warehouse.submit(&statement, NAME).await.map_err(failed)?;
    let done = tokio::select! {
        done = warehouse.end(&id, NAME) => done.map_err(failed)?,
        _ = stop.wait_for(|stop| *stop) => {
            warehouse.cancel(&id).await.map_err(failed)?;
            return Err(CliError::environment("cancelled"));
        }
    };
    if !done.has_result {
        eprintln!("{} rows, {:.3} s", done.rows, done.took.as_secs_f64());
        return Ok(());
    }
    let mut pages = warehouse.pages(&done.id);
    let mut printer = print::Printer::new(form);
    while let Some(page) = pages.next().await.map_err(failed)? {
        printer.page(&page)?;
    }
    printer.end(done.took)
}

fn failed(error: WarehouseError) -> CliError {
    match error.failure {
        // What the warehouse says of a statement is for whoever wrote it.
        _ if error.ran => CliError::configuration(error.message),
        WarehouseFailure::Refused | WarehouseFailure::TooLarge | WarehouseFailure::Denied => {
            CliError::configuration(error.message)
        }
        WarehouseFailure::Unavailable | WarehouseFailure::Unknown => CliError::environment(error.message),
    }
}
