//! The data folder: one process at a time, and files that are whole or not there.
//!
//! **Owns** the folder's lock file and the way every small state file is replaced.
//! **Promises** that two processes never share a folder, and that a killed process leaves no half-written state file.
//! **Fails** with a message that names the folder; the lock goes with the process, whatever ends it.
//! **Not here**: fsync. A killed process loses nothing; a power cut may.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::LocalError;

const LOCK_FILE: &str = "lock";

/// The locked data folder. The lock is held as long as this value lives.
pub(crate) struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder if needed and takes it for this process.
    pub(crate) fn open(root: &Path) -> Result<Folder, LocalError> {
        fs::create_dir_all(root).map_err(LocalError::folder(root))?;
        let path = root.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(LocalError::folder(&path))?;

        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LocalError::FolderInUse { path: root.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(LocalError::Folder { path, source }),
        }
        note_holder(&mut lock).map_err(LocalError::folder(&path))?;
        Ok(Folder { root: root.to_owned(), _lock: lock })
    }

    /// A folder inside the data folder, created if needed.
    pub(crate) fn sub(&self, name: &str) -> Result<PathBuf, LocalError> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(LocalError::folder(&path))?;
        Ok(path)
    }
}

/// Replaces a file in one step: a reader, or the next start after a kill, sees the old or the new content.
///
/// Callers replace one path from one place at a time, so one temporary name per path is enough.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, content)?;
    fs::rename(&temporary, path)
}

fn note_holder(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    write!(lock, "process {}", std::process::id())
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    // The lock file is only a hint for a human, so an unreadable one is not an error of its own.
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => text,
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}
