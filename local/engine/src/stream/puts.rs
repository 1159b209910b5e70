//! PutRecord and PutRecords: number, and only then show.
//!
//! **Promises** what is placed can be read when it is shown, and not before.
//! **Fails** before anything is shown; a number that was taken then stays unused.
//! **Not here**: `SequenceNumberForOrdering`; one writer after the other is ordered without it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::shards::{Put, Record};
use super::{Asking, Kinesis, Sequence, inputs, invalid, throttled};
use crate::{Refusal, Reply};

/// The service's bound on the data and keys of one PutRecords.
const PAYLOAD_BYTES_MAX: usize = 5 * 1024 * 1024;

/// Records that have their numbers, and that nobody sees yet.
#[derive(Debug)]
pub struct Placed {
    stream: String,
    several: bool,
    /// None where the shard had no room.
    records: Vec<Option<(usize, Record)>>,
}

impl Placed {
    /// The stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Those that are to be stored, each with the place of its shard among those of its stream.
    pub fn records(&self) -> impl Iterator<Item = (usize, &Record)> {
        self.records.iter().flatten().map(|(shard, record)| (*shard, record))
    }
}

impl Kinesis {
    /// Gives the records of a request their numbers.
    pub fn place(&mut self, asking: Asking, operation: &str, input: &Value) -> Result<Placed, Refusal> {
        inputs::understood(operation, input)?;
        let (stream, limits) = (self.named(input)?, self.habits.limits_writes);
        let of = self.stream_mut(&stream)?;
        let several = input["Records"].as_array();
        let sent = several.map_or(std::slice::from_ref(input), Vec::as_slice);
        let bytes_max = of.record_kib_max as usize * 1024;
        let puts = sent.iter().map(|sent| put(sent, of.spread, bytes_max)).collect::<Result<Vec<_>, _>>()?;
        if puts.iter().map(|put| put.data.len() + put.partition_key.len()).sum::<usize>()
            > PAYLOAD_BYTES_MAX.max(bytes_max)
        {
            return Err(invalid(format!("Records' total data and partition keys exceed {PAYLOAD_BYTES_MAX} bytes")));
        }
        // Arrival times of a shard never run backwards, whatever the clock does.
        let records: Vec<_> = puts.into_iter().map(|put| of.placed(asking.now_ms, put, limits)).collect();
        match several {
            None if records[0].is_none() => Err(throttled()),
            _ => Ok(Placed { stream, several: several.is_some(), records }),
        }
    }

    /// Lets readers see them.
    pub fn show(&mut self, placed: Placed) -> Result<Reply, Refusal> {
        let stream = self.stream_mut(&placed.stream)?;
        let mut answers = Vec::with_capacity(placed.records.len());
        let mut n_failed = 0;
        for placed in placed.records {
            answers.push(match placed {
                Some((index, record)) => {
                    let shard = &mut stream.shards[index];
                    let answer = json!({ "ShardId": &*shard.id, "SequenceNumber": record.sequence.to_string() });
                    shard.records.push(record);
                    answer
                }
                None => {
                    n_failed += 1;
                    let Refusal { code, message, .. } = throttled();
                    json!({ "ErrorCode": code, "ErrorMessage": message })
                }
            });
        }
        Ok(Reply::json(&match placed.several {
            true => json!({ "FailedRecordCount": n_failed, "Records": answers }),
            false => answers.remove(0),
        }))
    }

    /// Stores a record at once, and gives its shard and its number.
    pub fn put(&mut self, now_ms: i64, stream: &str, put: Put) -> Result<(String, Sequence), Refusal> {
        let stream = self.stream_mut(stream)?;
        let (index, record) = stream.placed(now_ms, put, false).ok_or_else(throttled)?;
        let (shard, sequence) = (&mut stream.shards[index], record.sequence);
        shard.records.push(record);
        Ok((shard.id.to_string(), sequence))
    }
}

impl super::Stream {
    fn placed(&mut self, now_ms: i64, put: Put, limits: bool) -> Option<(usize, Record)> {
        let (shard, sequence) = self.number(now_ms, &put, limits)?;
        let before_ms = self.shards[shard].records.last().map_or(now_ms, |record| record.arrival_ms);
        let Put { partition_key, data, .. } = put;
        Some((shard, Record { sequence, partition_key, arrival_ms: now_ms.max(before_ms), data }))
    }
}

fn put(sent: &Value, spread: bool, bytes_max: usize) -> Result<Put, Refusal> {
    let partition_key = sent["PartitionKey"].as_str();
    if partition_key.is_none() && !spread {
        return Err(Refusal::validation("PartitionKey is missing: Value null failed to satisfy constraint"));
    }
    let hash = match sent["ExplicitHashKey"].as_str() {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            invalid(format!("Invalid ExplicitHashKey. It must be in the range [0, 2^128-1], but was {text}"))
        })?),
    };
    let data = STANDARD.decode(sent["Data"].as_str().unwrap_or_default());
    let data = data.map_err(|_| Refusal::new(400, "SerializationException", "Data is not Base64"))?;
    if data.len() > bytes_max {
        return Err(Refusal::validation(format!("Data has more than {bytes_max} bytes")));
    }
    Ok(Put { partition_key: partition_key.unwrap_or_default().into(), hash, data: data.into() })
}
