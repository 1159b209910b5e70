//! The flags of `mangrove run`.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, Effective, Sources};
use crate::exit::CliError;

/// Runs a worker until SIGTERM or Ctrl-C, then drains it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  mangrove run --config mangrove.toml
  MANGROVE_EPOCH__AGE_MAX=30s mangrove run --config mangrove.toml --worker-id worker-1
  mangrove run --config mangrove.toml --endpoint-url http://127.0.0.1:4566     against `mangrove local`")]
pub struct RunArgs {
    /// The configuration file; `mangrove config --defaults` prints one to start from
    #[arg(long, value_name = "FILE", env = "MANGROVE_CONFIG")]
    pub config: PathBuf,
    /// The name on leases, different for every process [default: the host name]
    #[arg(long, value_name = "ID")]
    pub worker_id: Option<String>,
    /// Another endpoint than AWS
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Crash points to trigger, for tests
    #[arg(long, value_name = "PLAN", env = "MANGROVE_FAULTS", hide = true)]
    pub faults: Option<String>,
}

impl RunArgs {
    /// Where the configuration is read from.
    pub fn sources(&self) -> Sources {
        Sources::of_process(Some(self.config.clone()))
            .flag("--worker-id", "worker.id", self.worker_id.as_deref())
            .flag("--endpoint-url", "aws.endpoint_url", self.endpoint_url.as_deref())
            .fault_plan(self.faults.as_deref())
    }

    /// The configuration.
    pub fn configure(&self) -> Result<Effective, CliError> {
        Ok(Config::load(&self.sources())?)
    }
}
