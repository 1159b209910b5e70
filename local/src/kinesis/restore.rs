//! Saving the shape of all streams, and bringing everything back at start.
//!
//! **Owns** the file of the streams' shapes (shards, retention, consumers).
//! **Promises** that sequence numbers go on behind the last one that was journaled; that a journal is removed when its
//! stream was deleted, and for no other reason: neither a shape that is missing nor one that is older makes orphans. What
//! builds before the engine have written is read, and written anew at the next change of a stream.
//! **Fails** at start with the file that does not fit, and leaves all as it is; a torn last write is cut off and no
//! failure (`journal`).

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_engine::stream::{self, Record, Saved, Sequence};
use serde::{Deserialize, Serialize};

use super::journal::{self, Entry, Frames, HEAD_BYTES, Journal, JournalError};
use super::{Kinesis, State, habits};
use crate::LocalError;
use crate::clock::now_ms;
use crate::folder::{Contents, replace_file};

const SHAPE_FILE: &str = "streams.json";
/// Before this format, journals may be of another form.
const FORMAT_OF_JOURNALS: u32 = 2;
/// The engine's streams: numbers of another form, which builds before cannot go on from.
const FORMAT: u32 = 3;

/// Everything about the streams but their records.
#[derive(Default, Serialize, Deserialize)]
struct Shape {
    #[serde(default)]
    format: u32,
    #[serde(flatten)]
    saved: Saved,
    /// Journals that are about to go: their streams were deleted.
    #[serde(default)]
    deleted: Vec<PathBuf>,
}

impl Kinesis {
    /// Opens the folder and restores the streams and their records.
    pub(crate) fn open(dir: PathBuf, limits: bool, contents: Arc<Contents>) -> Result<Kinesis, LocalError> {
        let path = dir.join(SHAPE_FILE);
        let shape = read_shape(&path)?;
        if shape.as_ref().is_some_and(|shape| shape.format > FORMAT) {
            return Err(LocalError::damaged(path)("it was written by a newer version"));
        }
        remove_deleted(&dir, shape.as_ref())?;
        if shape.is_some() {
            contents.note(&path).map_err(LocalError::folder(&path))?;
        }
        let unsaved = shape.as_ref().is_some_and(|shape| shape.format < FORMAT_OF_JOURNALS);
        let Shape { format, saved, .. } = shape.unwrap_or_default();
        let names: Vec<String> = saved.names().map(str::to_owned).collect();
        let mut engine = stream::Kinesis::load(habits(limits), saved).map_err(LocalError::damaged(&path))?;
        let mut journals = HashMap::new();
        for name in names {
            let path = journal::path(&dir, &name);
            if format < FORMAT_OF_JOURNALS {
                journal::renewed(&path).map_err(unreadable(&path))?;
            } else if !path.exists() {
                return Err(LocalError::Missing { path });
            }
            replay(&mut engine, &name, &path)?;
            let journal = Journal::create(&path).map_err(LocalError::folder(&path))?;
            journals.insert(name, journal);
        }
        let mut state = State { engine, journals, dir, contents, unsaved };
        if unsaved {
            state.save_shape().map_err(LocalError::folder(&path))?;
            state.unsaved = false;
        }
        Ok(Kinesis(Arc::new(Mutex::new(state))))
    }
}

impl State {
    /// Writes the shape and forgets the journals of streams that are gone. In this order: a kill in between leaves an empty
    /// journal without a stream, or one that the shape calls deleted.
    pub(super) fn save_shape(&mut self) -> io::Result<()> {
        let saved = self.engine.save();
        for name in saved.names() {
            if !self.journals.contains_key(name) {
                self.journals.insert(name.to_owned(), Journal::create(&journal::path(&self.dir, name))?);
            }
        }
        let mut shape = Shape { format: FORMAT, saved, deleted: Vec::new() };
        // At the start there were none but those of streams: the others' streams have been deleted since.
        shape.deleted = orphans(&self.dir, &shape)?;
        let path = self.dir.join(SHAPE_FILE);
        replace_file(&path, &serde_json::to_vec(&shape).map_err(io::Error::other)?)?;
        self.contents.note(&path)?;
        self.journals.retain(|name, _| shape.saved.names().any(|there| there == name));
        for name in &shape.deleted {
            std::fs::remove_file(self.dir.join(name))?;
        }
        Ok(())
    }
}

/// Shows the journal's records again.
fn replay(engine: &mut stream::Kinesis, stream: &str, path: &Path) -> Result<(), LocalError> {
    let oldest_ms = now_ms() - engine.retention_ms(stream);
    let Some(mut frames) = Frames::open(path).map_err(unreadable(path))? else { return Ok(()) };
    if frames.is_old() {
        return Err(LocalError::damaged(path)("it does not begin as a journal does"));
    }
    while let Some(frame) = frames.next().map_err(unreadable(path))? {
        let entries: Vec<Entry<'_>> = postcard::from_bytes(frame).map_err(LocalError::damaged(path))?;
        for entry in entries {
            let (shard, record) = record(&entry)
                .ok_or("a record without a shard, a number or data")
                .map_err(LocalError::damaged(path))?;
            engine.reload(stream, shard, record, oldest_ms).map_err(LocalError::damaged(path))?;
        }
    }
    Ok(())
}

/// The place of its shard, and the record.
fn record(entry: &Entry<'_>) -> Option<(usize, Record)> {
    let (shard, number) = entry.key.split_once('/')?;
    let record = Record {
        sequence: Sequence::parse(number)?,
        partition_key: entry.partition_key.into(),
        arrival_ms: i64::try_from(entry.arrived_ms).ok()?,
        data: STANDARD.decode(entry.data).ok()?.into(),
    };
    Some((usize::from_str_radix(shard, 16).ok()?, record))
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
        let has_stream = || shape.saved.names().any(|stream| journal::path(dir, stream) == path);
        if is_journal && !has_stream() {
            orphans.extend(path.file_name().map(PathBuf::from));
        }
    }
    Ok(orphans)
}
