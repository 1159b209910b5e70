//! What readers ask of the stream: Kinesis' own operations, with its limits and its bad habits.
//!
//! **Promises** pages of shards are small; iterators expire; a shard allows five reads a second; the end of a closed
//! shard may come with its last records or on an empty page of its own.
//! **Not here**: consumers with enhanced fan-out; writing, which the simulation does itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_engine::{Refusal, Reply, Service};
use serde::Serialize;
use serde_json::{Value, json};

use super::state::Context;
use super::stream::{Record, Shard, Stream, sequence_number, sequence_text};

const ITERATOR_MS_MAX: i64 = 5 * 60 * 1_000;
/// The real limits of one page.
const PAGE_RECORDS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 10 * 1024 * 1024;
const READS_PER_SECOND_MAX: usize = 5;
/// The service would give 1,000: small pages make every listing use its tokens.
const SHARDS_PER_PAGE_MAX: usize = 3;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordOut<'a> {
    sequence_number: String,
    approximate_arrival_timestamp: f64,
    data: String,
    /// A record that was put without a key has none.
    #[serde(skip_serializing_if = "str::is_empty")]
    partition_key: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PageOut<'a> {
    records: Vec<RecordOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<Value>,
}

impl Stream {
    pub(super) fn serve(&mut self, context: Context, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let parameters: &[&str] = match operation {
            "CreateStream" => &["StreamName", "ShardCount"],
            "DescribeStreamSummary" => &["StreamName"],
            "ListShards" => &["StreamName", "NextToken", "MaxResults"],
            "GetShardIterator" => &["StreamName", "ShardId", "ShardIteratorType", "StartingSequenceNumber"],
            "GetRecords" => &["ShardIterator", "Limit"],
            _ => &[],
        };
        let known = input.as_object().is_some_and(|input| input.keys().all(|name| parameters.contains(&name.as_str())));
        if !known || parameters.is_empty() {
            return Err(Refusal::unknown(Service::Kinesis, operation));
        }
        match operation {
            "CreateStream" => self.on_create(input),
            "DescribeStreamSummary" => self.on_describe(input),
            "ListShards" => self.on_list(context, input),
            "GetShardIterator" => self.on_iterator(context, input),
            _ => self.on_records(context, input),
        }
    }

    fn on_create(&mut self, input: &Value) -> Result<Reply, Refusal> {
        let name = input["StreamName"].as_str().unwrap_or_default();
        let shards = input["ShardCount"].as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let shards = shards.ok_or_else(|| invalid("ShardCount must be at least 1"))?;
        if self.create(name, shards) {
            return Ok(Reply::text(""));
        }
        match self.name.as_deref() == Some(name) {
            true => Err(Refusal::new(400, "ResourceInUseException", "the stream exists")),
            false => Err(Refusal::new(400, "LimitExceededException", "this cloud has one stream")),
        }
    }

    fn on_describe(&self, input: &Value) -> Result<Reply, Refusal> {
        let name = self.named(input)?;
        let open = self.shards.iter().filter(|shard| shard.last.is_none()).count();
        Ok(Reply::json(&json!({ "StreamDescriptionSummary": {
            "StreamName": name,
            "StreamARN": format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}"),
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 0,
            "RecordDistributionStrategy": if self.spread { "AUTO" } else { "USER_PARTITION_KEY" },
            "EnhancedMonitoring": [],
            "OpenShardCount": open,
        } })))
    }

    fn on_list(&self, context: Context, input: &Value) -> Result<Reply, Refusal> {
        let after = match (input["StreamName"].as_str(), input["NextToken"].as_str()) {
            (Some(_), Some(_)) => return Err(invalid("NextToken and StreamName cannot be given together")),
            (_, Some(token)) => Some(page_token(context, token)?),
            _ => self.named(input).map(|_| None)?,
        };
        let most =
            input["MaxResults"].as_u64().map_or(SHARDS_PER_PAGE_MAX, |n| n as usize).clamp(1, SHARDS_PER_PAGE_MAX);
        let listed = |shard: &&Shard| !shard.trimmed && after.is_none_or(|after| &*shard.id > after);
        let mut page: Vec<&Shard> = self.shards.iter().filter(listed).take(most + 1).collect();
        let more = page.len() > most;
        page.truncate(most);
        let mut out = json!({ "Shards": page.iter().map(|shard| describe(shard)).collect::<Vec<_>>() });
        if let (true, Some(last)) = (more, page.last()) {
            out["NextToken"] = format!("{}/{}", last.id, context.now_ms).into();
        }
        Ok(Reply::json(&out))
    }

    fn on_iterator(&self, context: Context, input: &Value) -> Result<Reply, Refusal> {
        self.named(input)?;
        let shard = self.readable(input["ShardId"].as_str().unwrap_or_default())?;
        let start = input["StartingSequenceNumber"].as_str();
        let place = |text: &str| match sequence_number(text) {
            Some(number) if number >= shard.first => Ok(number),
            _ => Err(invalid(format!("StartingSequenceNumber {text} is not of {}", shard.id))),
        };
        let before = |limit: &dyn Fn(u128) -> bool| shard.records.partition_point(|record| limit(record.sequence));
        let at = match (input["ShardIteratorType"].as_str().unwrap_or_default(), start) {
            ("TRIM_HORIZON", None) => 0,
            ("LATEST", None) => shard.records.len(),
            ("AT_SEQUENCE_NUMBER", Some(text)) => place(text).map(|number| before(&|sequence| sequence < number))?,
            ("AFTER_SEQUENCE_NUMBER", Some(text)) => {
                place(text).map(|number| before(&|sequence| sequence <= number))?
            }
            (kind, _) => return Err(invalid(format!("ShardIteratorType {kind:?} with {start:?}"))),
        };
        Ok(Reply::json(&json!({ "ShardIterator": iterator(shard, at, context) })))
    }

    fn on_records(&mut self, context: Context, input: &Value) -> Result<Reply, Refusal> {
        let (id, at, made_ms) = input["ShardIterator"]
            .as_str()
            .and_then(|text| {
                let mut parts = text.split('/');
                Some((parts.next()?, parts.next()?.parse::<usize>().ok()?, parts.next()?.parse::<i64>().ok()?))
            })
            .ok_or_else(|| invalid("malformed ShardIterator"))?;
        self.readable(id)?;
        let shard = self.shards.iter_mut().find(|shard| &*shard.id == id).expect("it is readable");
        if context.now_ms - made_ms > ITERATOR_MS_MAX {
            return Err(Refusal::new(400, "ExpiredIteratorException", "the iterator has expired"));
        }
        shard.reads.retain(|read_ms| context.now_ms - read_ms < 1_000);
        if shard.reads.len() >= READS_PER_SECOND_MAX {
            return Err(Refusal::throttled(Service::Kinesis));
        }
        shard.reads.push_back(context.now_ms);
        shard.readers.push((context.client, context.now_ms));
        let limit = input["Limit"].as_u64().map_or(PAGE_RECORDS_MAX, |n| n as usize);
        if !(1..=PAGE_RECORDS_MAX).contains(&limit) {
            return Err(invalid("Limit must be between 1 and 10000"));
        }
        self.page(context, id, at, if context.empty_page { 0 } else { limit })
    }

    fn page(&self, context: Context, id: &str, at: usize, limit: usize) -> Result<Reply, Refusal> {
        let shard = self.readable(id)?;
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.data.len() + record.partition_key.len();
            bytes <= PAGE_BYTES_MAX
        };
        let rest = shard.records.get(at..).unwrap_or_default();
        let records: Vec<_> = rest.iter().take(limit).take_while(fits).map(record_out).collect();
        let next = at + records.len();
        let unread = shard.records.get(next);
        let at_end = shard.last.is_some() && unread.is_none() && (records.is_empty() || context.coin);
        let children = self.shards.iter().filter(|child| at_end && child.parents.contains(&shard.id));
        let page = PageOut {
            next_shard_iterator: (!at_end).then(|| iterator(shard, next, context)),
            millis_behind_latest: unread.map_or(0, |record| (context.now_ms - record.arrival_ms).max(0)),
            child_shards: children.map(child).collect(),
            records,
        };
        Ok(Reply::text(serde_json::to_vec(&page).expect("a page is plain data")))
    }

    fn named<'a>(&'a self, input: &Value) -> Result<&'a str, Refusal> {
        let names = self.name.iter().chain(&self.alias).map(String::as_str);
        let name = names.into_iter().find(|name| input["StreamName"].as_str() == Some(name));
        name.ok_or_else(|| not_found("no such stream"))
    }

    fn readable(&self, id: &str) -> Result<&Shard, Refusal> {
        let shard = self.shards.iter().find(|shard| &*shard.id == id && !shard.trimmed);
        shard.ok_or_else(|| not_found(format!("no such shard: {id}")))
    }
}

fn page_token(context: Context, token: &str) -> Result<&str, Refusal> {
    let parts = token.split_once('/').and_then(|(after, made_ms)| Some((after, made_ms.parse::<i64>().ok()?)));
    let (after, made_ms) = parts.ok_or_else(|| invalid("malformed NextToken"))?;
    if context.now_ms - made_ms > ITERATOR_MS_MAX {
        return Err(Refusal::new(400, "ExpiredNextTokenException", "the token has expired"));
    }
    Ok(after)
}

fn iterator(shard: &Shard, at: usize, context: Context) -> String {
    format!("{}/{at}/{}", shard.id, context.now_ms)
}

fn record_out(record: &Record) -> RecordOut<'_> {
    RecordOut {
        sequence_number: sequence_text(record.sequence),
        // The service sends seconds; a double holds today's milliseconds exactly enough to be rounded back.
        approximate_arrival_timestamp: record.arrival_ms as f64 / 1_000.0,
        data: STANDARD.encode(&record.data),
        partition_key: &record.partition_key,
    }
}

fn hash_range(shard: &Shard) -> Value {
    json!({ "StartingHashKey": shard.range.0.to_string(), "EndingHashKey": shard.range.1.to_string() })
}

fn describe(shard: &Shard) -> Value {
    let mut sequences = json!({ "StartingSequenceNumber": sequence_text(shard.first) });
    if let Some(last) = shard.last {
        sequences["EndingSequenceNumber"] = sequence_text(last).into();
    }
    let mut out = json!({ "ShardId": &*shard.id, "HashKeyRange": hash_range(shard), "SequenceNumberRange": sequences });
    for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].into_iter().zip(&shard.parents) {
        out[name] = (&**parent).into();
    }
    out
}

fn child(shard: &Shard) -> Value {
    let parents: Vec<&str> = shard.parents.iter().map(|parent| &**parent).collect();
    json!({ "ShardId": &*shard.id, "ParentShards": parents, "HashKeyRange": hash_range(shard) })
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "InvalidArgumentException", message)
}

fn not_found(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", message)
}
