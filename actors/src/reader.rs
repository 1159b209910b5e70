//! Reads one Kinesis shard, in order, as fast as the service and the worker's byte budget allow.
//!
//! **Owns** the read position of exactly one shard.
//!
//! **Promises**
//! - Batches leave in sequence order; the position moves over every record of a page, whatever its content.
//! - An epoch whose end was pinned before a restart ends at exactly that record again (CHECKPOINT).
//! - Nothing is fetched while the worker's budget is used up (BOUNDED).
//!
//! **Fails** by stopping. Nothing is saved on the way down: the shard's next incarnation reads again from the checkpoint.
//!
//! **Not here**: judging readings, deciding when an epoch ends, any knowledge of sinks.

pub mod decode;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use messages::{
    Caution, CommitterMsg, Credit, Cut, CutReason, EpochNumber, EpochPlan, Position, RawRecord, ReaderMsg, SensorsMsg,
    SequenceNumber, Suspect,
};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tracing::{info, warn};

use self::decode::{DecodeLimits, Decoder, PathWatch};
use crate::budget::{Budget, Solitude};
use crate::metrics;
use crate::node::{Address, Gone};
use crate::ports::aws::CallError;
use crate::ports::faults::Mechanism;
use crate::ports::stream::{Stream, is_expired_iterator};
use crate::shard::{Hold, ShardContext};
use crate::traces::Page;

/// A batch that holds this many bytes is handed on, and another one begun: as much may the budget be overdrawn by.
const BATCH_HELD_MAX: u64 = 8 << 20;

/// How soon records that wait in memory are looked at again: nobody is asked, so it costs nothing but the look, and a
/// shard that goes on record by record must not take a poll interval for each.
const HELD_INTERVAL: Duration = Duration::from_millis(20);

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// Time between two reads of one shard. The service allows 5 a second, shared by all readers of the shard.
    pub poll_interval: Duration,
    /// Records per read; the service allows 10,000.
    pub records_max: i32,
    /// Partitions of the cleansed zone that one epoch may touch.
    pub partitions_max: usize,
    /// Readings, valid or not, that one epoch may hold.
    pub rows_max: u64,
    /// Limits on what one record may ask of the decoder.
    pub decode: DecodeLimits,
    /// Whether aggregates are taken whole also where keys decide on the shard.
    pub whole_aggregates: bool,
    /// Longest pause after failed reads.
    pub backoff_max: Duration,
    /// Failed reads in a row before the shard is restarted.
    pub failures_max: u32,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct ReaderArgs {
    /// Who the shard is.
    pub context: ShardContext,
    /// The stream.
    pub stream: Stream,
    /// The worker's byte budget.
    pub budget: Budget,
    /// Where the checkpoint is.
    pub checkpoint: Position,
    /// A record right after it that another application had stopped inside.
    pub begin_inside: Option<SequenceNumber>,
    /// Where a shard without a checkpoint begins, in milliseconds since 1970; none is its oldest record.
    pub start_at_ms: Option<i64>,
    /// The epoch that was prepared and must be finished first.
    pub pinned: Option<Box<EpochPlan>>,
    /// How carefully to read.
    pub caution: Option<Caution>,
    /// Records that something died on before, after the checkpoint.
    pub suspects: Vec<Suspect>,
    /// A record that was tried this often is not tried again.
    pub crashes_max: u32,
    /// Where batches go.
    pub sensors: Address<SensorsMsg>,
    /// Who cuts epochs.
    pub committer: Address<CommitterMsg>,
    /// This reader's own address, for its timer.
    pub node: std::sync::Arc<crate::node::Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct ReaderActor {
    /// How it reads.
    pub config: ReaderConfig,
}

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct ReaderState {
    context: ShardContext,
    stream: Stream,
    budget: Budget,
    decoder: Decoder,
    /// Whether aggregates are always taken whole.
    always_whole: bool,
    /// Whether those of the open epoch are: the same from its beginning to its end.
    whole_aggregates: bool,
    /// Whether sensors are known to be on several shards; the same holds of it.
    spread: bool,
    /// Which of the schema's paths the open epoch's events had.
    paths: PathWatch,
    sensors: Address<SensorsMsg>,
    committer: Address<CommitterMsg>,
    myself: Address<ReaderMsg>,
    iterator: Option<String>,
    /// The last record that was handed on.
    position: Position,
    /// Where the open epoch began.
    epoch_from: Position,
    /// Partitions that the open epoch touches.
    partitions: BTreeSet<i64>,
    /// Readings in the open epoch, valid or not.
    epoch_rows: u64,
    caution: Option<Caution>,
    /// Records of the open epoch, counted while there is caution.
    epoch_records: u64,
    suspects: Vec<Suspect>,
    crashes_max: u32,
    /// The wish to try the next record alone.
    solitude: Option<Solitude>,
    /// A record that another application had stopped inside; nothing was read since.
    begin_inside: Option<SequenceNumber>,
    /// Where it begins while it has no position.
    start_at_ms: Option<i64>,
    /// Records that were fetched and belong to the epoch after the open one.
    held: VecDeque<RawRecord>,
    /// When the last page was asked for and came; only if epochs are traced.
    page: Option<Page>,
    phase: Phase,
    failures: u32,
    /// Whether the service said that a closed shard has nothing more.
    end_seen: bool,
    /// Whether everything before that end was handed on.
    at_end: bool,
}

#[derive(Debug, PartialEq)]
enum Phase {
    /// Towards the end of a pinned epoch.
    Pinned(Box<EpochPlan>),
    /// On and on.
    Open,
    /// No more reading.
    Draining,
}

/// Why a shard could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The service did not give what was asked for.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The next box has ended; the shard restarts as a whole.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The stream no longer holds the records up to a pinned end.
    #[error("{to} was prepared as the end of an epoch, but the next record of the stream is {found}")]
    PinnedEndMissing {
        /// The pinned end.
        to: Position,
        /// What stands there instead.
        found: Position,
    },
}

impl Actor for ReaderActor {
    type Msg = ReaderMsg;
    type State = ReaderState;
    type Arguments = ReaderArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<ReaderMsg>,
        args: ReaderArgs,
    ) -> Result<ReaderState, ActorProcessingErr> {
        let decoder = Decoder::new(args.context.schema.clone(), self.config.decode.clone(), args.context.hash_range);
        args.committer.send(CommitterMsg::Attach(myself.clone()))?;
        let ended = args.checkpoint == Position::ShardEnd;
        let always_whole = self.config.whole_aggregates;
        let pinned = args.pinned.as_ref().map(|plan| (plan.cut.whole_aggregates, plan.cut.spread));
        let mut state = ReaderState {
            decoder,
            always_whole,
            whole_aggregates: false,
            spread: false,
            paths: PathWatch::default(),
            stream: args.stream,
            budget: args.budget,
            sensors: args.sensors,
            committer: args.committer,
            myself: Address::new(myself, args.node),
            iterator: None,
            position: args.checkpoint.clone(),
            epoch_from: args.checkpoint,
            partitions: BTreeSet::new(),
            epoch_rows: 0,
            caution: args.caution,
            epoch_records: 0,
            suspects: args.suspects,
            crashes_max: args.crashes_max,
            solitude: None,
            begin_inside: args.begin_inside,
            start_at_ms: args.start_at_ms,
            held: VecDeque::new(),
            page: None,
            phase: args.pinned.map_or(Phase::Open, Phase::Pinned),
            failures: 0,
            end_seen: false,
            at_end: ended,
            context: args.context,
        };
        let pinned = pinned.filter(|_| !state.context.faults.lacks(Mechanism::PinnedKeys));
        state.open_epoch(pinned);
        state.context.figures.rewound();
        if ended {
            // It is kept for its last alerts only.
            state.context.figures.stopped_reading();
        }
        state.myself.send(ReaderMsg::Poll)?;
        Ok(state)
    }

    async fn handle(
        &self,
        _myself: ActorRef<ReaderMsg>,
        message: ReaderMsg,
        state: &mut ReaderState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.myself.node().clone();
        let _handling = node.handling();
        match message {
            ReaderMsg::Poll => state.on_poll(&self.config).await?,
            ReaderMsg::Cut { epoch, reason, full_state } => state.on_cut(epoch, reason, full_state)?,
            ReaderMsg::Drain => state.on_drain()?,
        }
        Ok(())
    }
}

impl ReaderState {
    async fn on_poll(&mut self, config: &ReaderConfig) -> Result<(), ReaderError> {
        // An epoch without records ends where it begins: no record will tell.
        if matches!(&self.phase, Phase::Pinned(plan) if plan.cut.to == self.position) {
            self.finish_pinned()?;
        }
        if self.phase == Phase::Draining || self.at_end {
            return Ok(());
        }
        let began = Instant::now();
        let mut pause = config.poll_interval;
        // A pinned epoch is read whatever the budget says: nothing in flight becomes free before it ends, and its
        // bytes were in memory once already.
        if self.phase == Phase::Open && self.solitude.is_none() && !self.budget.has_room() {
            metrics::reader_waits_for_budget();
            self.context.figures.waits_for_budget(self.context.clock.now_ms());
            // What is in flight becomes free only when it is committed.
            self.committer.send(CommitterMsg::CutNow(CutReason::Bytes))?;
        } else if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.hand_on(held, config).await?;
            if self.caution.is_some() && !self.held.is_empty() {
                self.committer.send(CommitterMsg::CutNow(CutReason::Bytes))?;
            }
        } else {
            match self.fetch(config).await {
                Ok(()) => self.failures = 0,
                Err(ReaderError::Call(error)) => pause = self.after_failure(error, config)?,
                Err(error) => return Err(error),
            }
        }
        if self.end_seen && self.held.is_empty() {
            return self.on_shard_end();
        }
        self.context.figures.polled();
        if !self.held.is_empty() {
            pause = pause.min(HELD_INTERVAL);
        }
        let due = began + pause;
        self.myself.send_after(due.saturating_duration_since(Instant::now()), ReaderMsg::Poll);
        Ok(())
    }

    /// The answer of a call; none if the order to drain comes next, which must not wait for a service that hangs.
    async fn unless_leaving<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = call => Some(answer),
            () = self.context.leaving.notified() => None,
        }
    }

    async fn fetch(&mut self, config: &ReaderConfig) -> Result<(), ReaderError> {
        let shard = self.context.shard.clone();
        let iterator = match self.iterator.take() {
            Some(iterator) => Some(Ok(iterator)),
            None => match (&self.begin_inside, self.start_at_ms.filter(|_| self.position == Position::TrimHorizon)) {
                (Some(sequence), _) => self.unless_leaving(self.stream.iterator_at(&shard, sequence)).await,
                (None, Some(at_ms)) => self.unless_leaving(self.stream.iterator_since(&shard, at_ms)).await,
                (None, None) => self.unless_leaving(self.stream.iterator(&shard, &self.position)).await,
            },
        };
        let Some(iterator) = iterator.transpose()? else { return Ok(()) };
        // Taken before the question: what the answer does not know of came later.
        let now_ms = self.context.clock.now_ms();
        let (asked, asked_us) = (Instant::now(), self.context.traces.now_us());
        let page = self.stream.records(&shard, &iterator, config.records_max);
        let Some(page) = self.unless_leaving(page).await else { return Ok(()) };
        let page = page.inspect_err(|error| self.context.traces.page_failed(asked_us, error.failure))?;
        metrics::reader_page(&shard, page.records.len(), asked.elapsed());
        self.page = self.context.traces.page(asked_us, page.records.len());
        self.context.faults.reach("reader.page", shard.short()).await;
        if page.next.is_none() {
            self.context.figures.set_closed();
        }
        if self.context.figures.read(page.records.len() as u64, page.millis_behind, now_ms) {
            info!(%shard, after = %self.position, "shard is read");
        }
        self.iterator = page.next;
        self.end_seen = self.iterator.is_none();
        self.hand_on(page.records.into(), config).await?;
        if self.held.is_empty() {
            self.sensors.send(SensorsMsg::Time(now_ms - page.millis_behind))?;
        }
        Ok(())
    }

    /// Throttling and network trouble are waited out; the rest, or too much of it, restarts the shard.
    fn after_failure(&mut self, error: CallError, config: &ReaderConfig) -> Result<Duration, ReaderError> {
        self.iterator = None;
        if is_expired_iterator(&error) {
            return Ok(Duration::ZERO);
        }
        self.failures += 1;
        metrics::reader_failed(error.failure);
        self.context.figures.held(Hold::Reading, &error, self.context.clock.now_ms());
        let worth_waiting = error.may_pass();
        if !worth_waiting || self.failures > config.failures_max {
            return Err(error.into());
        }
        warn!(shard = %self.context.shard, attempt = self.failures, %error, "read failed, trying again");
        let doubled = config.poll_interval * 2u32.saturating_pow(self.failures.min(10));
        // Out of retries, the stream is asked as rarely as can be.
        let pause = if self.stream.retries().take() { doubled.min(config.backoff_max) } else { config.backoff_max };
        // Jitter keeps shards that failed together from coming back together.
        Ok(self.context.chance.spread(pause))
    }

    /// Decodes records and hands them on, up to the end of the open epoch. What lies behind it is held.
    async fn hand_on(&mut self, mut records: VecDeque<RawRecord>, config: &ReaderConfig) -> Result<(), ReaderError> {
        let mut first = true;
        while !records.is_empty() {
            // What a page holds shows only when it is decoded: the rest of one that holds much waits for its turn.
            let is_first = std::mem::replace(&mut first, false);
            let no_room = !is_first && self.solitude.is_none() && !self.budget.has_room();
            if self.is_full(config, 0) || (no_room && self.phase == Phase::Open) {
                self.held = records;
                return Ok(());
            }
            let strict = self.phase == Phase::Open && self.caution.is_some_and(Caution::is_strict);
            let mut alone = None;
            if strict {
                // A death must not be put down to a record that was only in the same process.
                alone = self.solitude.get_or_insert_with(|| self.budget.solitude()).granted();
                if alone.is_none() {
                    self.held = records;
                    return Ok(());
                }
            }
            let poisoned = strict && self.try_with_care(&records[0]).await?;
            if self.phase == Phase::Open && self.position == self.epoch_from {
                // It begins now, and not when the one before ended: that may be long ago.
                self.open_epoch(None);
            }
            let decoding_us = self.context.traces.now_us();
            let mut builder = self.decoder.batch();
            let mut pinned_end = false;
            while let Some(record) = records.pop_front() {
                let at = Position::At(record.sequence.clone());
                if let Phase::Pinned(plan) = &self.phase {
                    if at > plan.cut.to {
                        return Err(ReaderError::PinnedEndMissing { to: plan.cut.to.clone(), found: at });
                    }
                    pinned_end = at == plan.cut.to;
                }
                match poisoned || self.is_poisoned(&record) {
                    true => builder.push_poisoned(record),
                    false => builder.push(record),
                }
                self.epoch_records += u64::from(self.caution.is_some());
                self.position = at;
                self.begin_inside = None;
                self.partitions.extend(builder.take_partitions());
                if pinned_end || self.is_full(config, builder.readings()) || builder.held() >= BATCH_HELD_MAX {
                    break;
                }
            }
            self.paths.take(builder.take_sightings());
            let (bytes, rows) = (builder.bytes(), builder.readings());
            self.epoch_rows += rows;
            let credit = self.budget.take(builder.held());
            let credit = match alone {
                Some(alone) => Credit::both(alone, credit),
                None => credit,
            };
            let mut batch = builder.finish(credit);
            batch.trace = self.context.traces.batch(self.page, decoding_us, &batch);
            self.sensors.send(SensorsMsg::Route(batch))?;
            if pinned_end {
                self.finish_pinned()?;
                continue;
            }
            let partitions = self.partitions.len();
            self.committer.send(CommitterMsg::Progress { bytes, rows, partitions })?;
            if strict {
                // Not to be waited for: nobody else may read meanwhile.
                self.committer.send(CommitterMsg::CutNow(CutReason::Bytes))?;
            }
        }
        self.solitude = None;
        Ok(())
    }

    /// Whether the open epoch has all that it may have. A pinned one ends where it ends.
    fn is_full(&self, config: &ReaderConfig, rows: u64) -> bool {
        let full = self.partitions.len() >= config.partitions_max || self.epoch_rows + rows >= config.rows_max;
        let cautious = self.caution.is_some_and(|caution| self.epoch_records >= caution.records_max);
        self.phase == Phase::Open && (full || cautious)
    }

    /// When records are tried one by one, each is noted before, beyond this process. True if it was tried too often:
    /// then nobody looks into it any more.
    async fn try_with_care(&mut self, record: &RawRecord) -> Result<bool, ReaderError> {
        let is_it = |suspect: &&Suspect| suspect.sequence == record.sequence && suspect.sub_sequence.is_none();
        let tries = self.suspects.iter().find(is_it).map_or(0, |suspect| suspect.tries);
        if tries >= self.crashes_max {
            warn!(shard = %self.context.shard, sequence = %record.sequence, tries, "a record is quarantined unread");
            return Ok(true);
        }
        let suspect = Suspect { sequence: record.sequence.clone(), sub_sequence: None, tries: tries + 1 };
        let noted = self.committer.actor().call(|reply| CommitterMsg::Suspect(suspect, Some(reply)), None).await;
        match noted {
            Ok(CallResult::Success(())) => Ok(false),
            // It could not be noted; the committer has ended, and the shard starts again.
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => {
                Err(Gone(self.committer.node().path.clone()).into())
            }
        }
    }

    /// Whether the epoch that is written again has this record in quarantine as a whole.
    fn is_poisoned(&self, record: &RawRecord) -> bool {
        let Phase::Pinned(plan) = &self.phase else { return false };
        plan.poisoned.iter().any(|(sequence, sub)| *sequence == record.sequence && sub.is_none())
    }

    fn finish_pinned(&mut self) -> Result<(), ReaderError> {
        match std::mem::replace(&mut self.phase, Phase::Open) {
            Phase::Pinned(plan) => self.cut(plan.cut.clone()),
            phase @ (Phase::Open | Phase::Draining) => {
                self.phase = phase;
                Ok(())
            }
        }
    }

    fn on_shard_end(&mut self) -> Result<(), ReaderError> {
        self.at_end = true;
        self.context.figures.stopped_reading();
        let empty = self.position == self.epoch_from;
        if empty && self.phase == Phase::Open && self.context.faults.lacks(Mechanism::EmptyShardEnds) {
            return Ok(());
        }
        if let Phase::Pinned(plan) = &self.phase {
            return match plan.cut.to.clone() {
                Position::ShardEnd => self.finish_pinned(),
                to => Err(ReaderError::PinnedEndMissing { to, found: Position::ShardEnd }),
            };
        }
        self.committer.send(CommitterMsg::CutNow(CutReason::ShardEnd))?;
        Ok(())
    }

    fn on_cut(&mut self, epoch: EpochNumber, reason: CutReason, full_state: bool) -> Result<(), ReaderError> {
        let reason = if self.at_end { CutReason::ShardEnd } else { reason };
        let to = if self.at_end { Position::ShardEnd } else { self.position.clone() };
        let full_state = full_state || self.at_end;
        let (from, whole_aggregates, spread) = (self.epoch_from.clone(), self.whole_aggregates, self.spread);
        self.cut(Cut { epoch, from, to, reason, full_state, whole_aggregates, spread })
    }

    /// What is known of keys when an epoch begins holds to its end, whatever they come to mean meanwhile; for one that was
    /// pinned it stands in its plan.
    fn open_epoch(&mut self, pinned: Option<(bool, bool)>) {
        let keys = &self.context.keys;
        let now = || (self.always_whole || !keys.are_heeded(), !keys.silence_tells());
        (self.whole_aggregates, self.spread) = pinned.unwrap_or_else(now);
        self.decoder.take_whole_aggregates(self.whole_aggregates);
    }

    fn cut(&mut self, cut: Cut) -> Result<(), ReaderError> {
        self.epoch_from = cut.to.clone();
        self.partitions.clear();
        self.epoch_rows = 0;
        if let Some(unseen) = self.paths.cut(&self.context.schema) {
            for path in self.context.figures.set_unseen_paths(unseen) {
                warn!(shard = %self.context.shard, "{path}");
            }
        }
        if let Some(caution) = &mut self.caution {
            caution.lasts = caution.lasts.saturating_sub(self.epoch_records);
            self.caution = (caution.lasts > 0).then_some(*caution);
        }
        self.epoch_records = 0;
        self.open_epoch(None);
        self.context.traces.cut(cut.epoch);
        self.sensors.send(SensorsMsg::Cut(cut))?;
        // Behind all progress of this epoch and before any of the next one.
        self.committer.send(CommitterMsg::WasCut)?;
        Ok(())
    }

    fn on_drain(&mut self) -> Result<(), ReaderError> {
        // A pinned epoch is not finished on the way out: the next owner does, and nothing is lost by waiting.
        self.phase = Phase::Draining;
        self.context.figures.stopped_reading();
        self.held.clear();
        self.solitude = None;
        self.committer.send(CommitterMsg::CutNow(CutReason::Shutdown))?;
        Ok(())
    }
}
