//! The bucket as files, for COPY.
//!
//! **Promises** only what COPY reads is written to disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use local_warehouse::{Object, ObjectError, ObjectSource};
use xxhash_rust::xxh3::xxh3_128;

/// The bucket's objects, shared with it, by their urls.
#[derive(Clone, Default)]
pub(in crate::cloud) struct Files {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    folder: PathBuf,
}

impl Files {
    /// The bucket has it now.
    pub(in crate::cloud) fn stored(&self, bucket: &str, key: &str, bytes: Bytes) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.insert(format!("s3://{bucket}/{key}"), bytes);
    }

    /// The same, as files of this folder.
    pub(super) fn within(self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }
}

impl ObjectSource for Files {
    fn object(&self, url: &str) -> Result<Object, ObjectError> {
        let bytes = self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        let bytes = bytes.ok_or(ObjectError::Missing)?;
        // By its content: one that was replaced is another file.
        let path = self.folder.join(format!("{:032x}", xxh3_128(&bytes)));
        if !path.exists() {
            std::fs::write(&path, &bytes).map_err(|error| ObjectError::Unreadable(error.to_string()))?;
        }
        Ok(Object { path, n_bytes: bytes.len() as u64 })
    }

    fn folder(&self, url: &str) -> Result<Vec<(String, Object)>, ObjectError> {
        Err(ObjectError::Unreadable(format!("the simulation has no external tables, and lists nothing: {url}")))
    }
}
