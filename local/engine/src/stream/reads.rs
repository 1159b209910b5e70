//! What readers ask: lists of shards, iterators, and pages, with the service's limits and its bad habits.
//!
//! **Owns** the form of iterators (`<stream>/<shard>/<number>/<made at>`) and of tokens.
//! **Promises** a page has at most 10 MiB of data, or one record; `MillisBehindLatest` is the age of the last record of the
//! page where more wait behind it, and 0 where none do. Iterators and tokens hold over a restart.
//! **Fails** on what is not ours with `InvalidArgumentException`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Asking, Kinesis, Record, Sequence, Shard, Stream, invalid, no_stream, not_found, throttled};
use crate::{Refusal, Reply};

const EXPIRES_MS: i64 = 5 * 60 * 1_000;
/// The service's limits on one page.
const PAGE_RECORDS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 10 * 1024 * 1024;
const HOUR_MS: i64 = 3_600_000;

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

/// A page of records.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Page<'a> {
    millis_behind_latest: i64,
    /// None at the end of a closed shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_shard_iterator: Option<String>,
    records: Vec<RecordOut<'a>>,
    /// At the end, the shards that follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<Value>,
    #[serde(skip)]
    n_bytes: usize,
}

/// Where to read on.
struct Iterator<'a> {
    stream: &'a str,
    shard: &'a str,
    /// The first number that is not behind.
    from: Sequence,
    made_ms: i64,
}

impl<'a> Iterator<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('/');
        let (stream, shard, from) = (parts.next()?, parts.next()?, Sequence::parse(parts.next()?)?);
        let made_ms = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { stream, shard, from, made_ms })
    }
}

fn iterator(stream: &str, shard: &Shard, from: Sequence, now_ms: i64) -> String {
    format!("{stream}/{}/{from}/{now_ms}", shard.id)
}

impl Kinesis {
    pub(super) fn on_list_shards(&self, asking: Asking, input: &Value) -> Result<Reply, Refusal> {
        let named = !input["StreamName"].is_null() || !input["StreamARN"].is_null();
        let (name, after) = match input["NextToken"].as_str() {
            Some(_) if named => return Err(invalid("NextToken and StreamName cannot be provided together.")),
            Some(token) => {
                let (name, after, made_ms) =
                    opened(token).ok_or_else(|| invalid("NextToken is not one of ListShards."))?;
                if asking.now_ms - made_ms > EXPIRES_MS {
                    return Err(Refusal::new(400, "ExpiredNextTokenException", "the token has expired"));
                }
                (name, Some(after))
            }
            None => (self.asked_name(input)?.to_owned(), input["ExclusiveStartShardId"].as_str().map(str::to_owned)),
        };
        let own = self.aliases.get(&name).unwrap_or(&name);
        let most = input["MaxResults"].as_u64().map_or(usize::MAX, |n| n as usize).min(self.habits.shards_per_page);
        let filter = filter(&input["ShardFilter"])?;
        let listed =
            |shard: &&Shard| !shard.trimmed && filter(shard) && after.as_deref().is_none_or(|after| &*shard.id > after);
        let mut page: Vec<&Shard> = self.stream(own)?.shards.iter().filter(listed).take(most + 1).collect();
        let more = page.len() > most;
        page.truncate(most);
        let mut out = json!({ "Shards": page.iter().map(|shard| describe(shard)).collect::<Vec<_>>() });
        if let (true, Some(last)) = (more, page.last()) {
            out["NextToken"] = STANDARD.encode(format!("{name}/{}/{}", last.id, asking.now_ms)).into();
        }
        Ok(Reply::json(&out))
    }

    pub(super) fn on_iterator(&self, asking: Asking, input: &Value) -> Result<Reply, Refusal> {
        let (stream, kind) = (self.of(input)?, input["ShardIteratorType"].as_str().unwrap_or_default());
        let id = input["ShardId"].as_str().unwrap_or_default();
        let from = (&input["StartingSequenceNumber"], &input["Timestamp"]);
        let at = position(stream, id, kind, from, asking.now_ms)?;
        Ok(Reply::json(&json!({ "ShardIterator": at })))
    }

    pub(super) fn on_records(&mut self, asking: Asking, input: &Value) -> Result<Reply, Refusal> {
        let text = input["ShardIterator"].as_str().unwrap_or_default();
        let at = Iterator::parse(text).ok_or_else(|| invalid("The ShardIterator is not one of GetShardIterator."))?;
        let (limits, remembers) = (self.habits.limits_reads, self.habits.remembers_readers);
        let stream = self.streams.get_mut(at.stream).ok_or_else(|| no_stream(at.stream))?;
        readable(stream, at.shard)?;
        let shard = stream.shards.iter_mut().find(|shard| &*shard.id == at.shard).expect("it is readable");
        if asking.now_ms - at.made_ms > EXPIRES_MS {
            return Err(Refusal::new(400, "ExpiredIteratorException", "the iterator has expired"));
        }
        if limits && !shard.read.allows(asking.now_ms) {
            return Err(throttled());
        }
        if remembers {
            shard.readers.push((asking.client, asking.now_ms));
        }
        let limit = input["Limit"].as_u64().map_or(PAGE_RECORDS_MAX, |n| n as usize);
        let page = self.page(asking, text, if asking.empty_page { 0 } else { limit })?;
        let (reply, n_bytes) = (serde_json::to_vec(&page).expect("a page is plain data"), page.n_bytes);
        let stream = self.stream_mut(at.stream)?;
        stream.shards.iter_mut().filter(|shard| &*shard.id == at.shard).for_each(|shard| shard.read.took(n_bytes));
        Ok(Reply::text(reply))
    }

    /// What lies behind an iterator.
    pub fn page(&self, asking: Asking, iterator: &str, limit: usize) -> Result<Page<'_>, Refusal> {
        let at =
            Iterator::parse(iterator).ok_or_else(|| invalid("The ShardIterator is not one of GetShardIterator."))?;
        let stream = self.stream(at.stream)?;
        let shard = readable(stream, at.shard)?;
        let oldest_ms = asking.now_ms - i64::from(stream.retention_hours) * HOUR_MS;
        // Arrivals are ordered as numbers are.
        let gone = |record: &Record| record.sequence < at.from || record.arrival_ms < oldest_ms;
        let rest = &shard.records[shard.records.partition_point(gone)..];
        let n_records = fitting(rest, limit);
        let (page, unread) = rest.split_at(n_records);
        let at_end = shard.last.is_some() && unread.is_empty() && (page.is_empty() || asking.ends_early);
        let from = page.last().map_or(at.from, |record| record.sequence.after(1));
        let children = stream.shards.iter().filter(|child| at_end && child.parents.contains(&shard.id));
        let behind = page.last().or(unread.first()).filter(|_| !unread.is_empty());
        Ok(Page {
            millis_behind_latest: behind.map_or(0, |record| (asking.now_ms - record.arrival_ms).max(0)),
            next_shard_iterator: (!at_end).then(|| self::iterator(at.stream, shard, from, asking.now_ms)),
            records: page.iter().map(record_out).collect(),
            child_shards: children.map(child).collect(),
            n_bytes: page.iter().map(|record| record.data.len()).sum(),
        })
    }
}

/// An iterator of this kind, from this number or this time on.
pub(super) fn position(
    stream: &Stream,
    id: &str,
    kind: &str,
    (number, time): (&Value, &Value),
    now_ms: i64,
) -> Result<String, Refusal> {
    let shard = readable(stream, id)?;
    let place = |text: &str| match Sequence::parse(text) {
        Some(number) if stream.may_be_of(shard, number) => Ok(number),
        _ => Err(invalid(format!("StartingSequenceNumber {text} is not of {id}"))),
    };
    let from = match (kind, number.as_str(), time.as_f64()) {
        ("TRIM_HORIZON", None, None) => shard.first,
        ("LATEST", None, None) => shard.tip.after(1),
        ("AT_SEQUENCE_NUMBER", Some(text), None) => place(text)?,
        ("AFTER_SEQUENCE_NUMBER", Some(text), None) => place(text)?.after(1),
        ("AT_TIMESTAMP", None, Some(seconds)) if (seconds * 1_000.0).floor() as i64 > now_ms => {
            return Err(invalid("Timestamp is in the future."));
        }
        ("AT_TIMESTAMP", None, Some(seconds)) => {
            let at = shard.records.partition_point(|record| seconds_of(record) < seconds);
            shard.records.get(at).map_or(shard.tip.after(1), |record| record.sequence)
        }
        _ => return Err(invalid(format!("ShardIteratorType {kind} with these parameters"))),
    };
    Ok(iterator(&stream.name, shard, from, now_ms))
}

/// How many records are a page: at least one, however large.
fn fitting(records: &[Record], limit: usize) -> usize {
    let mut n_bytes = 0;
    let fits = |record: &&Record| {
        n_bytes += record.data.len();
        n_bytes <= PAGE_BYTES_MAX
    };
    let n = records.iter().take(limit).take_while(fits).count();
    if n == 0 { limit.min(records.len()).min(1) } else { n }
}

fn readable<'a>(stream: &'a Stream, id: &str) -> Result<&'a Shard, Refusal> {
    let shard = stream.shards.iter().find(|shard| &*shard.id == id && !shard.trimmed);
    shard.ok_or_else(|| not_found(format!("Shard {id} in stream {} does not exist", stream.name)))
}

/// Neither a stream's name nor a shard's has a slash.
fn opened(token: &str) -> Option<(String, String, i64)> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let mut parts = text.split('/');
    let (stream, after, made_ms) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    Some((stream.to_owned(), after.to_owned(), made_ms))
}

/// A filter is not in its token: the real service has it there, but the pages of a filtered list are few.
fn filter(filter: &Value) -> Result<Box<dyn Fn(&Shard) -> bool>, Refusal> {
    match filter["Type"].as_str() {
        // No record leaves a stream before its shard does, so the trim horizon is before all of them.
        None | Some("AT_TRIM_HORIZON" | "FROM_TRIM_HORIZON") => Ok(Box::new(|_| true)),
        Some("AT_LATEST") => Ok(Box::new(Shard::is_open)),
        Some("AFTER_SHARD_ID") => {
            let after =
                filter["ShardId"].as_str().ok_or_else(|| invalid("AFTER_SHARD_ID needs a ShardId."))?.to_owned();
            Ok(Box::new(move |shard| *shard.id > *after))
        }
        Some(other) => Err(invalid(format!("this cloud does not filter shards by {other}"))),
    }
}

fn record_out(record: &Record) -> RecordOut<'_> {
    RecordOut {
        sequence_number: record.sequence.to_string(),
        approximate_arrival_timestamp: seconds_of(record),
        data: STANDARD.encode(&record.data),
        partition_key: &record.partition_key,
    }
}

/// The service sends seconds; a double holds today's milliseconds exactly enough to be rounded back.
fn seconds_of(record: &Record) -> f64 {
    record.arrival_ms as f64 / 1_000.0
}

fn hash_range(shard: &Shard) -> Value {
    json!({ "StartingHashKey": shard.range.0.to_string(), "EndingHashKey": shard.range.1.to_string() })
}

/// A shard, as lists have it.
pub(super) fn describe(shard: &Shard) -> Value {
    let mut sequences = json!({ "StartingSequenceNumber": shard.first.to_string() });
    if let Some(last) = shard.last {
        sequences["EndingSequenceNumber"] = last.to_string().into();
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
