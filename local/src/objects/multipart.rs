//! Uploads in parts: a folder per upload under `s3-work/uploads`, joined into one file at the end.
//!
//! **Owns** the uploads' folders. They survive a restart and go with completion or abort.
//! **Promises** that nothing is visible under the key before the upload is complete.
//! **Fails** with the upload as it was, so that it can be completed again.
//! **Not here**: the real service's minimum part size, and the sweeping of uploads nobody completes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use s3s::crypto::{Checksum, Md5};
use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::error::ObjectError;
use super::place::hex;
use super::store::{Condition, ObjectStore, md5};
use crate::folder::replace_file;

const PARTS_MAX: i32 = 10_000;
const UPLOAD_FILE: &str = "upload.json";
const COPY_BYTES: usize = 256 * 1024;

/// What was said at the start of an upload.
#[derive(Serialize, Deserialize)]
struct Upload {
    bucket: String,
    key: String,
    attributes: Attributes,
}

/// A part that is there.
pub(super) struct StoredPart {
    pub(super) number: i32,
    pub(super) n_bytes: u64,
}

impl ObjectStore {
    pub(super) fn begin_upload(&self, bucket: &str, key: &str, attributes: Attributes) -> Result<String, ObjectError> {
        super::place::object(&self.bucket(bucket)?, key)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        // The temporary's number tells two uploads of one nanosecond apart.
        let number = self.temporary().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let id = format!("{now:016x}{number:0>16}");
        let dir = self.upload_dir(&id)?;
        fs::create_dir(&dir)?;
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), attributes };
        fs::write(dir.join(UPLOAD_FILE), serde_json::to_vec(&upload).map_err(io::Error::other)?)?;
        Ok(id)
    }

    /// Stores one part; returns its tag.
    pub(super) fn put_part(&self, id: &str, number: i32, content: &[Bytes]) -> Result<String, ObjectError> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(ObjectError::InvalidPart);
        }
        let path = part(&self.known_upload(id)?, number);
        replace_file(&path, &content.concat())?;
        Ok(hex(&md5(content)))
    }

    pub(super) fn parts(&self, id: &str) -> Result<Vec<StoredPart>, ObjectError> {
        let mut parts = Vec::new();
        for entry in fs::read_dir(self.known_upload(id)?)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".part")?.parse().ok()) {
                parts.push(StoredPart { number, n_bytes: entry.metadata()?.len() });
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Joins the parts and publishes the object; returns its tag.
    pub(super) fn complete_upload(
        &self,
        id: &str,
        numbers: &[i32],
        condition: &Condition,
    ) -> Result<String, ObjectError> {
        let dir = self.known_upload(id)?;
        if numbers.is_empty() || !numbers.is_sorted_by(|a, b| a < b) {
            return Err(ObjectError::InvalidPart);
        }
        let upload: Upload = serde_json::from_slice(&fs::read(dir.join(UPLOAD_FILE))?).map_err(io::Error::other)?;

        let temporary = self.temporary();
        let e_tag = join(&dir, numbers, &temporary)?;
        let attributes = Attributes { e_tag: e_tag.clone(), ..upload.attributes };
        self.publish(&upload.bucket, &upload.key, &temporary, &attributes, condition)?;
        fs::remove_dir_all(dir)?;
        Ok(e_tag)
    }

    pub(super) fn abort_upload(&self, id: &str) -> Result<(), ObjectError> {
        Ok(fs::remove_dir_all(self.known_upload(id)?)?)
    }

    fn known_upload(&self, id: &str) -> Result<PathBuf, ObjectError> {
        let dir = self.upload_dir(id)?;
        if dir.is_dir() { Ok(dir) } else { Err(ObjectError::NoSuchUpload) }
    }

    fn upload_dir(&self, id: &str) -> Result<PathBuf, ObjectError> {
        // The id comes back from the client and becomes a path.
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ObjectError::NoSuchUpload);
        }
        Ok(self.work.join("uploads").join(id))
    }
}

fn part(dir: &Path, number: i32) -> PathBuf {
    dir.join(format!("{number}.part"))
}

fn join(dir: &Path, numbers: &[i32], target: &Path) -> Result<String, ObjectError> {
    let mut joined = File::create(target)?;
    let mut of_all = Md5::new();
    let mut buffer = vec![0; COPY_BYTES];
    for number in numbers {
        let mut file = File::open(part(dir, *number)).map_err(|_| ObjectError::InvalidPart)?;
        let mut of_part = Md5::new();
        loop {
            let n_bytes = file.read(&mut buffer)?;
            if n_bytes == 0 {
                break;
            }
            of_part.update(&buffer[..n_bytes]);
            joined.write_all(&buffer[..n_bytes])?;
        }
        of_all.update(&of_part.finalize());
    }
    Ok(format!("{}-{}", hex(&of_all.finalize()), numbers.len()))
}
