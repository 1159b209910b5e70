//! This worker's part in the cluster: says that it lives, watches the others, and decides which shards to work on.
//!
//! **Owns** the worker's heartbeat row, and what it knows of shards and workers.
//!
//! **Promises**
//! - OWNER: a shard is taken only from nobody, or from a worker that this one has watched being silent for the failover
//!   time; whether it works out, the row's own condition decides.
//! - A worker whose heartbeat cannot be written ends its shards before others may think it dead.
//! - LIVE: a shard that makes no progress is given up, so that another worker tries.
//! - A worker that has committed nothing takes one shard and no more until it has (`leases/trial.rs`).
//! - BOUNDED: one heartbeat a second, looks at the table within `read_units_max`, hand-overs within a limit per minute.
//!
//! **Fails** by stopping, and all shards with it: they hold its address. Its restart takes them again.
//!
//! **Not here**: who is alive, who should own what, what may be read: plain Rust in `leases/`. Moving checkpoints.

mod assignment;
mod beating;
mod claim;
mod discovery;
mod due;
mod ending;
mod figures;
mod holdings;
mod lineage;
mod listing;
mod observer;
mod request;
mod seen;
#[cfg(test)]
mod tests;
mod trial;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use actors::keys::Keys;
use actors::node::{Address, Node};
use actors::ports::aws::CallError;
use actors::ports::clock::Clock;
use actors::ports::faults::Faults;
use actors::ports::leases::{Heartbeat, Home, LeaseError, LeaseRows, LeaseTable, LeaseView};
use actors::ports::objects::Objects;
use actors::ports::stream::{ShardInfo, Stream};
use messages::{Position, ShardId};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

pub use self::assignment::Rules;
use self::assignment::{Situation, orders};
pub use self::claim::{claim, watch_for};
use self::discovery::{Begins, Places, discover};
use self::due::Due;
pub use self::figures::{LeaseFigures, LeaseFinding};
use self::holdings::{Holdings, Step};
use self::lineage::ListedShards;
use self::observer::Observer;
pub use self::observer::Patience;
pub use self::seen::{LeasesSeen, ShardSeen, WorkerSeen};
use self::trial::Trial;
use self::watching::Pace;
use crate::owned::Owned;
use crate::protocol::{LeasesMsg, ShardFailure, ShardsMsg};
use crate::shard::StreamStart;

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(50);
/// For how long a shard that failed is kept from being taken again while its row cannot be written.
const GIVING_UP_MAX: Duration = Duration::from_secs(10);

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct LeasesConfig {
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// When silence means death.
    pub patience: Patience,
    /// Time between two looks at the table, if it is small.
    pub scan_interval: Duration,
    /// DynamoDB read units a second that looking may cost; a large table is looked at less often.
    pub read_units_max: f64,
    /// Time between two listings of the stream's shards.
    pub discover_interval: Duration,
    /// A shard in which nothing moves for this long is given up.
    pub stuck_after: Duration,
    /// Shards that this worker hands over in a minute to make the loads even.
    pub handovers_per_minute: usize,
    /// The longest that a shard which failed here again and again is left to others.
    pub give_up_pause_max: Duration,
    /// The rules of who should own what.
    pub rules: Rules,
    /// Where shards begin that nobody has read.
    pub start: StreamStart,
}

impl LeasesConfig {
    /// After this long without a written heartbeat the worker stops working: others may soon think it dead.
    fn fence_after(&self) -> Duration {
        self.patience.worker.mul_f64(2.0 / 3.0)
    }
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct LeasesArgs {
    /// The worker's name on leases.
    pub worker_id: Arc<str>,
    /// The heartbeat row, claimed.
    pub heartbeat: Heartbeat,
    /// The lease table.
    pub table: LeaseTable,
    /// Which stream and bucket it is of.
    pub home: Arc<Home>,
    /// The stream.
    pub stream: Stream,
    /// The bucket.
    pub objects: Objects,
    /// What is known of the stream's keys.
    pub keys: Keys,
    /// The wall clock.
    pub clock: Clock,
    /// Mutants; none outside tests.
    pub faults: Faults,
    /// The shards that this worker works on.
    pub owned: Owned,
    /// What others ask.
    pub figures: Arc<LeaseFigures>,
    /// This actor's node.
    pub node: Arc<Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct LeasesActor {
    /// Times and limits.
    pub config: LeasesConfig,
}

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct LeasesState {
    args: LeasesArgs,
    myself: Address<LeasesMsg>,
    began: Instant,
    shards: Option<ActorRef<ShardsMsg>>,
    observer: Observer,
    listed: Option<ListedShards>,
    /// Rows of shards that the last listing did not have: they need no other one.
    unlisted: BTreeSet<ShardId>,
    rows: LeaseRows,
    /// Readable shards without a living owner, as of the last look that counted.
    unowned: usize,
    holdings: Holdings,
    /// How far this process has come.
    trial: Trial,
    skip_trimmed: bool,
    /// When what was seen was last copied for people.
    shown_at: Option<Instant>,
    beat: Due,
    scan: Due,
    /// Looks at the heartbeats alone, between those at the table.
    watch: Due,
    /// Whether there are such.
    watches: bool,
    discovery: Due,
    /// When the last heartbeat that was written had begun.
    beaten_at: Instant,
    /// When the last listing of shards that succeeded had begun.
    listed_at: Option<Instant>,
    /// When the shards' samples were last compared.
    compared_at: Option<Instant>,
    /// When a shard was last found to have ended: its children may not be listed yet.
    finished_at: Option<Instant>,
    /// What was said already, so that it is said once.
    reported: BTreeMap<String, ()>,
    /// What this actor started and must not outlive it.
    tasks: JoinSet<()>,
}

impl Actor for LeasesActor {
    type Msg = LeasesMsg;
    type State = LeasesState;
    type Arguments = LeasesArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<LeasesMsg>,
        args: LeasesArgs,
    ) -> Result<LeasesState, ActorProcessingErr> {
        let (now, holdings) = (Instant::now(), Holdings::new(&args.faults));
        let myself = Address::new(myself, args.node.clone());
        myself.send(LeasesMsg::Tick)?;
        // Before the first look: whoever asks in between is not to be told that all is well.
        let trial = Trial::new(now);
        args.figures.proves(trial.lacks(None, now));
        Ok(LeasesState {
            observer: Observer::new(&args.worker_id, self.config.patience, &args.faults),
            args,
            myself,
            began: now,
            shards: None,
            listed: None,
            unlisted: BTreeSet::new(),
            rows: LeaseRows::default(),
            unowned: 0,
            holdings,
            trial,
            skip_trimmed: self.config.rules.skip_trimmed,
            shown_at: None,
            // The claim was the first.
            beat: Due::at(now + self.config.heartbeat_interval),
            scan: Due::at(now),
            watch: Due::at(now),
            watches: false,
            discovery: Due::at(now),
            beaten_at: now,
            listed_at: None,
            compared_at: None,
            finished_at: None,
            reported: BTreeMap::new(),
            tasks: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<LeasesMsg>,
        message: LeasesMsg,
        state: &mut LeasesState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.args.node.clone();
        let _handling = node.handling();
        while state.tasks.try_join_next().is_some() {}
        match message {
            LeasesMsg::Attach(shards) => state.on_attach(shards),
            LeasesMsg::Tick => state.on_tick(&self.config),
            LeasesMsg::Beaten(began, heartbeat, written) => state.on_beaten(began, heartbeat, written, &self.config)?,
            LeasesMsg::Scanned(began, result) => state.on_scanned(began, result, &self.config),
            LeasesMsg::Watched(began, asked_for, result) => {
                state.on_watched(began, &asked_for, result, &self.config);
            }
            LeasesMsg::Discovered(began, result) => state.on_discovered(began, result, &self.config),
            LeasesMsg::Rehearsed(result) => state.on_rehearsed(result),
            LeasesMsg::Ended(shard, ending) => state.on_ended(&shard, ending, &self.config),
            LeasesMsg::GaveUp(shard, result) => state.on_gave_up(&shard, result),
            LeasesMsg::HandOver(shard, reply) => {
                let _ = reply.send(state.on_hand_over(shard));
            }
            LeasesMsg::Leave => state.on_leave(),
            LeasesMsg::Goodbye(reply) => state.on_goodbye(reply).await,
        }
        Ok(())
    }
}

impl LeasesState {
    /// The shards have been started, perhaps again: nothing of what ran before does.
    fn on_attach(&mut self, shards: ActorRef<ShardsMsg>) {
        self.shards = Some(shards);
        self.holdings.emptied(self.began.elapsed());
        self.args.owned.settle(0);
    }

    fn on_tick(&mut self, config: &LeasesConfig) {
        let now = Instant::now();
        // Before anything else: the process may have been asleep for longer than others wait.
        self.fence_if_due(now, config);
        if self.beat.begins(now) {
            self.begin_beat(now, config);
        }
        if self.scan.begins(now) {
            let (table, limit) = (self.args.table.clone(), config.patience.worker);
            self.begin(limit, async move { table.scan().await }, move |result| {
                LeasesMsg::Scanned(now, result.unwrap_or_else(|_| Err(out_of_time("scan the lease table"))))
            });
        }
        self.watch_if_due(now, config);
        // What shards begin with hangs on what the table has: it is looked at first.
        if self.shown_at.is_some() && self.discovery.begins(now) {
            let places = Places {
                table: self.args.table.clone(),
                stream: self.args.stream.clone(),
                objects: self.args.objects.clone(),
                home: self.args.home.clone(),
            };
            let known = self.rows.leases.keys().cloned().collect();
            let begins = Begins {
                start: config.start,
                begun: self.rows.leases.values().any(|row| row.epoch.0 > 0 || row.checkpoint != Position::TrimHorizon),
                now_ms: self.args.clock.now_ms(),
            };
            let work = async move { discover(&places, known, begins).await };
            self.begin(config.discover_interval * 2, work, move |result| {
                let late = || Err(LeaseError::Call(out_of_time("list the stream's shards")));
                LeasesMsg::Discovered(now, result.unwrap_or_else(|_| late()))
            });
        }
        self.rehearse_if_due(now);
        self.myself.send_after(TICK, LeasesMsg::Tick);
    }

    fn begin<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
        message: impl FnOnce(Result<T, tokio::time::error::Elapsed>) -> LeasesMsg + Send + 'static,
    ) {
        let myself = self.myself.clone();
        self.tasks.spawn(async move {
            let result = timeout(limit, work).await;
            // If the actor has ended, its successor asks again.
            let _ = myself.send(message(result));
        });
    }

    fn on_scanned(&mut self, began: Instant, result: Result<LeaseRows, CallError>, config: &LeasesConfig) {
        let rows = match result {
            Ok(rows) => rows,
            Err(error) => {
                self.args.figures.call_failed("scan", &error.into());
                return self.scan.ended(Instant::now() + config.scan_interval);
            }
        };
        let Pace { scan, watches } = Pace::after(rows.read_units, rows.workers.len() > 1, config);
        self.watches = watches;
        self.scan.ended(began + scan);
        self.observer.see(&rows, began.duration_since(self.began), self.began.elapsed());
        self.rows = rows;
        self.show(began);
        self.report_bad_rows();
        self.args.figures.call_passed("scan");
        self.forget_what_has_passed();
        self.forget_refusals();
        self.watch_trial();
        self.list_again_for_new_rows();
        self.compare_samples(config);
        self.watch_progress(config);
        self.end_strays(began, config);
        self.assign(began, config);
    }

    /// Another worker has found new shards: this one must know them too before it can take any.
    fn list_again_for_new_rows(&mut self) {
        let Some(listed) = &self.listed else { return };
        let is_new = |shard: &&ShardId| !listed.contains_key(*shard) && !self.unlisted.contains(*shard);
        if self.rows.leases.keys().any(|shard| is_new(&shard)) {
            self.discovery.soon();
        }
    }

    fn assign(&mut self, began: Instant, config: &LeasesConfig) {
        let (Some(listed), Some(shards)) = (&self.listed, &self.shards) else { return };
        let seen_at = began.duration_since(self.began);
        if !self.holdings.counts(seen_at) {
            return;
        }
        let orders = orders(&Situation {
            me: &self.args.worker_id,
            rows: &self.rows,
            listed,
            observer: &self.observer,
            standing: self.standing(began),
            running: self.holdings.running(),
            rules: config.rules,
            faults: &self.args.faults,
        });
        let all_listed = self.listed_at >= self.finished_at;
        self.args.figures.saw_unowned(orders.unowned);
        self.unowned = orders.unowned;
        let settled = orders.unowned == 0 && all_listed && lineage::missing(listed, &self.rows).is_empty();
        let began_ms = self.args.clock.now_ms() - began.elapsed().as_millis() as i64;
        self.args.owned.settle(if settled { began_ms } else { 0 });
        let alone = self.observer.candidates().count() < 2;
        for step in self.holdings.steps(orders, (seen_at, self.began.elapsed()), alone, config) {
            match step {
                Step::Take { shard, counter, runs } => self.take(listed, shards, (shard, counter), runs),
                Step::HandOver(shard) => {
                    info!(%shard, "handing a shard over");
                    let _ = shards.send_message(ShardsMsg::HandOver(shard));
                }
            }
        }
    }

    fn take(&self, listed: &ListedShards, shards: &ActorRef<ShardsMsg>, (shard, counter): (ShardId, u64), runs: bool) {
        let row = self.rows.leases.get(&shard);
        let owner = row.and_then(|row| row.owner.as_deref());
        if !runs {
            info!(%shard, from = owner.unwrap_or("nobody"), "taking a shard");
        }
        if owner.is_some_and(|owner| owner != &*self.args.worker_id) {
            self.args.figures.took_over();
        }
        let parents = row.map(|row| row.parents.clone()).unwrap_or_default();
        let unlisted = || ShardInfo { shard: shard.clone(), parents, hash_range: Default::default(), closed: true };
        let info = listed.get(&shard).cloned().unwrap_or_else(unlisted);
        // Shards that have ended are attached again, and nothing runs then.
        let _ = shards.send_message(ShardsMsg::Start { info, counter });
    }

    /// LIVE: what hangs is given up. Its lease is not kept alive by a heartbeat that knows nothing of it.
    fn watch_progress(&mut self, config: &LeasesConfig) {
        let Some(shards) = &self.shards else { return };
        for shard in self.args.owned.all() {
            let stalled = shard.context.progress.stalled_for();
            if self.holdings.hangs(stalled, config) {
                let hangs = ShardFailure::Hangs(stalled);
                let _ = shards.send_message(ShardsMsg::GiveUp(shard.context.shard.clone(), hangs));
            }
        }
    }

    /// OWNER: what another worker has is not worked on here, also if nothing comes that would have to be written.
    fn end_strays(&mut self, began: Instant, config: &LeasesConfig) {
        // The clock by which silence is counted.
        let asked = began.duration_since(self.began);
        let me = Some(&*self.args.worker_id);
        let theirs = |row: &&LeaseView| {
            row.owner.is_some() && ![row.owner.as_deref(), row.checkpoint_owner.as_deref()].contains(&me)
        };
        let rows = self.rows.leases.values().filter(theirs).filter(|row| self.observer.owner_is_alive(row));
        let strays = self.holdings.strays(rows.map(|row| &row.shard).collect(), asked, config);
        let Some(shards) = &self.shards else { return };
        for shard in strays {
            warn!(%shard, "another worker has the shard: it is ended here");
            let _ = shards.send_message(ShardsMsg::Lost(shard));
        }
    }

    fn look_again(&mut self) {
        self.scan.soon();
    }

    fn on_leave(&mut self) {
        self.holdings.end();
        self.args.figures.leaves();
        self.beat.at = Instant::now();
    }

    async fn on_goodbye(&mut self, reply: RpcReplyPort<()>) {
        self.holdings.end();
        self.args.figures.leaves();
        // No beat may come after the goodbye.
        self.tasks.shutdown().await;
        self.beat.under_way = true;
        log_failure(self.args.heartbeat.clone().end().await);
        let _ = reply.send(());
    }
}

fn log_failure<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        warn!(%error, "the lease table was not written; it is tried again");
    }
}

fn out_of_time(action: &str) -> CallError {
    CallError::new(action, actors::ports::aws::Failure::Transient, "no answer in time")
}
