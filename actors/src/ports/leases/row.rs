//! One row of the lease table.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use messages::{EpochNumber, EpochPlan, Position, Sample, SequenceNumber, ShardId, Suspect};

use super::home::Home;
use super::write::NONCE;

/// DynamoDB refuses items above 400 KB; the rest of the row needs little.
const PLAN_BYTES_MAX: usize = 380 * 1024;

pub(super) type Item = HashMap<String, AttributeValue>;

/// A row that is not a lease that can be understood.
#[derive(Clone, Debug, thiserror::Error)]
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

/// How far the manifests in the bucket say that a shard is, where its row does not say it: what taking it writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    /// The end of the newest whole epoch.
    pub checkpoint: Position,
    /// Its number.
    pub epoch: EpochNumber,
    /// Its state object.
    pub state_key: Option<String>,
    /// What was claimed behind it and is not whole yet.
    pub pending: Option<Pending>,
}

/// A shard's row: KCL's attributes, and ours (`mangrove...`), which KCL leaves alone.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseRow {
    /// The shard.
    pub shard: ShardId,
    /// The owner; while KCL hands it over, the next one.
    pub owner: Option<String>,
    /// While KCL hands it over: who still works on it.
    pub checkpoint_owner: Option<String>,
    /// Moves with every write.
    pub counter: u64,
    /// Random text of the write that left the row so; none if that was no write of ours. Counters come again when a
    /// table is put back as it was, these do not.
    pub written_by: Option<String>,
    /// All records up to here are durable in every zone.
    pub checkpoint: Position,
    /// A record right after the checkpoint that a KCL application had stopped inside, perhaps at its end: it is read
    /// again as a whole, so that none of its user records is lost.
    pub begin_inside: Option<SequenceNumber>,
    /// Nothing that arrived before this time is read, milliseconds since 1970; none begins with the oldest record. It
    /// counts until a record is committed, and for the shard's children.
    pub start_at_ms: Option<i64>,
    /// Where a KCL application was to begin, which it has not done: its words, not ours.
    pub start_word: Option<StartWord>,
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
    /// Incarnations of the shard since the last one that prepared an epoch, or gave the shard up in good order.
    pub tries: u32,
    /// Records after the checkpoint that something died on.
    pub suspects: Vec<Suspect>,
    /// The worker that could make no progress on it.
    pub given_up_by: Option<String>,
    /// Which stream it is of, and where its epochs are; none in rows of KCL and of earlier versions, until one is taken.
    pub home: Option<Home>,
}

/// Where KCL begins a shard that it has no checkpoint of, besides its oldest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartWord {
    /// With what comes after it begins.
    Latest,
    /// At the time that its configuration names.
    AtTimestamp,
}

/// When a shard's first record may have arrived at the earliest.
pub(super) const START_AT: &str = "mangroveStartAt";

impl StartWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "LATEST",
            Self::AtTimestamp => "AT_TIMESTAMP",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Latest, Self::AtTimestamp].into_iter().find(|word| word.as_str() == text)
    }

    /// None where the time is pinned.
    fn of(item: &Item) -> Option<Self> {
        let word = text_of(item, "checkpoint").and_then(|text| Self::parse(&text));
        word.filter(|_| !item.contains_key(START_AT))
    }
}

/// What a look at the table shows of a lease: enough to decide who should own it.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseView {
    /// The shard.
    pub shard: ShardId,
    /// The owner; while KCL hands it over, the next one.
    pub owner: Option<String>,
    /// While KCL hands it over: who still works on it.
    pub checkpoint_owner: Option<String>,
    /// Moves with every write.
    pub counter: u64,
    /// All records up to here are durable in every zone.
    pub checkpoint: Position,
    /// Shards that this one was split or merged from.
    pub parents: Vec<ShardId>,
    /// Whether an epoch is prepared and not committed.
    pub pending: bool,
    /// The last epoch that was committed; 0 before the first.
    pub epoch: EpochNumber,
    /// Every alert up to this epoch has been sent.
    pub alerts_through: EpochNumber,
    /// The worker that could make no progress on it.
    pub given_up_by: Option<String>,
    /// The state object of the last epoch that was committed.
    pub state_key: Option<String>,
    /// Some of the sensors that its last epochs held.
    pub sample: Option<Sample>,
}

impl LeaseView {
    /// What a scan has to ask for.
    pub(super) const ATTRIBUTES: &str = "leaseKey, entityType, leaseOwner, checkpointOwner, leaseCounter, checkpoint, \
        parentShardId, pendingCheckpoint, mangroveEpoch, mangroveAlertsThrough, mangroveGivenUpBy, mangroveSample, \
        mangroveIncarnation, mangroveBeat, mangroveAddress, mangroveLeaving, mangroveStanding, mangroveState";

    pub(super) fn read(item: &Item) -> Result<Self, BadRow> {
        let attributes = RowAttributes::of(item)?;
        Ok(Self {
            owner: text_of(item, "leaseOwner"),
            checkpoint_owner: text_of(item, "checkpointOwner"),
            counter: attributes.whole("leaseCounter")?,
            checkpoint: attributes.checkpoint()?,
            parents: attributes.parents(),
            pending: item.contains_key("pendingCheckpoint"),
            epoch: EpochNumber(attributes.whole("mangroveEpoch")?),
            alerts_through: EpochNumber(attributes.whole("mangroveAlertsThrough")?),
            given_up_by: text_of(item, "mangroveGivenUpBy"),
            state_key: text_of(item, "mangroveState"),
            sample: match item.get("mangroveSample") {
                Some(AttributeValue::B(bytes)) => Sample::decode(bytes.as_ref()),
                _ => None,
            },
            shard: ShardId::new(attributes.key),
        })
    }
}

impl LeaseRow {
    /// The row of a shard that nobody has read.
    pub fn fresh(shard: ShardId, parents: Vec<ShardId>, hash_range: (String, String)) -> Self {
        Self {
            shard,
            owner: None,
            checkpoint_owner: None,
            counter: 0,
            written_by: None,
            checkpoint: Position::TrimHorizon,
            begin_inside: None,
            start_at_ms: None,
            start_word: None,
            owner_switches: 0,
            parents,
            hash_range,
            pending: None,
            epoch: EpochNumber(0),
            state_key: None,
            alerts_through: EpochNumber(0),
            tries: 0,
            suspects: Vec::new(),
            given_up_by: None,
            home: None,
        }
    }

    /// The same as a row of this home.
    pub fn at(self, home: &Home) -> Self {
        Self { home: Some(home.clone()), ..self }
    }

    /// How far records were processed, a record that KCL has stopped inside included.
    pub fn reached(&self) -> Position {
        self.begin_inside.clone().map_or_else(|| self.checkpoint.clone(), Position::At)
    }

    /// KCL has a word for a beginning at a time; the time itself it takes from its configuration.
    pub(super) fn checkpoint_text(&self, checkpoint: &Position) -> String {
        match (checkpoint, self.start_at_ms) {
            (Position::TrimHorizon, Some(_)) => StartWord::AtTimestamp.as_str().to_owned(),
            (checkpoint, _) => checkpoint.to_string(),
        }
    }

    /// The attributes of a fresh row, as KCL writes them.
    pub(super) fn attributes(&self) -> Item {
        let mut item = Item::from([
            ("leaseKey".to_owned(), AttributeValue::S(self.shard.to_string())),
            ("entityType".to_owned(), AttributeValue::S("LEASE".to_owned())),
            ("leaseCounter".to_owned(), AttributeValue::N(self.counter.to_string())),
            ("checkpoint".to_owned(), AttributeValue::S(self.checkpoint_text(&self.checkpoint))),
            ("checkpointSubSequenceNumber".to_owned(), AttributeValue::N("0".to_owned())),
            ("ownerSwitchesSinceCheckpoint".to_owned(), AttributeValue::N("0".to_owned())),
        ]);
        if let Some(ms) = self.start_at_ms {
            item.insert(START_AT.to_owned(), AttributeValue::N(ms.to_string()));
        }
        if !self.parents.is_empty() {
            let parents = self.parents.iter().map(ShardId::to_string).collect();
            item.insert("parentShardId".to_owned(), AttributeValue::Ss(parents));
        }
        if !self.hash_range.0.is_empty() {
            item.insert("startingHashKey".to_owned(), AttributeValue::S(self.hash_range.0.clone()));
            item.insert("endingHashKey".to_owned(), AttributeValue::S(self.hash_range.1.clone()));
        }
        item.extend(self.home.iter().flat_map(Home::attributes));
        // Of a row that is made from manifests.
        if self.epoch > EpochNumber(0) {
            item.insert("mangroveEpoch".to_owned(), AttributeValue::N(self.epoch.0.to_string()));
            item.insert("mangroveAlertsThrough".to_owned(), AttributeValue::N(self.alerts_through.0.to_string()));
            item.extend(self.state_key.iter().map(|key| ("mangroveState".to_owned(), AttributeValue::S(key.clone()))));
        }
        item
    }

    /// Reads a row.
    pub(super) fn read(item: Item) -> Result<Self, BadRow> {
        let attributes = RowAttributes::of(&item)?;
        let (checkpoint, begin_inside) = attributes.checkpoint_and_rest()?;
        let range = (text_of(&item, "startingHashKey"), text_of(&item, "endingHashKey"));
        Ok(Self {
            owner: text_of(&item, "leaseOwner"),
            checkpoint_owner: text_of(&item, "checkpointOwner"),
            counter: attributes.whole("leaseCounter")?,
            written_by: text_of(&item, NONCE),
            checkpoint,
            begin_inside,
            start_at_ms: number_of(&item, START_AT).and_then(|ms| i64::try_from(ms).ok()),
            start_word: StartWord::of(&item),
            owner_switches: attributes.whole("ownerSwitchesSinceCheckpoint")?,
            parents: attributes.parents(),
            hash_range: (range.0.unwrap_or_default(), range.1.unwrap_or_default()),
            pending: attributes.pending()?,
            epoch: EpochNumber(attributes.whole("mangroveEpoch")?),
            state_key: text_of(&item, "mangroveState"),
            alerts_through: EpochNumber(attributes.whole("mangroveAlertsThrough")?),
            tries: u32::try_from(attributes.whole("mangroveTries")?).unwrap_or(u32::MAX),
            suspects: attributes.suspects()?,
            given_up_by: text_of(&item, "mangroveGivenUpBy"),
            home: Home::read(&item),
            shard: ShardId::new(attributes.key),
        })
    }
}

/// A lease's attributes, with errors that name row and attribute.
struct RowAttributes<'a> {
    item: &'a Item,
    key: &'a str,
}

impl<'a> RowAttributes<'a> {
    fn of(item: &'a Item) -> Result<Self, BadRow> {
        match item.get("leaseKey") {
            Some(AttributeValue::S(key)) => Ok(Self { item, key }),
            _ => Err(BadRow { key: String::new(), attribute: "leaseKey", problem: "is missing or not a text".into() }),
        }
    }

    fn bad(&self, attribute: &'static str, problem: impl ToString) -> BadRow {
        BadRow { key: self.key.to_owned(), attribute, problem: problem.to_string() }
    }

    fn whole(&self, attribute: &'static str) -> Result<u64, BadRow> {
        match self.item.get(attribute) {
            None => Ok(0),
            Some(AttributeValue::N(n)) => n.parse::<u64>().map_err(|e| self.bad(attribute, e)),
            Some(_) => Err(self.bad(attribute, "is not a number")),
        }
    }

    fn checkpoint(&self) -> Result<Position, BadRow> {
        let attribute = "checkpoint";
        let text = text_of(self.item, attribute).ok_or_else(|| self.bad(attribute, "is missing or not a text"))?;
        match text.as_str() {
            // Written before a shard's first checkpoint; what they mean is said by `start_at_ms` and `start_word`.
            text if StartWord::parse(text).is_some() => Ok(Position::TrimHorizon),
            text => Position::parse(text).map_err(|e| self.bad(attribute, e)),
        }
    }

    /// We commit whole records; KCL may stop after some user records of an aggregate, and numbers them from 0 on.
    fn checkpoint_and_rest(&self) -> Result<(Position, Option<SequenceNumber>), BadRow> {
        match self.checkpoint()? {
            Position::At(sequence) if self.whole("checkpointSubSequenceNumber")? > 0 => {
                let before = sequence.predecessor().map_or(Position::TrimHorizon, Position::At);
                Ok((before, Some(sequence)))
            }
            checkpoint => Ok((checkpoint, None)),
        }
    }

    /// By id: a set has no order of its own, and whose state wins in a merge must not change from read to read.
    fn parents(&self) -> Vec<ShardId> {
        let mut parents: Vec<ShardId> = match self.item.get("parentShardId") {
            Some(AttributeValue::Ss(parents)) => parents.iter().map(|p| ShardId::new(p)).collect(),
            _ => Vec::new(),
        };
        parents.sort();
        parents
    }

    fn suspects(&self) -> Result<Vec<Suspect>, BadRow> {
        let attribute = "mangroveSuspects";
        match text_of(self.item, attribute) {
            Some(text) => serde_json::from_str(&text).map_err(|e| self.bad(attribute, e)),
            None => Ok(Vec::new()),
        }
    }

    /// Our own prepared epoch. What a KCL application has prepared is its own: the checkpoint alone counts then.
    fn pending(&self) -> Result<Option<Pending>, BadRow> {
        let Some(to) = text_of(self.item, "mangrovePending") else { return Ok(None) };
        if text_of(self.item, "pendingCheckpoint").as_ref() != Some(&to) {
            return Ok(None);
        }
        let attribute = "pendingCheckpointState";
        let to = Position::parse(&to).map_err(|e| self.bad("mangrovePending", e))?;
        match self.item.get(attribute) {
            Some(AttributeValue::B(blob)) => {
                let plan = Box::new(self.plan(attribute, blob.as_ref())?);
                Ok(Some(Pending { to, plan }))
            }
            _ => Err(self.bad(attribute, "is missing or not binary")),
        }
    }

    fn plan(&self, attribute: &'static str, packed: &[u8]) -> Result<EpochPlan, BadRow> {
        // Bounded: a row could have been written by anybody.
        let json = zstd::bulk::decompress(packed, 64 * PLAN_BYTES_MAX).map_err(|e| self.bad(attribute, e))?;
        let plan: EpochPlan = serde_json::from_slice(&json).map_err(|e| self.bad(attribute, e))?;
        if plan.format > EpochPlan::FORMAT {
            let newer = format!("was written by a newer version (format {}); finish it with that version", plan.format);
            return Err(self.bad(attribute, newer));
        }
        Ok(plan)
    }
}

pub(super) fn text_of(item: &Item, attribute: &str) -> Option<String> {
    match item.get(attribute) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        _ => None,
    }
}

pub(super) fn number_of(item: &Item, attribute: &str) -> Option<u64> {
    match item.get(attribute) {
        Some(AttributeValue::N(n)) => n.parse().ok(),
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

pub(super) fn encode_suspects(suspects: &[Suspect]) -> Result<String, BadRow> {
    let bad =
        |e: serde_json::Error| BadRow { key: String::new(), attribute: "mangroveSuspects", problem: e.to_string() };
    serde_json::to_string(suspects).map_err(bad)
}
