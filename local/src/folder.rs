//! The data folder: one process at a time, and files that are whole or not there.
//!
//! **Owns** the folder's lock file, the list of the state files that it must hold, and the way each is replaced.
//! **Promises** that two processes never share a folder, that a killed process leaves no half-written state file, and
//! that a state file that is gone is missed: nobody starts empty where something was.
//! **Fails** with a message that names the folder; the lock goes with the process, whatever ends it.
//! **Not here**: fsync. A killed process loses nothing; a power cut may.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::LocalError;

const LOCK_FILE: &str = "lock";
const CONTENTS_FILE: &str = "contents.json";

/// The locked data folder. The lock is held as long as this value lives.
pub(crate) struct Folder {
    root: PathBuf,
    _lock: File,
    contents: Arc<Contents>,
}

/// The state files that were made, and must be there at every start from then on.
pub(crate) struct Contents {
    root: PathBuf,
    files: Mutex<BTreeSet<PathBuf>>,
}

impl Contents {
    /// Reads the list, and looks for what it names. A folder of before has none.
    fn open(root: &Path) -> Result<Contents, LocalError> {
        let path = root.join(CONTENTS_FILE);
        let files: BTreeSet<PathBuf> = match fs::read(&path) {
            Ok(list) => serde_json::from_slice(&list).map_err(LocalError::damaged(&path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(LocalError::folder(&path)(error)),
        };
        for file in &files {
            let path = root.join(file);
            // None of them is ever empty.
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() || metadata.len() > 0 => {}
                Ok(_) => return Err(LocalError::damaged(path)("it is empty")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LocalError::Missing { path }),
                Err(error) => return Err(LocalError::folder(path)(error)),
            }
        }
        Ok(Contents { root: root.to_owned(), files: Mutex::new(files) })
    }

    /// Remembers a state file or a folder that is there now.
    pub(crate) fn note(&self, path: &Path) -> io::Result<()> {
        self.change(path, false, |files, file| files.insert(file))
    }

    /// Forgets what is about to go.
    pub(crate) fn forget(&self, path: &Path) -> io::Result<()> {
        self.change(path, true, |files, file| files.remove(&file))
    }

    fn change(
        &self,
        path: &Path,
        if_noted: bool,
        change: fn(&mut BTreeSet<PathBuf>, PathBuf) -> bool,
    ) -> io::Result<()> {
        let Ok(file) = path.strip_prefix(&self.root) else { return Ok(()) };
        // A set is changed whole.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.contains(file) != if_noted {
            return Ok(());
        }
        let mut noted = files.clone();
        change(&mut noted, file.to_owned());
        replace_file(&self.root.join(CONTENTS_FILE), &serde_json::to_vec(&noted).map_err(io::Error::other)?)?;
        *files = noted;
        Ok(())
    }
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
        Ok(Folder { root: root.to_owned(), _lock: lock, contents: Arc::new(Contents::open(root)?) })
    }

    /// What must be in it.
    pub(crate) fn contents(&self) -> Arc<Contents> {
        Arc::clone(&self.contents)
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
