//! Writes the state object of an epoch.
//!
//! **Promises** STATE: every entry of the epoch's content is in it, in order; one that would be too large to be read again
//! is refused.
//! **Fails** as a whole.
//! **Not here**: the format, and reading it (`lake/state.rs`).

use std::io::{BufWriter, IntoInnerError, Write};

use messages::{EncodedObject, EpochContent, SensorId, StateEntry, StateKind, Zone};
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::error::EncodeError;
use super::job::Job;
use crate::lake::digest::{Digest, hex};
use crate::lake::state::{MAGIC, STATE_BYTES_MAX, STATE_VERSION, StateHeader};

const BUFFER_BYTES: usize = 64 * 1024;

pub(super) fn encode(job: &Job<'_>, content: &EpochContent) -> Result<EncodedObject, EncodeError> {
    debug_assert!(content.states.is_sorted_by_key(|entry| (entry.kind, &entry.sensor)), "states come in order");
    let header = header(job, content);
    let compress = |source| EncodeError::Compress { zone: Zone::State, source };
    let mut bytes = MAGIC.to_vec();
    bytes.push(STATE_VERSION);
    let level = job.context.encoding.zstd_level;
    let zstd = zstd::stream::write::Encoder::new(bytes, level).map_err(compress)?;
    let mut counted = CountingWriter { inner: BufWriter::with_capacity(BUFFER_BYTES, zstd), bytes: 0 };
    postcard::to_io(&(&header, content.states.len() as u64), &mut counted)?;
    for entry in &content.states {
        postcard::to_io(&EntryOut::from(entry), &mut counted)?;
        if counted.bytes > STATE_BYTES_MAX {
            return Err(EncodeError::StateTooLarge { bytes: counted.bytes, bytes_max: STATE_BYTES_MAX });
        }
    }
    let zstd = counted.inner.into_inner().map_err(IntoInnerError::into_error).map_err(compress)?;
    let mut bytes = zstd.finish().map_err(compress)?;
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    let digest = hex(&digest(&header, &content.states)?);
    Ok(EncodedObject::new(job.names.chained(Zone::State), Zone::State, content.states.len() as u64, digest, bytes))
}

fn header(job: &Job<'_>, content: &EpochContent) -> StateHeader {
    let schema = &job.context.schema;
    StateHeader {
        shard: job.context.shard.clone(),
        epoch: job.cut.epoch,
        to: job.cut.to.clone(),
        full: job.cut.full_state,
        watermark_us: content.watermark_us,
        schema: schema.fingerprint.clone(),
        fields: schema.fields.iter().map(|field| field.name.clone()).collect(),
        previous: job.context.previous_state.clone(),
    }
}

fn digest(header: &StateHeader, entries: &[StateEntry]) -> Result<[u8; 32], EncodeError> {
    let mut digest = Digest::new(Zone::State.folder());
    digest.bytes(&postcard::to_stdvec(header)?);
    for entry in entries {
        digest.fixed([match entry.kind {
            StateKind::Sensor => 0,
            StateKind::Windows => 1,
        }]);
        digest.bytes(entry.sensor.as_str().as_bytes());
        digest.fixed(entry.hash_key.to_le_bytes());
        digest.bytes(&entry.bytes);
    }
    Ok(digest.finish())
}

/// An entry on its way out. The vocabulary's own form would be written byte by byte.
#[derive(Serialize)]
struct EntryOut<'a> {
    kind: StateKind,
    sensor: &'a SensorId,
    hash_key: u128,
    #[serde(serialize_with = "as_bytes")]
    bytes: &'a [u8],
}

impl<'a> From<&'a StateEntry> for EntryOut<'a> {
    fn from(entry: &'a StateEntry) -> Self {
        Self { kind: entry.kind, sensor: &entry.sensor, hash_key: entry.hash_key, bytes: &entry.bytes }
    }
}

fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Counts what goes through. Does not flush: postcard asks for it after every value, and a compressor would begin a
/// new block each time.
struct CountingWriter<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for CountingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
