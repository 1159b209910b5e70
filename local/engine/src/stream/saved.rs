//! Everything about the streams but their records, as it is saved: what builds before the engine have written is read too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::consumers::Consumer;
use super::{Habits, Kinesis, Record, Sequence, Shard, Stream};

/// The shape of all streams.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    streams: Vec<SavedStream>,
    consumers: Vec<Consumer>,
    /// Those that spread their records.
    #[serde(default)]
    auto: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedStream {
    name: String,
    stream_arn: String,
    /// Seconds.
    stream_creation_timestamp: f64,
    retention_period_hours: u32,
    stream_mode_details: Mode,
    enhanced_monitoring: Vec<Monitoring>,
    tags: BTreeMap<String, String>,
    warm_throughput_mibps: u32,
    max_record_size_kib: u32,
    shards: Vec<SavedShard>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    stream_mode: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedShard {
    shard_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashRange,
    sequence_number_range: Numbers,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Numbers {
    starting_sequence_number: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

impl Saved {
    /// The streams' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().map(|stream| stream.name.as_str())
    }
}

impl Kinesis {
    /// The shape as it is.
    pub fn save(&self) -> Saved {
        Saved {
            streams: self.streams.values().map(saved).collect(),
            consumers: self.consumers.clone(),
            auto: self.streams.values().filter(|stream| stream.spread).map(|stream| stream.name.clone()).collect(),
        }
    }

    /// The streams as they were saved, without their records. The error says what cannot be understood.
    pub fn load(habits: Habits, saved: Saved) -> Result<Self, String> {
        let Saved { streams, consumers, auto } = saved;
        let mut kinesis = Self { consumers, ..Self::new(habits) };
        for saved in streams {
            let mut stream = loaded(&kinesis.habits, saved)?;
            stream.spread = auto.contains(&stream.name);
            kinesis.streams.insert(stream.name.clone(), stream);
        }
        Ok(kinesis)
    }

    /// Shows a record that was stored before; its shard is told by its place. What is past its retention is not kept, but
    /// its number is taken.
    pub fn reload(&mut self, stream: &str, shard: usize, record: Record, oldest_ms: i64) -> Result<(), String> {
        let stream = self.stream_mut(stream).map_err(|refusal| refusal.message.into_owned())?;
        let shard = stream.shards.get_mut(shard).ok_or("a record of a shard that is not there")?;
        shard.tip = shard.tip.max(record.sequence);
        if record.arrival_ms >= oldest_ms {
            shard.records.push(record);
        }
        Ok(())
    }

    /// For how long a stream keeps its records.
    pub fn retention_ms(&self, stream: &str) -> i64 {
        self.streams.get(stream).map_or(0, |stream| i64::from(stream.retention_hours) * 3_600_000)
    }
}

fn saved(stream: &Stream) -> SavedStream {
    SavedStream {
        name: stream.name.clone(),
        stream_arn: stream.arn.clone(),
        stream_creation_timestamp: stream.created_ms as f64 / 1_000.0,
        retention_period_hours: stream.retention_hours,
        stream_mode_details: Mode {
            stream_mode: if stream.on_demand { "ON_DEMAND" } else { "PROVISIONED" }.to_owned(),
        },
        enhanced_monitoring: vec![Monitoring { shard_level_metrics: stream.metrics.clone() }],
        tags: stream.tags.clone(),
        warm_throughput_mibps: stream.warm_mibps,
        max_record_size_kib: stream.record_kib_max,
        shards: stream.shards.iter().map(saved_shard).collect(),
    }
}

fn saved_shard(shard: &Shard) -> SavedShard {
    let mut parents = shard.parents.iter().map(ToString::to_string);
    SavedShard {
        shard_id: shard.id.to_string(),
        parent_shard_id: parents.next(),
        adjacent_parent_shard_id: parents.next(),
        hash_key_range: HashRange {
            starting_hash_key: shard.range.0.to_string(),
            ending_hash_key: shard.range.1.to_string(),
        },
        sequence_number_range: Numbers {
            starting_sequence_number: shard.first.to_string(),
            ending_sequence_number: shard.last.map(|last| last.to_string()),
        },
    }
}

fn loaded(habits: &Habits, saved: SavedStream) -> Result<Stream, String> {
    let mut stream = Stream::bare(&saved.name, saved.stream_arn, habits.seed, habits.shared_numbers);
    stream.created_ms = (saved.stream_creation_timestamp * 1_000.0).round() as i64;
    stream.retention_hours = saved.retention_period_hours;
    stream.on_demand = saved.stream_mode_details.stream_mode == "ON_DEMAND";
    stream.metrics = saved.enhanced_monitoring.into_iter().flat_map(|on| on.shard_level_metrics).collect();
    (stream.warm_mibps, stream.record_kib_max) = (saved.warm_throughput_mibps, saved.max_record_size_kib);
    stream.tags = saved.tags;
    stream.shards = saved.shards.into_iter().map(loaded_shard).collect::<Result<_, _>>()?;
    Ok(stream)
}

fn loaded_shard(saved: SavedShard) -> Result<Shard, String> {
    let number = |text: &str| Sequence::parse(text).ok_or_else(|| format!("{text} is no sequence number"));
    let key = |text: &str| text.parse().map_err(|_| format!("{text} is no hash key"));
    let HashRange { starting_hash_key, ending_hash_key } = saved.hash_key_range;
    let Numbers { starting_sequence_number, ending_sequence_number } = saved.sequence_number_range;
    let parents =
        [saved.parent_shard_id, saved.adjacent_parent_shard_id].into_iter().flatten().map(Into::into).collect();
    let first = number(&starting_sequence_number)?;
    let mut shard = Shard::with(saved.shard_id, parents, (key(&starting_hash_key)?, key(&ending_hash_key)?), first);
    shard.last = ending_sequence_number.as_deref().map(number).transpose()?;
    Ok(shard)
}
