//! One worker: the whole tree, from configuration to drain.
//!
//! **Owns** the running tree, the ops endpoint and the watchdog of one process.
//! **Promises** whatever cannot work is found before the first record is read, with an error that names the key and
//! the fix; a drain leaves nothing half done.
//! **Not here**: the command line (`cli.rs`), how children restart (`supervision.rs`).

mod directory;

use std::sync::Arc;
use std::time::Duration;

use actors::alerts::{AlertsActor, AlertsArgs, AlertsConfig};
use actors::budget::Budget;
use actors::metrics::AlertFigures;
use actors::node::NodeState;
use actors::ports::aws::{CallError, Failure};
use actors::ports::clock::Clock;
use actors::ports::faults::Faults;
use actors::ports::leases::LeaseTable;
use actors::ports::objects::Objects;
use actors::ports::stream::{ShardInfo, Stream};
use actors::ports::transports::Transport;
use actors::sensor::SensorRules;
use actors::shard::{ShardContext, ShardFigures};
use messages::{EventSchema, HashRange};
use tracing::warn;

pub use self::directory::Directory;
use crate::ops::{Check, Readiness};
use crate::shard::{Shard, ShardConfig, ShardPorts};
use crate::supervision::tree::Tree;
use crate::supervision::watchdog::{Watchdog, WatchdogConfig};
use crate::supervision::{
    ChildSpec, RestartPolicy, Root, RootError, Scope, StartError, SupervisorArgs, SupervisorConfig, Surroundings,
};

const BOXES_PER_SHARD: u32 = 5;
/// A shard that has not been read for this long is not being read.
const READ_SILENCE_MS_MAX: i64 = 30_000;

/// Everything a worker needs to know.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The name on leases.
    pub worker_id: String,
    /// What a reading looks like.
    pub schema: Arc<EventSchema>,
    /// Event ids remembered per sensor.
    pub event_ids_max: usize,
    /// Bytes that may be in flight.
    pub memory_budget: u64,
    /// How the boxes of a shard are set up.
    pub shard: ShardConfig,
    /// How alerts are sent.
    pub alerts: AlertsConfig,
    /// How failed children come back.
    pub supervisor: SupervisorConfig,
    /// When an actor hangs.
    pub watchdog: WatchdogConfig,
    /// Nodes that the tree may list.
    pub nodes_max: usize,
}

/// What a worker reaches.
#[derive(Clone, Debug)]
pub struct WorkerPorts {
    /// The stream.
    pub stream: Stream,
    /// The bucket.
    pub objects: Objects,
    /// The lease table.
    pub leases: LeaseTable,
    /// Where alerts go.
    pub transports: Arc<[Transport]>,
    /// The wall clock.
    pub clock: Clock,
    /// Crash points to trigger; none outside tests.
    pub faults: Faults,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    root: Root,
    _watchdog: Watchdog,
    tree: Tree,
    shards: Arc<[Shard]>,
    alert_figures: Arc<AlertFigures>,
    budget: Budget,
    clock: Clock,
}

/// A worker could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The stream is not there.
    #[error("stream.name: {0}. Create the stream, or name another one")]
    NoStream(CallError),
    /// The bucket is not there.
    #[error("bucket.name: {0}. Create the bucket, or name another one")]
    NoBucket(CallError),
    /// A service does not answer, or refuses.
    #[error("{key}: {error}. {fix}")]
    Unreachable {
        /// The configuration key to look at.
        key: &'static str,
        /// What happened.
        error: CallError,
        /// What to do.
        fix: &'static str,
    },
    /// The tree could not be started.
    #[error("start the tree: {0}")]
    Tree(#[from] StartError),
}

impl Worker {
    /// Checks that everything can be reached, and starts the tree.
    pub async fn start(mut config: WorkerConfig, ports: WorkerPorts) -> Result<Self, WorkerError> {
        config.schema = Arc::new(config.schema.as_ref().clone().with_limits(&limits(&config)));
        let shards = check(&ports).await?;
        let tree = Tree::new(config.nodes_max);
        let budget = Budget::new(config.memory_budget);
        let alert_figures = Arc::new(AlertFigures::default());
        let shards: Arc<[Shard]> = shards.into_iter().map(|info| shard(info, &config, &ports, &budget)).collect();
        let surroundings = Surroundings {
            tree: tree.clone(),
            clock: ports.clock.clone(),
            jitter: Arc::new(|| rand::random_range(0.0..1.0)),
        };
        let children = vec![
            alerts(&config, &ports, &alert_figures),
            shards_subtree(shards.clone(), config.supervisor.clone(), surroundings.clone()),
        ];
        let root = Root::spawn(SupervisorArgs::new("", children, config.supervisor.clone(), surroundings)).await?;
        let watchdog = Watchdog::spawn(tree.clone(), config.watchdog);
        Ok(Self { root, _watchdog: watchdog, tree, shards, alert_figures, budget, clock: ports.clock })
    }

    /// Waits until the tree ends by itself: only when a child was given up.
    pub async fn ended(&mut self) -> Result<(), RootError> {
        self.root.ended().await
    }

    /// Reads no more, commits what was read, sends what alerts are left, releases the leases. Returns the paths of
    /// what did not finish in time.
    pub async fn drain(&self, within: Duration) -> Result<Vec<String>, RootError> {
        let mut late = self.root.drain(within).await?;
        let held = self.shards.iter().filter(|shard| !shard.is_released());
        late.extend(held.map(|shard| format!("shards/{}", shard.context.shard.short())));
        Ok(late)
    }

    /// The nodes of the tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The owned shards.
    pub fn shards(&self) -> &Arc<[Shard]> {
        &self.shards
    }

    /// Alerts handed over so far.
    pub fn alert_figures(&self) -> &AlertFigures {
        &self.alert_figures
    }

    /// The byte budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether data flows, and if not, where it stands still. Asks no service: a probe must not cost a request each.
    pub fn readiness(&self) -> Readiness {
        let (shards, tree, clock) = (self.shards.clone(), self.tree.clone(), self.clock.clone());
        Arc::new(move || {
            let mut checks: Vec<Check> = shards.iter().map(|shard| shard_check(shard, clock.now_ms())).collect();
            let down = tree.nodes().into_iter().filter(|node| node.state() != NodeState::Running);
            checks.extend(down.map(|node| Check {
                name: node.path.clone(),
                ok: false,
                why: node.last_error().map_or_else(|| "starting".to_owned(), |error| error.message),
            }));
            Box::pin(async move { checks })
        })
    }

    /// Whether all that was put into the stream is read and committed, as far as this worker can tell.
    pub fn has_caught_up(&self, since_ms: i64) -> bool {
        self.shards.iter().all(|shard| {
            let figures = &shard.context.figures;
            let (read, committed) = figures.progress();
            figures.has_ended() || (figures.at_tip_ms() > since_ms && read == committed)
        })
    }

    /// The furthest that any shard is behind the tip, in milliseconds.
    pub fn millis_behind(&self) -> i64 {
        self.shards.iter().map(|shard| shard.context.figures.millis_behind()).max().unwrap_or(0)
    }

    /// Restarts of boxes and of single sensors since the worker began.
    pub fn restarts(&self) -> u64 {
        let boxes: u64 = self.tree.nodes().iter().map(|node| node.restarts()).sum();
        let sensors: u64 = self.shards.iter().map(|shard| shard.context.figures.sensor_restarts()).sum();
        boxes + sensors
    }
}

/// Every limit that decides what becomes of a reading.
fn limits(config: &WorkerConfig) -> String {
    let ShardConfig { reader, sensors, aggregator, .. } = &config.shard;
    let (known, crashes) = (sensors.known_max, sensors.crashes_max);
    format!("{:?} {aggregator:?} known {known} crashes {crashes} ids {}", reader.decode, config.event_ids_max)
}

fn shard_check(shard: &Shard, now_ms: i64) -> Check {
    let name = format!("shard {} is read", shard.context.shard.short());
    let read_at_ms = shard.context.figures.read_at_ms();
    let silent_ms = now_ms.saturating_sub(read_at_ms);
    let ok = shard.context.figures.has_ended() || (read_at_ms > 0 && silent_ms < READ_SILENCE_MS_MAX);
    let why = match (ok, read_at_ms) {
        (true, _) => String::new(),
        (false, 0) => "not read yet".to_owned(),
        (false, _) => format!("last read {} s ago", silent_ms / 1000),
    };
    Check { name, ok, why }
}

/// Finds out now what would else fail an hour later.
async fn check(ports: &WorkerPorts) -> Result<Vec<ShardInfo>, WorkerError> {
    const ENDPOINT: &str = "Check the network, the credentials, aws.region and aws.endpoint_url";
    let unreachable = |key, error| WorkerError::Unreachable { key, error, fix: ENDPOINT };
    let shards = ports.stream.shards().await.map_err(|error| match error.failure {
        Failure::NotFound => WorkerError::NoStream(error),
        _ => unreachable("stream.name", error),
    })?;
    ports.objects.check().await.map_err(|error| match error.failure {
        Failure::NotFound => WorkerError::NoBucket(error),
        _ => unreachable("bucket.name", error),
    })?;
    ports.leases.ensure().await.map_err(|error| unreachable("leases.table", error))?;
    Ok(shards)
}

fn shard(info: ShardInfo, config: &WorkerConfig, ports: &WorkerPorts, budget: &Budget) -> Shard {
    let context = ShardContext {
        shard: info.shard.clone(),
        hash_range: hash_range(&info),
        stream: ports.stream.name().into(),
        schema: config.schema.clone(),
        clock: ports.clock.clone(),
        faults: ports.faults.clone(),
        figures: Arc::new(ShardFigures::default()),
    };
    let ports = ShardPorts {
        stream: ports.stream.clone(),
        objects: ports.objects.clone(),
        leases: ports.leases.clone(),
        budget: budget.clone(),
        rules: Arc::new(SensorRules::new(config.schema.clone(), config.event_ids_max)),
        worker_id: config.worker_id.as_str().into(),
    };
    Shard::new(context, info, config.shard.clone(), ports)
}

/// Without a range nothing is kept out: all of an aggregate is then read.
fn hash_range(info: &ShardInfo) -> HashRange {
    let (start, end) = &info.hash_range;
    HashRange::parse(start, end).unwrap_or_else(|error| {
        warn!(shard = %info.shard, %error, "the shard's hash range is unknown: aggregates are read whole");
        HashRange::FULL
    })
}

fn alerts(config: &WorkerConfig, ports: &WorkerPorts, figures: &Arc<AlertFigures>) -> ChildSpec {
    let (config, transports, clock) = (config.alerts.clone(), ports.transports.clone(), ports.clock.clone());
    let figures = figures.clone();
    let start = move |context: crate::supervision::StartContext| {
        let args = AlertsArgs {
            transports: transports.clone(),
            clock: clock.clone(),
            figures: figures.clone(),
            node: context.node.clone(),
        };
        let actor = AlertsActor { config: config.clone() };
        async move { context.spawn(actor, args).await }
    };
    ChildSpec::new("alerts", "alerts", start).draining_by(directory::flush_alerts)
}

/// Shards are independent of each other.
fn shards_subtree(shards: Arc<[Shard]>, config: SupervisorConfig, surroundings: Surroundings) -> ChildSpec {
    // Stopping a subtree takes its children's times in sum.
    let stop_timeout = config.stop_timeout * BOXES_PER_SHARD * u32::try_from(shards.len().max(1)).unwrap_or(u32::MAX);
    ChildSpec::subtree("shards", "shards", move |context| {
        let alerts = context.address("alerts")?;
        let each = shards.iter().map(|shard| {
            let (shard, alerts) = (shard.clone(), alerts.clone());
            let (config, surroundings) = (config.clone(), surroundings.clone());
            let name = shard.context.shard.short().to_owned();
            let stop_timeout = config.stop_timeout * BOXES_PER_SHARD;
            ChildSpec::subtree(name, "shard", move |_| {
                let config = SupervisorConfig { scope: Scope::OneForAll, ..config.clone() };
                Ok(SupervisorArgs::new("", shard.children(&alerts), config, surroundings.clone()))
            })
            .stopping_within(stop_timeout)
        });
        // Never gives up: one shard that cannot go on must not take the others down. It shows in /tree and /readyz,
        // and is tried again at a slow pace.
        let restart = RestartPolicy { restarts_max: u32::MAX, ..config.restart.clone() };
        let config = SupervisorConfig { scope: Scope::OneForOne, restart, ..config.clone() };
        Ok(SupervisorArgs::new("", each.collect(), config, surroundings.clone()))
    })
    .stopping_within(stop_timeout)
}
