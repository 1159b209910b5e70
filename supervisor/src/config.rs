//! The configuration: one file, overridden by the environment and by flags, read once, checked as a whole.
//!
//! **Owns** how the layers are put together, and the relations between limits of different boxes.
//!
//! **Promises**
//! - All problems are reported at once, each with where it stands, its key, what is wrong and what would be right.
//! - Every value knows its source.
//! - What can be a secret is never shown.
//!
//! **Fails** with [`ConfigProblems`]; nothing has been started by then.
//!
//! **Not here**: default values. They live in `deploy/local/mangrove.toml`, where operators can see them. What a limit
//! means is documented beside the box that has it.

mod addresses;
mod boxes;
mod environment;
mod layers;
mod names;
mod problems;
mod relations;
mod report;
mod schema;
mod section;
mod sources;
mod suggest;
#[cfg(test)]
mod tests;
mod units;

use std::net::SocketAddr;
use std::time::Duration;

use actors::ports::aws::AwsSettings;

use crate::worker::WorkerConfig;

use self::layers::Values;
pub use self::layers::Source;
pub use self::problems::ConfigProblems;
use self::problems::Problems;
pub use self::report::Report;
pub use self::sources::Sources;

/// The shipped example; also the lowest layer.
pub const DEFAULTS: &str = include_str!("../../deploy/local/mangrove.toml");

/// Everything that a process is told from outside, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The worker and the boxes in it.
    pub worker: WorkerConfig,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Threads of the runtime; none is one for each core.
    pub threads: Option<usize>,
    /// Where the services are.
    pub aws: AwsSettings,
    /// The stream's name.
    pub stream: String,
    /// The bucket's name.
    pub bucket: String,
    /// The lease table's name.
    pub lease_table: String,
    /// Where alerts go.
    pub receivers: ReceiversConfig,
    /// The ops endpoint.
    pub ops: OpsConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// Where alerts go.
#[derive(Clone, Debug)]
pub struct ReceiversConfig {
    /// Addresses that take JSON by POST.
    pub webhooks: Vec<String>,
    /// Base addresses of Alertmanagers.
    pub alertmanagers: Vec<String>,
    /// SNS topics.
    pub sns_topics: Vec<String>,
    /// One attempt at one receiver may take this long.
    pub timeout: Duration,
}

/// The ops endpoint.
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// Where it listens.
    pub bind: SocketAddr,
    /// Hosts, in lower case, that it may be asked by besides loopback names; `*` is all.
    pub allowed_hosts: Vec<String>,
    /// Connections at once.
    pub connections_max: usize,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A level, or several by module, as `tracing_subscriber::EnvFilter` takes them.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// The values with their sources, for people.
    pub report: Report,
}

impl Config {
    /// Reads all layers and checks the whole. The only way to get a `Config`.
    pub fn load(sources: &Sources) -> Result<Effective, ConfigProblems> {
        let (report, config) = Self::inspect(sources);
        config.map(|config| Effective { config, report })
    }

    /// As [`load`](Self::load), but shows the values also when something is wrong with them.
    pub fn inspect(sources: &Sources) -> (Report, Result<Config, ConfigProblems>) {
        let mut problems = Problems::default();
        let mut values = Values::merge(sources, &mut problems);
        let config = match problems.has_unreadable_file() {
            // Whatever the file says is missing now: what follows from that would only hide the one real problem.
            true => None,
            false => Some(boxes::read(&mut values, sources, &mut problems)),
        };
        let report = Report::new(&values);
        match config {
            Some(config) if problems.is_empty() => (report, Ok(config)),
            _ => (report, Err(problems.into_report())),
        }
    }
}
