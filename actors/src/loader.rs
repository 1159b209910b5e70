//! Loads committed epochs into the warehouse; one worker of the cluster does, the others stand by.
//!
//! **Owns** the right to load, by a row of the lease table, and the pace of loading.
//!
//! **Promises** one load is under way at most; what waits stays in the lake (BOUNDED); an owner that stands still for
//! `failover_after`, by the clock of whoever watches, is followed by another (LIVE). That two may load at once for a
//! moment costs work and nothing else: the ledger decides (CLEAN-ONCE).
//!
//! **Fails** by stopping, at any point of a load: the next one asks the ledger. The warehouse's own failures are waited
//! out here.
//!
//! **Not here**: a load itself (`loading.rs`).

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::loading::{LoadError, Loading, PAUSE_MIN, Turn, Watch, pause_after};
use crate::metrics;
use crate::node::{Address, Node};
use crate::panics::panic_text;
use crate::ports::chance::Chance;
use crate::ports::leases::{LeaseError, LeaseTable, LoaderLease, LoaderRow};
use crate::ports::warehouse::Trouble;
use crate::warehouse::pace::Pace;

/// Standing still is looked for this often in the time after which it counts.
const BEATS: u32 = 4;

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// From the beginning of one load to that of the next, unless more waits.
    pub load_interval: Duration,
    /// Longest pause after a failure.
    pub backoff_max: Duration,
    /// An owner that stands still for longer is followed by another.
    pub failover_after: Duration,
    /// A turn that takes longer hangs.
    pub turn_max: Duration,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct LoaderArgs {
    /// The name on the row.
    pub worker_id: Arc<str>,
    /// What loads.
    pub loading: Loading,
    /// The lease table.
    pub leases: LeaseTable,
    /// For the jitter of retries.
    pub chance: Chance,
    /// This box's node.
    pub node: Arc<Node>,
}

/// The protocol of the loader.
#[derive(Debug)]
pub enum LoaderMsg {
    /// From its timer: say that it lives, or look whether another does.
    Beat,
    /// From its timer: load.
    Turn,
    /// From its task: what the turn of this number did.
    TurnEnded(u64, Ended),
    /// Let another load; answer when it may.
    Goodbye(RpcReplyPort<()>),
}

/// How a turn ended.
#[derive(Debug)]
pub struct Ended {
    pace: Pace,
    /// None after a panic: then it looks again.
    watch: Watch,
    result: Result<Turn, String>,
    /// None for a panic.
    trouble: Option<Trouble>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct LoaderActor {
    /// Its times.
    pub config: LoaderConfig,
}

/// The live part; lost in a crash.
#[derive(Debug)]
pub struct LoaderState {
    config: LoaderConfig,
    args: LoaderArgs,
    name: String,
    myself: Address<LoaderMsg>,
    /// The right to load, and when it was last renewed.
    lease: Option<(LoaderLease, Instant)>,
    /// The row of whoever else loads, and since when it has stood so.
    seen: Option<(LoaderRow, Instant)>,
    /// The number and the beginning of the turn that is under way.
    under_way: Option<(u64, Instant)>,
    turns: u64,
    pace: Pace,
    /// What was last seen of the metadata.
    watch: Watch,
    /// Whether the tables are known to fit.
    fits: bool,
    failures: u32,
    leaving: bool,
    /// What this actor started and must not outlive it.
    tasks: JoinSet<()>,
}

/// The loader cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// A turn hangs.
    #[error("a load has not ended within {0:?}")]
    Hangs(Duration),
    /// A turn panicked.
    #[error("a load panicked: {0}")]
    Panicked(String),
}

impl Actor for LoaderActor {
    type Msg = LoaderMsg;
    type State = LoaderState;
    type Arguments = LoaderArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<LoaderMsg>,
        args: LoaderArgs,
    ) -> Result<LoaderState, ActorProcessingErr> {
        let myself = Address::new(myself, args.node.clone());
        metrics::warehouse_begins();
        myself.send(LoaderMsg::Beat)?;
        args.loading.figures().set_active(false);
        Ok(LoaderState {
            config: self.config.clone(),
            name: args.loading.name(),
            pace: args.loading.pace(),
            args,
            myself,
            lease: None,
            seen: None,
            under_way: None,
            turns: 0,
            watch: Watch::default(),
            fits: false,
            failures: 0,
            leaving: false,
            tasks: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<LoaderMsg>,
        message: LoaderMsg,
        state: &mut LoaderState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.args.node.clone();
        let _handling = node.handling();
        while state.tasks.try_join_next().is_some() {}
        match message {
            LoaderMsg::Beat => state.on_beat().await?,
            LoaderMsg::Turn => state.on_turn(),
            LoaderMsg::TurnEnded(number, ended) => state.on_turn_ended(number, ended)?,
            LoaderMsg::Goodbye(reply) => state.on_goodbye(reply).await,
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<LoaderMsg>, state: &mut LoaderState) -> Result<(), ActorProcessingErr> {
        state.args.loading.figures().set_active(false);
        Ok(())
    }
}

impl LoaderState {
    async fn on_beat(&mut self) -> Result<(), LoaderError> {
        if self.leaving {
            return Ok(());
        }
        // Beating says that loads go on: one that hangs must not be hidden by it.
        if self.under_way.is_some_and(|(_, began)| began.elapsed() > self.config.turn_max) {
            return Err(LoaderError::Hangs(self.config.turn_max));
        }
        match self.lease.take() {
            Some((lease, renewed)) => self.renew(lease, renewed).await,
            None => self.stand_by().await,
        }
        self.myself.send_after(self.config.failover_after / BEATS, LoaderMsg::Beat);
        Ok(())
    }

    async fn renew(&mut self, mut lease: LoaderLease, renewed: Instant) {
        match lease.beat().await {
            Ok(()) => self.lease = Some((lease, Instant::now())),
            Err(LeaseError::Call(error)) if renewed.elapsed() < self.config.failover_after * 2 / 3 => {
                warn!(%error, "the loader's row cannot be renewed, trying again");
                self.lease = Some((lease, renewed));
            }
            Err(error) => {
                warn!(%error, "loads no more");
                self.stop_loading();
            }
        }
    }

    /// Looks at the row, and takes it if nobody loads.
    async fn stand_by(&mut self) {
        let row = match self.args.leases.loader(&self.name).await {
            Ok(row) => row,
            Err(error) => return warn!(%error, "the loader's row cannot be read, trying again"),
        };
        // A worker's name belongs to one living process: its own row was left by an incarnation that is dead.
        let own = |row: &LoaderRow| *row.owner == *self.args.worker_id;
        if let Some(row) = row.as_ref().filter(|row| !row.released && !own(row)) {
            let known = self.seen.as_ref().filter(|(seen, _)| seen == row);
            let since = known.map_or_else(Instant::now, |(_, since)| *since);
            self.seen = Some((row.clone(), since));
            if since.elapsed() < self.config.failover_after {
                return;
            }
        }
        match self.args.leases.take_loader(&self.name, &self.args.worker_id, row.as_ref()).await {
            Ok(Some(lease)) => {
                self.args.loading.faults().hit("loader.taken", "");
                info!(warehouse = self.name, before = row.map(|row| row.owner), "loads the warehouse");
                (self.lease, self.seen) = (Some((lease, Instant::now())), None);
                self.args.loading.figures().set_active(true);
                self.next(Duration::ZERO);
            }
            // Somebody was faster.
            Ok(None) => {}
            Err(error) => warn!(%error, "the loader's row cannot be taken, trying again"),
        }
    }

    fn stop_loading(&mut self) {
        self.tasks.abort_all();
        (self.lease, self.seen, self.under_way, self.fits) = (None, None, None, false);
        // Whoever loads in between may put something else in force.
        self.watch = Watch::default();
        self.args.loading.figures().set_active(false);
    }

    fn next(&self, pause: Duration) {
        if pause.is_zero() {
            // An actor that is ending has no use for it.
            let _ = self.myself.send(LoaderMsg::Turn);
        } else {
            self.myself.send_after(pause, LoaderMsg::Turn);
        }
    }

    fn on_turn(&mut self) {
        if self.lease.is_none() || self.under_way.is_some() || self.leaving {
            return;
        }
        self.turns += 1;
        let number = self.turns;
        self.under_way = Some((number, Instant::now()));
        let (loading, fits, myself) = (self.args.loading.clone(), self.fits, self.myself.clone());
        let (mut pace, mut watch) = (self.pace.clone(), self.watch.clone());
        self.tasks.spawn(async move {
            let turn = async {
                if !fits {
                    loading.ensure_tables().await?;
                }
                loading.refresh(&mut watch).await;
                loading.turn(&mut pace).await
            };
            let result: Result<Result<Turn, LoadError>, String> =
                std::panic::AssertUnwindSafe(turn).catch_unwind().await.map_err(|panic| panic_text(panic.as_ref()));
            let ended = match result {
                Ok(Ok(turn)) => Ended { pace, watch, result: Ok(turn), trouble: None },
                Ok(Err(error)) => Ended { pace, watch, trouble: Some(error.trouble()), result: Err(error.to_string()) },
                Err(panic) => Ended { pace, watch: Watch::default(), trouble: None, result: Err(panic) },
            };
            let _ = myself.send(LoaderMsg::TurnEnded(number, ended));
        });
    }

    fn on_turn_ended(&mut self, number: u64, ended: Ended) -> Result<(), LoaderError> {
        let Some((_, began)) = self.under_way.take_if(|(under_way, _)| *under_way == number) else {
            // Of a time when this worker loaded.
            return Ok(());
        };
        (self.pace, self.watch) = (ended.pace, ended.watch);
        match ended.result {
            // A cause that passes is given the time to.
            Ok(Turn::Refused { tries }) => {
                self.fits = true;
                self.next(self.args.chance.spread(pause_after(tries, self.config.backoff_max)));
            }
            Ok(turn) => {
                (self.failures, self.fits) = (0, true);
                self.args.loading.figures().went_well();
                let rest = self.config.load_interval.saturating_sub(began.elapsed());
                self.next(if turn == (Turn::Loaded { more: true }) { Duration::ZERO } else { rest.max(PAUSE_MIN) });
            }
            Err(error) => {
                let Some(trouble) = ended.trouble else { return Err(LoaderError::Panicked(error)) };
                self.args.loading.failed(trouble, &error);
                // Somebody may have changed the tables.
                self.fits &= trouble != Trouble::Denied;
                let pause = pause_after(self.failures, self.config.backoff_max);
                self.failures = self.failures.saturating_add(1);
                warn!(%error, trouble = trouble.as_str(), failures = self.failures, ?pause, "load failed, trying again");
                self.next(self.args.chance.spread(pause));
            }
        }
        Ok(())
    }

    /// A load that is under way is left to itself: whether it stood, the ledger tells the next loader.
    async fn on_goodbye(&mut self, reply: RpcReplyPort<()>) {
        self.leaving = true;
        let lease = self.lease.take();
        self.stop_loading();
        if let Some((lease, _)) = lease {
            self.args.loading.faults().hit("loader.released", "");
            if let Err(error) = lease.release().await {
                // The next one waits until it stands still.
                warn!(%error, "the loader's row could not be given up");
            }
        }
        let _ = reply.send(());
    }
}
