//! Reads one Kinesis shard, in order, as fast as the service and the worker's byte budget allow.
//!
//! **Owns** the reading of exactly one shard.
//!
//! **Promises**
//! - What is handed on, and where epochs begin and end, is what the bounds (`reader/bounds.rs`) say.
//! - Nothing is fetched while the worker's budget is used up (BOUNDED).
//!
//! **Fails** by stopping. Nothing is saved on the way down: the shard's next incarnation reads again from the checkpoint.
//!
//! **Not here**: the bounds of epochs, judging readings, deciding when an epoch ends, any knowledge of sinks.

mod bounds;
pub mod decode;
mod facts;
mod rate;
mod trimmed;

use std::sync::Arc;
use std::time::Duration;

use messages::{
    Caution, CommitterMsg, Credit, CutReason, EpochPlan, Position, ReaderMsg, SensorsMsg, SequenceNumber, Suspect,
};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::bounds::PinnedEndMissing;
use self::bounds::{Bounds, BoundsRules, Care, KnownKeys, ReadBegin, ReadEffect, ReadFrom, ReadTurn};
use self::decode::{DecodeLimits, Decoder};
use self::facts::Facts;
use self::rate::ReadRate;
use self::trimmed::Trimmed;
use crate::budget::{Budget, Solitude};
use crate::node::{Address, Gone, Node};
use crate::ports::aws::{CallError, Failure};
use crate::ports::backoff::Backoff;
use crate::ports::stream::{Page, Stream, is_expired_iterator, is_invalid_argument};
use crate::shard::ShardContext;

/// How soon records that wait in memory are looked at again: nobody is asked, so it costs nothing but the look, and a
/// shard that goes on record by record must not take a poll interval for each.
const HELD_INTERVAL: Duration = Duration::from_millis(20);

/// A reader that waits for what its last page has cost shows this often that it does not hang.
const TURN_MAX: Duration = Duration::from_secs(1);

/// What comes on top of the pause after a throttle, at most.
const JITTER: Duration = Duration::from_millis(100);

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
    /// The identity of the shard.
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
    /// Told before it is drained, as its mailbox waits for the call under way: that one is given up.
    pub leaving: Arc<Notify>,
    /// Where batches go.
    pub sensors: Address<SensorsMsg>,
    /// The committer, which cuts epochs.
    pub committer: Address<CommitterMsg>,
    /// This reader's own address, for its timer.
    pub node: Arc<Node>,
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
    bounds: Bounds,
    facts: Facts,
    stream: Stream,
    budget: Budget,
    decoder: Decoder,
    /// Whether aggregates are always taken whole.
    always_whole: bool,
    leaving: Arc<Notify>,
    sensors: Address<SensorsMsg>,
    committer: Address<CommitterMsg>,
    myself: Address<ReaderMsg>,
    iterator: Option<String>,
    trimmed: Trimmed,
    /// How long the stream keeps records, once that was asked.
    retention: Option<Duration>,
    began: Instant,
    rate: ReadRate,
    /// The wish to try the next record alone.
    solitude: Option<Solitude>,
    backoff: Backoff,
}

/// Why a shard could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The service did not give what was asked for.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The next actor has ended; the shard restarts as a whole.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The stream no longer holds the records up to a pinned end.
    #[error(transparent)]
    PinnedEndMissing(#[from] PinnedEndMissing),
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
        let ReaderArgs { context, checkpoint, begin_inside, start_at_ms, pinned, caution, suspects, .. } = args;
        let rules = BoundsRules::new(&self.config, args.crashes_max, &context.faults);
        let known = known_keys(&context, self.config.whole_aggregates);
        let begin = ReadBegin { checkpoint, begin_inside, start_at_ms, pinned, caution, suspects };
        let bounds = Bounds::new(rules, begin, known);
        let backoff = Backoff::new(&context.chance, self.config.poll_interval * 2, self.config.backoff_max);
        args.committer.send(CommitterMsg::Attach(myself.clone()))?;
        let state = ReaderState {
            decoder: Decoder::new(context.schema.clone(), self.config.decode.clone(), context.hash_range),
            facts: Facts::new(context.clone(), bounds.is_at_end()),
            bounds,
            always_whole: self.config.whole_aggregates,
            stream: args.stream,
            budget: args.budget,
            leaving: args.leaving,
            sensors: args.sensors,
            committer: args.committer,
            myself: Address::new(myself, args.node),
            iterator: None,
            trimmed: Trimmed::default(),
            retention: None,
            began: Instant::now(),
            rate: ReadRate::new(self.config.poll_interval),
            solitude: None,
            backoff,
            context,
        };
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
            ReaderMsg::Cut { epoch, reason, full_state } => {
                state.look_at_keys();
                let effect = state.bounds.cut(epoch, reason, full_state);
                state.execute(effect)?;
            }
            ReaderMsg::Drain => state.on_drain()?,
        }
        Ok(())
    }
}

/// What is known of keys now.
fn known_keys(context: &ShardContext, always_whole: bool) -> KnownKeys {
    let keys = &context.keys;
    KnownKeys { whole_aggregates: always_whole || !keys.are_heeded(), spread: !keys.silence_tells() }
}

impl ReaderState {
    async fn on_poll(&mut self, config: &ReaderConfig) -> Result<(), ReaderError> {
        let ended = self.bounds.pinned_end();
        self.execute(ended)?;
        let began = Instant::now();
        let mut pause = config.poll_interval;
        match self.bounds.turn(self.has_room()) {
            ReadTurn::Rest => return Ok(()),
            ReadTurn::NoRoom => {
                self.facts.waits_for_budget();
                // What is in flight becomes free only when it is committed.
                self.execute(ReadEffect::Ask(CutReason::Bytes))?;
            }
            ReadTurn::HandOn => {
                self.hand_on().await?;
                self.execute(self.bounds.asks_for_more())?;
            }
            ReadTurn::Fetch => match self.rate.wait(self.began.elapsed()) {
                Some(wait) => pause = wait.min(TURN_MAX),
                None => pause = self.try_fetch(config).await?,
            },
        }
        if self.bounds.is_read_out() {
            self.facts.stopped();
            let effect = self.bounds.end_shard()?;
            return self.execute(effect);
        }
        self.facts.polled();
        if self.bounds.has_waiting() {
            pause = pause.min(HELD_INTERVAL);
        }
        let due = began + pause;
        self.myself.send_after(due.saturating_duration_since(Instant::now()), ReaderMsg::Poll);
        Ok(())
    }

    /// Does what the bounds say, if they say anything.
    fn execute(&mut self, effect: impl Into<Option<ReadEffect>>) -> Result<(), ReaderError> {
        match effect.into() {
            None => {}
            Some(ReadEffect::Ask(reason)) => self.committer.send(CommitterMsg::CutNow(reason))?,
            Some(ReadEffect::Grew { bytes, rows, partitions, ends }) => {
                self.committer.send(CommitterMsg::Progress { bytes, rows, partitions })?;
                if ends {
                    self.committer.send(CommitterMsg::CutNow(CutReason::Bytes))?;
                }
            }
            Some(ReadEffect::Cut(cut)) => {
                self.facts.cut(cut.epoch);
                self.sensors.send(SensorsMsg::Cut(cut))?;
                // Behind all progress of this epoch and before any of the next one.
                self.committer.send(CommitterMsg::WasCut)?;
            }
        }
        Ok(())
    }

    /// A shard that waits to be alone has room as soon as it is.
    fn has_room(&self) -> bool {
        self.solitude.is_some() || self.budget.has_room()
    }

    fn look_at_keys(&mut self) {
        self.bounds.knows(known_keys(&self.context, self.always_whole));
    }

    /// The answer of a call; none if the order to drain comes next, which must not wait for a service that hangs.
    async fn unless_leaving<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = call => Some(answer),
            () = self.leaving.notified() => None,
        }
    }

    async fn first_iterator(&self) -> Option<Result<String, CallError>> {
        let shard = &self.context.shard;
        if self.trimmed.reads_from_oldest() {
            return self.unless_leaving(self.stream.iterator(shard, &Position::TrimHorizon)).await;
        }
        match self.bounds.reads_from() {
            ReadFrom::At(sequence) => self.unless_leaving(self.stream.iterator_at(shard, sequence)).await,
            ReadFrom::Since(at_ms) => self.unless_leaving(self.stream.iterator_since(shard, at_ms)).await,
            ReadFrom::After(position) => self.unless_leaving(self.stream.iterator(shard, position)).await,
        }
    }

    /// Answers how long after its begin the next one is due.
    async fn try_fetch(&mut self, config: &ReaderConfig) -> Result<Duration, ReaderError> {
        let asked = self.began.elapsed();
        match self.fetch(config).await {
            Ok(()) => self.backoff.passed(),
            Err(ReaderError::Call(error)) if error.failure == Failure::Throttled => self.after_throttle(&error, config),
            Err(ReaderError::Call(error)) => return self.after_failure(error, config),
            Err(error) => return Err(error),
        }
        Ok(self.rate.wait(asked).unwrap_or(config.poll_interval).min(TURN_MAX))
    }

    async fn fetch(&mut self, config: &ReaderConfig) -> Result<(), ReaderError> {
        if self.iterator.is_none() {
            self.iterator = self.begin().await?;
        }
        let Some(iterator) = self.iterator.clone() else { return Ok(()) };
        let (asked, asked_at) = (self.facts.asks(), self.began.elapsed());
        let page = self.stream.records(&self.context.shard, &iterator, config.records_max);
        let Some(page) = self.unless_leaving(page).await else { return Ok(()) };
        let bytes = page.as_ref().map_or(0, Page::bytes);
        let page = page.and_then(|page| self.ahead(page));
        let page = self.facts.answered(asked, page, self.bounds.position()).await?;
        self.rate.page(bytes, (asked_at, self.began.elapsed()));
        if let Some(behind) = self.trimmed.suspects(&self.bounds.reads_from(), &page) {
            self.iterator = page.next;
            return Ok(self.ask_for_horizon(behind).await?);
        }
        self.bounds.fetched(page.records, page.next.is_none());
        self.iterator = page.next;
        self.hand_on().await?;
        if let Some(behind_ms) = page.millis_behind
            && !self.bounds.has_waiting()
        {
            self.sensors.send(SensorsMsg::Time(asked.at_ms - behind_ms))?;
        }
        Ok(())
    }

    /// An iterator; none yet if the reader leaves, or has to ask for the oldest record instead.
    async fn begin(&mut self) -> Result<Option<String>, CallError> {
        match self.first_iterator().await.transpose() {
            Err(error) if is_invalid_argument(&error) && self.trimmed.refused(&self.bounds.reads_from()) => {
                self.facts.turns_back(self.bounds.position(), &error.to_string());
                Ok(None)
            }
            answer => answer,
        }
    }

    /// The page without what was read before.
    fn ahead(&mut self, mut page: Page) -> Result<Page, CallError> {
        let skipped = self.trimmed.skip(&self.bounds.reads_from(), &mut page.records);
        let action = || format!("read {} from its oldest record", self.context.shard);
        skipped.map_err(|error| CallError::new(action(), Failure::Refused, error.to_string()))?;
        Ok(page)
    }

    /// Pages are empty and this far behind: perhaps the stream no longer holds the position.
    async fn ask_for_horizon(&mut self, behind: Duration) -> Result<(), CallError> {
        if self.retention.is_none() {
            self.retention = self.unless_leaving(self.stream.describe()).await.transpose()?.map(|told| told.retention);
        }
        let Some(retention) = self.retention else { return Ok(()) };
        if self.trimmed.is_at_horizon(&self.bounds.reads_from(), behind, retention) {
            self.iterator = None;
            self.facts.turns_back(self.bounds.position(), "its pages are empty, and as far behind as it reaches");
        }
        Ok(())
    }

    /// Too much was asked, by this reader or by others. That is no failure, and the iterator is as good as before; one that
    /// is not any more says so.
    fn after_throttle(&mut self, error: &CallError, config: &ReaderConfig) {
        let asked = error.retry_after.unwrap_or_default().min(config.backoff_max);
        self.rate.throttled(self.began.elapsed(), asked + self.context.chance.spread(JITTER));
        self.facts.failed(error);
        self.facts.throttled(error);
    }

    /// Network failures are waited out; the rest, or too much of it, restarts the shard.
    fn after_failure(&mut self, error: CallError, config: &ReaderConfig) -> Result<Duration, ReaderError> {
        self.iterator = None;
        if is_expired_iterator(&error) {
            return Ok(Duration::ZERO);
        }
        self.facts.failed(&error);
        if !error.may_pass() || self.backoff.failures() >= config.failures_max {
            return Err(error.into());
        }
        // Out of retries, the stream is asked as rarely as can be.
        let affordable = self.stream.retries().take();
        let pause = if affordable { self.backoff.after(&error) } else { self.backoff.rarely(&error) };
        self.facts.retries(self.backoff.failures(), &error);
        Ok(pause)
    }

    /// Decodes what waits and hands it on, as far as the bounds allow. What a page holds shows only when it is decoded:
    /// the rest of one that holds much waits for its turn.
    async fn hand_on(&mut self) -> Result<(), ReaderError> {
        let mut has_room = true;
        while let Some(care) = self.bounds.next_batch(has_room) {
            let mut alone = None;
            if care != Care::Usual {
                // A death must not be put down to a record that was only in the same process.
                alone = self.solitude.get_or_insert_with(|| self.budget.solitude()).granted();
                if alone.is_none() {
                    return Ok(());
                }
                self.take_care(care).await?;
            }
            self.look_at_keys();
            self.hand_on_batch(alone)?;
            has_room = self.has_room();
        }
        if !self.bounds.has_waiting() {
            self.solitude = None;
        }
        Ok(())
    }

    fn hand_on_batch(&mut self, alone: Option<Credit>) -> Result<(), ReaderError> {
        self.decoder.take_whole_aggregates(self.bounds.begin_batch().whole_aggregates);
        let decoding_us = self.facts.decodes();
        let mut builder = self.decoder.batch();
        while let Some((record, unread)) = self.bounds.next_record(builder.readings(), builder.held())? {
            match unread {
                true => builder.push_poisoned(record),
                false => builder.push(record),
            }
            self.bounds.touches(builder.take_partitions());
        }
        self.facts.saw(builder.take_sightings());
        let (bytes, rows) = (builder.bytes(), builder.readings());
        let credit = self.budget.take(builder.held());
        let credit = match alone {
            Some(alone) => Credit::both(alone, credit),
            None => credit,
        };
        let mut batch = builder.finish(credit);
        batch.trace = self.facts.decoded(decoding_us, &batch);
        self.sensors.send(SensorsMsg::Route(batch))?;
        let effect = self.bounds.handed_on(bytes, rows);
        self.execute(effect)
    }

    /// A record that is tried alone is noted before, beyond this process.
    async fn take_care(&self, care: Care) -> Result<(), ReaderError> {
        let suspect = match care {
            Care::Usual => return Ok(()),
            Care::Unread(suspect) => {
                self.facts.goes_unread(&suspect);
                return Ok(());
            }
            Care::Noted(suspect) => suspect,
        };
        let noted = self.committer.actor().call(|reply| CommitterMsg::Suspect(suspect, Some(reply)), None).await;
        match noted {
            Ok(CallResult::Success(())) => Ok(()),
            // It could not be noted; the committer has ended, and the shard starts again.
            Ok(CallResult::Timeout | CallResult::SenderError) | Err(_) => {
                Err(Gone(self.committer.node().path.clone()).into())
            }
        }
    }

    fn on_drain(&mut self) -> Result<(), ReaderError> {
        self.facts.stopped();
        self.solitude = None;
        let effect = self.bounds.drain();
        self.execute(effect)
    }
}
