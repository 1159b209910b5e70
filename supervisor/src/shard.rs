//! One shard as a list of actors, downstream first. A failure of any of them restarts all from the checkpoint.
//!
//! **Owns** how a shard's actors are put together, and what one incarnation of them shares.
//! **Promises** every incarnation begins with the lease row and the states that it names, read afresh.
//! **Not here**: what the actors do (`actors/`), when they restart (`supervision.rs`).

mod beginning;
mod resend;
mod start;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actors::aggregator::{AggregatorActor, AggregatorArgs, WindowsConfig};
use actors::agreement::{AgreementError, Disagreement, agree};
use actors::budget::Budget;
use actors::committer::{CommitterActor, CommitterArgs, CommitterConfig, Release};
use actors::node::{Address, Gone};
use actors::ports::backoff::Backoff;
use actors::ports::leases::{Advance, Home, Lease, LeaseError, LeaseRow, LeaseTable};
use actors::ports::objects::Objects;
use actors::ports::stream::Stream;
use actors::reader::{ReaderActor, ReaderArgs, ReaderConfig};
use actors::recovery::{self, Reads, Recovered, RecoveryError};
use actors::sensor::SensorRules;
use actors::sensors::{LiveSensors, SensorsActor, SensorsArgs, SensorsConfig};
use actors::shard::{Failing, Hold, ShardContext};
use actors::sinks::{SinksActor, SinksArgs, SinksConfig};
use actors::verdict::FailureVerdict;
use messages::{
    AlertsMsg, Caution, CommitterMsg, EpochNumber, EpochPlan, ReaderMsg, Receipts, SensorsMsg, ShardId, StateEntry,
    Suspect,
};
use ractor::{ActorCell, ActorRef};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use self::beginning::{Beginning, NotYet, has_ended, suspects};
pub use self::start::StreamStart;
use crate::supervision::{
    ChildSpec, StartContext, StartError, StartOnce, SupervisorArgs, SupervisorConfig, Surroundings,
};

/// How the actors of every shard are set up.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Reading.
    pub reader: ReaderConfig,
    /// Routing to sensors.
    pub sensors: SensorsConfig,
    /// Aggregating.
    pub aggregator: WindowsConfig,
    /// Writing.
    pub sinks: SinksConfig,
    /// Cutting and committing.
    pub committer: CommitterConfig,
    /// Whether a parent that the stream has forgotten before all of it was read counts as read.
    pub skip_trimmed: bool,
    /// Where shards begin that nobody has read.
    pub start: StreamStart,
}

/// What the actors of every shard reach.
#[derive(Clone, Debug)]
pub struct ShardPorts {
    /// The stream.
    pub stream: Stream,
    /// The bucket.
    pub objects: Objects,
    /// The lease table.
    pub leases: LeaseTable,
    /// Which stream and bucket that is.
    pub home: Arc<Home>,
    /// The worker's byte budget.
    pub budget: Budget,
    /// The worker's live sensors.
    pub live: LiveSensors,
    /// The rules of judging.
    pub rules: Arc<SensorRules>,
    /// The worker's name on leases.
    pub worker_id: Arc<str>,
}

/// One shard from being taken to being given up, over all its incarnations.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its identity.
    pub context: ShardContext,
    config: ShardConfig,
    ports: ShardPorts,
    /// The counter of the row when it was decided to take the shard.
    permit: u64,
    released: Arc<watch::Sender<Option<Release>>>,
    leaving: Arc<Notify>,
    committer: Arc<watch::Sender<Option<Address<CommitterMsg>>>>,
    held: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    refusal: Arc<OnceLock<Disagreement>>,
    sensors: Arc<watch::Sender<Option<Address<SensorsMsg>>>>,
}

/// What a shard has found of itself by its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardFate {
    /// How this worker has given it up in good order, if it has.
    pub release: Option<Release>,
    /// In what its lease row and the bucket disagree, if that keeps it from being read.
    pub refusal: Option<Disagreement>,
    /// Whether another worker was found to have it.
    pub lost: bool,
    /// Whether this worker has had the lease at all.
    pub held: bool,
}

/// What one incarnation of the actors goes on from: the lease, and what the bucket holds as of its checkpoint.
#[derive(Debug)]
struct ShardRecovery {
    lease: Lease,
    states: Recovered,
}

/// The actors of a shard, downstream first. To add an actor, add its name here, and its start to [`Shard::starts`].
const ACTORS: [&str; 5] = ["committer", "sinks", "aggregator", "sensors", "reader"];

/// Epochs whose alerts are being sent again.
type Unsettled = VecDeque<(EpochNumber, Receipts)>;

/// For how long a start waits for services; well below the time that a start may take.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(15);
const RECOVERY_BACKOFF_MIN: Duration = Duration::from_millis(200);
const RECOVERY_BACKOFF_MAX: Duration = Duration::from_secs(3);

/// A shard could not start.
#[derive(Debug, thiserror::Error)]
enum ShardError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Disagrees(#[from] Disagreement),
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("the lease row of {0} is gone; it was there a moment ago")]
    NoRow(ShardId),
    #[error(transparent)]
    NotYet(#[from] NotYet),
    #[error("a late write of this worker's own moved the lease row of {0}")]
    OwnLateWrite(ShardId),
    #[error("{0} is released already; only the answer to that was lost")]
    ReleasedAlready(ShardId, Release),
}

impl ShardError {
    fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Lease(error) => error.verdict(),
            Self::Recovery(error) => error.verdict(),
            Self::NotYet(_) | Self::OwnLateWrite(_) => FailureVerdict::Retry,
            Self::Disagrees(_) => FailureVerdict::Final,
            Self::Gone(_) | Self::NoRow(_) | Self::ReleasedAlready(..) => FailureVerdict::Restart,
        }
    }
}

impl Shard {
    /// A shard that has not started yet. `permit` is the counter of its row when it was decided to take it.
    pub fn new(context: ShardContext, config: ShardConfig, ports: ShardPorts, permit: u64) -> Self {
        let (released, leaving, committer, sensors) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        let (held, lost, refusal) = (Arc::default(), Arc::default(), Arc::default());
        Self { context, config, ports, permit, released, leaving, committer, held, lost, refusal, sensors }
    }

    /// The address of the shard's sensors, while they run.
    pub fn sensors(&self) -> Option<Address<SensorsMsg>> {
        self.sensors.borrow().clone()
    }

    /// Others wait for a commit of this shard: its open epoch is to end as soon as it has a record. A shard that does not
    /// run yet is to be asked again.
    pub fn hurry(&self) {
        if let Some(committer) = &*self.committer.borrow() {
            let _ = committer.send(CommitterMsg::Hurry);
        }
    }

    /// Set when this worker has given the shard up in good order.
    pub fn released(&self) -> watch::Receiver<Option<Release>> {
        self.released.subscribe()
    }

    /// Whether this worker has had the lease at all.
    pub fn was_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// What the shard has found of itself.
    pub fn fate(&self) -> ShardFate {
        ShardFate {
            release: *self.released.borrow(),
            refusal: self.refusal.get().cloned(),
            lost: self.lost.load(Ordering::Acquire),
            held: self.was_held(),
        }
    }

    /// A supervisor of the actors at this path. Each incarnation of them starts with what has been read afresh.
    pub fn supervised(
        &self,
        path: String,
        alerts: &Address<AlertsMsg>,
        config: SupervisorConfig,
        surroundings: Surroundings,
    ) -> SupervisorArgs {
        let (shard, alerts) = (self.clone(), alerts.clone());
        let prepare = move || {
            let (shard, alerts) = (shard.clone(), alerts.clone());
            async move { Ok(shard.starts(shard.begin().await?, &alerts).into_iter().collect()) }
        };
        SupervisorArgs::new(path, ACTORS.map(|name| self.child(name)).into(), config, surroundings).prepared_by(prepare)
    }

    fn child(&self, name: &'static str) -> ChildSpec {
        let shard = self.clone();
        let told = {
            let context = self.context.clone();
            move |cause: &str| context.outcome.fell(cause, context.clock.now_ms())
        };
        let spec = ChildSpec::prepared(name, name).telling(told);
        match name {
            "reader" => spec.draining_by(move |cell, within| shard.clone().drain(cell, within)),
            _ => spec,
        }
    }

    /// Takes the lease and reads the states, or says what keeps the shard from running.
    async fn begin(&self) -> Result<ShardRecovery, StartError> {
        self.context.rewound();
        self.context.traces.rewound();
        let error = match self.recover_patiently().await {
            Ok(recovery) => return Ok(recovery),
            Err(error) => error,
        };
        match &error {
            // The first is as good as the last: a shard that is refused ends here, and is looked at again afresh.
            ShardError::Disagrees(disagreement) => drop(self.refusal.set(disagreement.clone())),
            ShardError::Lease(LeaseError::Lost(_) | LeaseError::RowGone(_)) => self.lost.store(true, Ordering::Release),
            ShardError::ReleasedAlready(_, release) => drop(self.released.send_replace(Some(*release))),
            _ => {
                let now_ms = self.context.clock.now_ms();
                let lasting = error.verdict() != FailureVerdict::Retry;
                self.context.outcome.failed(Failing::Starting, &error.to_string(), lasting, now_ms);
                return Err(StartError::failed(error));
            }
        }
        Err(StartError::yields(error))
    }

    /// How the actors of this incarnation start, in the order of [`ACTORS`].
    fn starts(&self, recovery: ShardRecovery, alerts: &Address<AlertsMsg>) -> [StartOnce; ACTORS.len()] {
        let ShardRecovery { lease, states } = recovery;
        let (row, shard) = (lease.row.clone(), || self.clone());
        let plan = row.pending.as_ref().map(|pending| pending.plan.clone());
        let pinned = plan.as_ref().map(|plan| (plan.cut.epoch, plan.format));
        let (suspects, previous) = (suspects(&row), row.state_key.clone());
        let watermark_us = states.watermark_us.unwrap_or(i64::MIN);
        let windows = (states.windows, states.fields, watermark_us);
        let (now_ms, oldest_ms) = (self.context.clock.now_ms(), states.oldest_ms);
        self.context.figures.set_states_since(oldest_ms);
        let states_age = oldest_ms.map(|at_ms| Duration::from_millis(now_ms.saturating_sub(at_ms).max(0) as u64));
        let (committer, sinks, aggregator, sensors, reader) = (shard(), shard(), shard(), shard(), shard());
        let (sensor_alerts, alerts, suspected) = (alerts.clone(), alerts.clone(), suspects.clone());
        [
            Box::new(move |context| Box::pin(committer.start_committer(context, (lease, states_age), alerts))),
            Box::new(move |context| Box::pin(sinks.start_sinks(context, previous, pinned))),
            Box::new(move |context| Box::pin(aggregator.start_aggregator(context, windows))),
            Box::new(move |context| Box::pin(sensors.start_sensors(context, states.sensors, suspected, sensor_alerts))),
            Box::new(move |context| Box::pin(reader.start_reader(context, row, plan, suspects))),
        ]
    }

    async fn start_committer(
        self,
        context: StartContext,
        (lease, states_age): (Lease, Option<Duration>),
        alerts: Address<AlertsMsg>,
    ) -> Result<ActorCell, StartError> {
        let (resending, unsettled) = resend::resend(&self.context, &self.ports.objects, &lease.row, &alerts);
        let args = CommitterArgs {
            caution: Caution::after(lease.row.tries),
            context: self.context,
            lease,
            states_age,
            unsettled,
            resending,
            released: self.released,
            node: context.node.clone(),
        };
        let cell = context.spawn(CommitterActor { config: self.config.committer }, args).await?;
        let address = Address::new(ActorRef::from(cell.clone()), context.node.clone());
        self.committer.send_replace(Some(address));
        Ok(cell)
    }

    /// A service that is away for a moment must not use up the restarts that are meant for failing actors.
    async fn recover_patiently(&self) -> Result<ShardRecovery, ShardError> {
        let began = Instant::now();
        let mut backoff = Backoff::new(&self.context.chance, RECOVERY_BACKOFF_MIN, RECOVERY_BACKOFF_MAX);
        loop {
            match self.recover().await {
                Err(error) if error.verdict() == FailureVerdict::Retry && began.elapsed() < RECOVERY_PATIENCE => {
                    warn!(shard = %self.context.shard, %error, "recovery failed, trying again");
                    self.context.held_at_start(&error.to_string());
                    tokio::time::sleep(backoff.pause()).await;
                }
                outcome => {
                    self.context.figures.passed(Hold::Starting);
                    return outcome;
                }
            }
        }
    }

    /// Takes the lease, and reads the states that it names.
    async fn recover(&self) -> Result<ShardRecovery, ShardError> {
        let (shard, faults) = (&self.context.shard, &self.context.faults);
        let row = self.ports.leases.get(shard).await?.ok_or_else(|| ShardError::NoRow(shard.clone()))?;
        // OWNER: what is not ours yet is taken as it was seen when that was decided, or not at all.
        if row.owner.is_none() && self.was_held() {
            return Err(ShardError::ReleasedAlready(shard.clone(), Release::at(&row.checkpoint)));
        }
        let ours = row.owner.as_deref() == Some(&*self.ports.worker_id);
        if !ours && row.counter != self.permit {
            return Err(LeaseError::Lost(shard.clone()).into());
        }
        let parents = self.parents(&row).await?;
        let advance = self.agreed(&row).await?;
        let advanced = advance.as_ref().map(|to| (row.epoch, to.epoch, to.pending.is_some()));
        let row = self.config.start.pin(row, self.context.clock.now_ms());
        let mut lease = match self.ports.leases.take(row, &self.ports.worker_id, &self.ports.home, advance).await {
            // A write of an earlier incarnation can arrive between the two. Who the owner is, the next look shows.
            Err(LeaseError::Lost(shard)) if ours => return Err(ShardError::OwnLateWrite(shard)),
            taken => taken?,
        };
        self.held.store(true, Ordering::Release);
        faults.hit("lease.taken", shard.short());
        if let Some((from, to, claimed)) = advanced {
            actors::metrics::lease_advanced();
            warn!(%shard, %from, %to, claimed, "the lease row was behind the bucket: going on from its newest whole epoch");
            faults.hit("lease.advanced", shard.short());
        }
        lease.row = self.beginning().from(lease.row);
        let row = &lease.row;
        let fields: Vec<String> = self.context.schema.fields.iter().map(|field| field.name.clone()).collect();
        let states = match row.epoch {
            // Before its first epoch a shard has what its parents have left.
            EpochNumber(0) => self.inherit(&parents, &fields).await?,
            _ => recovery::states(&self.reads(), row.state_key.as_deref(), &fields).await?,
        };
        faults.hit("recovery.states", shard.short());
        let (sensors, pending) = (states.sensors.len(), row.pending.is_some());
        info!(%shard, checkpoint = %row.checkpoint, epoch = %row.epoch, sensors, pending, "shard taken");
        if let Some(caution) = Caution::after(row.tries) {
            warn!(%shard, tries = row.tries, ?caution, "nobody has got past the checkpoint lately: reading with caution");
        }
        Ok(ShardRecovery { lease, states })
    }

    /// Holds the row against the bucket. What was found is no disagreement if the row has moved meanwhile.
    async fn agreed(&self, row: &LeaseRow) -> Result<Option<Advance>, ShardError> {
        let (shard, faults) = (&self.context.shard, &self.context.faults);
        match agree(&self.reads(), &self.ports.home, &self.context.stream, row, faults).await {
            Ok(agreed) => {
                self.context.figures.manifest_damaged(agreed.damaged);
                Ok(agreed.advance)
            }
            Err(AgreementError::Call(error)) => Err(LeaseError::Call(error).into()),
            Err(AgreementError::Disagrees(disagreement)) => {
                let again = self.ports.leases.get(shard).await?;
                match again.is_some_and(|again| again.counter == row.counter) {
                    true => Err(disagreement.into()),
                    false => Err(LeaseError::Lost(shard.clone()).into()),
                }
            }
        }
    }

    /// LINEAGE: the rows of the parents, all of which have ended. The table is asked here again, consistently: what
    /// made somebody decide to take the shard may have been out of date.
    async fn parents(&self, row: &LeaseRow) -> Result<Vec<LeaseRow>, ShardError> {
        let mut parents = Vec::new();
        for parent in row.parents.iter().filter(|_| row.epoch == EpochNumber(0)) {
            parents.push((parent.clone(), self.ports.leases.get(parent).await?));
        }
        let all_ended = parents.iter().all(|(_, row)| row.as_ref().is_some_and(has_ended));
        let listed = if all_ended { Vec::new() } else { self.ports.stream.shards().await.map_err(LeaseError::Call)? };
        Ok(self.beginning().ended(parents, &listed)?)
    }

    fn beginning(&self) -> Beginning {
        Beginning::new(self.config.skip_trimmed, &self.context.faults)
    }

    fn reads(&self) -> Reads {
        Reads::new(&self.ports.objects, &self.context.chance)
    }

    /// What the parents have left to a shard: a split filters by its hash range, a merge unites.
    async fn inherit(&self, parents: &[LeaseRow], fields: &[String]) -> Result<Recovered, ShardError> {
        let (beginning, mut inherited) = (self.beginning(), Recovered::default());
        for parent in beginning.heard(parents) {
            let states = recovery::states(&self.reads(), parent.state_key.as_deref(), fields).await?;
            beginning.inherit(&mut inherited, parent, states, self.context.hash_range);
        }
        Ok(inherited)
    }

    async fn start_sinks(
        self,
        context: StartContext,
        previous_state: Option<String>,
        pinned: Option<(EpochNumber, u32)>,
    ) -> Result<ActorCell, StartError> {
        let args = SinksArgs {
            context: self.context,
            objects: self.ports.objects,
            previous_state,
            pinned,
            committer: context.address("committer")?,
            node: context.node.clone(),
        };
        context.spawn(SinksActor { config: self.config.sinks }, args).await
    }

    async fn start_aggregator(
        self,
        context: StartContext,
        (states, fields, watermark_us): (Vec<StateEntry>, Vec<String>, i64),
    ) -> Result<ActorCell, StartError> {
        let args = AggregatorArgs {
            context: self.context,
            states,
            fields,
            watermark_us,
            budget: self.ports.budget,
            sinks: context.address("sinks")?,
            committer: context.address("committer")?,
            node: context.node.clone(),
        };
        context.spawn(AggregatorActor { config: self.config.aggregator }, args).await
    }

    async fn start_sensors(
        self,
        context: StartContext,
        states: Vec<StateEntry>,
        suspects: Vec<Suspect>,
        alerts: Address<AlertsMsg>,
    ) -> Result<ActorCell, StartError> {
        let args = SensorsArgs {
            context: self.context,
            rules: self.ports.rules,
            states,
            suspects,
            committer: context.address("committer")?,
            aggregator: context.address("aggregator")?,
            alerts,
            live: self.ports.live,
            node: context.node.clone(),
        };
        let cell = context.spawn(SensorsActor { config: self.config.sensors }, args).await?;
        let address = Address::new(ActorRef::from(cell.clone()), context.node.clone());
        self.sensors.send_replace(Some(address));
        Ok(cell)
    }

    async fn start_reader(
        self,
        context: StartContext,
        row: LeaseRow,
        pinned: Option<Box<EpochPlan>>,
        suspects: Vec<Suspect>,
    ) -> Result<ActorCell, StartError> {
        let args = ReaderArgs {
            context: self.context,
            stream: self.ports.stream,
            budget: self.ports.budget,
            caution: Caution::after(row.tries),
            checkpoint: row.checkpoint,
            begin_inside: row.begin_inside,
            start_at_ms: row.start_at_ms,
            pinned,
            suspects,
            leaving: self.leaving,
            crashes_max: self.config.sensors.crashes_max,
            sensors: context.address("sensors")?,
            committer: context.address("committer")?,
            node: context.node.clone(),
        };
        context.spawn(ReaderActor { config: self.config.reader }, args).await
    }

    /// Stops reading, and waits until what was read is committed and the lease released, or an actor has failed.
    async fn drain(self, reader: ActorCell, within: Duration) {
        let mut released = self.released();
        let told = ActorRef::<ReaderMsg>::from(reader.clone()).send_message(ReaderMsg::Drain).is_ok();
        // Only now: who gives up a call that hangs must find the order next.
        self.leaving.notify_one();
        if told {
            let released = async { drop(released.wait_for(Option::is_some).await) };
            // Out of time is no loss: what is not committed is read again by the next owner.
            let _ = tokio::time::timeout(within, async {
                tokio::select! {
                    () = released => {}
                    // Nobody drains it any more.
                    _ = reader.wait(None) => {}
                }
            })
            .await;
        }
    }
}
