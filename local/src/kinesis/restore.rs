//! Saving the shape of all streams, and bringing everything back at start.
//!
//! **Owns** the file of the streams' shapes (shards, retention, consumers).
//! **Promises** that sequence numbers go on behind the last one that was journaled.
//! **Fails** at start with the file that does not fit; a torn last write is cut off and no failure.
//! **Not here**: resource policies, account settings and tags of consumers; they last as long as the process.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use ferrokinesis::persistence::PersistentStream;
use ferrokinesis::sequence::{parse_sequence, shard_ix_to_hex};
use ferrokinesis::store::Store;
use ferrokinesis::types::{Consumer, ConsumerStatus, HashKeyRange, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;

use super::journal::{self, Entry, Frames};
use super::put::{now_ms, shown};
use super::{Kinesis, store_options};
use crate::LocalError;
use crate::folder::replace_file;

const SHAPE_FILE: &str = "streams.json";
/// Numbers taken at once when a shard's counter is moved to where it was.
const NUMBERS_PER_STEP: u64 = 10_000;

/// Everything about the streams but their records.
#[derive(Default, Serialize, Deserialize)]
struct Shape {
    streams: Vec<PersistentStream>,
    consumers: Vec<Consumer>,
}

impl Shape {
    fn names(&self) -> HashSet<String> {
        self.streams.iter().map(|stream| stream.name.clone()).collect()
    }
}

impl Kinesis {
    /// Opens the folder and restores the streams and their records.
    pub(crate) async fn open(dir: PathBuf, enforce_limits: bool) -> Result<Kinesis, LocalError> {
        let store = Store::new(store_options(enforce_limits));
        let shape = read_shape(&dir.join(SHAPE_FILE))?;
        remove_orphans(&dir, &shape).map_err(LocalError::folder(&dir))?;

        let kinesis = Kinesis {
            router: ferrokinesis::create_router(store.clone()),
            store,
            saved: RwLock::new(shape.names()),
            dir: dir.clone(),
            record_bytes_max: Default::default(),
            journals: Default::default(),
        };
        for persisted in shape.streams {
            let path = journal::path(&dir, &persisted.name);
            kinesis.restore_stream(persisted, &path).await?;
        }
        for mut consumer in shape.consumers {
            consumer.consumer_status = ConsumerStatus::Active;
            let arn = consumer.consumer_arn.clone();
            kinesis.store.put_consumer(&arn, consumer).await.map_err(LocalError::damaged(dir.join(SHAPE_FILE)))?;
        }
        Ok(kinesis)
    }

    /// Writes the shape, forgets the journals of streams that are gone, and returns the names of those that are there.
    pub(super) async fn save_shape(&self) -> Result<HashSet<String>, String> {
        let mut shape = Shape::default();
        for name in self.store.list_stream_names().await {
            let stream = self.store.get_stream(&name).await.map_err(|error| error.to_string())?;
            let mut counters = Vec::with_capacity(stream.shards.len());
            for ix in 0..stream.shards.len() {
                counters.push(self.store.current_shard_seq(&name, ix as i64).await);
            }
            shape.consumers.extend(self.store.list_consumers_for_stream(&stream.stream_arn).await);
            shape.streams.push(PersistentStream::from_stream(name, &stream, counters));
        }
        shape.consumers.retain(|consumer| consumer.consumer_status != ConsumerStatus::Deleting);

        let content = serde_json::to_vec(&shape).map_err(|error| error.to_string())?;
        replace_file(&self.dir.join(SHAPE_FILE), &content).map_err(|error| error.to_string())?;
        // In this order: a kill in between leaves a journal without a stream, which the next start removes.
        self.forget_journals(&shape).map_err(|error| error.to_string())?;
        Ok(shape.names())
    }

    fn forget_journals(&self, shape: &Shape) -> io::Result<()> {
        let mut journals = self.journals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        journals.retain(|name, _| shape.streams.iter().any(|stream| stream.name == *name));
        remove_orphans(&self.dir, shape)
    }

    async fn restore_stream(&self, persisted: PersistentStream, path: &Path) -> Result<(), LocalError> {
        let store = &self.store;
        let (name, stream, mut counters) = persisted.into_parts();
        store.put_stream(&name, numbering_layout(&stream)).await.map_err(LocalError::damaged(path))?;

        let oldest_ms = now_ms().saturating_sub(u64::from(stream.retention_period_hours) * 3_600_000);
        let last = self.replay(&name, path, oldest_ms).await?;
        for (ix, counter) in counters.iter_mut().enumerate() {
            if let Some(last) = last.get(&shard_ix_to_hex(ix as i64)) {
                let number = parse_sequence(last).map_err(LocalError::damaged(path))?;
                *counter = (*counter).max(number.seq_ix.unwrap_or(0) + 1);
            }
            advance(store, &name, ix, *counter).await.map_err(LocalError::damaged(path))?;
        }
        store.put_stream(&name, stream).await.map_err(LocalError::damaged(path))
    }

    /// Shows the journal's records again; returns the last sequence number of each shard.
    async fn replay(&self, stream: &str, path: &Path, oldest_ms: u64) -> Result<HashMap<String, String>, LocalError> {
        let mut last = HashMap::<String, String>::new();
        let Some(mut frames) = Frames::open(path).map_err(LocalError::folder(path))? else { return Ok(last) };

        while let Some(frame) = frames.next().map_err(LocalError::folder(path))? {
            let entries: Vec<Entry<'_>> = postcard::from_bytes(frame).map_err(LocalError::damaged(path))?;
            for entry in &entries {
                let (shard, sequence) =
                    entry.key.split_once('/').ok_or("a record without a shard").map_err(LocalError::damaged(path))?;
                match last.get_mut(shard) {
                    Some(last) => sequence.clone_into(last),
                    None => drop(last.insert(shard.to_owned(), sequence.to_owned())),
                }
            }
            let records: Vec<_> =
                entries.iter().filter(|entry| entry.arrived_ms >= oldest_ms).map(|entry| shown(*entry)).collect();
            self.note_sizes(&entries);
            self.store.put_records_batch(stream, &records).await.map_err(LocalError::damaged(path))?;
        }
        Ok(last)
    }
}

fn read_shape(path: &Path) -> Result<Shape, LocalError> {
    match std::fs::read(path) {
        Ok(content) => serde_json::from_slice(&content).map_err(LocalError::damaged(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Shape::default()),
        Err(error) => Err(LocalError::folder(path)(error)),
    }
}

fn remove_orphans(dir: &Path, shape: &Shape) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "journal");
        if is_journal && !shape.streams.iter().any(|stream| journal::path(dir, &stream.name) == path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The stream with every shard open and shard `i` answering for hash key `i` alone. ferrokinesis can only count a
/// shard's numbers up by routing records to it, and routes none to a closed shard.
fn numbering_layout(stream: &Stream) -> Stream {
    let mut layout = stream.clone();
    for (ix, shard) in layout.shards.iter_mut().enumerate() {
        shard.hash_key_range = HashKeyRange::new(ix.to_string(), ix.to_string());
        shard.sequence_number_range.ending_sequence_number = None;
    }
    layout
}

async fn advance(store: &Store, stream: &str, ix: usize, counter: u64) -> Result<(), String> {
    loop {
        let n_left = counter.saturating_sub(store.current_shard_seq(stream, ix as i64).await);
        if n_left == 0 {
            return Ok(());
        }
        let numbers = vec![ix as u128; n_left.min(NUMBERS_PER_STEP) as usize];
        store.allocate_sequences_batch(stream, &numbers).await.map_err(|error| error.to_string())?;
    }
}
