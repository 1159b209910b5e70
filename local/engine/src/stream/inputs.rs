//! What each operation takes, and what its parameters must be.
//!
//! **Promises** a parameter that nobody heeds is refused, not passed over; one of the wrong type or length is told by name.

use serde_json::Value;

use super::invalid;
use crate::Refusal;

use Kind::{Bool, Bytes, Count, HashKey, List, Map, Name, OneOf, StreamArn, Text, Time};

/// What a parameter is.
#[derive(Clone, Copy)]
enum Kind {
    /// Letters, digits, `_`, `.` and `-`, up to 128.
    Name,
    Text,
    StreamArn,
    OneOf(&'static [&'static str]),
    /// A whole number between these.
    Count(u64, u64),
    Time,
    Bool,
    /// Base64.
    Bytes,
    /// A whole number of up to 39 digits.
    HashKey,
    List(usize),
    Map,
}

/// A parameter, and whether it must be there.
type Parameter = (&'static str, Kind, bool);

const STREAM: [Parameter; 2] = [("StreamName", Name, false), ("StreamARN", StreamArn, false)];
const RECORD: [Parameter; 3] =
    [("Data", Bytes, true), ("PartitionKey", Text, false), ("ExplicitHashKey", HashKey, false)];

const ITERATORS: [&str; 5] = ["TRIM_HORIZON", "LATEST", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"];
/// Operations without a stream, and those that may tell it in another way, or miss it with words of their own.
const OF_NO_STREAM: [&str; 4] = ["ListStreams", "DescribeLimits", "DescribeAccountSettings", "SubscribeToShard"];
const BY_OTHERS: [&str; 5] = [
    "GetRecords",
    "ListShards",
    "DescribeStreamConsumer",
    "DeregisterStreamConsumer",
    "UpdateStreamRecordDistributionStrategy",
];

/// Those besides the stream; none is an operation that is not offered.
fn parameters(operation: &str) -> Option<&'static [Parameter]> {
    Some(match operation {
        "CreateStream" => &[("ShardCount", Count(1, 100_000), true), ("StreamModeDetails", Map, false)],
        "DeleteStream" => &[("EnforceConsumerDeletion", Bool, false)],
        "DescribeStream" => &[("Limit", Count(1, 10_000), false), ("ExclusiveStartShardId", Name, false)],
        "DescribeStreamSummary" => &[],
        "ListStreams" => &[("Limit", Count(1, 10_000), false), ("ExclusiveStartStreamName", Name, false)],
        "ListShards" => &[
            ("NextToken", Text, false),
            ("MaxResults", Count(1, 10_000), false),
            ("ExclusiveStartShardId", Name, false),
            ("ShardFilter", Map, false),
        ],
        "GetShardIterator" => &[
            ("ShardId", Name, true),
            ("ShardIteratorType", OneOf(&ITERATORS), true),
            ("StartingSequenceNumber", Text, false),
            ("Timestamp", Time, false),
        ],
        "GetRecords" => &[("ShardIterator", Text, true), ("Limit", Count(1, 10_000), false)],
        "PutRecord" => &[RECORD[0], RECORD[1], RECORD[2], ("SequenceNumberForOrdering", Text, false)],
        "PutRecords" => &[("Records", List(500), true)],
        "SplitShard" => &[("ShardToSplit", Name, true), ("NewStartingHashKey", HashKey, true)],
        "MergeShards" => &[("ShardToMerge", Name, true), ("AdjacentShardToMerge", Name, true)],
        "UpdateShardCount" => {
            &[("TargetShardCount", Count(1, u64::MAX), true), ("ScalingType", OneOf(&["UNIFORM_SCALING"]), true)]
        }
        "UpdateStreamMode" => &[("StreamModeDetails", Map, true)],
        "UpdateStreamRecordDistributionStrategy" => &[("RecordDistributionStrategy", Text, true)],
        "UpdateStreamWarmThroughput" => &[("WarmThroughputMiBps", Count(0, 100_000), true)],
        "UpdateMaxRecordSize" => &[("MaxRecordSizeInKiB", Count(1_024, 10_240), true)],
        "IncreaseStreamRetentionPeriod" | "DecreaseStreamRetentionPeriod" => {
            &[("RetentionPeriodHours", Count(1, 8_760), true)]
        }
        "EnableEnhancedMonitoring" | "DisableEnhancedMonitoring" => &[("ShardLevelMetrics", List(7), true)],
        "AddTagsToStream" => &[("Tags", Map, true)],
        "RemoveTagsFromStream" => &[("TagKeys", List(50), true)],
        "ListTagsForStream" => &[("Limit", Count(1, 50), false), ("ExclusiveStartTagKey", Text, false)],
        "TagResource" => &[("ResourceARN", Text, true), ("Tags", Map, true)],
        "UntagResource" => &[("ResourceARN", Text, true), ("TagKeys", List(50), true)],
        "ListTagsForResource" => &[("ResourceARN", Text, true)],
        "DescribeLimits" | "DescribeAccountSettings" => &[],
        "RegisterStreamConsumer" => &[("ConsumerName", Name, true)],
        "DeregisterStreamConsumer" | "DescribeStreamConsumer" => {
            &[("ConsumerName", Name, false), ("ConsumerARN", Text, false)]
        }
        "ListStreamConsumers" => &[("NextToken", Text, false), ("MaxResults", Count(1, 10_000), false)],
        "SubscribeToShard" => &[("ConsumerARN", Text, true), ("ShardId", Name, true), ("StartingPosition", Map, true)],
        _ => return None,
    })
}

/// An operation that is not offered, or not here.
pub(super) fn unknown(operation: &str) -> Refusal {
    Refusal::new(400, "UnknownOperationException", format!("this cloud does not have {operation}"))
}

/// Whether the request can be meant.
pub(super) fn understood(operation: &str, input: &Value) -> Result<(), Refusal> {
    let Some(own) = parameters(operation) else {
        return Err(unknown(operation));
    };
    let of_none = OF_NO_STREAM.contains(&operation) || own.iter().any(|(name, ..)| *name == "ResourceARN");
    let known = if of_none { own.to_vec() } else { [own, &STREAM].concat() };
    check(operation, input, &known)?;
    if !of_none && !BY_OTHERS.contains(&operation) && STREAM.iter().all(|(name, ..)| input[*name].is_null()) {
        return Err(Refusal::validation("StreamName is missing: Value null failed to satisfy constraint"));
    }
    match operation {
        "PutRecords" => {
            input["Records"].as_array().into_iter().flatten().try_for_each(|record| check(operation, record, &RECORD))
        }
        _ => Ok(()),
    }
}

fn check(operation: &str, input: &Value, parameters: &[Parameter]) -> Result<(), Refusal> {
    let Some(given) = input.as_object() else { return Err(wrong_type("the request")) };
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let Some((_, kind, _)) = parameters.iter().find(|(known, ..)| known == name) else {
            return Err(invalid(format!("this cloud does not support {name} of {operation}")));
        };
        kind.check(name, value)?;
    }
    match parameters.iter().find(|(name, _, needed)| *needed && input[*name].is_null()) {
        Some((name, ..)) => {
            Err(Refusal::validation(format!("{name} is missing: Value null failed to satisfy constraint")))
        }
        None => Ok(()),
    }
}

impl Kind {
    fn check(self, name: &str, value: &Value) -> Result<(), Refusal> {
        let fits = match self {
            Name | Text | StreamArn | OneOf(_) | Bytes | HashKey => {
                return self.check_text(name, value.as_str().ok_or_else(|| wrong_type(name))?);
            }
            Count(from, to) => match value.as_i64() {
                None => return Err(wrong_type(name)),
                Some(number) => u64::try_from(number).is_ok_and(|number| (from..=to).contains(&number)),
            },
            Time => value.as_f64().is_some(),
            Bool => value.is_boolean(),
            Map => value.is_object(),
            List(most) => match value.as_array() {
                None => return Err(wrong_type(name)),
                Some(list) => (1..=most).contains(&list.len()),
            },
        };
        match (fits, self) {
            (true, _) => Ok(()),
            (false, Count(from, to)) => Err(unfit(name, &format!("must be between {from} and {to}"))),
            (false, List(most)) => Err(unfit(name, &format!("must have 1 to {most} members"))),
            (false, _) => Err(wrong_type(name)),
        }
    }

    fn check_text(self, name: &str, text: &str) -> Result<(), Refusal> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        match self {
            Name if text.is_empty() || text.len() > 128 || !text.chars().all(is_part) => {
                Err(unfit(name, "must be 1 to 128 letters, digits, '_', '.' or '-'"))
            }
            HashKey if text.is_empty() || text.len() > 39 || !text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(unfit(name, "must be a whole number of up to 39 digits"))
            }
            StreamArn if !text.contains(":stream/") => Err(unfit(name, "must be the ARN of a stream")),
            OneOf(all) if !all.contains(&text) => Err(unfit(name, &format!("must be one of {}", all.join(", ")))),
            Text if text.is_empty() => Err(unfit(name, "must not be empty")),
            Text if name == "PartitionKey" && text.chars().count() > 256 => {
                Err(unfit(name, "must have at most 256 characters"))
            }
            _ => Ok(()),
        }
    }
}

fn wrong_type(name: &str) -> Refusal {
    Refusal::new(400, "SerializationException", format!("{name} has another type"))
}

fn unfit(name: &str, must: &str) -> Refusal {
    Refusal::validation(format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: {must}"))
}
