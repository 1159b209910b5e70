//! Consumers of their own throughput, as far as a reader can tell: they are registered, and subscribe to shards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reads::position;
use super::{Asking, Kinesis, in_use, invalid, not_found};
use crate::{Refusal, Reply};

/// As the service.
const CONSUMERS_MAX: usize = 20;
/// A new consumer cannot be used at once.
const CREATING_MS: i64 = 500;

/// A consumer, in the form in which it is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Consumer {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    /// Seconds.
    consumer_creation_timestamp: f64,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// None once it has been saved.
    #[serde(skip)]
    active_at_ms: i64,
}

impl Consumer {
    pub(super) fn is_of(&self, stream_arn: &str) -> bool {
        self.consumer_arn.split_once("/consumer/").is_some_and(|(stream, _)| stream == stream_arn)
    }

    pub(super) fn arn(&self) -> &str {
        &self.consumer_arn
    }

    pub(super) fn tags_mut(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.tags
    }

    fn described(&self, now_ms: i64) -> Value {
        json!({
            "ConsumerName": self.consumer_name,
            "ConsumerARN": self.consumer_arn,
            "ConsumerStatus": if now_ms < self.active_at_ms { "CREATING" } else { "ACTIVE" },
            "ConsumerCreationTimestamp": self.consumer_creation_timestamp,
        })
    }
}

impl Kinesis {
    pub(super) fn on_consumer(&mut self, asking: Asking, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        match operation {
            "RegisterStreamConsumer" => self.on_register(asking, input),
            "ListStreamConsumers" => self.on_list_consumers(asking, input),
            "DescribeStreamConsumer" => {
                let consumer = &self.consumers[self.consumer(input)?];
                Ok(Reply::json(&json!({ "ConsumerDescription": consumer.described(asking.now_ms) })))
            }
            // DeregisterStreamConsumer
            _ => {
                let index = self.consumer(input)?;
                self.consumers.remove(index);
                Ok(Reply::text(""))
            }
        }
    }

    /// In the order of their names; the token is the last of them.
    fn on_list_consumers(&self, asking: Asking, input: &Value) -> Result<Reply, Refusal> {
        let arn = &self.of(input)?.arn;
        let after = input["NextToken"].as_str().unwrap_or_default();
        let most = input["MaxResults"].as_u64().map_or(CONSUMERS_MAX, |n| n as usize);
        let listed = |known: &&Consumer| known.is_of(arn) && known.consumer_name.as_str() > after;
        let mut page: Vec<&Consumer> = self.consumers.iter().filter(listed).collect();
        page.sort_by(|a, b| a.consumer_name.cmp(&b.consumer_name));
        let more = page.len() > most;
        page.truncate(most);
        let described: Vec<Value> = page.iter().map(|known| known.described(asking.now_ms)).collect();
        let mut out = json!({ "Consumers": described });
        if let (true, Some(last)) = (more, page.last()) {
            out["NextToken"] = last.consumer_name.as_str().into();
        }
        Ok(Reply::json(&out))
    }

    fn on_register(&mut self, asking: Asking, input: &Value) -> Result<Reply, Refusal> {
        let arn = self.of(input)?.arn.clone();
        let name = input["ConsumerName"].as_str().unwrap_or_default();
        let mut known = self.consumers.iter().filter(|consumer| consumer.is_of(&arn));
        if known.clone().any(|consumer| consumer.consumer_name == name) {
            return Err(in_use(format!("Consumer {name} under stream {arn} already exists.")));
        }
        if known.by_ref().count() >= CONSUMERS_MAX {
            return Err(Refusal::new(400, "LimitExceededException", "the stream has as many consumers as it can have"));
        }
        let seconds = asking.now_ms / 1_000;
        let consumer = Consumer {
            consumer_name: name.to_owned(),
            consumer_arn: format!("{arn}/consumer/{name}:{seconds}"),
            consumer_creation_timestamp: seconds as f64,
            tags: BTreeMap::new(),
            active_at_ms: asking.now_ms + CREATING_MS,
        };
        let out = json!({ "Consumer": consumer.described(asking.now_ms) });
        self.consumers.push(consumer);
        Ok(Reply::json(&out))
    }

    /// By its ARN, or by its stream and its name.
    fn consumer(&self, input: &Value) -> Result<usize, Refusal> {
        let found = match (input["ConsumerARN"].as_str(), input["ConsumerName"].as_str()) {
            (Some(arn), _) => self.consumers.iter().position(|consumer| consumer.consumer_arn == arn),
            (None, Some(name)) => {
                let arn = &self.of(input)?.arn;
                self.consumers.iter().position(|consumer| consumer.is_of(arn) && consumer.consumer_name == name)
            }
            (None, None) => {
                return Err(invalid("Must specify either ConsumerARN, or both StreamARN and ConsumerName."));
            }
        };
        found.ok_or_else(|| not_found("Consumer not found."))
    }

    /// Where a subscription begins, as an iterator.
    pub fn subscribe(&self, asking: Asking, input: &Value) -> Result<String, Refusal> {
        super::inputs::understood("SubscribeToShard", input)?;
        let consumer = &self.consumers[self.consumer(input)?];
        if asking.now_ms < consumer.active_at_ms {
            return Err(in_use("Consumer is not ACTIVE."));
        }
        let stream = self.streams.values().find(|stream| consumer.is_of(&stream.arn));
        let stream = stream.ok_or_else(|| not_found("the consumer's stream is gone"))?;
        let (at, shard) = (&input["StartingPosition"], input["ShardId"].as_str().unwrap_or_default());
        let kind = at["Type"].as_str().ok_or_else(|| invalid("StartingPosition.Type is missing."))?;
        position(stream, shard, kind, (&at["SequenceNumber"], &at["Timestamp"]), asking.now_ms)
    }
}
