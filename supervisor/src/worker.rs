//! One worker: the whole tree, from configuration to drain.
//!
//! **Owns** the running tree, the ops endpoint and the watchdog of one process.
//! **Promises** whatever cannot work is found before the first record is read, with an error that names the key and
//! the fix; a drain leaves nothing half done.
//! **Not here**: the command line (`cli.rs`), how children restart (`supervision.rs`).

mod children;
mod controls;
mod directory;
mod figures;
mod home;
mod limits;
mod readiness;
mod start;
mod status;

use std::sync::Arc;
use std::time::Duration;

use actors::alerts::{AlertsConfig, RecentAlerts};
use actors::budget::Budget;
use actors::keys::{Expected, Keys};
use actors::loader::LoaderConfig;
use actors::loading::{LoaderFigures, Loading};
use actors::metrics::AlertFigures;
use actors::ports::aws::CallError;
use actors::ports::chance::Chance;
use actors::ports::clock::Clock;
use actors::ports::faults::{Faults, Mechanism};
use actors::ports::leases::{LeaseError, LeaseTable, OtherHome};
use actors::ports::objects::Objects;
use actors::ports::stream::Stream;
use actors::ports::transports::Transport;
use actors::ports::work::Work;
use actors::traces::Traces;
use messages::EventSchema;
use tokio::sync::watch;

use self::controls::{LeasesAddress, WorkerControls};
pub use self::directory::Directory;
use self::readiness::ReadinessSources;
use self::start::Starting;
use self::status::LiveStatus;
use crate::leases::{LeaseFigures, LeasesConfig};
use crate::ops::Readiness;
use crate::ops::admin::Controls;
use crate::ops::status::{EpochLimits, StatusSource};
use crate::owned::Owned;
use crate::shard::{Shard, ShardConfig};
use crate::supervision::tree::Tree;
use crate::supervision::watchdog::{Pulse, Watchdog, WatchdogConfig};
use crate::supervision::{Root, RootError, StartError, SupervisorArgs, SupervisorConfig, Surroundings};

/// Everything a worker needs to know.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The name on leases.
    pub worker_id: String,
    /// Where the others find the worker's ops endpoint; empty if they cannot.
    pub address: String,
    /// What is expected of the stream's keys.
    pub keys: Expected,
    /// What a reading looks like.
    pub schema: Arc<EventSchema>,
    /// Event ids remembered per sensor.
    pub event_ids_max: usize,
    /// Stretches of equal attributes remembered per sensor.
    pub history_max: usize,
    /// Bytes that may be in flight.
    pub memory_budget: u64,
    /// Bytes of memory that the process may use; none if nobody knows.
    pub memory_limit: Option<u64>,
    /// The worker's part in the cluster.
    pub leases: LeasesConfig,
    /// A shard that takes longer to be handed over is taken again.
    pub handover_timeout: Duration,
    /// How the actors of a shard are set up.
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
    /// What loads the warehouse, and when; none for a lake without one.
    pub loading: Option<(Loading, LoaderConfig)>,
    /// The wall clock.
    pub clock: Clock,
    /// Nonces and jitter.
    pub chance: Chance,
    /// Where long computations run.
    pub work: Work,
    /// Crash points to trigger; none outside tests.
    pub faults: Faults,
    /// Where the spans of traces go.
    pub traces: Traces,
}

/// A worker: put together, and running once it has begun.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    ports: WorkerPorts,
    starting: Arc<Starting>,
    running: Option<(Root, Watchdog)>,
    pulse: Pulse,
    tree: Tree,
    owned: Owned,
    leases: Arc<LeaseFigures>,
    alert_figures: Arc<AlertFigures>,
    loader_figures: Option<Arc<LoaderFigures>>,
    budget: Budget,
    clock: Clock,
    keys: Keys,
    status: LiveStatus,
    controls: WorkerControls,
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
    /// The lease table is another stream's, or its epochs are in another bucket.
    #[error(transparent)]
    Home(OtherHome),
    /// Another process works under the same name.
    #[error(transparent)]
    Name(LeaseError),
    /// The tree could not be started.
    #[error("start the tree: {0}")]
    Tree(#[from] StartError),
}

impl WorkerError {
    /// Whether the service says that what is asked for is not there.
    fn is_missing(&self) -> bool {
        matches!(self, Self::NoStream(_) | Self::NoBucket(_))
    }

    /// Whether another try may help, without another configuration.
    fn may_heal(&self) -> bool {
        matches!(self, Self::Unreachable { error, .. } if error.may_heal())
    }
}

impl Worker {
    /// Puts a worker together. It can be looked at; nothing is asked and nothing runs.
    pub fn new(mut config: WorkerConfig, ports: WorkerPorts) -> Self {
        config.schema = Arc::new(config.schema.as_ref().clone().with_limits(&limits::pinned(&config)));
        let tree = Tree::new(config.nodes_max);
        let budget = Budget::new(config.memory_budget);
        let (owned, leases) = (Owned::default(), Arc::new(LeaseFigures::new()));
        let (alert_figures, recent) = (Arc::<AlertFigures>::default(), Arc::<RecentAlerts>::default());
        let lacks = |mechanism| ports.faults.lacks(mechanism);
        let keys = Keys::lacking(config.keys, lacks(Mechanism::StrategyAsked), lacks(Mechanism::SamplesCompared));
        let loader_figures = ports.loading.as_ref().map(|(loading, _)| loading.figures().clone());
        let (starting, clock, committer) = (Arc::<Starting>::default(), ports.clock.clone(), &config.shard.committer);
        let status = LiveStatus {
            starting: starting.clone(),
            owned: owned.clone(),
            leases: leases.clone(),
            budget: budget.clone(),
            recent,
            alert_figures: alert_figures.clone(),
            loader: loader_figures.clone(),
            clock: clock.clone(),
            memory_limit: config.memory_limit,
            keys: keys.clone(),
            limits: EpochLimits {
                age_max: committer.age_max,
                bytes_max: committer.bytes_max,
                partitions_max: committer.partitions_max,
                rows_max: committer.rows_max,
                refresh_after: committer.refresh_after,
            },
        };
        let (stream, leases_address) = (ports.stream.clone(), LeasesAddress::default());
        let controls = WorkerControls {
            stream,
            leases: leases_address,
            drain: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Self {
            config,
            ports,
            starting,
            running: None,
            pulse: Pulse::default(),
            tree,
            owned,
            leases,
            alert_figures,
            loader_figures,
            budget,
            clock,
            keys,
            status,
            controls,
        }
    }

    /// Reaches everything, and starts the tree. Shards are taken from then on. Waits for services that are away; fails
    /// only if it could never begin.
    pub async fn begin(&mut self) -> Result<(), WorkerError> {
        let (home, heartbeat) = start::reach(&self.config, &self.ports, &self.starting).await?;
        let place = (Arc::new(home), self.keys.clone());
        let (config, ports) = (&self.config, &self.ports);
        let (chance, clock) = (ports.chance.clone(), ports.clock.clone());
        let surroundings = Surroundings { tree: self.tree.clone(), clock, jitter: Arc::new(move || chance.unit()) };
        let mut children = vec![
            children::alerts(config, ports, &self.alert_figures, &self.status.recent),
            children::leases_child(
                config,
                ports,
                (&self.owned, &self.leases, &place),
                &self.controls.leases,
                heartbeat,
            ),
            children::shards_child(config, ports, (&self.owned, &self.budget, &place), surroundings.clone()),
        ];
        // Last, although downstream of all: it takes what lies in the lake, nobody sends to it, and its failure must
        // restart nobody.
        children.extend(ports.loading.clone().map(|loading| children::loader(config, ports, loading)));
        let root = Root::spawn(SupervisorArgs::new("", children, config.supervisor.clone(), surroundings)).await?;
        let watchdog = Watchdog::spawn(self.tree.clone(), config.watchdog.clone(), self.pulse.clone());
        self.running = Some((root, watchdog));
        self.starting.begun();
        Ok(())
    }

    /// Puts a worker together, and begins.
    pub async fn start(config: WorkerConfig, ports: WorkerPorts) -> Result<Self, WorkerError> {
        let mut worker = Self::new(config, ports);
        worker.begin().await?;
        Ok(worker)
    }

    /// Waits until the tree ends by itself: only when a child was given up.
    pub async fn ended(&mut self) -> Result<(), RootError> {
        match &mut self.running {
            Some((root, _)) => root.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Reads no more, commits what was read, releases the leases, sends what alerts are left. Returns the paths of
    /// what did not finish in time.
    pub async fn drain(&self, within: Duration) -> Result<Vec<String>, RootError> {
        let Some((root, _)) = &self.running else { return Ok(Vec::new()) };
        let mut late = root.drain(within).await?;
        late.extend(self.owned.unreleased());
        Ok(late)
    }

    /// Whether the runtime that the worker runs on still turns.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The nodes of the tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The shards that this worker works on now.
    pub fn shards(&self) -> Vec<Shard> {
        self.owned.all()
    }

    /// A handle on the shards that this worker works on.
    pub fn owned(&self) -> &Owned {
        &self.owned
    }

    /// The worker's part in the cluster.
    pub fn leases(&self) -> &LeaseFigures {
        &self.leases
    }

    /// What is known of the stream's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Alerts handed over so far.
    pub fn alert_figures(&self) -> &AlertFigures {
        &self.alert_figures
    }

    /// What the loader has done; none without a warehouse.
    pub fn loader_figures(&self) -> Option<&LoaderFigures> {
        self.loader_figures.as_deref()
    }

    /// The byte budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What the ops endpoint looks at.
    pub fn status(&self) -> Arc<dyn StatusSource> {
        Arc::new(self.status.clone())
    }

    /// What an operator can have done.
    pub fn controls(&self) -> Arc<dyn Controls> {
        Arc::new(self.controls.clone())
    }

    /// Turns true when an operator wants the worker drained.
    pub fn drain_asked(&self) -> watch::Receiver<bool> {
        self.controls.drain.subscribe()
    }

    /// Whether data flows, and if not, where it stands still. Asks no service: a probe must not cost a request each.
    pub fn readiness(&self) -> Readiness {
        readiness::readiness(ReadinessSources {
            starting: self.starting.clone(),
            owned: self.owned.clone(),
            tree: self.tree.clone(),
            leases: self.leases.clone(),
            clock: self.clock.clone(),
            age_max: self.config.shard.committer.age_max,
        })
    }

    /// Whether all that was put into the stream before then is read and committed, as far as this worker can tell:
    /// every shard has a living owner, and its own are at their tips.
    pub fn has_caught_up(&self, since_ms: i64) -> bool {
        self.owned.has_caught_up(since_ms)
    }

    /// When a look last showed that every readable shard has a living owner, milliseconds since 1970; 0 if the last one did
    /// not.
    pub fn settled_at_ms(&self) -> i64 {
        self.owned.settled_at_ms()
    }

    /// The furthest that any shard is behind the tip, in milliseconds.
    pub fn millis_behind(&self) -> i64 {
        self.owned.all().iter().filter_map(|shard| shard.context.figures.millis_behind()).max().unwrap_or(0)
    }

    /// Restarts of actors and of single sensors since the worker began.
    pub fn restarts(&self) -> u64 {
        let boxes: u64 = self.tree.nodes().iter().map(|node| node.restarts()).sum();
        boxes + self.owned.totals().sensor_restarts
    }

    /// Writes of lease rows, since the worker began, that found the row written by somebody else.
    pub fn lost_writes(&self) -> u64 {
        self.owned.totals().lost_writes
    }
}
