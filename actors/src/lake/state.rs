//! The state object: what an epoch leaves behind for the next one, and for another worker.
//!
//! **Owns** the format: `MGST`, a version byte, Zstandard over postcard (a header, then the entries), and at the end
//! the SHA-256 of everything before it; and reading it.
//! **Promises** STATE: what was written is read back exactly, or refused with the reason. A newer version, a cut or
//! changed file and a decompression bomb are told apart.
//! **Fails** with [`StateObjectError`]; nothing is returned in part.
//! **Not here**: writing it (`sinks/state.rs`), what an entry's bytes mean (their owners decode them), and following the
//! chain of states (`recovery.rs`).

use std::io::Read;
use std::sync::Arc;

use messages::{EpochNumber, Position, SensorId, ShardId, StateEntry, StateKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version that this build writes, and the newest that it reads.
pub(crate) const STATE_VERSION: u8 = 1;
/// Largest state before compression: about two million sensors of 500 bytes with as much for their windows.
pub(crate) const STATE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// What every state object begins with.
pub(crate) const MAGIC: [u8; 4] = *b"MGST";
const CHECKSUM_BYTES: usize = 32;
/// Far more than the names of all fields take.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// A state object as read back.
#[derive(Clone, Debug, PartialEq)]
pub struct StateObject {
    /// The shard whose states they are, and as of when.
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

pub(crate) fn decompress(body: &[u8], bytes_max: u64) -> Result<Vec<u8>, StateObjectError> {
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
