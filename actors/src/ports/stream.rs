//! The stream: Kinesis, as the reader sees it.

mod beginning;

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, ShardIteratorType};
use messages::{HashRange, Position, RawRecord, SequenceNumber, ShardId};

use self::beginning::IteratorStart;
use super::aws::{CallError, Failure, classify};
use super::faults::Faults;
use super::retries::RetryBudget;

/// Pages of 1,000 shards: more than this is not a stream that one worker should own.
const SHARD_PAGES_MAX: usize = 100;

/// One stream.
#[derive(Clone, Debug)]
pub struct Stream {
    client: Client,
    name: String,
    /// By which it is asked for, if it is: it names the account too.
    arn: Option<String>,
    beginning: IteratorStart,
    retries: RetryBudget,
}

/// A shard as ListShards describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its id.
    pub shard: ShardId,
    /// The shards it was split or merged from.
    pub parents: Vec<ShardId>,
    /// Its hash range, as decimals.
    pub hash_range: (String, String),
    /// Whether it takes no more records.
    pub closed: bool,
}

/// What a stream says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its ARN: account, region and name.
    pub arn: String,
    /// When it was created, milliseconds since 1970. One that was deleted and made again has another, and none of its
    /// records.
    pub created_ms: i64,
    /// How its shards are counted, as the service spells it; none if it does not say.
    pub mode: Option<String>,
    /// How records find their shards.
    pub distribution: Distribution,
    /// For how long it keeps records.
    pub retention: Duration,
}

/// How a stream's records find their shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// By the hash of their partition keys; also where the service does not say.
    #[default]
    ByKey,
    /// As the service likes, whatever their keys are.
    Auto,
    /// In a way that this build does not know, as the service spells it.
    Other(String),
}

/// What one GetRecords gave.
#[derive(Debug)]
pub struct Page {
    /// The records, in order.
    pub records: Vec<RawRecord>,
    /// Where the next page begins; none at the end of a closed shard.
    pub next: Option<String>,
    /// How far the end of the page is from the tip of the shard, in milliseconds; none if the service does not say.
    pub millis_behind: Option<i64>,
}

impl Page {
    /// Bytes of its records, with their keys: what the service counts against the shard's limit.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum()
    }
}

impl Stream {
    /// The stream of this name.
    pub fn new(config: &aws_config::SdkConfig, name: &str) -> Self {
        let (beginning, retries) = (IteratorStart::new(&Faults::none()), RetryBudget::default());
        Self { client: Client::new(config), name: name.to_owned(), arn: None, beginning, retries }
    }

    /// The same, asked for by its ARN: it may belong to another account.
    pub fn at(self, arn: Option<String>) -> Self {
        Self { arn, ..self }
    }

    /// Its name, where it is asked for by name.
    fn by_name(&self) -> Option<String> {
        self.arn.is_none().then(|| self.name.clone())
    }

    /// The same with other faults.
    pub fn with(self, faults: Faults) -> Self {
        Self { beginning: IteratorStart::new(&faults), ..self }
    }

    /// The stream's retries.
    pub fn retries(&self) -> &RetryBudget {
        &self.retries
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the stream says of itself.
    pub async fn describe(&self) -> Result<Description, CallError> {
        let action = || format!("describe stream {:?}", self.name);
        let answer = self
            .client
            .describe_stream_summary()
            .set_stream_name(self.by_name())
            .set_stream_arn(self.arn.clone())
            .send()
            .await;
        let summary = answer.map_err(|e| classify(action(), e))?.stream_description_summary;
        let summary = summary.ok_or_else(|| malformed(action(), "the answer has no summary"))?;
        Ok(Description {
            name: summary.stream_name,
            arn: summary.stream_arn,
            created_ms: nearest_ms(&summary.stream_creation_timestamp),
            retention: Duration::from_secs(3_600 * summary.retention_period_hours.max(24) as u64),
            mode: summary.stream_mode_details.map(|details| details.stream_mode.as_str().to_owned()),
            distribution: match summary.record_distribution_strategy {
                None | Some(RecordDistributionStrategy::UserPartitionKey) => Distribution::ByKey,
                Some(RecordDistributionStrategy::Auto) => Distribution::Auto,
                Some(other) => Distribution::Other(other.as_str().to_owned()),
            },
        })
    }

    /// All shards that the stream still holds, open and closed, ordered by id.
    pub async fn shards(&self) -> Result<Vec<ShardInfo>, CallError> {
        let action = || format!("list the shards of stream {:?}", self.name);
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..SHARD_PAGES_MAX {
            // A page token stands for the stream too; naming both is refused.
            let request = match token.take() {
                Some(token) => self.client.list_shards().next_token(token),
                None => self.client.list_shards().set_stream_name(self.by_name()).set_stream_arn(self.arn.clone()),
            };
            let page = request.send().await.map_err(|e| classify(action(), e))?;
            shards.extend(page.shards().iter().map(shard_info));
            token = page.next_token;
            if token.is_none() {
                shards.sort_by(|a: &ShardInfo, b| a.shard.cmp(&b.shard));
                return Ok(shards);
            }
        }
        Err(CallError::new(action(), Failure::Refused, format!("more than {SHARD_PAGES_MAX} pages of shards")))
    }

    /// An iterator that begins with this record.
    pub async fn iterator_at(&self, shard: &ShardId, sequence: &SequenceNumber) -> Result<String, CallError> {
        let action = || format!("get an iterator of {shard} at {sequence}");
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.by_name())
            .set_stream_arn(self.arn.clone())
            .shard_id(shard.as_str());
        let request = request.shard_iterator_type(ShardIteratorType::AtSequenceNumber);
        let answer = request.starting_sequence_number(sequence.as_str()).send().await;
        let iterator = answer.map_err(|e| classify(action(), e))?.shard_iterator;
        iterator.ok_or_else(|| malformed(action(), "the answer has no iterator"))
    }

    /// An iterator that begins with the first record that arrived at this time (milliseconds since 1970) or later.
    pub async fn iterator_since(&self, shard: &ShardId, since_ms: i64) -> Result<String, CallError> {
        let action = || format!("get an iterator of {shard} since {since_ms} ms");
        let request = self.client.get_shard_iterator().set_stream_name(self.by_name()).set_stream_arn(self.arn.clone());
        let request = request.shard_id(shard.as_str()).shard_iterator_type(ShardIteratorType::AtTimestamp);
        let answer = request.timestamp(DateTime::from_millis(since_ms)).send().await;
        let iterator = answer.map_err(|e| classify(action(), e))?.shard_iterator;
        iterator.ok_or_else(|| malformed(action(), "the answer has no iterator"))
    }

    /// Splits an open shard in the middle of its hash range. Answers where; the children appear a little later.
    pub async fn split(&self, shard: &ShardId) -> Result<String, CallError> {
        let action = || format!("split {shard}");
        let open = self.open_shard(shard, action()).await?;
        let range = HashRange::parse(&open.hash_range.0, &open.hash_range.1);
        let range = range.map_err(|error| refused(action(), error.to_string()))?;
        let middle = range.middle().ok_or_else(|| refused(action(), "it has a single hash key"))?.to_string();
        let request = self
            .client
            .split_shard()
            .set_stream_name(self.by_name())
            .set_stream_arn(self.arn.clone())
            .shard_to_split(shard.as_str());
        request.new_starting_hash_key(&middle).send().await.map_err(|e| classify(action(), e))?;
        Ok(middle)
    }

    /// Merges an open shard with an adjacent open one; the child appears a little later.
    pub async fn merge(&self, shard: &ShardId, with: &ShardId) -> Result<(), CallError> {
        let action = || format!("merge {shard} with {with}");
        self.open_shard(shard, action()).await?;
        self.open_shard(with, action()).await?;
        let request = self
            .client
            .merge_shards()
            .set_stream_name(self.by_name())
            .set_stream_arn(self.arn.clone())
            .shard_to_merge(shard.as_str());
        let answer = request.adjacent_shard_to_merge(with.as_str()).send().await;
        answer.map(|_| ()).map_err(|e| classify(action(), e))
    }

    async fn open_shard(&self, shard: &ShardId, action: String) -> Result<ShardInfo, CallError> {
        let found = self.shards().await?.into_iter().find(|info| info.shard == *shard);
        match found {
            Some(info) if !info.closed => Ok(info),
            Some(_) => Err(refused(action, format!("{shard} is closed"))),
            None => Err(refused(action, format!("the stream has no shard {shard}"))),
        }
    }

    /// An iterator that begins after the position.
    pub async fn iterator(&self, shard: &ShardId, after: &Position) -> Result<String, CallError> {
        let action = || format!("get an iterator of {shard} after {after}");
        let (kind, sequence) =
            self.beginning.after(after).ok_or_else(|| refused(action(), "nothing comes after the end of a shard"))?;
        let request = self
            .client
            .get_shard_iterator()
            .set_stream_name(self.by_name())
            .set_stream_arn(self.arn.clone())
            .shard_id(shard.as_str());
        let request = request.shard_iterator_type(kind).set_starting_sequence_number(sequence.map(str::to_owned));
        let answer = request.send().await.map_err(|e| classify(action(), e))?;
        answer.shard_iterator.ok_or_else(|| malformed(action(), "the answer has no iterator"))
    }

    /// The next page. An expired iterator fails with the code `ExpiredIteratorException`.
    pub async fn records(&self, shard: &ShardId, iterator: &str, limit: i32) -> Result<Page, CallError> {
        let action = || format!("read {shard}");
        let request = self.client.get_records().set_stream_arn(self.arn.clone()).shard_iterator(iterator).limit(limit);
        let answer = request.send().await.map_err(|e| classify(action(), e))?;
        self.retries.earn();
        let millis_behind = answer.millis_behind_latest;
        let next = answer.next_shard_iterator;
        let records = answer
            .records
            .into_iter()
            .map(|record| {
                let sequence =
                    SequenceNumber::parse(&record.sequence_number).map_err(|e| malformed(action(), &e.to_string()))?;
                let arrival_ms = record
                    .approximate_arrival_timestamp
                    .map(|time| nearest_ms(&time))
                    .ok_or_else(|| malformed(action(), "a record has no arrival time"))?;
                Ok(RawRecord {
                    sequence,
                    arrival_ms,
                    partition_key: record.partition_key.unwrap_or_default().into(),
                    data: record.data.into_inner().into(),
                })
            })
            .collect::<Result<_, CallError>>()?;
        Ok(Page { records, next, millis_behind })
    }
}

/// The service sends seconds as a float: the nearest millisecond is the one that was meant.
fn nearest_ms(time: &aws_sdk_kinesis::primitives::DateTime) -> i64 {
    (time.as_nanos() + 500_000).div_euclid(1_000_000) as i64
}

/// Whether the service does not take what it was told: a sequence number that it does not have, for one.
pub fn is_invalid_argument(error: &CallError) -> bool {
    error.code.as_deref() == Some("InvalidArgumentException")
}

/// Whether a new iterator will help.
pub fn is_expired_iterator(error: &CallError) -> bool {
    error.code.as_deref() == Some("ExpiredIteratorException")
}

fn shard_info(shard: &aws_sdk_kinesis::types::Shard) -> ShardInfo {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    let range = shard.hash_key_range().map(|r| (r.starting_hash_key().to_owned(), r.ending_hash_key().to_owned()));
    ShardInfo {
        shard: ShardId::new(shard.shard_id()),
        parents: parents.into_iter().flatten().map(ShardId::new).collect(),
        hash_range: range.unwrap_or_default(),
        closed: shard.sequence_number_range().is_some_and(|r| r.ending_sequence_number().is_some()),
    }
}

fn refused(action: String, why: impl Into<String>) -> CallError {
    CallError::new(action, Failure::Refused, why)
}

fn malformed(action: String, what: &str) -> CallError {
    CallError::new(action, Failure::Transient, format!("malformed answer: {what}"))
}
