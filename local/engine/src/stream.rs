//! The streams: Kinesis, as far as the local cloud and the simulation offer it.
//!
//! ```text
//! request -> inputs   parameters that nobody heeds are refused, the others have their types and lengths
//!         -> admin    streams, tags, modes, reshards          -> shards: one stream
//!         -> consumers
//!         -> reads    lists, iterators, pages
//!         -> puts     number, and only then show: who keeps a journal writes it in between
//! ```
//!
//! **Owns** the streams with their records, and the consumers.
//! **Promises** nothing is answered with 200 and not done. The records of a shard become readable in the order of their
//! numbers; a child's numbers come after those of its parents; a page has at most 10 MiB of data, or one record.
//! **Fails** with the service's errors; nothing is changed then.
//! **Not here**: encryption, permissions, and limits of the service but those in [`Habits`].

mod admin;
mod consumers;
mod inputs;
mod puts;
mod reads;
mod saved;
mod sequence;
mod shards;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::{ClientId, Refusal, Reply, Service};

pub use puts::Placed;
pub use reads::Page;
pub use saved::Saved;
pub use sequence::Sequence;
pub use shards::{Put, Record, Shard, Stream, place_of};

/// More than any test makes; the real quota is a matter of asking.
pub const SHARDS_MAX: u32 = 10_000;

/// What differs between a cloud to work with and one to find faults with.
#[derive(Clone, Debug)]
pub struct Habits {
    /// For what is not dense, and for where records go that are spread.
    pub seed: u64,
    /// In front of names in ARNs.
    pub arns: String,
    /// Shards on a page of ListShards.
    pub shards_per_page: usize,
    /// Whether a shard is read five times a second, and 2 MiB, only.
    pub limits_reads: bool,
    /// Whether a shard takes 1 MiB and 1,000 records a second only.
    pub limits_writes: bool,
    /// Whether records of different shards may have one number: a reader that takes one for an identity is found.
    pub shared_numbers: bool,
    /// Whether the readers of each shard are remembered.
    pub remembers_readers: bool,
}

/// The client that asks, when, and with which luck.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// The client.
    pub client: ClientId,
    /// Whether the end of a closed shard comes with its last records, and not on an empty page of its own.
    pub ends_early: bool,
    /// Whether a page is empty, although there is more.
    pub empty_page: bool,
}

/// All streams of a region.
#[derive(Debug)]
pub struct Kinesis {
    habits: Habits,
    streams: BTreeMap<String, Stream>,
    /// Other names, under which streams have other ARNs.
    aliases: BTreeMap<String, String>,
    consumers: Vec<consumers::Consumer>,
}

impl Kinesis {
    /// No streams.
    pub fn new(habits: Habits) -> Self {
        Self { habits, streams: BTreeMap::new(), aliases: BTreeMap::new(), consumers: Vec::new() }
    }

    /// Answers one request, but for those that put.
    pub fn serve(&mut self, asking: Asking, operation: &str, input: &Value) -> Result<Reply, Refusal> {
        inputs::understood(operation, input)?;
        match operation {
            "PutRecord" | "PutRecords" | "SubscribeToShard" => Err(inputs::unknown(operation)),
            "GetRecords" => self.on_records(asking, input),
            "GetShardIterator" => self.on_iterator(asking, input),
            "ListShards" => self.on_list_shards(asking, input),
            _ if operation.contains("Consumer") => self.on_consumer(asking, operation, input),
            _ => self.on_admin(asking, operation, input),
        }
    }

    /// Creates a stream, with equal hash ranges.
    pub fn create(&mut self, name: &str, n_shards: u32, now_ms: i64) -> Result<(), Refusal> {
        if self.streams.contains_key(name) {
            return Err(in_use(format!("Stream {name} already exists.")));
        }
        let n_open: usize = self.streams.values().map(Stream::n_open).sum();
        if n_open + n_shards as usize > SHARDS_MAX as usize {
            return Err(Refusal::new(
                400,
                "LimitExceededException",
                format!("there would be more than {SHARDS_MAX} shards"),
            ));
        }
        let arn = self.arn_of(name);
        let mut stream = Stream::bare(name, arn, self.habits.seed, self.habits.shared_numbers);
        stream.created_ms = now_ms;
        stream.populate(n_shards);
        self.streams.insert(name.to_owned(), stream);
        Ok(())
    }

    /// Lets a stream be seen under another name too: with another ARN, over the same shards.
    pub fn alias(&mut self, stream: &str, name: &str) {
        self.aliases.insert(name.to_owned(), stream.to_owned());
    }

    /// The streams, by name.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.values()
    }

    /// A stream.
    pub fn stream_mut(&mut self, name: &str) -> Result<&mut Stream, Refusal> {
        self.streams.get_mut(name).ok_or_else(|| no_stream(name))
    }

    fn stream(&self, name: &str) -> Result<&Stream, Refusal> {
        self.streams.get(name).ok_or_else(|| no_stream(name))
    }

    fn arn_of(&self, name: &str) -> String {
        format!("{}:stream/{name}", self.habits.arns)
    }

    /// The name under which the request asks for a stream; an alias stays one.
    fn asked_name<'a>(&self, input: &'a Value) -> Result<&'a str, Refusal> {
        let of_arn = || input["StreamARN"].as_str().and_then(|arn| arn.split_once(":stream/")).map(|(_, name)| name);
        let name = input["StreamName"].as_str().or_else(of_arn);
        name.ok_or_else(|| invalid("Either StreamName or StreamARN must be provided."))
    }

    /// The stream's own name.
    fn named(&self, input: &Value) -> Result<String, Refusal> {
        let name = self.asked_name(input)?;
        let name = self.aliases.get(name).map_or(name, String::as_str);
        self.stream(name).map(|stream| stream.name.clone())
    }

    fn of(&self, input: &Value) -> Result<&Stream, Refusal> {
        self.stream(&self.named(input)?)
    }

    fn of_mut(&mut self, input: &Value) -> Result<&mut Stream, Refusal> {
        let name = self.named(input)?;
        self.stream_mut(&name)
    }
}

/// Whether a request leaves the streams as they are; one that puts does not.
pub fn only_reads(operation: &str) -> bool {
    operation.starts_with("Get") || operation.starts_with("Describe") || operation.starts_with("List")
}

fn no_stream(name: &str) -> Refusal {
    not_found(format!("Stream {name} not found."))
}

fn invalid(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "InvalidArgumentException", message)
}

fn not_found(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "ResourceNotFoundException", message)
}

fn in_use(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "ResourceInUseException", message)
}

fn throttled() -> Refusal {
    Refusal::throttled(Service::Kinesis)
}
