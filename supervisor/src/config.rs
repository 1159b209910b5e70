//! The configuration: one file, overridden by the environment and by flags, read once, checked as a whole.
//!
//! **Owns** how the layers are put together, and the relations between limits of different actors.
//!
//! **Promises**
//! - All problems are reported at once, each with where it stands, its key, what is wrong and what would be right.
//! - Every value knows its source.
//! - What can be a secret is never shown.
//!
//! **Fails** with [`ConfigProblems`]; nothing has been started by then.
//!
//! **Not here**: default values. They live in `deploy/local/mangrove.toml`, where operators can see them. What a limit
//! means is documented beside the actor that has it.

mod addresses;
mod admin;
mod bounds;
mod edge;
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
mod traces;
mod units;
mod warehouse;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::loading::MetadataConfig;
use actors::ports::aws::AwsSettings;
use actors::ports::faults::Faults;
use actors::ports::objects::{Encryption, Objects};
use actors::ports::receivers::{self, ReceiversConfig, SdkConfig};
use actors::ports::transports::Transport;
use messages::EventSchema;

pub use self::layers::Source;
use self::layers::Values;
pub use self::problems::ConfigProblems;
use self::problems::Problems;
pub use self::report::Report;
use self::section::Reading;
pub use self::sources::Sources;
pub use self::traces::TracesSettings;
pub use self::warehouse::WarehouseConfig;
use crate::ops::OpsConfig;
use crate::ops::admin::token::Token;
use crate::worker::WorkerConfig;

/// The shipped example; also the lowest layer.
pub const DEFAULTS: &str = include_str!("../../deploy/local/mangrove.toml");

/// Everything that a process is told from outside, checked.
#[derive(Clone, Debug)]
pub struct Config {
    worker: WorkerConfig,
    /// What is sound and may still not do: said at the start.
    pub warnings: Vec<String>,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Threads of the runtime; none is one for each core.
    pub threads: Option<usize>,
    /// Where the services are.
    pub aws: AwsSettings,
    /// The stream.
    pub stream_name: String,
    /// Its ARN, if it is asked for by that: it may belong to another account.
    pub stream_arn: Option<String>,
    /// The bucket of all zones.
    pub bucket_name: String,
    /// What its objects are encrypted with.
    pub encryption: Encryption,
    /// The lease table.
    pub leases_table: String,
    /// Where alerts go.
    pub receivers: ReceiversConfig,
    /// Where committed epochs are loaded; none for a lake without a warehouse.
    pub warehouse: Option<WarehouseConfig>,
    /// The warehouse's schema that holds the tables, also if none is enabled.
    pub warehouse_schema: String,
    /// What people know of sensors and places.
    pub metadata: MetadataConfig,
    /// What is traced; none if nothing is.
    pub traces: Option<TracesSettings>,
    /// Where the ops endpoint listens.
    pub ops_bind: SocketAddr,
    /// The base URL that other workers ask for the ops endpoint; none is where it listens.
    pub ops_advertise: Option<String>,
    /// The ops endpoint.
    pub ops: OpsConfig,
    /// The admin endpoint; none if there is none.
    pub admin: Option<AdminConfig>,
    /// What is logged.
    pub log: LogConfig,
    /// Crash points to trigger; none outside tests.
    pub faults: Faults,
}

/// The admin endpoint.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens.
    pub bind: SocketAddr,
    /// What an operator has to know.
    pub token: Token,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A level, or several by module, as `tracing_subscriber::EnvFilter` takes them.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Lines that one place in the code may write in ten seconds.
    pub lines_max: u64,
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
        // Whatever an unreadable file says is missing: what follows from that would only hide the one real problem.
        let config = (!problems.has_unreadable_file()).then(|| Self::read(&mut values, sources, &mut problems));
        let report = Report::new(&values);
        match config {
            Some(config) if problems.is_empty() => (report, Ok(config)),
            _ => (report, Err(problems.into_report())),
        }
    }

    /// Beside a problem, what is returned must not be used.
    fn read(values: &mut Values, sources: &Sources, problems: &mut Problems) -> Self {
        let mut reading = Reading { values, problems };
        let worker = &mut reading.section("worker");
        let worker_id = edge::worker_id(worker, sources.host_name.as_deref());
        let memory_budget = edge::memory_budget(worker);
        let memory_limit = edge::memory_limit(worker, sources.memory);
        let (drain_timeout, threads) = (edge::drain_timeout(worker), edge::threads(worker));
        let (stream_name, stream_arn) = edge::stream(&mut reading.section("stream"));
        let bucket_name = edge::name(&mut reading.section("bucket"), "there is no default bucket", names::bucket);
        let schema = schema::read(&mut reading.section("schema"));
        let (supervisor, watchdog) = bounds::restarts(&mut reading.section("restarts"));
        let hang_timeout = watchdog.hang_timeout;
        let shard = bounds::shard(&mut reading);
        let (leases, handover_timeout) =
            bounds::leases(&mut reading.section("leases"), shard.skip_trimmed, shard.start);
        let worker = WorkerConfig {
            worker_id,
            // Known when the ops endpoint listens.
            address: String::new(),
            leases,
            handover_timeout,
            keys: bounds::keys(&mut reading.section("stream")),
            schema: schema.unwrap_or_else(stand_in),
            event_ids_max: bounds::event_ids_max(&mut reading.section("sensors")),
            history_max: bounds::history_max(&mut reading.section("sensors")),
            memory_budget,
            memory_limit,
            shard,
            alerts: bounds::alerts(&mut reading.section("alerts")),
            supervisor,
            watchdog,
            nodes_max: reading.section("ops").count("tree_nodes_max", 100..=1_000_000),
        };
        let warehouse_schema = warehouse::namespace(&mut reading.section("warehouse"));
        let metadata = warehouse::metadata(&mut reading.section("metadata"), &worker.schema);
        let traces = traces::read(&mut reading.section("traces"), sources, &worker.worker_id);
        let encoding = worker.shard.sinks.encoding;
        let mut config = Self {
            worker,
            warnings: Vec::new(),
            traces,
            drain_timeout,
            threads,
            aws: edge::aws(&mut reading.section("aws"), stream_arn.as_deref()),
            leases_table: edge::leases_table(&mut reading.section("leases"), &stream_name),
            stream_name,
            stream_arn,
            bucket_name,
            encryption: edge::encryption(&mut reading.section("bucket")),
            receivers: bounds::receivers(&mut reading.section("alerts")),
            warehouse: warehouse::read(&mut reading.section("warehouse"), &warehouse_schema, &metadata, encoding),
            warehouse_schema,
            metadata,
            ops_bind: edge::ops_bind(&mut reading.section("ops")),
            ops_advertise: edge::advertise(&mut reading.section("ops")),
            ops: edge::ops(&mut reading.section("ops"), hang_timeout),
            admin: admin::read(&mut reading.section("admin")),
            log: edge::log(&mut reading.section("log")),
            faults: sources.faults(reading.problems),
        };
        relations::check(&config, values, problems);
        config.warnings = relations::warnings(&config);
        config
    }

    /// The worker and the actors in it.
    pub fn worker(&self) -> WorkerConfig {
        self.worker.clone()
    }

    /// A worker as it is shipped, for tests and simulations: they change what they mean.
    #[doc(hidden)]
    pub fn shipped(worker_id: &str, schema: EventSchema) -> WorkerConfig {
        let named = [("stream.name", "events"), ("bucket.name", "lake"), ("schema.use", "climate")];
        let sources = named.into_iter().chain([("worker.id", worker_id)]);
        let sources = sources.fold(Sources::default(), |sources, (key, value)| sources.preset("shipped", key, value));
        let config = Self::load(&sources).expect("what is shipped holds").config;
        WorkerConfig { schema: Arc::new(schema), ..config.worker }
    }

    /// The event schema.
    pub fn schema(&self) -> &EventSchema {
        &self.worker.schema
    }

    /// Where other workers find the ops endpoint that listens there; empty if they cannot.
    pub fn advertised(&self, listens: SocketAddr) -> String {
        match &self.ops_advertise {
            Some(advertise) => advertise.clone(),
            // All addresses is not one of them.
            None if listens.ip().is_unspecified() => String::new(),
            None => format!("http://{listens}"),
        }
    }

    /// The bucket.
    pub fn objects(&self, sdk: &SdkConfig) -> Objects {
        Objects::new(sdk, &self.bucket_name).encrypted(self.encryption.clone())
    }

    /// Opens the transports of all receivers.
    pub fn transports(&self, sdk: &SdkConfig) -> Result<Arc<[Transport]>, String> {
        receivers::open(&self.receivers, sdk)
    }
}

fn stand_in() -> Arc<EventSchema> {
    let (name, _) = messages::schema::BUILT_IN[0];
    Arc::new(EventSchema::built_in(name).expect("it is in the list of those built in"))
}
