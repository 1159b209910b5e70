//! Saving the shape of all streams, and bringing everything back at start.
//!
//! **Owns** the file of the streams' shapes (shards, retention, consumers).
//! **Promises** that sequence numbers go on behind the last one that was journaled; that a journal is removed when its
//! stream was deleted, and for no other reason: neither a shape that is missing nor one that is older makes orphans.
//! **Fails** at start with the file that does not fit, and leaves all as it is; a torn last write is cut off and no
//! failure (`journal`).
//! **Not here**: tags of consumers; they last as long as the process.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferrokinesis::persistence::PersistentStream;
use ferrokinesis::sequence::{parse_sequence, shard_ix_to_hex};
use ferrokinesis::store::Store;
use ferrokinesis::types::{Consumer, ConsumerStatus, HashKeyRange, Stream};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;

use super::journal::{self, Entry, Frames, HEAD_BYTES, Journal, JournalError};
use super::put::{now_ms, shown};
use super::{Kinesis, store_options};
use crate::LocalError;
use crate::folder::{Contents, replace_file};

const SHAPE_FILE: &str = "streams.json";
/// Numbers taken at once when a shard's counter is moved to where it was.
const NUMBERS_PER_STEP: u64 = 10_000;

/// Every stream has a journal of the present form from this format on.
const FORMAT: u32 = 2;

/// Everything about the streams but their records.
#[derive(Default, Serialize, Deserialize)]
struct Shape {
    #[serde(default)]
    format: u32,
    streams: Vec<PersistentStream>,
    consumers: Vec<Consumer>,
    /// Journals that are about to go: their streams were deleted.
    #[serde(default)]
    deleted: Vec<PathBuf>,
    /// Those that spread their records.
    #[serde(default)]
    auto: Vec<String>,
}

impl Shape {
    fn names(&self) -> HashSet<String> {
        self.streams.iter().map(|stream| stream.name.clone()).collect()
    }
}

impl Kinesis {
    /// Opens the folder and restores the streams and their records.
    pub(crate) async fn open(
        dir: PathBuf,
        enforce_limits: bool,
        contents: Arc<Contents>,
    ) -> Result<Kinesis, LocalError> {
        let store = Store::new(store_options(enforce_limits));
        let path = dir.join(SHAPE_FILE);
        let shape = read_shape(&path)?;
        if shape.as_ref().is_some_and(|shape| shape.format > FORMAT) {
            return Err(LocalError::damaged(path)("it was written by a newer version"));
        }
        remove_deleted(&dir, shape.as_ref())?;
        let (shape, is_new) = (shape.unwrap_or_default(), !path.exists());
        let format = shape.format;

        let kinesis = Kinesis {
            router: ferrokinesis::create_router(store.clone()),
            store,
            saved: RwLock::new(shape.names()),
            dir: dir.clone(),
            contents,
            shown: RwLock::default(),
            journals: Default::default(),
            auto: std::sync::Mutex::new(shape.auto.iter().cloned().collect()),
            spread_so_far: Default::default(),
            keyless: Default::default(),
        };
        for persisted in shape.streams {
            let path = journal::path(&dir, &persisted.name);
            if format < FORMAT {
                journal::renewed(&path).map_err(unreadable(&path))?;
            } else if !path.exists() {
                return Err(LocalError::Missing { path });
            }
            kinesis.restore_stream(persisted, &path).await?;
        }
        for mut consumer in shape.consumers {
            consumer.consumer_status = ConsumerStatus::Active;
            let arn = consumer.consumer_arn.clone();
            kinesis.store.put_consumer(&arn, consumer).await.map_err(LocalError::damaged(&path))?;
        }
        if !is_new {
            kinesis.contents.note(&path).map_err(LocalError::folder(&path))?;
        }
        if !is_new && format < FORMAT {
            let unsaved = |detail: String| LocalError::folder(&path)(io::Error::other(detail));
            kinesis.save_shape().await.map_err(unsaved)?;
        }
        Ok(kinesis)
    }

    /// Writes the shape, forgets the journals of streams that are gone, and returns the names of those that are there.
    pub(super) async fn save_shape(&self) -> Result<HashSet<String>, String> {
        let mut shape = Shape { format: FORMAT, ..Shape::default() };
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
        shape.auto = self.auto_of(&shape.names());

        self.write_shape(shape).map_err(|error| error.to_string())
    }

    /// In this order: a kill in between leaves an empty journal without a stream, or one that the shape calls deleted.
    fn write_shape(&self, mut shape: Shape) -> io::Result<HashSet<String>> {
        for stream in &shape.streams {
            self.journal_by(&stream.name, Journal::create)?;
        }
        // At the start there were none but those of streams: the others' streams have been deleted since.
        shape.deleted = orphans(&self.dir, &shape)?;
        let path = self.dir.join(SHAPE_FILE);
        replace_file(&path, &serde_json::to_vec(&shape).map_err(io::Error::other)?)?;
        self.contents.note(&path)?;
        let mut journals = self.journals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        journals.retain(|name, _| shape.streams.iter().any(|stream| stream.name == *name));
        for name in &shape.deleted {
            std::fs::remove_file(self.dir.join(name))?;
        }
        Ok(shape.names())
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
        let Some(mut frames) = Frames::open(path).map_err(unreadable(path))? else { return Ok(last) };
        if frames.is_old() {
            return Err(LocalError::damaged(path)("it does not begin as a journal does"));
        }

        while let Some(frame) = frames.next().map_err(unreadable(path))? {
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
            self.note_keys(&entries);
            self.store.put_records_batch(stream, &records).await.map_err(LocalError::damaged(path))?;
        }
        Ok(last)
    }
}

fn read_shape(path: &Path) -> Result<Option<Shape>, LocalError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(serde_json::from_slice(&content).map_err(LocalError::damaged(path))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LocalError::folder(path)(error)),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(JournalError) -> LocalError {
    let path = path.to_owned();
    move |error| match error {
        JournalError::Damaged(what) => LocalError::damaged(path)(what),
        JournalError::Io(error) => LocalError::folder(path)(error),
    }
}

/// Ends what a kill left of a deletion or a creation. Any other journal without a stream says that the shape is not
/// the one that belongs here.
fn remove_deleted(dir: &Path, shape: Option<&Shape>) -> Result<(), LocalError> {
    let none = Shape::default();
    for name in orphans(dir, shape.unwrap_or(&none)).map_err(LocalError::folder(dir))? {
        let path = dir.join(&name);
        let is_empty = path.metadata().is_ok_and(|metadata| metadata.len() <= HEAD_BYTES);
        if !is_empty && !shape.is_some_and(|shape| shape.deleted.contains(&name)) {
            let shape_path = dir.join(SHAPE_FILE);
            return Err(match shape {
                None => LocalError::Missing { path: shape_path },
                Some(_) => LocalError::damaged(shape_path)(format!("it knows no stream of {}", path.display())),
            });
        }
        std::fs::remove_file(&path).map_err(LocalError::folder(&path))?;
    }
    Ok(())
}

/// The journals in the folder that belong to none of the streams, by their names.
fn orphans(dir: &Path, shape: &Shape) -> io::Result<Vec<PathBuf>> {
    let mut orphans = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "journal");
        let has_stream = || shape.streams.iter().any(|stream| journal::path(dir, &stream.name) == path);
        if is_journal && !has_stream() {
            orphans.extend(path.file_name().map(PathBuf::from));
        }
    }
    Ok(orphans)
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
