//! One row of the lease table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use messages::{EpochNumber, EpochPlan, Position, ShardId};

/// DynamoDB refuses items above 400 KB; the rest of the row needs little.
const PLAN_BYTES_MAX: usize = 380 * 1024;

type Item = HashMap<String, AttributeValue>;

/// A row that is not a lease that can be understood.
#[derive(Debug, thiserror::Error)]
#[error("lease row {key:?}, attribute {attribute}: {problem}")]
pub struct BadRow {
    key: String,
    attribute: &'static str,
    problem: String,
}

/// An epoch that was prepared and not yet committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// Where it ends.
    pub to: Position,
    /// What it will have written.
    pub plan: Box<EpochPlan>,
}

/// A shard's row: KCL's attributes, and ours (`mangrove...`), which KCL leaves alone.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRow {
    /// The shard.
    pub shard: ShardId,
    /// Who owns it.
    pub owner: Option<String>,
    /// Moves with every write.
    pub counter: u64,
    /// All records up to here are durable in every zone.
    pub checkpoint: Position,
    /// How often the owner changed since the last checkpoint.
    pub owner_switches: u64,
    /// Shards that this one was split or merged from.
    pub parents: Vec<ShardId>,
    /// The hash range, as decimals.
    pub hash_range: (String, String),
    /// The epoch that was prepared and not yet committed.
    pub pending: Option<Pending>,
    /// The last epoch that was committed; 0 before the first.
    pub epoch: EpochNumber,
    /// The state object of that epoch.
    pub state_key: Option<String>,
    /// Every alert up to this epoch has been sent.
    pub alerts_through: EpochNumber,
    /// Random text of the last write.
    pub nonce: Option<String>,
}

impl LeaseRow {
    /// The row of a shard that nobody has read.
    pub fn fresh(shard: ShardId, parents: Vec<ShardId>, hash_range: (String, String)) -> Self {
        Self {
            shard,
            owner: None,
            counter: 0,
            checkpoint: Position::TrimHorizon,
            owner_switches: 0,
            parents,
            hash_range,
            pending: None,
            epoch: EpochNumber(0),
            state_key: None,
            alerts_through: EpochNumber(0),
            nonce: None,
        }
    }

    /// The attributes of a fresh row, as KCL writes them.
    pub(super) fn attributes(&self) -> Item {
        let mut item = Item::from([
            ("leaseKey".to_owned(), AttributeValue::S(self.shard.to_string())),
            ("entityType".to_owned(), AttributeValue::S("LEASE".to_owned())),
            ("leaseCounter".to_owned(), AttributeValue::N(self.counter.to_string())),
            ("checkpoint".to_owned(), AttributeValue::S(self.checkpoint.to_string())),
            ("checkpointSubSequenceNumber".to_owned(), AttributeValue::N("0".to_owned())),
            ("ownerSwitchesSinceCheckpoint".to_owned(), AttributeValue::N("0".to_owned())),
        ]);
        if !self.parents.is_empty() {
            let parents = self.parents.iter().map(ShardId::to_string).collect();
            item.insert("parentShardId".to_owned(), AttributeValue::Ss(parents));
        }
        if !self.hash_range.0.is_empty() {
            item.insert("startingHashKey".to_owned(), AttributeValue::S(self.hash_range.0.clone()));
            item.insert("endingHashKey".to_owned(), AttributeValue::S(self.hash_range.1.clone()));
        }
        item
    }

    /// Reads a row.
    pub(super) fn read(item: Item) -> Result<Self, BadRow> {
        let key = text(&item, "leaseKey").unwrap_or_default();
        let bad = |attribute, problem: String| BadRow { key: key.clone(), attribute, problem };
        let whole = |attribute: &'static str| match item.get(attribute) {
            None => Ok(0),
            Some(AttributeValue::N(n)) => n.parse::<u64>().map_err(|e| bad(attribute, e.to_string())),
            Some(_) => Err(bad(attribute, "is not a number".to_owned())),
        };
        let position = |attribute: &'static str| -> Result<Option<Position>, BadRow> {
            let Some(text) = text(&item, attribute) else { return Ok(None) };
            Position::parse(&text).map(Some).map_err(|e| bad(attribute, e.to_string()))
        };
        let checkpoint =
            position("checkpoint")?.ok_or_else(|| bad("checkpoint", "is missing or not a text".to_owned()))?;
        let pending = match position("pendingCheckpoint")? {
            None => None,
            Some(to) => match item.get("pendingCheckpointState") {
                Some(AttributeValue::B(blob)) => {
                    let plan = decode_plan(blob.as_ref()).map_err(|e| bad("pendingCheckpointState", e))?;
                    Some(Pending { to, plan: Box::new(plan) })
                }
                _ => return Err(bad("pendingCheckpointState", "is missing or not binary".to_owned())),
            },
        };
        let parents = match item.get("parentShardId") {
            Some(AttributeValue::Ss(parents)) => parents.iter().map(|p| ShardId::new(p)).collect(),
            _ => Vec::new(),
        };
        let hash_range =
            (text(&item, "startingHashKey").unwrap_or_default(), text(&item, "endingHashKey").unwrap_or_default());
        Ok(Self {
            shard: ShardId::new(&key),
            owner: text(&item, "leaseOwner"),
            counter: whole("leaseCounter")?,
            checkpoint,
            owner_switches: whole("ownerSwitchesSinceCheckpoint")?,
            parents,
            hash_range,
            pending,
            epoch: EpochNumber(whole("mangroveEpoch")?),
            state_key: text(&item, "mangroveState"),
            alerts_through: EpochNumber(whole("mangroveAlertsThrough")?),
            nonce: text(&item, "mangroveNonce"),
        })
    }
}

fn text(item: &Item, attribute: &str) -> Option<String> {
    match item.get(attribute) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Compressed, because an epoch over many partitions names many objects.
pub(super) fn encode_plan(plan: &EpochPlan) -> Result<Vec<u8>, BadRow> {
    let bad = |problem: String| BadRow { key: plan.shard.to_string(), attribute: "pendingCheckpointState", problem };
    let json = serde_json::to_vec(plan).map_err(|e| bad(e.to_string()))?;
    let packed = zstd::encode_all(json.as_slice(), 3).map_err(|e| bad(e.to_string()))?;
    if packed.len() > PLAN_BYTES_MAX {
        return Err(bad(format!(
            "the plan of {} objects takes {} bytes, more than {PLAN_BYTES_MAX}: lower epoch.partitions_max",
            plan.objects.len(),
            packed.len()
        )));
    }
    Ok(packed)
}

fn decode_plan(packed: &[u8]) -> Result<EpochPlan, String> {
    // Bounded: a row could have been written by anybody.
    let json = zstd::bulk::decompress(packed, 64 * PLAN_BYTES_MAX).map_err(|e| e.to_string())?;
    let plan: EpochPlan = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    if plan.format > EpochPlan::FORMAT {
        return Err(format!("was written by a newer version (format {}); finish it with that version", plan.format));
    }
    Ok(plan)
}
