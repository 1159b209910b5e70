//! Loads committed epochs into the warehouse; one worker of the cluster does, the others stand by.
//!
//! **Owns** the right to load, by a row of the lease table, and the policy of loading.
//!
//! **Promises** one load is under way at most; what waits stays in the lake (BOUNDED); an owner that stands still for
//! `failover_after`, by the clock of whoever watches, is followed by another (LIVE). That two may load at once for a
//! moment costs work and nothing else: the ledger decides (CLEAN-ONCE).
//!
//! **Fails** by stopping, at any point of a load: the next one asks the ledger. The warehouse's own failures are waited
//! out here.
//!
//! **Not here**: who loads and when (`loader/turns.rs`); a load itself (`loading.rs`).

mod turns;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use self::turns::{Beat, Next, Turns};
use crate::loading::{LoadError, Loading, MetadataWatch, Turn};
use crate::metrics;
use crate::node::{Address, Node};
use crate::panics::Panicked;
use crate::ports::chance::Chance;
use crate::ports::leases::{LeaseError, LeaseTable, LoaderLease};
use crate::warehouse::load_policy::LoadPolicy;

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
    /// This actor's node.
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
    policy: LoadPolicy,
    watch: MetadataWatch,
    result: Result<Turn, TurnError>,
}

/// Why a turn did not go through.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Panicked(#[from] Panicked),
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
    began: Instant,
    turns: Turns,
    /// The row, while this worker has the right to load.
    lease: Option<LoaderLease>,
    policy: LoadPolicy,
    /// What was last seen of the metadata.
    watch: MetadataWatch,
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
    #[error("a load {0}")]
    Panicked(#[from] Panicked),
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
            policy: args.loading.policy(),
            args,
            myself,
            began: Instant::now(),
            turns: Turns::new(self.config.clone()),
            lease: None,
            watch: MetadataWatch::default(),
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
        match self.turns.beat(self.began.elapsed()) {
            Beat::Nothing => return Ok(()),
            Beat::Hangs => return Err(LoaderError::Hangs(self.config.turn_max)),
            Beat::Renew => self.renew().await,
            Beat::Look => self.stand_by().await,
        }
        self.myself.send_after(self.config.failover_after / BEATS, LoaderMsg::Beat);
        Ok(())
    }

    async fn renew(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        match lease.beat().await {
            Ok(()) => self.turns.holds(self.began.elapsed()),
            Err(LeaseError::Call(error)) if !self.turns.is_overdue(self.began.elapsed()) => {
                warn!(%error, "the loader's row cannot be renewed, trying again");
            }
            Err(error) => {
                warn!(%error, "loads no more");
                self.turns.lost();
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
        if !self.turns.is_free(row.as_ref(), &self.args.worker_id, self.began.elapsed()) {
            return;
        }
        match self.args.leases.take_loader(&self.name, &self.args.worker_id, row.as_ref()).await {
            Ok(Some(lease)) => {
                self.args.loading.faults().hit("loader.taken", "");
                info!(warehouse = self.name, before = row.map(|row| row.owner), "loads the warehouse");
                self.lease = Some(lease);
                self.turns.holds(self.began.elapsed());
                self.args.loading.figures().set_active(true);
                self.next(Next::After(Duration::ZERO));
            }
            // Somebody was faster.
            Ok(None) => {}
            Err(error) => warn!(%error, "the loader's row cannot be taken, trying again"),
        }
    }

    fn stop_loading(&mut self) {
        self.tasks.abort_all();
        self.lease = None;
        // Whoever loads in between may put something else in force.
        self.watch = MetadataWatch::default();
        self.args.loading.figures().set_active(false);
    }

    fn next(&self, next: Next) {
        match next {
            Next::After(Duration::ZERO) => {
                // An actor that is ending has no use for it.
                let _ = self.myself.send(LoaderMsg::Turn);
            }
            Next::After(pause) => self.myself.send_after(pause, LoaderMsg::Turn),
            Next::About(pause) => self.myself.send_after(self.args.chance.spread(pause), LoaderMsg::Turn),
        }
    }

    fn on_turn(&mut self) {
        let Some(number) = self.turns.begins(self.began.elapsed()) else { return };
        let (loading, fits, myself) = (self.args.loading.clone(), self.turns.fit(), self.myself.clone());
        let (mut policy, mut watch) = (self.policy.clone(), self.watch.clone());
        self.tasks.spawn(async move {
            let turn = async {
                if !fits {
                    loading.ensure_tables().await?;
                }
                loading.refresh(&mut watch).await;
                Ok::<_, TurnError>(loading.turn(&mut policy).await?)
            };
            let result = AssertUnwindSafe(turn).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| Err(Panicked::with(panic.as_ref()).into()));
            let _ = myself.send(LoaderMsg::TurnEnded(number, Ended { policy, watch, result }));
        });
    }

    fn on_turn_ended(&mut self, number: u64, ended: Ended) -> Result<(), LoaderError> {
        let Some(began) = self.turns.ended(number) else { return Ok(()) };
        (self.policy, self.watch) = (ended.policy, ended.watch);
        let next = match ended.result {
            Ok(turn) => {
                if !matches!(turn, Turn::Refused { .. }) {
                    self.args.loading.figures().went_well();
                }
                self.turns.went(&turn, began, self.began.elapsed())
            }
            Err(TurnError::Panicked(panicked)) => return Err(panicked.into()),
            Err(TurnError::Load(error)) => {
                let failure = error.failure();
                self.args.loading.failed(&error);
                let next = self.turns.failed(failure);
                let failures = self.turns.failures();
                warn!(%error, failure = failure.as_str(), failures, pause = ?next.pause(), "load failed, trying again");
                next
            }
        };
        self.next(next);
        Ok(())
    }

    /// A load that is under way is left to itself: whether it stood, the ledger tells the next loader.
    async fn on_goodbye(&mut self, reply: RpcReplyPort<()>) {
        let lease = self.lease.take();
        self.turns.leave();
        self.stop_loading();
        if let Some(lease) = lease {
            self.args.loading.faults().hit("loader.released", "");
            if let Err(error) = lease.release().await {
                // The next one waits until it stands still.
                warn!(%error, "the loader's row could not be given up");
            }
        }
        let _ = reply.send(());
    }
}
