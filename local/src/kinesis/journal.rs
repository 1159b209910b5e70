//! The journal of one stream: frames of records, appended before they can be read.
//!
//! **Owns** one file: a head with a mark and the length up to which all is acknowledged, then the frames. A frame is a
//! length and a checksum (CRC-32 of the length and the content), and the content in postcard.
//!
//! **Promises**
//! - A frame is wholly in the file, and the head knows of it, when `append` returns.
//! - Damage is no end: whatever does not fit within the acknowledged length, or a file that is shorter than it, is told
//!   and left as it is. Behind that length a process was killed while it wrote: nobody was told that it was stored. What
//!   is whole there stays, the rest is cut off.
//!
//! **Fails** by cutting the file back to the last whole frame, so that a full disk damages nothing.
//! **Not here**: fsync, and shrinking; a stream's journal goes when the stream is deleted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use s3s::crypto::{Checksum, Crc32};
use serde::{Deserialize, Serialize};

const MARK: [u8; 8] = *b"MGVJRNL2";
pub(super) const HEAD_BYTES: u64 = 16;
const FRAME_HEAD_BYTES: usize = 8;
/// Before there were heads and checksums, a frame had its length only.
const OLD_FRAME_HEAD_BYTES: usize = 4;
/// More than any request can be.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// One record, as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    /// `<shard in hex>/<sequence number>`.
    pub(super) key: &'a str,
    pub(super) partition_key: &'a str,
    /// In base64, as it came.
    pub(super) data: &'a str,
    pub(super) arrived_ms: u64,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The file of a stream. Stream names are letters, digits, `_`, `.` and `-`, so that the prefix makes them safe.
pub(super) fn path(dir: &Path, stream: &str) -> PathBuf {
    dir.join(format!("stream-{stream}.journal"))
}

/// The writing end.
pub(super) struct Journal {
    file: File,
    len: u64,
    /// The end of the file is unknown, so nothing may be written behind it.
    torn: bool,
}

impl Journal {
    /// Makes the file, unless it is there.
    pub(super) fn create(path: &Path) -> io::Result<Journal> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(&head(HEAD_BYTES))?;
        }
        Journal::of(file)
    }

    fn of(file: File) -> io::Result<Journal> {
        let len = file.metadata()?.len();
        Ok(Journal { file, len, torn: false })
    }

    /// Writes one frame with one call, and then the head, into the page cache: that survives the death of this process.
    pub(super) fn append(&mut self, entries: &[Entry<'_>]) -> io::Result<()> {
        let frame = framed(entries)?;
        if self.torn {
            return Err(io::Error::other("the journal has a torn end; start again to cut it off"));
        }
        let len = self.len + frame.len() as u64;
        if let Err(error) = self.write_at(self.len, &frame).and_then(|()| self.write_at(0, &head(len))) {
            self.torn = self.write_at(0, &head(self.len)).and_then(|()| self.file.set_len(self.len)).is_err();
            return Err(error);
        }
        self.len = len;
        Ok(())
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }
}

fn head(acknowledged: u64) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..MARK.len()].copy_from_slice(&MARK);
    head[MARK.len()..].copy_from_slice(&acknowledged.to_le_bytes());
    head
}

fn framed(entries: &[Entry<'_>]) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(entries, vec![0; FRAME_HEAD_BYTES]).map_err(io::Error::other)?;
    let len = u32::try_from(frame.len() - FRAME_HEAD_BYTES).map_err(io::Error::other)?.to_le_bytes();
    let sum = checksum(len, &frame[FRAME_HEAD_BYTES..]);
    frame[..4].copy_from_slice(&len);
    frame[4..FRAME_HEAD_BYTES].copy_from_slice(&sum);
    Ok(frame)
}

fn checksum(len: [u8; 4], content: &[u8]) -> [u8; 4] {
    let mut sum = Crc32::new();
    sum.update(&len);
    sum.update(content);
    sum.finalize()
}

/// The reading end, used at start only.
pub(super) struct Frames {
    reader: BufReader<File>,
    at: u64,
    len: u64,
    /// `None` in a journal from before there were heads.
    acknowledged: Option<u64>,
    frame: Vec<u8>,
}

impl Frames {
    /// Opens the file; `None` when it is not there.
    pub(super) fn open(path: &Path) -> Result<Option<Frames>, JournalError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let len = file.metadata()?.len();
        let mut frames = Frames {
            reader: BufReader::with_capacity(1 << 20, file),
            at: 0,
            len,
            acknowledged: None,
            frame: Vec::new(),
        };
        let mut head = [0; HEAD_BYTES as usize];
        let n_bytes = head.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        frames.reader.read_exact(&mut head[..n_bytes])?;
        if head[..MARK.len()] != MARK {
            frames.reader.rewind()?;
            return Ok(Some(frames));
        }
        let mut acknowledged = [0; 8];
        acknowledged.copy_from_slice(&head[MARK.len()..]);
        let acknowledged = u64::from_le_bytes(acknowledged);
        if len < acknowledged || acknowledged < HEAD_BYTES {
            let what = format!("it has {len} bytes, and {acknowledged} were acknowledged: its end is missing");
            return Err(JournalError::Damaged(what));
        }
        (frames.at, frames.acknowledged) = (HEAD_BYTES, Some(acknowledged));
        Ok(Some(frames))
    }

    /// Whether it is from before there were heads and checksums.
    pub(super) fn is_old(&self) -> bool {
        self.acknowledged.is_none()
    }

    /// The next whole frame. At a torn one behind all that is acknowledged the file is cut, and the journal ends there.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, JournalError> {
        let left = self.len - self.at;
        if left == 0 {
            return Ok(None);
        }
        let head_bytes = if self.is_old() { OLD_FRAME_HEAD_BYTES } else { FRAME_HEAD_BYTES };
        match self.frame(left, head_bytes)? {
            Ok(frame_bytes) => {
                self.at += head_bytes as u64 + frame_bytes;
                Ok(Some(&self.frame))
            }
            Err(what) if self.at < self.acknowledged.unwrap_or(0) => {
                Err(JournalError::Damaged(format!("at byte {}: {what}", self.at)))
            }
            // Without a head, only what no kill leaves behind can be told from a torn end.
            Err(what) if self.is_old() && what != TORN => {
                Err(JournalError::Damaged(format!("at byte {}: {what}", self.at)))
            }
            Err(_) => {
                tracing::warn!(n_bytes = left, "the journal ends in a record that was never acknowledged; cut off");
                let file = self.reader.get_mut();
                file.set_len(self.at)?;
                file.seek(SeekFrom::End(0))?;
                self.len = self.at;
                Ok(None)
            }
        }
    }

    /// Reads the frame at hand; the inner error says why it is none.
    fn frame(&mut self, left: u64, head_bytes: usize) -> io::Result<Result<u64, &'static str>> {
        if left < head_bytes as u64 {
            return Ok(Err(TORN));
        }
        let mut head = [0; FRAME_HEAD_BYTES];
        self.reader.read_exact(&mut head[..head_bytes])?;
        let [a, b, c, d, sum @ ..] = head;
        let len = [a, b, c, d];
        let frame_bytes = u64::from(u32::from_le_bytes(len));
        if frame_bytes > FRAME_BYTES_MAX {
            return Ok(Err("a frame is longer than any can be"));
        }
        if left - (head_bytes as u64) < frame_bytes {
            return Ok(Err(TORN));
        }
        self.frame.resize(frame_bytes as usize, 0);
        self.reader.read_exact(&mut self.frame)?;
        let sound = self.is_old() || checksum(len, &self.frame) == sum;
        Ok(if sound { Ok(frame_bytes) } else { Err("the checksum is another one") })
    }
}

const TORN: &str = "the file ends within a frame";

/// Writes a journal of before anew, as they are now. The old one is there until the new one is whole.
pub(super) fn renewed(path: &Path) -> Result<(), JournalError> {
    let Some(mut old) = Frames::open(path)?.filter(Frames::is_old) else { return Ok(()) };
    let temporary = path.with_extension("renewed");
    // One of a start that was killed.
    File::create(&temporary)?;
    let mut new = Journal::create(&temporary)?;
    while let Some(frame) = old.next()? {
        let entries: Vec<Entry<'_>> =
            postcard::from_bytes(frame).map_err(|error| JournalError::Damaged(error.to_string()))?;
        new.append(&entries)?;
    }
    Ok(std::fs::rename(&temporary, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry<'_> {
        Entry { key, partition_key: "p", data: "ZGF0YQ==", arrived_ms: 1 }
    }

    fn read(path: &Path) -> Result<Vec<String>, JournalError> {
        let mut frames = Frames::open(path)?.unwrap();
        let mut keys = Vec::new();
        while let Some(frame) = frames.next()? {
            let entries: Vec<Entry<'_>> = postcard::from_bytes(frame).unwrap();
            keys.extend(entries.iter().map(|entry| entry.key.to_owned()));
        }
        Ok(keys)
    }

    fn keys(path: &Path) -> Vec<String> {
        read(path).unwrap()
    }

    #[test]
    fn a_torn_frame_is_cut_off_wherever_it_tears_and_the_journal_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "s");
        Journal::create(&path).unwrap().append(&[entry("a"), entry("b")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let next = framed(&[entry("x")]).unwrap();

        for n_bytes in 1..next.len() {
            let mut torn = whole.clone();
            torn.extend_from_slice(&next[..n_bytes]);
            std::fs::write(&path, torn).unwrap();

            assert_eq!(keys(&path), ["a", "b"], "torn after {n_bytes} bytes");
            Journal::create(&path).unwrap().append(&[entry("c")]).unwrap();
            assert_eq!(keys(&path), ["a", "b", "c"]);
        }
        // Written, and killed before the head knew of it.
        std::fs::write(&path, [whole, next].concat()).unwrap();
        assert_eq!(keys(&path), ["a", "b", "x"]);
    }

    #[test]
    fn whatever_is_damaged_within_what_was_acknowledged_is_told_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "s");
        let mut journal = Journal::create(&path).unwrap();
        for key in ["a", "b", "c"] {
            journal.append(&[entry(key)]).unwrap();
        }
        let whole = std::fs::read(&path).unwrap();
        for at in HEAD_BYTES as usize..whole.len() {
            for damaged in [whole[..at].to_vec(), {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x10;
                flipped
            }] {
                std::fs::write(&path, &damaged).unwrap();
                assert!(matches!(read(&path), Err(JournalError::Damaged(_))), "at byte {at}");
                assert_eq!(std::fs::read(&path).unwrap(), damaged, "at byte {at}");
            }
        }
    }

    #[test]
    fn a_journal_of_before_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "s");
        let old = |key| {
            let mut frame = postcard::to_extend(&[entry(key)][..], vec![0; OLD_FRAME_HEAD_BYTES]).unwrap();
            let len = (frame.len() - OLD_FRAME_HEAD_BYTES) as u32;
            frame[..OLD_FRAME_HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
            frame
        };
        let mut torn = old("c");
        torn.pop();
        std::fs::write(&path, [old("a"), old("b"), torn].concat()).unwrap();
        renewed(&path).unwrap();
        assert_eq!(keys(&path), ["a", "b"]);
        let now = std::fs::read(&path).unwrap();
        renewed(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), now, "once is enough");

        let mut odd = old("a");
        odd[3] = 0xff;
        std::fs::write(&path, &odd).unwrap();
        assert!(matches!(renewed(&path), Err(JournalError::Damaged(_))));
        assert_eq!(std::fs::read(&path).unwrap(), odd);
    }
}
