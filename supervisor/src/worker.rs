//! One worker: the whole tree, from configuration to drain.
//!
//! **Owns** the running tree, the ops endpoint and the watchdog of one process.
//! **Promises** whatever cannot work is found before the first record is read, with an error that names the key and
//! the fix; a drain leaves nothing half done.
//! **Not here**: the command line (`cli.rs`), how children restart (`supervision.rs`).

mod controls;
mod directory;
mod figures;
mod sight;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actors::alerts::{AlertsActor, AlertsArgs, AlertsConfig, RecentAlerts};
use actors::budget::Budget;
use actors::keys::{Expected, Keys};
use actors::loader::{LoaderActor, LoaderArgs, LoaderConfig, LoaderMsg};
use actors::loading::{LoaderFigures, Loading};
use actors::metrics::AlertFigures;
use actors::node::NodeState;
use actors::ports::aws::{CallError, Failure};
use actors::ports::chance::Chance;
use actors::ports::clock::Clock;
use actors::ports::faults::Faults;
use actors::ports::leases::{Heartbeat, LeaseError, LeaseTable};
use actors::ports::objects::Objects;
use actors::ports::stream::{ShardInfo, Stream};
use actors::ports::transports::Transport;
use actors::ports::work::Work;
use actors::sensor::SensorRules;
use actors::sensors::LiveSensors;
use actors::shard::{ShardContext, ShardFigures};
use actors::traces::Traces;
use messages::{EventSchema, HashRange};
use ractor::{ActorCell, ActorRef};
use tokio::sync::watch;
use tracing::warn;

use self::controls::{LeasesAddress, WorkerControls};
pub use self::directory::Directory;
use self::sight::WorkerSight;
use crate::leases::{self, LeaseFigures, LeasesActor, LeasesArgs, LeasesConfig, LeasesMsg, Trouble};
use crate::ops::admin::Controls;
use crate::ops::sight::{EpochLimits, Sight};
use crate::ops::{Check, Readiness};
use crate::shard::{Shard, ShardConfig, ShardPorts};
use crate::shards::{Owned, ShardsActor, ShardsArgs, drain_shards};
use crate::supervision::tree::Tree;
use crate::supervision::watchdog::{Watchdog, WatchdogConfig};
use crate::supervision::{
    ChildSpec, Root, RootError, StartContext, StartError, SupervisorArgs, SupervisorConfig, Surroundings,
};

/// What has not worked for this long does not work.
const SILENCE_MS_MAX: i64 = 30_000;

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
    /// Bytes that may be in flight.
    pub memory_budget: u64,
    /// Bytes of memory that the process may use; none if nobody knows.
    pub memory_limit: Option<u64>,
    /// The worker's part in the cluster.
    pub leases: LeasesConfig,
    /// A shard that takes longer to be handed over is taken again.
    pub handover_timeout: Duration,
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

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    root: Root,
    _watchdog: Watchdog,
    tree: Tree,
    owned: Owned,
    leases: Arc<LeaseFigures>,
    alert_figures: Arc<AlertFigures>,
    loader_figures: Option<Arc<LoaderFigures>>,
    budget: Budget,
    clock: Clock,
    keys: Keys,
    sight: WorkerSight,
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
    /// Another process works under the same name.
    #[error(transparent)]
    Name(LeaseError),
    /// The tree could not be started.
    #[error("start the tree: {0}")]
    Tree(#[from] StartError),
}

impl Worker {
    /// Checks that everything can be reached, and starts the tree. Shards are taken from then on.
    pub async fn start(mut config: WorkerConfig, ports: WorkerPorts) -> Result<Self, WorkerError> {
        config.schema = Arc::new(config.schema.as_ref().clone().with_limits(&limits(&config)));
        check(&ports).await?;
        // Here, so that a name in use is told at once and not after all restarts.
        let heartbeat = claim_name(&config, &ports, None).await?;
        let tree = Tree::new(config.nodes_max);
        let budget = Budget::new(config.memory_budget);
        let (owned, leases, alert_figures, recent) = (Owned::default(), Arc::default(), Arc::default(), Arc::default());
        let (leases_address, keys) = (LeasesAddress::default(), Keys::new(config.keys));
        let chance = ports.chance.clone();
        let surroundings =
            Surroundings { tree: tree.clone(), clock: ports.clock.clone(), jitter: Arc::new(move || chance.unit()) };
        let mut children = vec![
            alerts(&config, &ports, &alert_figures, &recent),
            leases_box(&config, &ports, (&owned, &leases, &keys), &leases_address, heartbeat),
            shards_box(&config, &ports, (&owned, &budget, &keys), surroundings.clone()),
        ];
        // Last, although downstream of all: it takes what lies in the lake, nobody sends to it, and its failure must
        // restart nobody.
        children.extend(ports.loading.clone().map(|loading| loader(&config, &ports, loading)));
        let loader_figures = ports.loading.as_ref().map(|(loading, _)| loading.figures().clone());
        let root = Root::spawn(SupervisorArgs::new("", children, config.supervisor.clone(), surroundings)).await?;
        let watchdog = Watchdog::spawn(tree.clone(), config.watchdog);
        let clock = ports.clock;
        let committer = &config.shard.committer;
        let sight = WorkerSight {
            owned: owned.clone(),
            leases: Arc::clone(&leases),
            budget: budget.clone(),
            recent,
            alert_figures: Arc::clone(&alert_figures),
            loader: loader_figures.clone(),
            clock: clock.clone(),
            memory_limit: config.memory_limit,
            keys: keys.clone(),
            limits: EpochLimits {
                age_max: committer.age_max,
                bytes_max: committer.bytes_max,
                partitions_max: committer.partitions_max,
                rows_max: committer.rows_max,
            },
        };
        let controls = WorkerControls {
            stream: ports.stream,
            leases: leases_address,
            drain: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Ok(Self {
            root,
            _watchdog: watchdog,
            tree,
            owned,
            leases,
            alert_figures,
            loader_figures,
            budget,
            clock,
            keys,
            sight,
            controls,
        })
    }

    /// Waits until the tree ends by itself: only when a child was given up.
    pub async fn ended(&mut self) -> Result<(), RootError> {
        self.root.ended().await
    }

    /// Reads no more, commits what was read, releases the leases, sends what alerts are left. Returns the paths of
    /// what did not finish in time.
    pub async fn drain(&self, within: Duration) -> Result<Vec<String>, RootError> {
        let mut late = self.root.drain(within).await?;
        late.extend(self.owned.unreleased());
        Ok(late)
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
    pub fn sight(&self) -> Arc<dyn Sight> {
        Arc::new(self.sight.clone())
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
        let (owned, tree, clock, leases) =
            (self.owned.clone(), self.tree.clone(), self.clock.clone(), self.leases.clone());
        Arc::new(move || {
            let now_ms = clock.now_ms();
            let mut checks: Vec<Check> = owned.all().iter().flat_map(|shard| shard_checks(shard, now_ms)).collect();
            checks.push(table_check(leases.seen().at_ms, now_ms));
            checks.extend(leases.troubles().into_iter().map(trouble_check));
            let down = tree.nodes().into_iter().filter(|node| node.state() != NodeState::Running);
            checks.extend(down.map(|node| Check {
                name: node.path.clone(),
                ok: false,
                why: node.last_error().map_or_else(|| "starting".to_owned(), |error| error.message),
            }));
            Box::pin(async move { checks })
        })
    }

    /// Whether all that was put into the stream before then is read and committed, as far as this worker can tell:
    /// every shard has a living owner, and its own are at their tips.
    pub fn has_caught_up(&self, since_ms: i64) -> bool {
        let at_tip = |shard: &Shard| {
            let figures = &shard.context.figures;
            let (read, committed) = figures.progress();
            // One that is closed is about to end; its children come next.
            !figures.is_closed() && figures.at_tip_ms() > since_ms && read == committed
        };
        // In this order: a shard that ends in between takes the settlement with it.
        self.owned.all().iter().all(at_tip) && self.leases.settled_at_ms() > since_ms
    }

    /// The furthest that any shard is behind the tip, in milliseconds.
    pub fn millis_behind(&self) -> i64 {
        self.owned.all().iter().map(|shard| shard.context.figures.millis_behind()).max().unwrap_or(0)
    }

    /// Restarts of boxes and of single sensors since the worker began.
    pub fn restarts(&self) -> u64 {
        let boxes: u64 = self.tree.nodes().iter().map(|node| node.restarts()).sum();
        boxes + self.owned.totals().sensor_restarts
    }
}

/// Every limit that decides what becomes of a reading.
fn limits(config: &WorkerConfig) -> String {
    let ShardConfig { reader, sensors, aggregator, .. } = &config.shard;
    let (known, crashes) = (sensors.known_max, sensors.crashes_max);
    format!("{:?} {aggregator:?} known {known} crashes {crashes} ids {}", reader.decode, config.event_ids_max)
}

fn shard_checks(shard: &Shard, now_ms: i64) -> [Check; 2] {
    let (short, figures) = (shard.context.shard.short(), &shard.context.figures);
    let holds = figures.holds();
    let read_at_ms = figures.read_at_ms();
    let silent_ms = now_ms.saturating_sub(read_at_ms);
    let ok = figures::is_read(&shard.context.figures, now_ms);
    let cause = holds.starting.or(holds.reading).map(|held| format!(": {}", held.cause)).unwrap_or_default();
    let why = match (ok, read_at_ms) {
        (true, _) => String::new(),
        (false, 0) => format!("not read yet{cause}"),
        (false, _) => format!("last read {} s ago{cause}", silent_ms / 1000),
    };
    let read = Check { name: format!("shard {short} is read"), ok, why };
    let failing = holds.uploading.filter(|held| now_ms.saturating_sub(held.since_ms) > SILENCE_MS_MAX);
    let why = failing.map(|held| format!("for {} s: {}", (now_ms - held.since_ms) / 1000, held.cause));
    let stored = Check { name: format!("shard {short} is stored"), ok: why.is_none(), why: why.unwrap_or_default() };
    [read, stored]
}

fn table_check(seen_ms: i64, now_ms: i64) -> Check {
    // Before the first look the worker has not begun.
    let silent_ms = if seen_ms == 0 { 0 } else { now_ms.saturating_sub(seen_ms) };
    let ok = silent_ms < SILENCE_MS_MAX;
    let why = if ok { String::new() } else { format!("last read {} s ago", silent_ms / 1000) };
    Check { name: "the lease table is read".to_owned(), ok, why }
}

fn trouble_check((trouble, why): (Trouble, String)) -> Check {
    let name = match trouble {
        Trouble::Fenced => "the lease table can be written".to_owned(),
        Trouble::GivenUp(shard) => format!("shard {} works here", shard.short()),
        Trouble::Trimmed(shard) => format!("shard {} was read in time", shard.short()),
        Trouble::Orphan(shard) => format!("shard {} has a lease", shard.short()),
    };
    Check { name, ok: false, why }
}

/// Finds out now what would else fail an hour later.
async fn check(ports: &WorkerPorts) -> Result<(), WorkerError> {
    ports.stream.shards().await.map_err(|error| match error.failure {
        Failure::NotFound => WorkerError::NoStream(error),
        _ => unreachable_service("stream.name", error),
    })?;
    ports.objects.check().await.map_err(|error| match error.failure {
        Failure::NotFound => WorkerError::NoBucket(error),
        _ => unreachable_service("bucket.name", error),
    })?;
    ports.leases.ensure().await.map_err(|error| unreachable_service("leases.table", error))
}

fn unreachable_service(key: &'static str, error: CallError) -> WorkerError {
    const FIX: &str = "Check the network, the credentials, aws.region and aws.endpoint_url";
    WorkerError::Unreachable { key, error, fix: FIX }
}

async fn claim_name(config: &WorkerConfig, ports: &WorkerPorts, mine: Option<&str>) -> Result<Heartbeat, WorkerError> {
    // Time for a living namesake to beat.
    let watch_for = config.leases.heartbeat_interval.mul_f64(1.5);
    let claimed = leases::claim(&ports.leases, &config.worker_id, &config.address, mine, watch_for).await;
    claimed.map_err(|error| match error {
        LeaseError::Call(error) => unreachable_service("leases.table", error),
        error => WorkerError::Name(error),
    })
}

fn leases_box(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    (owned, figures, keys): (&Owned, &Arc<LeaseFigures>, &Keys),
    address: &LeasesAddress,
    heartbeat: Heartbeat,
) -> ChildSpec {
    let (config, ports, keys) = (config.clone(), ports.clone(), keys.clone());
    let (owned, figures, address) = (owned.clone(), figures.clone(), address.clone());
    // The first incarnation has what was claimed at the start; the others claim again.
    let incarnation = heartbeat.row().incarnation.clone();
    let names = Arc::new(Mutex::new((Some(heartbeat), incarnation)));
    let start = move |context: StartContext| {
        let (config, ports, names, keys) = (config.clone(), ports.clone(), names.clone(), keys.clone());
        let (owned, figures, address) = (owned.clone(), figures.clone(), address.clone());
        async move {
            let (claimed, mine) = {
                let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                (names.0.take(), names.1.clone())
            };
            let heartbeat = match claimed {
                Some(heartbeat) => heartbeat,
                None => claim_name(&config, &ports, Some(&mine)).await.map_err(|error| match error {
                    error @ WorkerError::Name(_) => StartError::is_final(error),
                    error => StartError::failed(error),
                })?,
            };
            names.lock().unwrap_or_else(PoisonError::into_inner).1 = heartbeat.row().incarnation.clone();
            let args = LeasesArgs {
                worker_id: config.worker_id.as_str().into(),
                heartbeat,
                table: ports.leases.clone(),
                stream: ports.stream.clone(),
                objects: ports.objects.clone(),
                keys,
                clock: ports.clock.clone(),
                faults: ports.faults.clone(),
                owned,
                figures,
                node: context.node.clone(),
            };
            let leases = context.spawn(LeasesActor { config: config.leases.clone() }, args).await?;
            address.set(ActorRef::from(leases.clone()));
            Ok(leases)
        }
    };
    ChildSpec::new("leases", "leases", start).draining_by(say_goodbye)
}

async fn say_goodbye(leases: ActorCell, within: Duration) {
    // Out of time: the others find out by themselves.
    let _ = ActorRef::<LeasesMsg>::from(leases).call(LeasesMsg::Goodbye, Some(within)).await;
}

fn shards_box(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    (owned, budget, keys): (&Owned, &Budget, &Keys),
    surroundings: Surroundings,
) -> ChildSpec {
    let rules = Arc::new(SensorRules::new(config.schema.clone(), config.event_ids_max));
    let make: Arc<dyn Fn(ShardInfo, u64) -> Shard + Send + Sync> = {
        let (config, ports, keys) = (config.clone(), ports.clone(), keys.clone());
        let share = (budget.clone(), LiveSensors::new(config.shard.sensors.live_max));
        Arc::new(move |info, counter| shard((info, counter), &config, &ports, (&share, &keys), &rules))
    };
    let (owned, config) = (owned.clone(), config.clone());
    // Its shards are killed, not waited for.
    let stop_timeout = config.supervisor.stop_timeout;
    let start = move |context: StartContext| {
        let (make, owned, surroundings) = (make.clone(), owned.clone(), surroundings.clone());
        let actor =
            ShardsActor { config: config.supervisor.clone(), surroundings, handover_timeout: config.handover_timeout };
        async move {
            let (alerts, leases) = (context.address("alerts")?, context.address("leases")?);
            let args = ShardsArgs { make, owned, alerts, leases, node: context.node.clone() };
            context.spawn(actor, args).await
        }
    };
    ChildSpec::new("shards", "shards", start).draining_by(drain_shards).stopping_within(stop_timeout)
}

fn shard(
    (info, counter): (ShardInfo, u64),
    config: &WorkerConfig,
    ports: &WorkerPorts,
    ((budget, live), keys): (&(Budget, LiveSensors), &Keys),
    rules: &Arc<SensorRules>,
) -> Shard {
    let context = ShardContext {
        leaving: Arc::default(),
        shard: info.shard.clone(),
        hash_range: hash_range(&info),
        stream: ports.stream.name().into(),
        keys: keys.clone(),
        schema: config.schema.clone(),
        clock: ports.clock.clone(),
        chance: ports.chance.clone(),
        work: ports.work,
        faults: ports.faults.clone(),
        figures: Arc::new(ShardFigures::default()),
        traces: ports.traces.of_shard(ports.stream.name(), info.shard.as_str()),
    };
    let ports = ShardPorts {
        stream: ports.stream.clone(),
        objects: ports.objects.clone(),
        leases: ports.leases.clone(),
        budget: budget.clone(),
        live: live.clone(),
        rules: rules.clone(),
        worker_id: config.worker_id.as_str().into(),
    };
    Shard::new(context, config.shard.clone(), ports, counter)
}

/// Without a range nothing is kept out: all of an aggregate is then read.
fn hash_range(info: &ShardInfo) -> HashRange {
    let (start, end) = &info.hash_range;
    HashRange::parse(start, end).unwrap_or_else(|error| {
        warn!(shard = %info.shard, %error, "the shard's hash range is unknown: aggregates are read whole");
        HashRange::FULL
    })
}

fn alerts(
    config: &WorkerConfig,
    ports: &WorkerPorts,
    figures: &Arc<AlertFigures>,
    recent: &Arc<RecentAlerts>,
) -> ChildSpec {
    let (config, transports, clock) = (config.alerts.clone(), ports.transports.clone(), ports.clock.clone());
    let (figures, recent, chance) = (figures.clone(), recent.clone(), ports.chance.clone());
    let traces = ports.traces.clone();
    let start = move |context: StartContext| {
        let args = AlertsArgs {
            transports: transports.clone(),
            clock: clock.clone(),
            chance: chance.clone(),
            figures: figures.clone(),
            recent: recent.clone(),
            traces: traces.clone(),
            node: context.node.clone(),
        };
        let actor = AlertsActor { config: config.clone() };
        async move { context.spawn(actor, args).await }
    };
    ChildSpec::new("alerts", "alerts", start).draining_by(directory::flush_alerts)
}

fn loader(config: &WorkerConfig, ports: &WorkerPorts, (loading, loader): (Loading, LoaderConfig)) -> ChildSpec {
    let (leases, chance, worker_id) = (ports.leases.clone(), ports.chance.clone(), config.worker_id.clone());
    let start = move |context: StartContext| {
        let args = LoaderArgs {
            worker_id: worker_id.as_str().into(),
            loading: loading.clone(),
            leases: leases.clone(),
            chance: chance.clone(),
            node: context.node.clone(),
        };
        let actor = LoaderActor { config: loader.clone() };
        async move { context.spawn(actor, args).await }
    };
    ChildSpec::new("loader", "loader", start).draining_by(let_another_load)
}

async fn let_another_load(loader: ActorCell, within: Duration) {
    // Out of time: the others find out by themselves.
    let _ = ActorRef::<LoaderMsg>::from(loader).call(LoaderMsg::Goodbye, Some(within)).await;
}
