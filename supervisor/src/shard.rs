//! One shard as a list of boxes, downstream first. A failure of any of them restarts all from the checkpoint.
//!
//! **Owns** how a shard's boxes are put together, and what one incarnation of them shares.
//! **Promises** every incarnation begins with the lease row and the states that it names, read afresh.
//! **Not here**: what the boxes do (`actors/`), when they restart (`supervision.rs`).

mod resend;
mod start;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use actors::aggregator::{AggregatorActor, AggregatorArgs, WindowsConfig};
use actors::agreement::{AgreementError, Disagreement, agree};
use actors::budget::Budget;
use actors::committer::{CommitterActor, CommitterArgs, CommitterConfig};
use actors::node::{Address, Gone};
use actors::ports::faults::Mechanism;
use actors::ports::leases::{Advance, Home, Lease, LeaseError, LeaseRow, LeaseTable};
use actors::ports::objects::Objects;
use actors::ports::stream::{ShardInfo, Stream};
use actors::reader::{ReaderActor, ReaderArgs, ReaderConfig};
use actors::recovery::{self, Reads, Recovered, RecoveryError};
use actors::sensor::SensorRules;
use actors::sensors::{LiveSensors, SensorsActor, SensorsArgs, SensorsConfig};
use actors::shard::{Failing, Hold, ShardContext};
use actors::sinks::{SinksActor, SinksArgs, SinksConfig};
use messages::{
    AlertsMsg, Caution, EpochNumber, EpochPlan, HashRange, Position, ReaderMsg, Receipts, SensorsMsg, SequenceNumber,
    ShardId, Suspect,
};
use ractor::{ActorCell, ActorRef};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

pub use self::start::StreamStart;
use crate::supervision::task::Task;
use crate::supervision::{ChildSpec, StartContext, StartError};

/// How the boxes of every shard are set up.
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

/// What the boxes of every shard reach.
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
    /// Who it is.
    pub context: ShardContext,
    config: ShardConfig,
    ports: ShardPorts,
    /// The counter of the row when it was decided to take the shard.
    permit: u64,
    released: Arc<watch::Sender<bool>>,
    held: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    refusal: Arc<OnceLock<String>>,
    incarnation: Arc<Mutex<Incarnation>>,
}

/// What the boxes of one incarnation hand to each other while they start, and where to reach them.
#[derive(Debug, Default)]
struct Incarnation {
    recovered: Recovered,
    checkpoint: Option<Position>,
    pinned: Option<Box<EpochPlan>>,
    previous_state: Option<String>,
    caution: Option<Caution>,
    suspects: Vec<Suspect>,
    begin_inside: Option<SequenceNumber>,
    start_at_ms: Option<i64>,
    sensors: Option<Address<SensorsMsg>>,
    /// Sends again what the last owner may not have sent.
    _resending: Option<Task<()>>,
}

/// Epochs whose alerts are being sent again.
type Unsettled = VecDeque<(EpochNumber, Receipts)>;

/// For how long a start waits for services; well below the time that a start may take.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(15);

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
    #[error("its parent {0} has not ended yet")]
    ParentNotEnded(ShardId),
    #[error("the stream still has its parent {0}, but the lease table has no row of it yet")]
    ParentWithoutRow(ShardId),
    #[error("a late write of this worker's own moved the lease row of {0}")]
    OwnLateWrite(ShardId),
    #[error("{0} is released already; only the answer to that was lost")]
    ReleasedAlready(ShardId),
}

impl ShardError {
    /// Whether trying again may help.
    fn may_pass(&self) -> bool {
        let call = match self {
            Self::Lease(LeaseError::Call(call)) | Self::Recovery(RecoveryError::Call(call)) => call,
            Self::ParentNotEnded(_) | Self::ParentWithoutRow(_) | Self::OwnLateWrite(_) => return true,
            Self::Lease(_) | Self::Recovery(_) | Self::Disagrees(_) | Self::Gone(_) => return false,
            Self::NoRow(_) | Self::ReleasedAlready(_) => return false,
        };
        call.may_pass()
    }
}

impl Shard {
    /// A shard that has not started yet. `permit` is the counter of its row when it was decided to take it.
    pub fn new(context: ShardContext, config: ShardConfig, ports: ShardPorts, permit: u64) -> Self {
        let released = Arc::new(watch::channel(false).0);
        let (held, lost, refusal) = (Arc::default(), Arc::default(), Arc::default());
        Self { context, config, ports, permit, released, held, lost, refusal, incarnation: Arc::default() }
    }

    /// The address of the shard's sensors, while they run.
    pub fn sensors(&self) -> Option<Address<SensorsMsg>> {
        self.incarnation().sensors.clone()
    }

    /// Whether this worker has given the shard up in good order: all that it read is committed.
    pub fn is_released(&self) -> bool {
        *self.released.borrow()
    }

    /// Turns true when this worker has given the shard up in good order.
    pub fn released(&self) -> watch::Receiver<bool> {
        self.released.subscribe()
    }

    /// Whether this worker has had the lease at all.
    pub fn was_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Whether another worker was found to have the shard.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// In what its lease row and the bucket disagree, if that keeps it from being read.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// The boxes, downstream first. To add a box, add one line.
    pub fn children(&self, alerts: &Address<AlertsMsg>) -> Vec<ChildSpec> {
        vec![
            self.child("committer", {
                let alerts = alerts.clone();
                move |shard, context| shard.start_committer(context, alerts.clone())
            }),
            self.child("sinks", |shard, context| shard.start_sinks(context)),
            self.child("aggregator", |shard, context| shard.start_aggregator(context)),
            self.child("sensors", {
                let alerts = alerts.clone();
                move |shard, context| shard.start_sensors(context, alerts.clone())
            }),
            self.child("reader", |shard, context| shard.start_reader(context)).draining_by({
                let shard = self.clone();
                move |cell, within| shard.clone().drain(cell, within)
            }),
        ]
    }

    fn child<F, R>(&self, name: &'static str, start: F) -> ChildSpec
    where
        F: Fn(Shard, StartContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<ActorCell, StartError>> + Send + 'static,
    {
        let (shard, context) = (self.clone(), self.context.clone());
        let told = move |cause: &str| context.figures.outcome().fell(cause, context.clock.now_ms());
        ChildSpec::new(name, name, move |context| start(shard.clone(), context)).telling(told)
    }

    async fn start_committer(self, context: StartContext, alerts: Address<AlertsMsg>) -> Result<ActorCell, StartError> {
        self.context.figures.rewound();
        self.context.traces.rewound();
        let (lease, unsettled) = match self.recover_patiently().await {
            Ok(lease) => {
                let (resending, unsettled) = resend::resend(&self.context, &self.ports.objects, &lease.row, &alerts);
                self.incarnation()._resending = resending;
                (lease, unsettled)
            }
            Err(ShardError::Disagrees(disagreement)) => {
                // The first is as good as the last: a shard that is refused ends here, and is looked at again afresh.
                let _ = self.refusal.set(disagreement.to_string());
                return Err(StartError::yields(disagreement));
            }
            Err(error @ ShardError::Lease(LeaseError::Lost(_) | LeaseError::RowGone(_))) => {
                self.lost.store(true, Ordering::Release);
                return Err(StartError::yields(error));
            }
            Err(error @ ShardError::ReleasedAlready(_)) => {
                self.released.send_replace(true);
                return Err(StartError::yields(error));
            }
            Err(error) => {
                let now_ms = self.context.clock.now_ms();
                let outcome = self.context.figures.outcome();
                outcome.failed(Failing::Starting, &error.to_string(), !error.may_pass(), now_ms);
                return Err(StartError::failed(error));
            }
        };
        let (released, caution) = (self.released.clone(), self.incarnation().caution);
        let args = CommitterArgs {
            caution,
            context: self.context.clone(),
            lease,
            unsettled,
            released,
            node: context.node.clone(),
        };
        context.spawn(CommitterActor { config: self.config.committer.clone() }, args).await
    }

    /// A service that is away for a moment must not use up the restarts that are meant for failing boxes.
    async fn recover_patiently(&self) -> Result<Lease, ShardError> {
        let began = Instant::now();
        let mut backoff = Duration::from_millis(200);
        loop {
            match self.recover().await {
                Err(error) if error.may_pass() && began.elapsed() < RECOVERY_PATIENCE => {
                    warn!(shard = %self.context.shard, %error, "recovery failed, trying again");
                    self.context.figures.held_at_start(&error.to_string(), false, self.context.clock.now_ms());
                    tokio::time::sleep(self.context.chance.spread(backoff)).await;
                    backoff = (backoff * 2).min(Duration::from_secs(3));
                }
                outcome => {
                    self.context.figures.passed(Hold::Starting);
                    return outcome;
                }
            }
        }
    }

    /// Takes the lease, and reads the states that it names.
    async fn recover(&self) -> Result<Lease, ShardError> {
        let (shard, faults) = (&self.context.shard, &self.context.faults);
        let row = self.ports.leases.get(shard).await?.ok_or_else(|| ShardError::NoRow(shard.clone()))?;
        // OWNER: what is not ours yet is taken as it was seen when that was decided, or not at all.
        if row.owner.is_none() && self.was_held() {
            return Err(ShardError::ReleasedAlready(shard.clone()));
        }
        let ours = row.owner.as_deref() == Some(&*self.ports.worker_id);
        if !ours && row.counter != self.permit {
            return Err(LeaseError::Lost(shard.clone()).into());
        }
        let parents = self.parents(&row).await?;
        let advance = self.agreed(&row).await?;
        let advanced = advance.as_ref().map(|to| (row.epoch, to.epoch, to.pending.is_some()));
        let row = self.config.start.pin(row, self.context.clock.now_ms());
        let lease = match self.ports.leases.take(row, &self.ports.worker_id, &self.ports.home, advance).await {
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
        let mut lease = lease;
        if faults.lacks(Mechanism::FinishPinned) {
            lease.row.pending = None;
        }
        let row = &lease.row;
        let fields: Vec<String> = self.context.schema.fields.iter().map(|field| field.name.clone()).collect();
        let recovered = match row.epoch {
            // Before its first epoch a shard has what its parents have left.
            EpochNumber(0) => self.inherit(&parents, &fields).await?,
            _ => recovery::states(&self.reads(), row.state_key.as_deref(), &fields).await?,
        };
        faults.hit("recovery.states", shard.short());
        let (sensors, pending) = (recovered.sensors.len(), row.pending.is_some());
        info!(%shard, checkpoint = %row.checkpoint, epoch = %row.epoch, sensors, pending, "shard taken");
        let mut incarnation = self.incarnation();
        incarnation.recovered = recovered;
        incarnation.checkpoint = Some(row.checkpoint.clone());
        incarnation.pinned = row.pending.clone().map(|pending| pending.plan);
        incarnation.previous_state = row.state_key.clone();
        incarnation.caution = Caution::after(row.tries);
        incarnation.begin_inside = row.begin_inside.clone();
        incarnation.start_at_ms = row.start_at_ms;
        // What has been prepared was judged; only the plan says now what of it is poison.
        let prepared = row.pending.as_ref().map_or(&row.checkpoint, |pending| &pending.to);
        let open = row.suspects.iter().filter(|suspect| Position::At(suspect.sequence.clone()) > *prepared);
        incarnation.suspects = open.cloned().collect();
        if let Some(caution) = incarnation.caution {
            warn!(%shard, tries = row.tries, ?caution, "nobody has got past the checkpoint lately: reading with caution");
        }
        // What the pinned epoch has in quarantine as poison is poison again.
        for (sequence, sub_sequence) in row.pending.iter().flat_map(|pending| &pending.plan.poisoned) {
            let (sequence, sub_sequence) = (sequence.clone(), *sub_sequence);
            incarnation.suspects.push(Suspect { sequence, sub_sequence, tries: u32::MAX });
        }
        drop(incarnation);
        Ok(lease)
    }

    /// Holds the row against the bucket. What was found is no disagreement if the row has moved meanwhile.
    async fn agreed(&self, row: &LeaseRow) -> Result<Option<Advance>, ShardError> {
        let shard = &self.context.shard;
        let faults = &self.context.faults;
        if faults.lacks(Mechanism::ManifestsSeen) || faults.lacks(Mechanism::RowIsOurs) {
            return Ok(None);
        }
        match agree(&self.reads(), &self.ports.home, &self.context.stream, row).await {
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
        let mut ended = Vec::new();
        if row.epoch > EpochNumber(0) {
            return Ok(ended);
        }
        let mut listed: Option<Vec<ShardInfo>> = None;
        for parent in &row.parents {
            let found = self.ports.leases.get(parent).await?;
            if found.as_ref().is_some_and(|row| row.checkpoint == Position::ShardEnd) {
                ended.extend(found);
                continue;
            }
            let listed = match &mut listed {
                Some(listed) => listed,
                None => listed.insert(self.ports.stream.shards().await.map_err(LeaseError::Call)?),
            };
            let is_listed = listed.iter().any(|info| info.shard == *parent);
            let excused = self.context.faults.lacks(Mechanism::AllParents) && !ended.is_empty();
            match found {
                // Trimmed before all was read; that this counts as ended is the operator's decision.
                Some(row) if excused || (!is_listed && self.config.skip_trimmed) => ended.push(row),
                Some(_) => return Err(ShardError::ParentNotEnded(parent.clone())),
                // The table was begun later than the parent ended.
                None if !is_listed => {}
                None => return Err(ShardError::ParentWithoutRow(parent.clone())),
            }
        }
        Ok(ended)
    }

    fn reads(&self) -> Reads {
        Reads::new(&self.ports.objects, &self.context.chance)
    }

    /// What the parents have left to a shard: a split filters by its hash range, a merge unites.
    async fn inherit(&self, parents: &[LeaseRow], fields: &[String]) -> Result<Recovered, ShardError> {
        let faults = &self.context.faults;
        let n_heard = match parents.len() {
            _ if faults.lacks(Mechanism::ParentStates) => 0,
            n if faults.lacks(Mechanism::BothParentStates) => n.min(1),
            n => n,
        };
        let mut inherited = Recovered::default();
        for parent in &parents[..n_heard] {
            let states = recovery::states(&self.reads(), parent.state_key.as_deref(), fields).await?;
            let (start, end) = &parent.hash_range;
            let from = HashRange::parse(start, end).unwrap_or(HashRange::FULL);
            if faults.lacks(Mechanism::WindowsStay) {
                inherited.windows.extend(states.windows.iter().cloned());
            }
            inherited.unite(states, from, self.context.hash_range);
        }
        Ok(inherited)
    }

    async fn start_sinks(self, context: StartContext) -> Result<ActorCell, StartError> {
        let (previous_state, pinned) = {
            let mut incarnation = self.incarnation();
            let pinned = incarnation.pinned.as_ref().map(|plan| (plan.cut.epoch, plan.format));
            (incarnation.previous_state.take(), pinned)
        };
        let args = SinksArgs {
            context: self.context.clone(),
            objects: self.ports.objects.clone(),
            previous_state,
            pinned,
            committer: context.address("committer")?,
            node: context.node.clone(),
        };
        context.spawn(SinksActor { config: self.config.sinks.clone() }, args).await
    }

    async fn start_aggregator(self, context: StartContext) -> Result<ActorCell, StartError> {
        let (states, fields, watermark_us) = {
            let recovered = &mut self.incarnation().recovered;
            (std::mem::take(&mut recovered.windows), std::mem::take(&mut recovered.fields), recovered.watermark_us)
        };
        let args = AggregatorArgs {
            context: self.context.clone(),
            states,
            fields,
            watermark_us: watermark_us.unwrap_or(i64::MIN),
            budget: self.ports.budget.clone(),
            sinks: context.address("sinks")?,
            committer: context.address("committer")?,
            node: context.node.clone(),
        };
        context.spawn(AggregatorActor { config: self.config.aggregator }, args).await
    }

    async fn start_sensors(self, context: StartContext, alerts: Address<AlertsMsg>) -> Result<ActorCell, StartError> {
        let (states, suspects) = {
            let mut incarnation = self.incarnation();
            (std::mem::take(&mut incarnation.recovered.sensors), incarnation.suspects.clone())
        };
        let args = SensorsArgs {
            context: self.context.clone(),
            rules: self.ports.rules.clone(),
            states,
            suspects,
            committer: context.address("committer")?,
            aggregator: context.address("aggregator")?,
            alerts,
            live: self.ports.live.clone(),
            node: context.node.clone(),
        };
        let cell = context.spawn(SensorsActor { config: self.config.sensors.clone() }, args).await?;
        self.incarnation().sensors = Some(Address::new(ActorRef::from(cell.clone()), context.node.clone()));
        Ok(cell)
    }

    async fn start_reader(self, context: StartContext) -> Result<ActorCell, StartError> {
        let (begin_inside, start_at_ms) = {
            let mut incarnation = self.incarnation();
            (incarnation.begin_inside.take(), incarnation.start_at_ms)
        };
        let (checkpoint, pinned, caution, suspects) = {
            let mut incarnation = self.incarnation();
            let pinned = incarnation.pinned.take();
            (incarnation.checkpoint.clone(), pinned, incarnation.caution, incarnation.suspects.clone())
        };
        let args = ReaderArgs {
            context: self.context.clone(),
            stream: self.ports.stream.clone(),
            budget: self.ports.budget.clone(),
            checkpoint: checkpoint.unwrap_or(Position::TrimHorizon),
            begin_inside,
            start_at_ms,
            pinned,
            caution,
            suspects,
            crashes_max: self.config.sensors.crashes_max,
            sensors: context.address("sensors")?,
            committer: context.address("committer")?,
            node: context.node.clone(),
        };
        context.spawn(ReaderActor { config: self.config.reader.clone() }, args).await
    }

    /// Stops reading, and waits until what was read is committed and the lease released, or a box has failed.
    async fn drain(self, reader: ActorCell, within: Duration) {
        let mut released = self.released();
        let told = ActorRef::<ReaderMsg>::from(reader.clone()).send_message(ReaderMsg::Drain).is_ok();
        // Only now: who gives up a call that hangs must find the order next.
        self.context.leaving.notify_one();
        if told {
            let released = async { drop(released.wait_for(|released| *released).await) };
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

    // A panic while the lock was held leaves whole values behind: each is set in one step.
    fn incarnation(&self) -> MutexGuard<'_, Incarnation> {
        self.incarnation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
