//! The producer's ledger: one JSON line for every outcome, the truth that an oracle holds a consumer to.
//!
//! **Owns** one append-only file.
//!
//! **Promises**
//! - A line is handed to the operating system before its record is counted, so `kill -9` loses no counted record.
//!   (A power failure may: the file is not synced.)
//! - Before each request a `sending` line names its records, so that what was in flight at a kill is known too.
//! - Ids from input are escaped, and shortened with a hash beyond [`SENSOR_BYTES_MAX`].
//!
//! **Fails** with [`FleetError::Ledger`]; the run stops then. A torn last line is cut away when the file is opened again.
//!
//! **Not here**: what the outcomes mean for the run (`sender`, `replay`).

mod history;
mod line;
mod read;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::FleetError;

pub(crate) use self::history::{Fate, History};
pub use self::line::{Completion, Entry, Line, Outcome, SENSOR_BYTES_MAX, Span};
pub(crate) use self::line::{hex, ledger_id, sha256};
pub use self::read::LedgerLines;

/// The open ledger of a running fleet, shared by its lanes.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: Mutex<File>,
}

impl Ledger {
    /// Starts a new ledger. A file that holds anything is left alone and refused.
    pub fn create(path: &Path) -> Result<Self, FleetError> {
        let ledger = Self::resume(path)?;
        let len = ledger.with_file("measure", |file| file.metadata().map(|meta| meta.len()))?;
        match len {
            0 => Ok(ledger),
            _ => Err(FleetError::LedgerInUse { path: path.to_owned() }),
        }
    }

    /// Opens a ledger to go on writing, cutting away the last line where a kill has torn it.
    pub fn resume(path: &Path) -> Result<Self, FleetError> {
        let open = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            cut_torn_line(&mut file)?;
            Ok(file)
        };
        let file = open().map_err(|source| error(path, "open", source))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// The lines of a ledger, which may still be growing; a torn last line is left out.
    pub fn read(path: &Path) -> Result<LedgerLines, FleetError> {
        LedgerLines::open(path)
    }

    /// Appends lines in one write. When this returns they outlive the process.
    pub fn append(&self, lines: &[Line]) -> Result<(), FleetError> {
        let mut text = Vec::with_capacity(lines.len() * 256);
        for line in lines {
            serde_json::to_writer(&mut text, line).expect("a line has only string keys and finite numbers");
            text.push(b'\n');
        }
        self.with_file("append to", |file| file.write_all(&text))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn with_file<T>(&self, doing: &'static str, act: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, FleetError> {
        // A lane that panicked while writing may have left half a line; the next line would be glued to it.
        let mut file = self.file.lock().map_err(|_| FleetError::Panicked)?;
        act(&mut file).map_err(|source| error(&self.path, doing, source))
    }
}

/// Leaves the file positioned after its last line break.
fn cut_torn_line(file: &mut File) -> io::Result<()> {
    const BLOCK: u64 = 64 * 1024;
    let len = file.metadata()?.len();
    let mut end = len;
    let mut block = Vec::new();
    let whole = loop {
        if end == 0 {
            break 0;
        }
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            break start + at as u64 + 1;
        }
        end = start;
    };
    if whole < len {
        file.set_len(whole)?;
    }
    file.seek(SeekFrom::Start(whole))?;
    Ok(())
}

fn error(path: &Path, doing: &'static str, source: io::Error) -> FleetError {
    FleetError::Ledger { path: path.to_owned(), doing, source }
}
