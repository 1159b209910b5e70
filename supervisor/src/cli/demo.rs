//! The flags of `mangrove demo`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use fleet::ReplayMapping;

use super::{duration, rate};
use crate::config::{Config, Effective, Sources};
use crate::demo::{DemoOptions, DemoSource};
use crate::exit::CliError;

/// The demo's own settings, in what `mangrove config` says of them.
const COMMAND: &str = "mangrove demo";
const SCHEMA: &str = "climate";

/// Shows it all in one process: a local cloud, a fleet of sensors and a worker.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove demo --for 30s
  mangrove demo --for 30s --seed 7 --sensors 1000 --rate 5000 --shards 4 --data-dir DIR --json
  mangrove demo --replay 'tests/data/beijing-air/*.csv.gz' --schema air-quality --data-dir DIR
  mangrove demo --webhook http://127.0.0.1:9000/alerts --ops-port 0

The folder keeps everything: the same command with the same folder goes on where the last one ended, or was killed.")]
pub struct DemoArgs {
    /// End by itself after this time, such as 30s [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// The same seed gives the same events
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
    /// Simulated sensors
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub sensors: u32,
    /// Events per second, all sensors together
    #[arg(long, value_name = "N", default_value_t = 5_000.0, value_parser = rate, allow_negative_numbers = true)]
    pub rate: f64,
    /// Shards of the stream, when it is created
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub shards: u32,
    /// Where everything is stored
    #[arg(long, value_name = "DIR", default_value = "mangrove-data")]
    pub data_dir: PathBuf,
    /// Print one JSON object on stdout at the end
    #[arg(long)]
    pub json: bool,
    /// The port of the ops endpoint; 0 takes a free one [default: 8080]
    #[arg(long, value_name = "N")]
    pub ops_port: Option<u16>,
    /// Replay recorded data instead: a glob of .csv and .csv.gz files, mapped as the schema's name says
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["duration", "sensors", "rate", "seed"], requires = "schema")]
    pub replay: Option<String>,
    /// What an event looks like: climate, air-quality, or a file [default: climate]
    #[arg(long, value_name = "NAME|FILE")]
    pub schema: Option<String>,
    /// A configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A receiver of alerts, besides the demo's own; can be repeated
    #[arg(long, value_name = "URL")]
    pub webhook: Vec<String>,
    /// Crash points to trigger, for tests
    #[arg(long, value_name = "PLAN", env = "MANGROVE_FAULTS", hide = true)]
    pub faults: Option<String>,
}

impl DemoArgs {
    /// What to demonstrate.
    pub fn options(&self) -> Result<DemoOptions, CliError> {
        let source = match &self.replay {
            Some(pattern) => DemoSource::Replay { pattern: pattern.clone(), mapping: self.mapping()? },
            None => DemoSource::Fleet { sensors: self.sensors, rate: self.rate, seed: self.seed },
        };
        Ok(DemoOptions {
            data_dir: self.data_dir.clone(),
            shards: self.shards,
            source,
            duration: self.duration,
            progress: true,
        })
    }

    /// A file `NAME.toml` has its mapping beside it, in `NAME.replay.toml`.
    fn mapping(&self) -> Result<ReplayMapping, CliError> {
        let schema = self.schema.as_deref().unwrap_or(SCHEMA);
        match schema.strip_suffix(".toml") {
            Some(stem) => Ok(ReplayMapping::load(Path::new(&format!("{stem}.replay.toml")))?),
            None => Ok(ReplayMapping::named(schema)?),
        }
    }

    /// The configuration of a demo whose cloud and webhook are at these addresses.
    pub fn configure(&self, endpoint_url: &str, webhook_url: &str) -> Result<Effective, CliError> {
        let bind = self.ops_port.map(|port| format!("127.0.0.1:{port}"));
        let webhooks = (!self.webhook.is_empty()).then(|| self.webhook.clone());
        let sources = Sources::of_process(self.config.clone())
            .preset(COMMAND, "stream.name", "mangrove-demo")
            .preset(COMMAND, "bucket.name", "mangrove-demo")
            .preset(COMMAND, "schema.use", SCHEMA)
            .preset(COMMAND, "warehouse.enabled", true)
            .preset(COMMAND, "warehouse.workgroup", "local")
            .preset(COMMAND, "warehouse.load_interval", "2s")
            .forced(COMMAND, "aws.endpoint_url", endpoint_url)
            .schema_flag("--schema", self.schema.as_deref())
            .flag("--ops-port", "ops.bind", bind)
            .flag("--webhook", "alerts.webhooks", webhooks)
            .fault_plan(self.faults.as_deref());
        let mut effective = Config::load(&sources)?;
        effective.config.receivers.webhooks.push(webhook_url.to_owned());
        Ok(effective)
    }
}
