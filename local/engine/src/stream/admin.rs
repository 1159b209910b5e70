//! What operators ask: streams, their modes and tags, and reshards.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::reads::describe;
use super::{Asking, Kinesis, SHARDS_MAX, Shard, Stream, in_use, invalid, not_found};
use crate::{Refusal, Reply};

const DISTRIBUTION: &str = "RecordDistributionStrategy";
const AUTO: &str = "AUTO";
const BY_KEY: &str = "USER_PARTITION_KEY";
const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
];
const STREAMS_PER_PAGE: usize = 10;
const SHARDS_DESCRIBED: usize = 100;
const TAGS_MAX: usize = 50;
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;

impl Kinesis {
    pub(super) fn on_admin(&mut self, asking: Asking, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        match operation {
            "CreateStream" => self.on_create(asking, input),
            "DeleteStream" => self.on_delete(input),
            "ListStreams" => self.on_list(input),
            "DescribeStream" => self.on_describe(input),
            "DescribeStreamSummary" => self.on_summary(input),
            "DescribeLimits" => self.on_limits(),
            "DescribeAccountSettings" => {
                Ok(Reply::json(&json!({ "MinimumThroughputBillingCommitment": { "Status": "DISABLED" } })))
            }
            "SplitShard" | "MergeShards" | "UpdateShardCount" => self.on_reshard(operation, input),
            _ if operation.contains("Tag") || operation.starts_with("Untag") => self.on_tags(operation, input),
            _ => self.on_setting(operation, input),
        }
    }

    fn on_create(&mut self, asking: Asking, input: &Value) -> Result<Reply, Refusal> {
        let name = input["StreamName"].as_str().ok_or_else(|| Refusal::validation("StreamName is missing"))?;
        if !input["StreamARN"].is_null() {
            return Err(invalid("this cloud does not support StreamARN of CreateStream"));
        }
        let mode = &input["StreamModeDetails"];
        if !mode.is_null() && mode["StreamMode"] != "PROVISIONED" {
            return Err(invalid("this cloud creates streams in PROVISIONED mode: UpdateStreamMode changes it"));
        }
        let n_shards = input["ShardCount"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
        self.create(name, n_shards, asking.now_ms)?;
        Ok(Reply::text(""))
    }

    fn on_delete(&mut self, input: &Value) -> Result<Reply, Refusal> {
        let stream = self.of(input)?;
        let (name, arn) = (stream.name.clone(), stream.arn.clone());
        let has_consumers = self.consumers.iter().any(|consumer| consumer.is_of(&arn));
        if has_consumers && input["EnforceConsumerDeletion"] != true {
            return Err(in_use("the stream has registered consumers: say EnforceConsumerDeletion"));
        }
        self.consumers.retain(|consumer| !consumer.is_of(&arn));
        self.streams.remove(&name);
        Ok(Reply::text(""))
    }

    fn on_list(&self, input: &Value) -> Result<Reply, Refusal> {
        let most = input["Limit"].as_u64().map_or(STREAMS_PER_PAGE, |n| n as usize);
        let after = input["ExclusiveStartStreamName"].as_str().unwrap_or_default();
        let mut names: Vec<&str> =
            self.streams.keys().map(String::as_str).filter(|name| *name > after).take(most + 1).collect();
        let more = names.len() > most;
        names.truncate(most);
        Ok(Reply::json(&json!({ "StreamNames": names, "HasMoreStreams": more })))
    }

    fn on_describe(&self, input: &Value) -> Result<Reply, Refusal> {
        let stream = self.of(input)?;
        let most = input["Limit"].as_u64().map_or(SHARDS_DESCRIBED, |n| n as usize);
        let after = input["ExclusiveStartShardId"].as_str().unwrap_or_default();
        let mut shards: Vec<&Shard> =
            stream.shards.iter().filter(|shard| !shard.trimmed && &*shard.id > after).take(most + 1).collect();
        let more = shards.len() > most;
        shards.truncate(most);
        let mut out = self.described(input, stream)?;
        out["Shards"] = shards.iter().map(|shard| describe(shard)).collect();
        out["HasMoreShards"] = more.into();
        Ok(Reply::json(&json!({ "StreamDescription": out })))
    }

    fn on_summary(&self, input: &Value) -> Result<Reply, Refusal> {
        let stream = self.of(input)?;
        let mut out = self.described(input, stream)?;
        out["OpenShardCount"] = stream.n_open().into();
        out["ConsumerCount"] = self.consumers.iter().filter(|consumer| consumer.is_of(&stream.arn)).count().into();
        out[DISTRIBUTION] = if stream.spread { AUTO } else { BY_KEY }.into();
        Ok(Reply::json(&json!({ "StreamDescriptionSummary": out })))
    }

    /// Under the name that was asked for.
    fn described(&self, input: &Value, stream: &Stream) -> Result<Value, Refusal> {
        let name = self.asked_name(input)?;
        let arn = if name == stream.name { stream.arn.clone() } else { self.arn_of(name) };
        Ok(json!({
            "StreamName": name,
            "StreamARN": arn,
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": stream.retention_hours,
            "StreamCreationTimestamp": stream.created_ms / 1_000,
            "EnhancedMonitoring": [{ "ShardLevelMetrics": stream.metrics }],
            "EncryptionType": "NONE",
            "StreamModeDetails": { "StreamMode": if stream.on_demand { "ON_DEMAND" } else { "PROVISIONED" } },
        }))
    }

    fn on_limits(&self) -> Result<Reply, Refusal> {
        let n_open: usize = self.streams.values().map(Stream::n_open).sum();
        let on_demand = self.streams.values().filter(|stream| stream.on_demand).count();
        Ok(Reply::json(&json!({
            "ShardLimit": SHARDS_MAX,
            "OpenShardCount": n_open,
            "OnDemandStreamCount": on_demand,
            "OnDemandStreamCountLimit": SHARDS_MAX,
        })))
    }

    fn on_reshard(&mut self, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let text = |name: &str| input[name].as_str().unwrap_or_default();
        let n_open: usize = self.streams.values().map(Stream::n_open).sum();
        let stream = self.of_mut(input)?;
        match operation {
            "SplitShard" if n_open >= SHARDS_MAX as usize => Err(Refusal::new(
                400,
                "LimitExceededException",
                format!("there would be more than {SHARDS_MAX} shards"),
            )),
            "SplitShard" => {
                let at =
                    text("NewStartingHashKey").parse().map_err(|_| invalid("NewStartingHashKey is beyond 2^128-1"))?;
                stream.split(text("ShardToSplit"), at)?;
                Ok(Reply::text(""))
            }
            "MergeShards" => {
                stream.merge(text("ShardToMerge"), text("AdjacentShardToMerge"))?;
                Ok(Reply::text(""))
            }
            _ => on_scale(stream, input),
        }
    }

    fn on_tags(&mut self, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let arn = input["ResourceARN"].as_str();
        let tags = match arn.filter(|arn| arn.contains("/consumer/")) {
            Some(arn) => {
                let consumer = self.consumers.iter_mut().find(|consumer| consumer.arn() == arn);
                consumer.ok_or_else(|| not_found("Consumer not found."))?.tags_mut()
            }
            None => match arn {
                Some(arn) => &mut self.of_mut(&json!({ "StreamARN": arn }))?.tags,
                None => &mut self.of_mut(input)?.tags,
            },
        };
        match operation {
            "AddTagsToStream" | "TagResource" => add_tags(tags, &input["Tags"]),
            "RemoveTagsFromStream" | "UntagResource" => {
                let keys = input["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
                keys.for_each(|key| drop(tags.remove(key)));
                Ok(Reply::text(""))
            }
            _ => {
                let most = input["Limit"].as_u64().map_or(TAGS_MAX, |n| n as usize);
                let after = input["ExclusiveStartTagKey"].as_str().unwrap_or_default();
                let rest: Vec<_> = tags.iter().filter(|(key, _)| key.as_str() > after).collect();
                let page: Vec<Value> =
                    rest.iter().take(most).map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
                let mut out = json!({ "Tags": page });
                if operation == "ListTagsForStream" {
                    out["HasMoreTags"] = (rest.len() > most).into();
                }
                Ok(Reply::json(&out))
            }
        }
    }

    fn on_setting(&mut self, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        let number = |name: &str| input[name].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        if operation == "UpdateStreamRecordDistributionStrategy" && input["StreamARN"].is_null() {
            return Err(invalid("StreamARN is missing."));
        }
        let stream = self.of_mut(input)?;
        match operation {
            "UpdateStreamMode" => {
                stream.on_demand = match input["StreamModeDetails"]["StreamMode"].as_str() {
                    Some("ON_DEMAND") => true,
                    Some("PROVISIONED") => false,
                    _ => return Err(Refusal::validation("StreamMode must be PROVISIONED or ON_DEMAND")),
                };
            }
            "UpdateStreamRecordDistributionStrategy" => {
                let spread = match input[DISTRIBUTION].as_str() {
                    Some(AUTO) => true,
                    Some(BY_KEY) => false,
                    _ => return Err(invalid(format!("{DISTRIBUTION} is {AUTO} or {BY_KEY}."))),
                };
                if spread && !stream.on_demand {
                    return Err(invalid(format!("{DISTRIBUTION} {AUTO} needs a stream in ON_DEMAND mode.")));
                }
                stream.spread = spread;
            }
            "UpdateMaxRecordSize" => stream.record_kib_max = number("MaxRecordSizeInKiB"),
            "UpdateStreamWarmThroughput" => {
                let before = std::mem::replace(&mut stream.warm_mibps, number("WarmThroughputMiBps"));
                let throughput = json!({ "CurrentMiBps": before, "TargetMiBps": stream.warm_mibps });
                let out = json!({ "StreamName": stream.name, "StreamARN": stream.arn, "WarmThroughput": throughput });
                return Ok(Reply::json(&out));
            }
            "IncreaseStreamRetentionPeriod" | "DecreaseStreamRetentionPeriod" => {
                let hours = number("RetentionPeriodHours");
                if hours < 24 {
                    return Err(invalid("Minimum allowed retention period is 24 hours."));
                }
                let (than, is_so) = match operation.starts_with("Increase") {
                    true => ("shorter", hours < stream.retention_hours),
                    false => ("longer", hours > stream.retention_hours),
                };
                if is_so {
                    return Err(invalid(format!(
                        "the retention period can not be {than} than the existing one of {} hours",
                        stream.retention_hours
                    )));
                }
                stream.retention_hours = hours;
            }
            _ => return on_metrics(stream, operation, input),
        }
        Ok(Reply::text(""))
    }
}

fn on_scale(stream: &mut Stream, input: &Value) -> Result<Reply, Refusal> {
    let target = input["TargetShardCount"].as_u64().and_then(|n| u32::try_from(n).ok());
    let target = target.filter(|target| (1..=SHARDS_MAX).contains(target));
    let target = target.ok_or_else(|| invalid(format!("TargetShardCount is not between 1 and {SHARDS_MAX}.")))?;
    let open = stream.n_open();
    if open == target as usize {
        return Err(invalid(format!("TargetShardCount {target} is the same as the current shard count {open}.")));
    }
    stream.scale(target)?;
    let (name, arn) = (&stream.name, &stream.arn);
    Ok(Reply::json(
        &json!({ "StreamName": name, "StreamARN": arn, "CurrentShardCount": open, "TargetShardCount": target }),
    ))
}

fn on_metrics(stream: &mut Stream, operation: &str, input: &Value) -> Result<Reply, Refusal> {
    let asked: Vec<&str> =
        input["ShardLevelMetrics"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(other) = asked.iter().find(|asked| **asked != "ALL" && !METRICS.contains(asked)) {
        return Err(Refusal::validation(format!("ShardLevelMetrics has {other}, which is no metric of a shard")));
    }
    let is_asked = |metric: &str| asked.contains(&"ALL") || asked.contains(&metric);
    let before = stream.metrics.clone();
    let enables = operation.starts_with("Enable");
    let is_on = |metric: &str| before.iter().any(|on| on == metric);
    let after = METRICS
        .into_iter()
        .filter(|metric| if enables { is_on(metric) || is_asked(metric) } else { is_on(metric) && !is_asked(metric) });
    stream.metrics = after.map(str::to_owned).collect();
    Ok(Reply::json(&json!({
        "StreamName": stream.name,
        "StreamARN": stream.arn,
        "CurrentShardLevelMetrics": before,
        "DesiredShardLevelMetrics": stream.metrics,
    })))
}

fn add_tags(tags: &mut BTreeMap<String, String>, given: &Value) -> Result<Reply, Refusal> {
    let mut all = tags.clone();
    if given.as_object().is_none_or(|given| !(1..=TAGS_MAX).contains(&given.len())) {
        return Err(Refusal::validation(format!("Tags must have 1 to {TAGS_MAX} entries")));
    }
    for (key, value) in given.as_object().into_iter().flatten() {
        let value = value.as_str().ok_or_else(|| invalid(format!("the value of the tag {key} is not a text")))?;
        if key.is_empty() || key.chars().count() > TAG_KEY_MAX || value.chars().count() > TAG_VALUE_MAX {
            return Err(Refusal::validation(format!("the tag {key}, or its value, is empty or too long")));
        }
        if !is_tag(key) || !is_tag(value) {
            return Err(invalid(format!("the tag {key} has characters that tags do not have")));
        }
        all.insert(key.clone(), value.to_owned());
    }
    if all.len() > TAGS_MAX {
        return Err(invalid(format!("a stream has at most {TAGS_MAX} tags")));
    }
    *tags = all;
    Ok(Reply::text(""))
}

fn is_tag(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c))
}
