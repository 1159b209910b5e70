//! The lease table: DynamoDB rows in KCL 3.5's single-table format, with our own extra attributes.
//!
//! **Promises** every write is conditional on the owner and the counter, and carries a nonce: after a failed condition
//! the row is read back, and our own nonce in it says that an earlier attempt of this very write was applied.
//! **Not here**: who should own what.

mod row;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use messages::{EpochNumber, EpochPlan, ShardId};

pub use self::row::{BadRow, LeaseRow, Pending};
use super::aws::{CallError, Failure, classify};

/// Attempts of one write before its failure is reported.
const ATTEMPTS_MAX: u32 = 4;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const TABLE_WAIT_MAX: Duration = Duration::from_secs(60);

/// The lease table of one application.
#[derive(Clone, Debug)]
pub struct LeaseTable {
    client: Client,
    table: String,
}

/// Why a lease could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another worker owns the shard now. Nothing was changed.
    #[error("the lease of {0} is lost: another worker wrote the row")]
    Lost(ShardId),
    /// The table did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The row is not a lease that can be understood.
    #[error(transparent)]
    Row(#[from] BadRow),
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
        Self { client: Client::new(config), table: table.to_owned() }
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
                Err(error) if error.failure == Failure::NotFound => self.create().await?,
                Err(error) if error.failure == Failure::Refused => return Err(error),
                Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            if tokio::time::Instant::now() > deadline {
                let (action, message) = (format!("create table {:?}", self.table), "it did not become active".into());
                return Err(CallError { action, failure: Failure::Transient, code: None, message });
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
        let request = self.client.get_item().table_name(&self.table).consistent_read(true);
        let request = request.key("leaseKey", AttributeValue::S(shard.to_string()));
        let answer = request.send().await.map_err(|e| classify(format!("read the lease of {shard}"), e))?;
        Ok(answer.item.map(LeaseRow::read).transpose()?)
    }

    /// Creates a shard's row at the beginning of the shard, unless there is one.
    pub async fn create_if_absent(&self, fresh: &LeaseRow) -> Result<(), LeaseError> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(fresh.attributes()));
        let request = request.condition_expression("attribute_not_exists(leaseKey)");
        let action = format!("create the lease of {}", fresh.shard);
        match request.send().await.map_err(|e| classify(action, e)) {
            Err(error) if error.failure != Failure::Condition => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes a shard for this worker, on condition that nobody wrote the row since it was read.
    pub async fn take(&self, row: LeaseRow, owner: &str) -> Result<Lease, LeaseError> {
        let mut lease = Lease { table: self.clone(), row };
        let switched = lease.row.owner.as_deref() != Some(owner);
        let mut write = Write::new("leaseOwner = :me");
        write.value(":me", AttributeValue::S(owner.to_owned()));
        if switched {
            write.set("ownerSwitchesSinceCheckpoint = :switches");
            let switches = lease.row.owner_switches + 1;
            write.value(":switches", number(switches));
            lease.row.owner_switches = switches;
        }
        write.remove("checkpointOwner");
        // The owner is not part of the condition here: the counter alone says that nobody moved.
        lease.write(write, None).await?;
        lease.row.owner = Some(owner.to_owned());
        Ok(lease)
    }
}

impl Lease {
    /// Pins the end and the content of the next epoch: from here on every owner writes exactly this.
    pub async fn prepare(&mut self, plan: &EpochPlan) -> Result<(), LeaseError> {
        let state = row::encode_plan(plan)?;
        let mut write = Write::new("pendingCheckpoint = :to");
        write.set("pendingCheckpointSubSequenceNumber = :zero");
        write.set("pendingCheckpointState = :state");
        write.value(":to", AttributeValue::S(plan.cut.to.to_string()));
        write.value(":zero", number(0));
        write.value(":state", AttributeValue::B(Blob::new(state)));
        self.write_as_owner(write).await?;
        self.row.pending = Some(Pending { to: plan.cut.to.clone(), plan: Box::new(plan.clone()) });
        Ok(())
    }

    /// Moves the checkpoint to the end of the prepared epoch, all of which is durable.
    pub async fn commit(&mut self, plan: &EpochPlan, alerts_through: EpochNumber) -> Result<(), LeaseError> {
        let mut write = Write::new("checkpoint = :to");
        write.set("checkpointSubSequenceNumber = :zero");
        write.set("ownerSwitchesSinceCheckpoint = :zero");
        write.set("mangroveEpoch = :epoch");
        write.set("mangroveAlertsThrough = :alerts");
        write.value(":to", AttributeValue::S(plan.cut.to.to_string()));
        write.value(":zero", number(0));
        write.value(":epoch", number(plan.cut.epoch.0));
        write.value(":alerts", number(alerts_through.0));
        if let Some(key) = plan.state_key() {
            write.set("mangroveState = :key");
            write.value(":key", AttributeValue::S(key.to_owned()));
        }
        write.remove("pendingCheckpoint, pendingCheckpointSubSequenceNumber, pendingCheckpointState");
        self.write_as_owner(write).await?;
        self.row.checkpoint = plan.cut.to.clone();
        self.row.epoch = plan.cut.epoch;
        self.row.alerts_through = alerts_through;
        self.row.state_key = plan.state_key().map(str::to_owned);
        self.row.pending = None;
        Ok(())
    }

    /// Gives the shard up in good order: the next owner may start at once.
    pub async fn release(&mut self, alerts_through: EpochNumber) -> Result<(), LeaseError> {
        let mut write = Write::new("mangroveAlertsThrough = :alerts");
        write.value(":alerts", number(alerts_through.0));
        write.remove("leaseOwner");
        self.write_as_owner(write).await
    }

    async fn write_as_owner(&mut self, write: Write) -> Result<(), LeaseError> {
        let owner = self.row.owner.clone().unwrap_or_default();
        self.write(write, Some(owner)).await
    }

    /// One conditional write, tried until its outcome is known.
    async fn write(&mut self, mut write: Write, owner: Option<String>) -> Result<(), LeaseError> {
        let shard = self.row.shard.clone();
        let nonce = format!("{:032x}", rand::random::<u128>());
        let counter = self.row.counter + 1;
        write.set("leaseCounter = :next");
        write.set("mangroveNonce = :nonce");
        write.value(":next", number(counter));
        write.value(":was", number(self.row.counter));
        write.value(":nonce", AttributeValue::S(nonce.clone()));
        let mut condition = "leaseCounter = :was".to_owned();
        if let Some(owner) = owner {
            condition.push_str(" AND leaseOwner = :owner");
            write.value(":owner", AttributeValue::S(owner));
        }
        let mut backoff = BACKOFF_MIN;
        for attempt in 1.. {
            let request = self.table.client.update_item().table_name(&self.table.table);
            let request = request
                .key("leaseKey", AttributeValue::S(shard.to_string()))
                .update_expression(write.expression())
                .condition_expression(&condition)
                .set_expression_attribute_values(Some(write.values.clone()));
            let error = match request.send().await {
                Ok(_) => break,
                Err(error) => classify(format!("write the lease of {shard}"), error),
            };
            match error.failure {
                Failure::Condition => {
                    // Either another worker wrote, or an attempt whose answer was lost: the nonce tells.
                    let found = self.table.get(&shard).await?;
                    if found.is_none_or(|row| row.nonce.as_deref() != Some(nonce.as_str())) {
                        return Err(LeaseError::Lost(shard));
                    }
                    break;
                }
                Failure::Throttled | Failure::Transient if attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
                _ => return Err(error.into()),
            }
        }
        self.row.counter = counter;
        Ok(())
    }
}

/// The parts of an update expression.
struct Write {
    sets: Vec<&'static str>,
    removes: Vec<&'static str>,
    values: HashMap<String, AttributeValue>,
}

impl Write {
    fn new(first: &'static str) -> Self {
        Self { sets: vec![first], removes: Vec::new(), values: HashMap::new() }
    }

    fn set(&mut self, part: &'static str) {
        self.sets.push(part);
    }

    fn remove(&mut self, part: &'static str) {
        self.removes.push(part);
    }

    fn value(&mut self, name: &str, value: AttributeValue) {
        self.values.insert(name.to_owned(), value);
    }

    fn expression(&self) -> String {
        let mut expression = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            expression.push_str(&format!(" REMOVE {}", self.removes.join(", ")));
        }
        expression
    }
}

fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}
