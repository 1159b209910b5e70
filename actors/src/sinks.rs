//! Writes the zones of one shard: raw, cleansed, quarantine, duplicates, dimensions, aggregates, alerts, state.
//!
//! **Owns** the readings of the open epoch, and the objects of the sealed one until they are stored.
//!
//! **Promises** nothing is uploaded before its epoch is prepared; an object is created or found to be the same, never
//! replaced; the claim on the epoch's number goes first, the manifest last (RAW-ONCE, CLEAN-ONCE).
//!
//! **Fails** by stopping; the shard restarts and finishes the prepared epoch under the same keys.
//!
//! **Not here**: deciding when an epoch ends, moving the checkpoint.

mod aggregates;
mod alerts;
mod cleansed;
mod dimensions;
mod duplicates;
mod epoch;
mod error;
mod facts;
mod job;
mod lines;
mod origin;
mod quarantine;
mod raw;
mod rows;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod uploads;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use messages::{
    Assessed, Cause, CommitterMsg, EncodedEpoch, EncodedObject, EpochContent, EpochNumber, NotStored, Receipts,
    SinksMsg,
};
use ractor::{Actor, ActorProcessingErr, ActorRef};

pub use self::epoch::{encode_epoch, encode_windows};
pub use self::error::EncodeError;
use self::facts::{Encodes, Facts};
pub use self::job::{Codec, Encoding, Encodings, EpochContext};
pub use self::table::probe_file;
use self::uploads::{UploadStep, Uploads};
use crate::node::{Address, Gone, Node};
use crate::panics::Panicked;
use crate::ports::aws::Failure;
use crate::ports::backoff::Backoff;
use crate::ports::chance::Chance;
use crate::ports::objects::{Objects, Put};
use crate::shard::ShardContext;
use crate::verdict::FailureVerdict;

/// Before the second try of an upload; doubled with each.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct SinksConfig {
    /// How objects are encoded.
    pub encoding: Encoding,
    /// Uploads of one shard under way at once.
    pub uploads_max: usize,
    /// Tries of one upload before the shard is restarted.
    pub attempts_max: u32,
    /// Longest pause between two tries.
    pub backoff_max: Duration,
}

/// Given afresh to every incarnation.
#[derive(Debug)]
pub struct SinksArgs {
    /// The identity of the shard.
    pub context: ShardContext,
    /// The bucket.
    pub objects: Objects,
    /// The state object of the last committed epoch.
    pub previous_state: Option<String>,
    /// The epoch that was prepared and is to be finished, and the format of its plan.
    pub pinned: Option<(EpochNumber, u32)>,
    /// The committer, which prepares and commits.
    pub committer: Address<CommitterMsg>,
    /// These sinks' node.
    pub node: Arc<Node>,
}

/// The behaviour; read-only while running.
#[derive(Debug)]
pub struct SinksActor {
    /// How it writes.
    pub config: SinksConfig,
}

/// The live part; lost in a crash, rebuilt by `pre_start`.
#[derive(Debug)]
pub struct SinksState {
    context: ShardContext,
    objects: Objects,
    committer: Address<CommitterMsg>,
    myself: Address<SinksMsg>,
    previous_state: Option<String>,
    pinned: Option<(EpochNumber, u32)>,
    uploads: Uploads,
    open: Vec<Assessed>,
    sealed: Option<Arc<EncodedEpoch>>,
    /// When the first record of the epoch that is being encoded arrived.
    first_arrival_ms: Option<i64>,
    /// What this actor started and must not outlive it.
    tasks: tokio::task::JoinSet<()>,
}

/// Why an epoch could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SinksError {
    /// The readings could not be encoded.
    #[error("encode the epoch")]
    Encode(#[source] Cause),
    /// An object could not be stored.
    #[error("upload epoch {epoch}: {cause}")]
    Upload {
        /// The epoch.
        epoch: EpochNumber,
        /// Why not.
        cause: NotStored,
    },
    /// The committer asked for an epoch that is not sealed.
    #[error("epoch {0} is not sealed")]
    NotSealed(EpochNumber),
    /// The committer has ended; the shard restarts as a whole.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl SinksError {
    fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Upload { cause: NotStored::Different { .. }, .. } => FailureVerdict::Final,
            Self::Encode(_) | Self::Upload { .. } | Self::NotSealed(_) | Self::Gone(_) => FailureVerdict::Restart,
        }
    }
}

impl Actor for SinksActor {
    type Msg = SinksMsg;
    type State = SinksState;
    type Arguments = SinksArgs;

    async fn pre_start(&self, myself: ActorRef<SinksMsg>, args: SinksArgs) -> Result<SinksState, ActorProcessingErr> {
        Ok(SinksState {
            uploads: Uploads::new(&args.context.faults),
            context: args.context,
            objects: args.objects,
            committer: args.committer,
            myself: Address::new(myself, args.node),
            previous_state: args.previous_state,
            pinned: args.pinned,
            open: Vec::new(),
            sealed: None,
            first_arrival_ms: None,
            tasks: tokio::task::JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<SinksMsg>,
        message: SinksMsg,
        state: &mut SinksState,
    ) -> Result<(), ActorProcessingErr> {
        let node = state.myself.node().clone();
        let _handling = node.handling();
        while state.tasks.try_join_next().is_some() {}
        state.act(message, &self.config).map_err(|error| error.verdict().on(error))
    }
}

impl SinksState {
    fn act(&mut self, message: SinksMsg, config: &SinksConfig) -> Result<(), SinksError> {
        match message {
            SinksMsg::Store(assessed) => self.open.push(assessed),
            SinksMsg::Seal(content) => self.on_seal(content, config),
            SinksMsg::Encoded(encoded, receipts) => self.on_encoded(encoded, receipts)?,
            SinksMsg::Upload(epoch) => self.on_upload(epoch, config)?,
            SinksMsg::UploadEnded(epoch, result) => self.on_upload_ended(epoch, result)?,
        }
        Ok(())
    }

    /// Encoding is work for a processor, not for the runtime's own threads.
    fn on_seal(&mut self, content: EpochContent, config: &SinksConfig) {
        let batches = std::mem::take(&mut self.open);
        let first = batches.iter().find_map(|batch| batch.in_flight.batch.records.first());
        self.first_arrival_ms = first.map(|record| record.arrival_ms);
        let context = EpochContext {
            stream: self.context.stream.to_string(),
            origin: self.context.origin.as_ref().clone(),
            format: self.uploads.format_of(content.cut.epoch, self.pinned),
            shard: self.context.shard.clone(),
            schema: self.context.schema.clone(),
            encoding: config.encoding,
            previous_state: self.previous_state.clone(),
        };
        let (myself, work) = (self.myself.clone(), self.context.work);
        let encodes = Encodes::begin(&self.context, content.cut.epoch);
        self.tasks.spawn(async move {
            let receipts = content.receipts.clone();
            let encoded = match work.run(move || encode_epoch(&context, &batches, &content)).await {
                Ok(encoded) => encoded.map(Box::new).map_err(Cause::from),
                Err(panic) => Err(panic.into()),
            };
            encodes.end(&encoded);
            // If the actor has ended, its successor encodes the epoch again.
            let _ = myself.send(SinksMsg::Encoded(encoded, receipts));
        });
    }

    fn on_encoded(&mut self, encoded: Result<Box<EncodedEpoch>, Cause>, receipts: Receipts) -> Result<(), SinksError> {
        let encoded = encoded.map_err(SinksError::Encode)?;
        facts::sealed(&self.context);
        let plan = Box::new(encoded.plan.clone());
        self.sealed = Some(Arc::from(encoded));
        let sinks = self.myself.actor().clone();
        let first_arrival_ms = self.first_arrival_ms.take();
        Ok(self.committer.send(CommitterMsg::Planned { plan, receipts, first_arrival_ms, sinks })?)
    }

    fn on_upload(&mut self, epoch: EpochNumber, config: &SinksConfig) -> Result<(), SinksError> {
        // The committer's message came past the address, so the depth shown does not know of it.
        let sealed = self.sealed.clone().filter(|sealed| sealed.plan.cut.epoch == epoch);
        let sealed = sealed.ok_or(SinksError::NotSealed(epoch))?;
        let (objects, context) = (self.objects.clone(), &self.context);
        let (chance, facts) = (context.chance.clone(), Facts::new(context.clone(), epoch));
        let upload = Upload { objects, chance, facts, config: config.clone() };
        let (myself, uploads) = (self.myself.clone(), self.uploads);
        self.tasks.spawn(async move {
            // A panic would end this task alone, and the committer would wait for ever: it has to end the actor.
            let result = AssertUnwindSafe(upload.epoch(&sealed, uploads)).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| Err(NotStored::Failed(Panicked::with(panic.as_ref()).into())));
            upload.facts.end(&result);
            let _ = myself.send(SinksMsg::UploadEnded(epoch, result));
        });
        Ok(())
    }

    fn on_upload_ended(&mut self, epoch: EpochNumber, result: Result<(), NotStored>) -> Result<(), SinksError> {
        self.uploads.outcome(result).map_err(|cause| SinksError::Upload { epoch, cause })?;
        if let Some(sealed) = self.sealed.take() {
            self.previous_state = sealed.plan.state_key().map(str::to_owned);
        }
        Ok(self.committer.send(CommitterMsg::Uploaded(epoch))?)
    }
}

/// Uploads one epoch.
struct Upload {
    objects: Objects,
    chance: Chance,
    config: SinksConfig,
    facts: Facts,
}

impl Upload {
    async fn epoch(&self, sealed: &EncodedEpoch, uploads: Uploads) -> Result<(), NotStored> {
        for step in uploads.steps(sealed) {
            match step {
                UploadStep::Claim(claim) => self.claim(claim).await?,
                UploadStep::Objects(objects) => {
                    stream::iter((0..objects.len()).map(|n| self.object(&objects[n])))
                        .buffer_unordered(self.config.uploads_max.max(1))
                        .try_collect::<()>()
                        .await?;
                }
                UploadStep::Manifest(manifest) => {
                    self.facts.reaches_manifest();
                    self.object(manifest).await?;
                }
            }
        }
        self.facts.uploaded(&sealed.plan);
        Ok(())
    }

    async fn claim(&self, claim: &EncodedObject) -> Result<(), NotStored> {
        // What a number was claimed for instead, the shard finds when it starts and holds its row against the bucket.
        self.put(claim).await.map_err(|error| NotStored::Failed(error.into()))?;
        self.facts.claimed();
        Ok(())
    }

    async fn object(&self, object: &EncodedObject) -> Result<(), NotStored> {
        self.facts.reaches_object();
        self.put(object).await
    }

    async fn put(&self, object: &EncodedObject) -> Result<(), NotStored> {
        let planned = &object.planned;
        self.facts.uploads(object);
        let mut backoff = Backoff::new(&self.chance, BACKOFF_MIN, self.config.backoff_max);
        for attempt in 1.. {
            let put = self.objects.put_new(&planned.key, object.bytes.clone(), &planned.digest, planned.rows).await;
            self.facts.answered();
            match put {
                Ok(put @ (Put::Created | Put::Same)) => {
                    self.facts.stored(planned.zone, put);
                    return Ok(());
                }
                Ok(Put::Different) => {
                    let different = NotStored::Different { key: planned.key.clone() };
                    self.facts.differs(&different, &planned.key);
                    return Err(different);
                }
                Err(error) if error.failure == Failure::Refused || attempt >= self.config.attempts_max => {
                    self.facts.failed(&error);
                    return Err(NotStored::Failed(error.into()));
                }
                Err(error) => {
                    self.facts.retries(planned.zone, attempt, &error);
                    // Out of retries, the bucket is asked as rarely as can be.
                    let affordable = self.objects.retries().take();
                    let pause = if affordable { backoff.after(&error) } else { backoff.rarely(&error) };
                    tokio::time::sleep(pause).await;
                }
            }
        }
        unreachable!("the loop returns")
    }
}
