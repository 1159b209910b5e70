//! The journal of one stream: frames of records, appended before they can be read.
//!
//! **Owns** one file. A frame is a length (u32, little endian) and that many bytes of postcard.
//! **Promises** that a frame is wholly in the file when `append` returns, and that a torn last frame (the process was
//! killed while writing it, so nobody was told it was stored) is cut off on reading.
//! **Fails** by cutting the file back to the last whole frame, so that a full disk damages nothing.
//! **Not here**: fsync, and shrinking; a stream's journal goes when the stream is deleted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const LENGTH_BYTES: usize = 4;

/// One record, as it is kept and as ferrokinesis keeps it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    /// `<shard in hex>/<sequence number>`.
    pub(super) key: &'a str,
    pub(super) partition_key: &'a str,
    /// In base64, as it came and as it will be sent.
    pub(super) data: &'a str,
    pub(super) arrived_ms: u64,
}

/// The file of a stream. Stream names are letters, digits, `_`, `.` and `-`, so that the prefix makes them safe.
pub(super) fn path(dir: &Path, stream: &str) -> PathBuf {
    dir.join(format!("stream-{stream}.journal"))
}

/// The writing end.
pub(super) struct Journal {
    file: File,
    len: u64,
    arrived_ms: u64,
    /// The end of the file is unknown, so nothing may be written behind it.
    torn: bool,
}

impl Journal {
    /// Opens the file for appending, creating it if needed.
    pub(super) fn open(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Journal { file, len, arrived_ms: 0, torn: false })
    }

    /// The arrival time of the next records: the clock, but never before the records already here.
    pub(super) fn arrival(&mut self, now_ms: u64) -> u64 {
        self.arrived_ms = self.arrived_ms.max(now_ms);
        self.arrived_ms
    }

    /// Writes one frame with one call, into the page cache: that survives the death of this process.
    pub(super) fn append(&mut self, entries: &[Entry<'_>]) -> io::Result<()> {
        let mut frame = postcard::to_extend(entries, vec![0; LENGTH_BYTES]).map_err(io::Error::other)?;
        let len = u32::try_from(frame.len() - LENGTH_BYTES).map_err(io::Error::other)?;
        frame[..LENGTH_BYTES].copy_from_slice(&len.to_le_bytes());

        if self.torn {
            return Err(io::Error::other("the journal has a torn end; start again to cut it off"));
        }
        if let Err(error) = self.file.write_all(&frame) {
            self.torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len += frame.len() as u64;
        Ok(())
    }
}

/// The reading end, used at start only.
pub(super) struct Frames {
    reader: BufReader<File>,
    at: u64,
    len: u64,
    frame: Vec<u8>,
}

impl Frames {
    /// Opens the file; `None` when the stream never had a record.
    pub(super) fn open(path: &Path) -> io::Result<Option<Frames>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        Ok(Some(Frames { reader: BufReader::with_capacity(1 << 20, file), at: 0, len, frame: Vec::new() }))
    }

    /// The next whole frame. At a torn one the file is cut, and the journal ends there.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let left = self.len - self.at;
        if left == 0 {
            return Ok(None);
        }
        let mut length = [0; LENGTH_BYTES];
        if left >= LENGTH_BYTES as u64 {
            self.reader.read_exact(&mut length)?;
            let frame_len = u64::from(u32::from_le_bytes(length));
            if left - LENGTH_BYTES as u64 >= frame_len {
                self.frame.resize(frame_len as usize, 0);
                self.reader.read_exact(&mut self.frame)?;
                self.at += LENGTH_BYTES as u64 + frame_len;
                return Ok(Some(&self.frame));
            }
        }
        tracing::warn!(n_bytes = left, "the journal ends in a record that was never acknowledged; cut off");
        let file = self.reader.get_mut();
        file.set_len(self.at)?;
        file.seek(SeekFrom::End(0))?;
        self.len = self.at;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry<'_> {
        Entry { key, partition_key: "p", data: "ZGF0YQ==", arrived_ms: 1 }
    }

    fn keys(path: &Path) -> Vec<String> {
        let mut frames = Frames::open(path).unwrap().unwrap();
        let mut keys = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            let entries: Vec<Entry<'_>> = postcard::from_bytes(frame).unwrap();
            keys.extend(entries.iter().map(|entry| entry.key.to_owned()));
        }
        keys
    }

    #[test]
    fn a_torn_frame_is_cut_off_wherever_it_tears_and_the_journal_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "s");
        Journal::open(&path).unwrap().append(&[entry("a"), entry("b")]).unwrap();
        let whole = std::fs::read(&path).unwrap();

        for n_bytes in 1..whole.len() {
            let mut torn = whole.clone();
            torn.extend_from_slice(&whole[..n_bytes]);
            std::fs::write(&path, torn).unwrap();

            assert_eq!(keys(&path), ["a", "b"], "torn after {n_bytes} bytes");
            Journal::open(&path).unwrap().append(&[entry("c")]).unwrap();
            assert_eq!(keys(&path), ["a", "b", "c"]);
        }
    }

    #[test]
    fn arrival_times_never_run_backwards() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&path(dir.path(), "s")).unwrap();
        assert_eq!([journal.arrival(5), journal.arrival(3), journal.arrival(9)], [5, 5, 9]);
    }
}
