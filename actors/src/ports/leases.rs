//! The lease table: DynamoDB rows in KCL 3.5's single-table format, with our own extra attributes.
//!
//! **Promises** every write of a lease is conditional on the owner and the counter; its outcome is known, also when an
//! answer was lost (`leases/write.rs`). Attributes that are not ours stay as they are.
//! **Not here**: who should own what.

mod guard;
mod home;
mod loaders;
mod row;
mod workers;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, KeysAndAttributes,
    ReturnConsumedCapacity, ScalarAttributeType, TableStatus,
};
use messages::{EpochNumber, EpochPlan, Position, Sample, ShardId, Suspect};

use self::guard::Guard;
pub use self::home::{Home, OtherHome, row_of};
pub use self::loaders::{LoaderLease, LoaderRow};
pub use self::row::{Advance, BadRow, LeaseRow, LeaseView, Pending, StartWord};
use self::row::{Item, text_of};
pub use self::workers::{Heartbeat, MOVES_OF_THE_LIVING, Standing, WorkerRow};
use self::write::{NONCE, Write, Written, number, text};
use super::aws::{CallError, Failure, classify};
use super::chance::Chance;
use super::faults::Faults;
use super::retries::RetryBudget;
use crate::verdict::FailureVerdict;

/// Records that one shard remembers to have died on.
const SUSPECTS_MAX: usize = 64;
/// Attempts of one write before its failure is reported.
const ATTEMPTS_MAX: u32 = 4;
const TABLE_WAIT_MAX: Duration = Duration::from_secs(60);
/// A table of this many pages of 1 MB is none of ours.
const SCAN_PAGES_MAX: usize = 100;
/// Keys of one BatchGetItem, by the service.
const BATCH_MAX: usize = 100;

/// The lease table of one application.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    client: Client,
    table: String,
    chance: Chance,
    guard: Guard,
    retries: RetryBudget,
}

/// All that a look at the table shows.
#[derive(Clone, Debug, Default)]
pub struct LeaseRows {
    /// The leases, by shard.
    pub leases: BTreeMap<ShardId, LeaseView>,
    /// The workers, by name.
    pub workers: BTreeMap<String, WorkerRow>,
    /// Rows that call themselves leases and cannot be read: their shards are left alone.
    pub bad: Vec<BadRow>,
    /// Read units that the look has cost.
    pub read_units: f64,
}

/// Why a lease could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another worker owns the shard now. Nothing was changed.
    #[error("the lease of {0} is lost: another worker wrote the row")]
    Lost(ShardId),
    /// The row is gone: somebody deleted it, or the table. Nothing was changed.
    #[error(
        "the lease of {0} is lost: its row is gone. Somebody deleted it, or the table: mangrove leases rebuild makes rows \
         anew from the manifests in the bucket"
    )]
    RowGone(ShardId),
    /// Another process beats under this worker's name.
    #[error("worker.id {0:?} is in use by another process: give each one a name of its own (--worker-id)")]
    NameInUse(String),
    /// Another process's heartbeat stands in this worker's place. Whether that one lives is being watched.
    #[error(
        "the heartbeat of worker.id {0:?} is another process's: a table that was restored shows one of the past. Watching \
         whether it beats"
    )]
    NameDisputed(String),
    /// Another worker loads the warehouse now. Nothing was changed.
    #[error("another worker loads {0:?} now")]
    NotLoading(String),
    /// The table did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The row is not a lease that can be understood.
    #[error(transparent)]
    Row(#[from] BadRow),
}

impl LeaseError {
    /// What is to be done about it.
    pub fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Call(error) => error.verdict(),
            Self::Lost(_) | Self::RowGone(_) | Self::NotLoading(_) | Self::Row(_) => FailureVerdict::Restart,
            Self::NameInUse(_) | Self::NameDisputed(_) => FailureVerdict::Restart,
        }
    }
}

/// A lease that this worker holds. Every write moves the counter.
#[derive(Clone, Debug)]
pub struct Lease {
    table: LeaseTable,
    /// The row as this worker last wrote it.
    pub row: LeaseRow,
}

impl LeaseTable {
    /// The table of this name.
    pub fn new(config: &aws_config::SdkConfig, table: &str) -> Self {
        let (chance, guard, retries) = (Chance::system(), Guard::new(&Faults::none()), RetryBudget::default());
        Self { client: Client::new(config), table: table.to_owned(), chance, guard, retries }
    }

    /// The same with other dice and faults.
    pub fn with(self, chance: Chance, faults: Faults) -> Self {
        Self { chance, guard: Guard::new(&faults), ..self }
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.table
    }

    /// Creates the table if there is none, as KCL does, and waits until it is active.
    pub async fn ensure(&self) -> Result<(), CallError> {
        let deadline = tokio::time::Instant::now() + TABLE_WAIT_MAX;
        loop {
            let described = self.client.describe_table().table_name(&self.table).send().await;
            match described.map_err(|e| classify(format!("describe table {:?}", self.table), e)) {
                Ok(answer) if answer.table().and_then(|t| t.table_status()) == Some(&TableStatus::Active) => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.failure == Failure::NotFound => self.create().await.map_err(|error| {
                    // Nobody who waits gets it made.
                    let refused = error.failure == Failure::Refused;
                    if refused { CallError { failure: Failure::NotFound, ..error } } else { error }
                })?,
                Err(error) if error.failure == Failure::Refused => return Err(error),
                Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            if tokio::time::Instant::now() > deadline {
                let (action, message) = (format!("create table {:?}", self.table), "it did not become active");
                return Err(CallError::new(action, Failure::Transient, message));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn create(&self) -> Result<(), CallError> {
        let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build();
        let attribute =
            AttributeDefinition::builder().attribute_name("leaseKey").attribute_type(ScalarAttributeType::S).build();
        let (key, attribute) = (key.expect("both parts are set"), attribute.expect("both parts are set"));
        let request = self.client.create_table().table_name(&self.table).key_schema(key);
        let request = request.attribute_definitions(attribute).billing_mode(BillingMode::PayPerRequest);
        match request.send().await.map_err(|e| classify(format!("create table {:?}", self.table), e)) {
            Err(error) if error.code.as_deref() != Some("ResourceInUseException") => Err(error),
            // Another worker was faster: the same table.
            _ => Ok(()),
        }
    }

    /// A shard's row, read consistently; none if there is none.
    pub async fn get(&self, shard: &ShardId) -> Result<Option<LeaseRow>, LeaseError> {
        Ok(self.item(shard.as_str()).await?.map(LeaseRow::read).transpose()?)
    }

    async fn item(&self, key: &str) -> Result<Option<Item>, CallError> {
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = request.key("leaseKey", text(key)).send().await;
        Ok(answer.map_err(|e| classify(format!("read the row of {key}"), e))?.item)
    }

    /// Looks at the whole table. Eventually consistent: whoever acts on it writes on condition.
    pub async fn scan(&self) -> Result<LeaseRows, CallError> {
        let action = || format!("scan table {:?}", self.table);
        let mut rows = LeaseRows::default();
        let mut from = None;
        for _ in 0..SCAN_PAGES_MAX {
            let request = self.client.scan().table_name(&self.table).set_exclusive_start_key(from.take());
            // Plans are large and nobody else's business. (They are paid for all the same.)
            let request = request
                .projection_expression(LeaseView::ATTRIBUTES)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let page = request.send().await.map_err(|e| classify(action(), e))?;
            rows.read_units += page.consumed_capacity().and_then(|c| c.capacity_units()).unwrap_or(0.0);
            for item in page.items.unwrap_or_default() {
                rows.add(item);
            }
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                return Ok(rows);
            }
        }
        let message = format!("more than {SCAN_PAGES_MAX} pages");
        Err(CallError::new(action(), Failure::Refused, message))
    }

    /// Looks at the heartbeats of these workers and at nothing else, as consistently as [`scan`](Self::scan): what it costs
    /// hangs on the workers, and not on the shards.
    pub async fn workers(&self, ids: &[String]) -> Result<LeaseRows, CallError> {
        let mut rows = LeaseRows::default();
        for ids in ids.chunks(BATCH_MAX) {
            self.look_at(ids, &mut rows).await?;
        }
        Ok(rows)
    }

    async fn look_at(&self, ids: &[String], rows: &mut LeaseRows) -> Result<(), CallError> {
        let action = || format!("look at {} heartbeats in table {:?}", ids.len(), self.table);
        let keys = ids.iter().map(|id| HashMap::from([("leaseKey".to_owned(), text(&workers::key_of(id)))]));
        let keys = KeysAndAttributes::builder().set_keys(Some(keys.collect())).build().expect("the keys are set");
        let request = self.client.batch_get_item().request_items(&self.table, keys);
        let answer = request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        let answer = answer.map_err(|e| classify(action(), e))?;
        if answer.unprocessed_keys.is_some_and(|tables| !tables.is_empty()) {
            return Err(CallError::new(action(), Failure::Throttled, "some were left out".to_owned()));
        }
        // A heartbeat is much smaller than the 4 KB of a unit, of which this consistency takes half.
        let consumed: Option<f64> =
            answer.consumed_capacity.map(|of| of.iter().filter_map(|c| c.capacity_units()).sum());
        rows.read_units += consumed.unwrap_or(ids.len() as f64 / 2.0);
        answer.responses.unwrap_or_default().into_values().flatten().for_each(|item| rows.add(item));
        Ok(())
    }

    /// Creates a shard's row at the beginning of the shard, unless there is one. True if it is new.
    pub async fn create_if_absent(&self, fresh: &LeaseRow) -> Result<bool, LeaseError> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(fresh.attributes()));
        let request = request.condition_expression("attribute_not_exists(leaseKey)");
        let action = format!("create the lease of {}", fresh.shard);
        match request.send().await.map_err(|e| classify(action, e)) {
            Err(error) if error.failure == Failure::Condition => Ok(false),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(true),
        }
    }

    /// Notes a parent's children on its row, as KCL does: for people, and for going back to KCL. Adding twice changes
    /// nothing, so that it needs no nonce; the nonce there is its owner's.
    pub async fn note_children(&self, parent: &ShardId, children: &[ShardId]) -> Result<(), CallError> {
        let children = children.iter().map(ShardId::to_string).collect();
        let request = self.client.update_item().table_name(&self.table).key("leaseKey", text(parent.as_str()));
        let request = request
            .update_expression("ADD childShardIds :children")
            .condition_expression("attribute_exists(leaseKey)")
            .expression_attribute_values(":children", AttributeValue::Ss(children));
        match request.send().await.map_err(|e| classify(format!("note the children of {parent}"), e)) {
            Err(error) if error.failure != Failure::Condition => Err(error),
            // A row that is gone needs no children.
            _ => Ok(()),
        }
    }

    /// Deletes the row of a shard that the stream has forgotten, on condition that nobody wrote it since it was seen.
    pub async fn delete(&self, seen: &LeaseView) -> Result<(), CallError> {
        let request = self.client.delete_item().table_name(&self.table).key("leaseKey", text(seen.shard.as_str()));
        let request = request
            .condition_expression("leaseCounter = :was")
            .expression_attribute_values(":was", number(seen.counter));
        match request.send().await.map_err(|e| classify(format!("delete the lease of {}", seen.shard), e)) {
            Err(error) if error.failure != Failure::Condition => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes a shard for this worker, on condition that nobody wrote the row since it was read; in the same write, moves
    /// the row on to where the manifests are, if they are further.
    pub async fn take(
        &self,
        row: LeaseRow,
        owner: &str,
        home: &Home,
        advance: Option<Advance>,
    ) -> Result<Lease, LeaseError> {
        let mut lease = Lease { table: self.clone(), row };
        let mut write = Write::default();
        if lease.row.home.is_none() {
            home.write(&mut write);
            lease.row.home = Some(home.clone());
        }
        if let Some(advance) = advance {
            lease.row.advance(advance, &mut write)?;
        }
        write.set("leaseOwner", text(owner));
        if lease.row.owner.as_deref() != Some(owner) {
            let switches = lease.row.owner_switches + 1;
            write.set("ownerSwitchesSinceCheckpoint", number(switches));
            lease.row.owner_switches = switches;
        }
        write.remove("checkpointOwner");
        // That another one gave it up stays written: it is not given the shard back at once.
        if lease.row.given_up_by.as_deref() == Some(owner) {
            write.remove("mangroveGivenUpBy");
            lease.row.given_up_by = None;
        }
        if let Some(ms) = lease.row.start_at_ms {
            // Pinned before anything is read: what arrives from now on is not lost again by a restart.
            write.set(row::START_AT, number(ms.max(0).unsigned_abs()));
            lease.row.start_word = None;
        }
        // Counted before anything is read: whoever dies cannot count.
        write.set("mangroveTries", number(u64::from(lease.row.tries) + 1));
        // The owner is not part of the condition here: the counter alone says that nobody moved.
        lease.write(write, None).await?;
        lease.row.owner = Some(owner.to_owned());
        lease.row.checkpoint_owner = None;
        Ok(lease)
    }

    /// Writes where the manifests say that a shard is, on condition that nobody wrote the row since it was read, and
    /// leaves the shard without an owner: for a person who has stopped the workers.
    pub async fn rebuild(&self, row: LeaseRow, home: &Home, to: Advance) -> Result<(), LeaseError> {
        let mut write = Write::default();
        write.remove("leaseOwner").remove("checkpointOwner").remove("mangroveGivenUpBy").remove("mangroveTries");
        write.set("mangroveAlertsThrough", number(row.alerts_through.0.min(to.epoch.0)));
        home.write(&mut write);
        let mut lease = Lease { table: self.clone(), row };
        lease.row.advance(to, &mut write)?;
        lease.write(write, None).await
    }

    /// Gives a shard up on which this worker can make no progress: others are to try it first. Nothing is changed if
    /// it is another's already.
    pub async fn give_up(&self, shard: &ShardId, owner: &str) -> Result<(), LeaseError> {
        let Some(row) = self.get(shard).await?.filter(|row| row.owner.as_deref() == Some(owner)) else {
            return Ok(());
        };
        let mut write = Write::default();
        write.set("mangroveGivenUpBy", text(owner)).remove("leaseOwner");
        Lease { table: self.clone(), row }.write_as_owner(write).await
    }

    /// Says of a shard that nobody has that others are to try it first. Nothing is changed if somebody has it.
    pub async fn decline(&self, shard: &ShardId, worker: &str) -> Result<(), LeaseError> {
        let Some(row) = self.get(shard).await?.filter(|row| row.owner.is_none()) else { return Ok(()) };
        let mut write = Write::default();
        write.set("mangroveGivenUpBy", text(worker));
        write.only_if("leaseCounter", number(row.counter)).only_if_absent("leaseOwner");
        // Somebody was faster: then it is in good hands.
        self.write(shard.as_str(), write, ATTEMPTS_MAX).await.map(|_| ()).map_err(LeaseError::Call)
    }
}

impl LeaseRows {
    fn add(&mut self, item: Item) {
        match text_of(&item, "entityType").as_deref() {
            // Rows without a type were written by KCL before 3.5.
            None | Some("LEASE") => match LeaseView::read(&item) {
                Ok(lease) => {
                    self.leases.insert(lease.shard.clone(), lease);
                }
                Err(bad) => self.bad.push(bad),
            },
            Some(workers::ENTITY_TYPE) => {
                if let Some(worker) = WorkerRow::read(&item) {
                    self.workers.insert(worker.id.clone(), worker);
                }
            }
            // KCL's leader, its migrations, its worker metrics: none of ours.
            Some(_) => {}
        }
    }
}

impl Lease {
    /// Pins the end and the content of the next epoch: from here on every owner writes exactly this. Whatever died on
    /// its records is forgotten; whether the shard goes on being read with caution is for the caller to say.
    pub async fn prepare(&mut self, plan: &EpochPlan, cautious: bool) -> Result<(), LeaseError> {
        let mut write = Write::default();
        pin(&mut write, plan)?;
        if !cautious {
            write.remove("mangroveTries");
        }
        let mut suspects = self.row.suspects.clone();
        suspects.retain(|suspect| Position::At(suspect.sequence.clone()) > plan.cut.to);
        note(&mut write, &suspects)?;
        self.write_as_owner(write).await?;
        self.row.suspects = suspects;
        self.row.pending = Some(Pending { to: plan.cut.to.clone(), plan: Box::new(plan.clone()) });
        Ok(())
    }

    /// Moves the checkpoint to the end of the prepared epoch, all of which is durable.
    /// Others are shown a sample of its sensors.
    pub async fn commit(
        &mut self,
        plan: &EpochPlan,
        alerts_through: EpochNumber,
        sample: Option<Sample>,
    ) -> Result<(), LeaseError> {
        let mut write = Write::default();
        if let Some(sample) = sample {
            write.set("mangroveSample", AttributeValue::B(Blob::new(sample.encode())));
        }
        write
            .set("checkpoint", text(&self.row.checkpoint_text(&plan.cut.to)))
            .set("checkpointSubSequenceNumber", number(0));
        write.set("ownerSwitchesSinceCheckpoint", number(0));
        write.set("mangroveEpoch", number(plan.cut.epoch.0)).set("mangroveAlertsThrough", number(alerts_through.0));
        if let Some(key) = self.table.guard.state_key(plan) {
            write.set("mangroveState", text(key));
        }
        unpin(&mut write);
        self.write_as_owner(write).await?;
        self.row.checkpoint = plan.cut.to.clone();
        self.row.begin_inside = None;
        self.row.epoch = plan.cut.epoch;
        self.row.alerts_through = alerts_through;
        self.row.state_key = plan.state_key().map(str::to_owned);
        self.row.pending = None;
        Ok(())
    }

    /// Gives the shard up in good order: the next owner may start at once.
    pub async fn release(&mut self, alerts_through: EpochNumber) -> Result<(), LeaseError> {
        let mut write = Write::default();
        write.set("mangroveAlertsThrough", number(alerts_through.0)).remove("leaseOwner").remove("mangroveTries");
        self.write_as_owner(write).await
    }

    /// Remembers that something died, or may die, on a record.
    pub async fn suspect(&mut self, suspect: Suspect) -> Result<(), LeaseError> {
        let mut suspects = self.row.suspects.clone();
        let same = |other: &Suspect| (&other.sequence, other.sub_sequence) == (&suspect.sequence, suspect.sub_sequence);
        suspects.retain(|other| !same(other));
        suspects.push(suspect);
        // The oldest are forgotten first: they will be noticed again.
        let surplus = suspects.len().saturating_sub(SUSPECTS_MAX);
        suspects.drain(..surplus);
        let mut write = Write::default();
        note(&mut write, &suspects)?;
        self.write_as_owner(write).await?;
        self.row.suspects = suspects;
        Ok(())
    }

    async fn write_as_owner(&mut self, write: Write) -> Result<(), LeaseError> {
        let owner = self.row.owner.clone().unwrap_or_default();
        self.write(write, Some(owner)).await
    }

    async fn write(&mut self, mut write: Write, owner: Option<String>) -> Result<(), LeaseError> {
        let counter = self.row.counter + 1;
        write.set("leaseCounter", number(counter)).only_if("leaseCounter", number(self.row.counter));
        match &self.row.written_by {
            Some(nonce) => write.only_if(NONCE, text(nonce)),
            None => write.only_if_absent(NONCE),
        };
        if let Some(owner) = owner {
            write.only_if("leaseOwner", text(&owner));
        }
        let nonce = self.table.chance.nonce();
        match self.table.write_as(nonce.clone(), self.row.shard.as_str(), write, ATTEMPTS_MAX).await? {
            Written::Applied => {
                (self.row.counter, self.row.written_by) = (counter, Some(nonce));
                Ok(())
            }
            Written::ConditionFailed => Err(LeaseError::Lost(self.row.shard.clone())),
            Written::Gone => Err(LeaseError::RowGone(self.row.shard.clone())),
        }
    }
}

impl LeaseRow {
    /// Moves on to where the manifests are.
    fn advance(&mut self, to: Advance, write: &mut Write) -> Result<(), LeaseError> {
        write.set("checkpoint", text(&to.checkpoint.to_string())).set("checkpointSubSequenceNumber", number(0));
        write.set("mangroveEpoch", number(to.epoch.0));
        match &to.state_key {
            Some(key) => write.set("mangroveState", text(key)),
            None => write.remove("mangroveState"),
        };
        match &to.pending {
            Some(pending) => pin(write, &pending.plan)?,
            None => unpin(write),
        }
        self.suspects.retain(|suspect| Position::At(suspect.sequence.clone()) > to.checkpoint);
        note(write, &self.suspects)?;
        if self.checkpoint != to.checkpoint {
            self.begin_inside = None;
        }
        (self.checkpoint, self.epoch) = (to.checkpoint, to.epoch);
        (self.state_key, self.pending) = (to.state_key, to.pending);
        Ok(())
    }
}

fn pin(write: &mut Write, plan: &EpochPlan) -> Result<(), LeaseError> {
    let to = plan.cut.to.to_string();
    write.set("pendingCheckpoint", text(&to)).set("pendingCheckpointSubSequenceNumber", number(0));
    write.set("pendingCheckpointState", AttributeValue::B(Blob::new(row::encode_plan(plan)?)));
    // Tells our own plan from what a KCL application may have left in KCL's attributes.
    write.set("mangrovePending", text(&to));
    Ok(())
}

fn unpin(write: &mut Write) {
    write.remove("pendingCheckpoint").remove("pendingCheckpointSubSequenceNumber");
    write.remove("pendingCheckpointState").remove("mangrovePending");
}

fn note(write: &mut Write, suspects: &[Suspect]) -> Result<(), LeaseError> {
    const ATTRIBUTE: &str = "mangroveSuspects";
    if suspects.is_empty() {
        write.remove(ATTRIBUTE);
    } else {
        write.set(ATTRIBUTE, text(&row::encode_suspects(suspects)?));
    }
    Ok(())
}
