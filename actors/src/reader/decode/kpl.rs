//! Aggregates: records into which the Kinesis Producer Library (KPL) has packed several, taken apart again.
//!
//! An aggregate is four magic bytes, a Protocol Buffers message, and the MD5 of that message.
//!
//! **Owns** what is an aggregate, where its user records stand, and which of them belong to this shard.
//! **Promises** nothing is taken from a record whose magic, MD5 and message do not all agree: such a record is one
//! opaque value. A user record that belongs to another shard harms none of its neighbours. Work is linear in the bytes,
//! and what is allocated is at most some twenty times as large as the record.
//! **Fails** with the refusal of a whole record.
//! **Not here**: what is in a user record. It is taken apart as a plain record is (`framing.rs`).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use md5::{Digest, Md5};
use messages::{HashRange, Reason, parse_hash_key};
use prost::Message;

use super::event::EventRefusal;
use super::too_many;
use crate::hash_key;

/// No text begins like this: it is not UTF-8. What begins with it is an aggregate or unreadable.
const MAGIC: &[u8] = b"\xf3\x89\x9a\xc2";
const MD5_BYTES: usize = 16;

/// The library's `AggregatedRecord`. Its records stay undecoded until their number is known to be allowed.
#[derive(Clone, PartialEq, Message)]
struct Aggregate {
    #[prost(string, repeated, tag = "1")]
    partition_keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_keys: Vec<String>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    records: Vec<Bytes>,
}

/// The library's `Record`. It can also carry tags, which nothing here reads.
#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// Whether the bytes begin as an aggregate does.
pub(super) fn has_magic(data: &[u8]) -> bool {
    data.starts_with(MAGIC)
}

/// A user record: where it stands in its aggregate, its hash key, and why it is not looked into.
pub(super) type UserRecordAt = (Range<usize>, u128, Option<EventRefusal>);

/// The user records of an aggregate, in order.
pub(super) fn user_records(
    record: &Bytes,
    shard: HashRange,
    records_max: usize,
) -> Result<Vec<UserRecordAt>, EventRefusal> {
    let found = places(record, records_max)?;
    if found.is_empty() {
        return Err((Reason::Empty, "the aggregate has no user record in it".to_owned()));
    }
    let with_refusal = |(span, hash_key): (Range<usize>, u128)| {
        let refusal = if !shard.contains(hash_key) {
            let detail = format!("the hash key {hash_key} is outside the shard's range, {shard}");
            Some((Reason::OutsideHashRange, detail))
        } else if has_magic(&record[span.clone()]) {
            // The library never nests, and opening what is nested could go on for ever.
            Some(opaque("an aggregate inside another one"))
        } else {
            None
        };
        (span, hash_key, refusal)
    };
    Ok(found.into_iter().map(with_refusal).collect())
}

/// Where the user records of an aggregate stand in it, each with its hash key.
fn places(record: &Bytes, records_max: usize) -> Result<Vec<(Range<usize>, u128)>, EventRefusal> {
    let message = message(record).ok_or_else(|| opaque("the MD5 of an aggregate does not match its message"))?;
    let aggregate = Aggregate::decode(message).map_err(|_| opaque("the message of an aggregate cannot be read"))?;
    if aggregate.records.len() > records_max {
        return Err(too_many(records_max));
    }
    let mut hash_keys = HashKeys { aggregate: &aggregate, of_partition_keys: HashMap::new() };
    let user_records = aggregate.records.iter().map(|bytes| {
        let user_record = UserRecord::decode(bytes.clone()).ok()?;
        let hash_key = hash_keys.of(&user_record)?;
        Some((span_of(&user_record.data?, record)?, hash_key))
    });
    user_records.collect::<Option<_>>().ok_or_else(|| opaque("the message of an aggregate does not fit together"))
}

/// The bytes between the magic and the MD5, if it is theirs.
fn message(record: &Bytes) -> Option<Bytes> {
    let end = record.len().checked_sub(MD5_BYTES).filter(|end| *end >= MAGIC.len())?;
    let message = record.slice(MAGIC.len()..end);
    (Md5::digest(&message)[..] == record[end..]).then_some(message)
}

/// Where a part stands that shares its memory with the whole.
fn span_of(part: &Bytes, whole: &Bytes) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

/// The magic alone makes the whole of the bytes no text.
fn opaque(what: &str) -> EventRefusal {
    (Reason::NotUtf8, format!("{what}; the byte at 0 is not UTF-8"))
}

/// Where user records belong. Thousands can share one partition key of any length, so that each is hashed once.
struct HashKeys<'a> {
    aggregate: &'a Aggregate,
    of_partition_keys: HashMap<usize, u128>,
}

impl HashKeys<'_> {
    /// None if the record points outside the aggregate's tables.
    fn of(&mut self, user_record: &UserRecord) -> Option<u128> {
        let index = usize::try_from(user_record.partition_key_index?).ok()?;
        let partition_key = self.aggregate.partition_keys.get(index)?;
        if let Some(index) = user_record.explicit_hash_key_index {
            let explicit = self.aggregate.explicit_hash_keys.get(usize::try_from(index).ok()?)?;
            // Old versions of the aggregator for Node.js write "undefined" where none was given.
            if let Some(hash_key) = parse_hash_key(explicit) {
                return Some(hash_key);
            }
        }
        Some(*self.of_partition_keys.entry(index).or_insert_with(|| hash_key(partition_key)))
    }
}
