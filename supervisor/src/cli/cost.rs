//! `mangrove cost`: what a month on AWS costs, item by item.
//!
//! **Promises** asks nobody: it reads a configuration and a table of prices, and counts.
//! **Not here**: the model (`cost.rs`).

use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::config::print;
use crate::config::{Config, Sources};
use crate::cost::{self, Bill, Prices, Workload};
use crate::exit::CliError;

/// Prints the monthly bill by item, and which key drives each.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove cost --events-per-second 16700 --shards 20 --sensors 100000
  mangrove cost --events-per-second 16700 --shards 20 --sensors 100000 --config mangrove.toml --json
  mangrove cost --events-per-second 1670000 --shards 1700 --sensors 5000000 --events-per-record 100

Without --config it is the bill of the shipped defaults, which have no warehouse. It is a model by list prices, not an
offer: docs/cost.md says what is in it.")]
pub struct CostArgs {
    /// Events a second, over all shards
    #[arg(long, value_name = "N", value_parser = super::rate)]
    pub events_per_second: f64,
    /// Shards of the stream
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub shards: u32,
    /// Sensors, spread evenly over the shards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    pub sensors: u64,
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Bytes of an event
    #[arg(long, value_name = "BYTES", default_value = "200", value_parser = super::rate)]
    pub event_bytes: f64,
    /// Events that producers pack into one record (KPL)
    #[arg(long, value_name = "N", default_value = "1", value_parser = super::rate)]
    pub events_per_record: f64,
    /// Workers [default: one for 40,000 events a second or 50 shards, two at least]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub workers: Option<u32>,
    /// Hours for which the stream keeps records
    #[arg(long, value_name = "HOURS", default_value = "72", value_parser = clap::value_parser!(u32).range(24..=168))]
    pub retention_hours: u32,
    /// Events for one alert
    #[arg(long, value_name = "N", default_value = "10000", value_parser = super::rate)]
    pub events_per_alert: f64,
    /// A table of prices in place of the shipped one (supervisor/src/cost/prices.toml)
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Show JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn cost(args: &CostArgs) -> Result<(), CliError> {
    let bill = cost::bill(&args.load(), &args.configured()?, &args.prices()?);
    for note in &bill.notes {
        eprintln!("hint: {note}");
    }
    print(&match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&bill).map_err(CliError::internal)?),
        false => table(&bill),
    })
}

impl CostArgs {
    fn load(&self) -> Workload {
        let by_events = (self.events_per_second / 40_000.0).ceil().min(10_000.0) as u32;
        let workers = self.workers.unwrap_or_else(|| by_events.max(self.shards.div_ceil(50)).max(2));
        Workload {
            events_per_second: self.events_per_second,
            event_bytes: self.event_bytes,
            events_per_record: self.events_per_record,
            shards: self.shards,
            sensors: self.sensors,
            workers,
            retention_hours: self.retention_hours,
            events_per_alert: self.events_per_alert,
        }
    }

    /// A bill does not depend on names: where a file gives none, any will do.
    fn configured(&self) -> Result<Config, CliError> {
        let names = [("stream.name", "events"), ("bucket.name", "lake")];
        let sources = Sources::of_process(self.config.clone());
        let sources =
            names.into_iter().fold(sources, |sources, (key, name)| sources.preset("mangrove cost", key, name));
        let sources = match &self.config {
            None => sources.preset("mangrove cost", "schema.use", "climate"),
            Some(_) => sources,
        };
        Ok(Config::load(&sources)?.config)
    }

    fn prices(&self) -> Result<Prices, CliError> {
        let Some(path) = &self.prices else { return Ok(Prices::shipped()) };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|e| CliError::configuration(format!("read the prices in {}: {e}", path.display())))?;
        Prices::parse(&text).map_err(|e| CliError::configuration(format!("the prices in {}: {e}", path.display())))
    }
}

fn table(bill: &Bill) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_header(["item", "$ a month", "driven by"]);
    for item in &bill.items {
        let mark = if item.accumulates { " +" } else { "" };
        table.add_row([item.name.to_owned(), format!("{:.2}{mark}", item.usd_month), item.driven_by.to_owned()]);
    }
    table.add_row(["total".to_owned(), format!("{:.2}", bill.total_usd_month), String::new()]);
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{table}\n+ is storage: every further month adds ${:.2}, until something is deleted.\n\
         Epochs of {} s. List prices of {} as of {}: a model, not an offer.\n",
        bill.accumulates_usd_month, bill.epoch_s, bill.region, bill.prices_of
    )
}
