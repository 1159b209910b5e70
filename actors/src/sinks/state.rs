//! The state object: what an epoch leaves behind for the next one, and for another worker.
//!
//! **Owns** the format: `MGST`, a version byte, Zstandard over postcard (a header, then the entries), and at the end
//! the SHA-256 of everything before it.
//! **Promises** STATE: what was written is read back exactly, or refused with the reason. A newer version, a cut or
//! changed file and a decompression bomb are told apart.
//! **Fails** with [`StateObjectError`]; nothing is returned in part.
//! **Not here**: what an entry's bytes mean (their owners decode them), and following the chain of states.

use std::io::{BufWriter, IntoInnerError, Read, Write};
use std::sync::Arc;

use messages::{EncodedObject, EpochContent, EpochNumber, Position, SensorId, ShardId, StateEntry, StateKind, Zone};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, hex};
use super::epoch::Job;
use super::error::EncodeError;

/// The version that this build writes, and the newest that it reads.
pub(super) const STATE_VERSION: u8 = 1;
/// Largest state before compression: about two million sensors of 500 bytes with as much for their windows.
pub(super) const STATE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"MGST";
const CHECKSUM_BYTES: usize = 32;
const BUFFER_BYTES: usize = 64 * 1024;
/// Far more than the names of all fields take.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// A state object as read back.
#[derive(Clone, Debug, PartialEq)]
pub struct StateObject {
    /// Whose states they are, and as of when.
    pub header: StateHeader,
    /// The states, ordered by kind and sensor id.
    pub entries: Vec<StateEntry>,
}

/// What a state object says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateHeader {
    /// The shard.
    pub shard: ShardId,
    /// The epoch at whose end the states hold.
    pub epoch: EpochNumber,
    /// The last record in them.
    pub to: Position,
    /// Whether every sensor is in it, or only those touched since the object before.
    pub full: bool,
    /// The shard's event-time watermark, microseconds since 1970.
    pub watermark_us: i64,
    /// Fingerprint of the schema that the states were built with.
    pub schema: String,
    /// Names of that schema's fields in its order: states number fields by it.
    pub fields: Vec<String>,
    /// Key of the state object before; none at the start of a chain.
    pub previous: Option<String>,
}

/// Why bytes are not a state object.
#[derive(Debug, thiserror::Error)]
pub enum StateObjectError {
    /// They do not begin like one.
    #[error("this is not a state object")]
    NotState,
    /// A newer build wrote it.
    #[error("the state object has version {found}; this build reads up to {STATE_VERSION}")]
    Version {
        /// The version it has.
        found: u8,
    },
    /// It was cut short or changed.
    #[error("the state object is damaged: its checksum does not fit")]
    Checksum,
    /// The checksum fits but the compressed part cannot be read.
    #[error("decompress the state object")]
    Decompress(#[source] std::io::Error),
    /// It would take more memory than a state may.
    #[error("the state object is larger than {STATE_BYTES_MAX} bytes")]
    TooLarge,
    /// The checksum fits but the content is not what the version says.
    #[error("read the content of the state object")]
    Content(#[from] postcard::Error),
    /// There is more in it than it says.
    #[error("the state object has {0} bytes too many")]
    Trailing(usize),
}

pub(super) fn encode(job: &Job<'_>, content: &EpochContent) -> Result<EncodedObject, EncodeError> {
    debug_assert!(content.states.is_sorted_by_key(|entry| (entry.kind, &entry.sensor)), "states come in order");
    let header = header(job, content);
    let compress = |source| EncodeError::Compress { zone: Zone::State, source };
    let mut bytes = MAGIC.to_vec();
    bytes.push(STATE_VERSION);
    let level = job.context.encoding.zstd_level;
    let zstd = zstd::stream::write::Encoder::new(bytes, level).map_err(compress)?;
    let mut counted = Counted { inner: BufWriter::with_capacity(BUFFER_BYTES, zstd), bytes: 0 };
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

/// Reads a state object.
pub fn decode_state(bytes: &[u8]) -> Result<StateObject, StateObjectError> {
    let [m0, m1, m2, m3, version, ..] = *bytes else { return Err(StateObjectError::NotState) };
    if [m0, m1, m2, m3] != MAGIC {
        return Err(StateObjectError::NotState);
    }
    // Before the checksum: a newer version may keep it elsewhere.
    if version != STATE_VERSION {
        return Err(StateObjectError::Version { found: version });
    }
    let (signed, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(StateObjectError::Checksum)?;
    if Sha256::digest(signed)[..] != checksum[..] {
        return Err(StateObjectError::Checksum);
    }
    let body = signed.get(MAGIC.len() + 1..).ok_or(StateObjectError::Checksum)?;
    read_content(&decompress(body, STATE_BYTES_MAX)?)
}

/// Reads the header from the beginning of a state object, which need not be whole: without the rest there is no checksum.
pub fn decode_state_header(beginning: &[u8]) -> Result<StateHeader, StateObjectError> {
    let [m0, m1, m2, m3, version, ref body @ ..] = *beginning else { return Err(StateObjectError::NotState) };
    if [m0, m1, m2, m3] != MAGIC {
        return Err(StateObjectError::NotState);
    }
    if version != STATE_VERSION {
        return Err(StateObjectError::Version { found: version });
    }
    let mut zstd = zstd::stream::read::Decoder::with_buffer(body).map_err(StateObjectError::Decompress)?;
    let mut content = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        if let Ok((header, _)) = postcard::take_from_bytes::<StateHeader>(&content) {
            return Ok(header);
        }
        // Whatever is wrong with what follows the header: it ends here.
        match zstd.read(&mut buffer) {
            Ok(0) => return Err(StateObjectError::Checksum),
            Ok(n) => content.extend_from_slice(&buffer[..n]),
            Err(error) => return Err(StateObjectError::Decompress(error)),
        }
        if content.len() > HEADER_BYTES_MAX {
            return Err(StateObjectError::TooLarge);
        }
    }
}

pub(super) fn decompress(body: &[u8], bytes_max: u64) -> Result<Vec<u8>, StateObjectError> {
    let zstd = zstd::stream::read::Decoder::with_buffer(body).map_err(StateObjectError::Decompress)?;
    let mut content = Vec::new();
    zstd.take(bytes_max + 1).read_to_end(&mut content).map_err(StateObjectError::Decompress)?;
    if content.len() as u64 > bytes_max {
        return Err(StateObjectError::TooLarge);
    }
    Ok(content)
}

fn read_content(content: &[u8]) -> Result<StateObject, StateObjectError> {
    let ((header, n_entries), mut rest) = postcard::take_from_bytes::<(StateHeader, u64)>(content)?;
    // An entry takes several bytes, so that a wrong count cannot reserve more than the content itself takes.
    let mut entries = Vec::with_capacity(n_entries.min(rest.len() as u64 / 8) as usize);
    for _ in 0..n_entries {
        let (entry, after) = postcard::take_from_bytes::<EntryIn<'_>>(rest)?;
        entries.push(entry.into());
        rest = after;
    }
    if !rest.is_empty() {
        return Err(StateObjectError::Trailing(rest.len()));
    }
    Ok(StateObject { header, entries })
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

/// An entry on its way in.
#[derive(Deserialize)]
struct EntryIn<'a> {
    kind: StateKind,
    sensor: &'a str,
    hash_key: u128,
    bytes: &'a [u8],
}

impl From<EntryIn<'_>> for StateEntry {
    fn from(entry: EntryIn<'_>) -> Self {
        let EntryIn { kind, sensor, hash_key, bytes } = entry;
        Self { kind, sensor: SensorId::new(sensor), hash_key, bytes: Arc::from(bytes) }
    }
}

/// Counts what goes through. Does not flush: postcard asks for it after every value, and a compressor would begin a
/// new block each time.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
