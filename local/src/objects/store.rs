//! Objects as files. Plain synchronous Rust; `service` runs it off the async threads.
//!
//! **Owns** the bucket folders, and a folder for what is still being written.
//! **Promises** that writes of one key happen one after the other, and each becomes visible by one rename.
//! **Fails** before the rename, and then nothing has changed.
//! **Not here**: removing folders that became empty; another key may be about to use them.

use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use s3s::crypto::{Checksum, Md5};

use super::attributes::{self, Attributes, Checksums};
use super::error::ObjectError;
use super::place::{self, hex};
use crate::LocalError;
use crate::folder::{Contents, Folder};

/// Locks shared by all keys: enough that two keys seldom wait for each other, and bounded whatever the keys are.
const STRIPES: usize = 256;
/// A reader looks again when the object was replaced between its file and its attributes.
const LOOKS_MAX: usize = 5;

/// When a write may happen.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Always,
    Absent,
    Exists,
    Tagged(String),
}

/// An object to store.
pub(super) struct NewObject {
    pub(super) attributes: Attributes,
    pub(super) content_md5: Option<String>,
    pub(super) content: Vec<Bytes>,
}

/// An object that was found.
pub(super) struct Found {
    pub(super) file: File,
    pub(super) n_bytes: u64,
    pub(super) modified: SystemTime,
    pub(super) attributes: Attributes,
}

pub(super) struct ObjectStore {
    pub(super) buckets: PathBuf,
    pub(super) attributes: PathBuf,
    pub(super) work: PathBuf,
    contents: Arc<Contents>,
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
    n_temporaries: AtomicU64,
}

impl ObjectStore {
    pub(super) fn open(folder: &Folder) -> Result<ObjectStore, LocalError> {
        let work = folder.sub("s3-work")?;
        let temporaries = folder.sub("s3-work/writing")?;
        // What a killed process was writing was never acknowledged.
        fs::remove_dir_all(&temporaries).map_err(LocalError::folder(&temporaries))?;
        folder.sub("s3-work/writing")?;
        folder.sub("s3-work/uploads")?;
        let (buckets, attributes) = (folder.sub(super::FOLDER)?, folder.sub("s3-attributes")?);
        for entry in fs::read_dir(&attributes).map_err(LocalError::folder(&attributes))? {
            let bucket = buckets.join(entry.map_err(LocalError::folder(&attributes))?.file_name());
            if !bucket.is_dir() {
                return Err(LocalError::Missing { path: bucket });
            }
        }
        Ok(ObjectStore {
            buckets,
            attributes,
            work,
            contents: folder.contents(),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
            n_temporaries: AtomicU64::new(0),
        })
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        let path = self.buckets.join(bucket);
        fs::create_dir(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => ObjectError::BucketExists,
            _ => ObjectError::Io(error),
        })?;
        Ok(self.contents.note(&path)?)
    }

    pub(super) fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        let path = self.bucket(bucket)?;
        if !self.keys(&path, "", None)?.is_empty() {
            return Err(ObjectError::BucketNotEmpty);
        }
        // In this order: attributes without their bucket say that the bucket is missing.
        self.contents.forget(&path)?;
        self.contents.forget(&self.attributes.join(bucket))?;
        match fs::remove_dir_all(self.attributes.join(bucket)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        Ok(fs::remove_dir_all(path)?)
    }

    /// The folder of a bucket that exists.
    pub(super) fn bucket(&self, bucket: &str) -> Result<PathBuf, ObjectError> {
        let path = self.buckets.join(bucket);
        if path.is_dir() { Ok(path) } else { Err(ObjectError::NoSuchBucket) }
    }

    pub(super) fn put(
        &self,
        bucket: &str,
        key: &str,
        new: NewObject,
        condition: &Condition,
    ) -> Result<Attributes, ObjectError> {
        place::object(&self.bucket(bucket)?, key)?;
        let md5 = md5(&new.content);
        if new.content_md5.is_some_and(|said| said != STANDARD.encode(md5)) {
            return Err(ObjectError::BadDigest("Content-MD5"));
        }
        let checksums: Checksums = new.attributes.checksums.clone().verify(&new.content)?;
        let attributes = Attributes { e_tag: hex(&md5), checksums, ..new.attributes };

        let temporary = self.temporary();
        let mut file = File::create(&temporary)?;
        for piece in &new.content {
            file.write_all(piece)?;
        }
        drop(file);
        self.publish(bucket, key, &temporary, &attributes, condition)?;
        Ok(attributes)
    }

    /// Makes a finished file the object, if the condition holds. All writes of a key meet here, one after the other.
    pub(super) fn publish(
        &self,
        bucket: &str,
        key: &str,
        temporary: &Path,
        attributes: &Attributes,
        condition: &Condition,
    ) -> Result<(), ObjectError> {
        let published = self.try_publish(bucket, key, temporary, attributes, condition);
        if published.is_err() {
            // Left behind it would only be in the way until the next start.
            let _ = fs::remove_file(temporary);
        }
        published
    }

    fn try_publish(
        &self,
        bucket: &str,
        key: &str,
        temporary: &Path,
        attributes: &Attributes,
        condition: &Condition,
    ) -> Result<(), ObjectError> {
        let path = place::object(&self.bucket(bucket)?, key)?;
        let about = place::attributes(&self.attributes, bucket, key);
        let _alone = self.alone(bucket, key);

        let in_place = file_at(&path)?;
        let held = match (condition, &in_place) {
            (Condition::Always, _) | (Condition::Absent, None) | (Condition::Exists, Some(_)) => true,
            (Condition::Absent, Some(_)) | (Condition::Exists | Condition::Tagged(_), None) => false,
            (Condition::Tagged(tag), Some(file)) => describe(&about, &path, file)?.e_tag == *tag,
        };
        if !held {
            return Err(ObjectError::ConditionFailed);
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                    ObjectError::BadKey("an object exists under a part of it")
                }
                _ => ObjectError::Io(error),
            })?;
        }
        let all = self.attributes.join(bucket);
        fs::create_dir_all(&all)?;
        self.contents.note(&all)?;
        attributes::announce(&about, &fs::metadata(temporary)?, attributes, in_place.as_ref())?;
        Ok(fs::rename(temporary, &path)?)
    }

    pub(super) fn find(&self, bucket: &str, key: &str) -> Result<Found, ObjectError> {
        let path = place::object(&self.bucket(bucket)?, key)?;
        let about = place::attributes(&self.attributes, bucket, key);
        let mut looks_left = LOOKS_MAX;
        loop {
            let file = File::open(&path).map_err(ObjectError::missing_key)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(ObjectError::NoSuchKey);
            }
            looks_left -= 1;
            let attributes = match attributes::read(&about, &metadata)? {
                Some(attributes) => attributes,
                None if looks_left > 0 && attributes::exist(&about) => continue,
                None if attributes::exist(&about) => attributes::of_content(&about, &path, metadata.len())?,
                None => attributes::of_a_stray(&metadata),
            };
            return Ok(Found { n_bytes: metadata.len(), modified: metadata.modified()?, file, attributes });
        }
    }

    pub(super) fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        let path = place::object(&self.bucket(bucket)?, key)?;
        let _alone = self.alone(bucket, key);
        if file_at(&path)?.is_some() {
            fs::remove_file(&path)?;
        }
        match fs::remove_file(place::attributes(&self.attributes, bucket, key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A new path to write to, on the same file system as the objects.
    pub(super) fn temporary(&self) -> PathBuf {
        let n = self.n_temporaries.fetch_add(1, Ordering::Relaxed);
        self.work.join("writing").join(n.to_string())
    }

    fn alone(&self, bucket: &str, key: &str) -> MutexGuard<'_, ()> {
        let stripe = self.hasher.hash_one((bucket, key)) as usize % STRIPES;
        // The lock guards files, not memory: a panic elsewhere left them in a state a kill could have left too.
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attributes of the file in place, while nobody replaces it.
fn describe(about: &Path, path: &Path, file: &Metadata) -> Result<Attributes, ObjectError> {
    match attributes::read(about, file)? {
        Some(attributes) => Ok(attributes),
        None if attributes::exist(about) => attributes::of_content(about, path, file.len()),
        None => Ok(attributes::of_a_stray(file)),
    }
}

/// Whether the content is what the client says it is.
pub(super) fn verify_md5(said: Option<&str>, content: &[Bytes]) -> Result<(), ObjectError> {
    match said {
        Some(said) if said != STANDARD.encode(md5(content)) => Err(ObjectError::BadDigest("Content-MD5")),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn md5<'a>(content: impl IntoIterator<Item = &'a Bytes>) -> [u8; 16] {
    let mut md5 = Md5::new();
    for piece in content {
        md5.update(piece);
    }
    md5.finalize()
}

/// The file in place, if there is one. A folder there is the beginning of other keys, not an object.
fn file_at(path: &Path) -> Result<Option<Metadata>, ObjectError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Err(ObjectError::BadKey("it is the beginning of another object's key")),
        Err(error) => match ObjectError::missing_key(error) {
            ObjectError::NoSuchKey => Ok(None),
            error => Err(error),
        },
    }
}
