//! What an object has besides its content, and how it stays together with it.
//!
//! Two files cannot be replaced in one step. So the attributes are written first, beside those of the object that is
//! in place, each with a stamp of the file it belongs to. Whichever file is in place after a kill finds its own.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
use serde::{Deserialize, Serialize};

use super::error::ObjectError;
use super::place::hex;
use crate::folder::replace_file;

const READ_BYTES: usize = 256 * 1024;

/// The headers of an object.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) e_tag: String,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) metadata: Option<HashMap<String, String>>,
    #[serde(default)]
    pub(super) checksums: Checksums,
    #[serde(default)]
    pub(super) encryption: Encryption,
}

/// What a client asked to encrypt an object with. It is told again; the file is what it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Encryption {
    pub(super) algorithm: Option<String>,
    pub(super) kms_key: Option<String>,
    pub(super) bucket_key: Option<bool>,
}

/// The checksums a client gave or asked for, in base64.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Checksums {
    /// Computes those that are wanted over `content` and compares them with what the client said.
    pub(super) fn verify(self, content: &[bytes::Bytes]) -> Result<Checksums, ObjectError> {
        let mut hasher = ChecksumHasher {
            crc32: self.crc32.as_ref().map(|_| Default::default()),
            crc32c: self.crc32c.as_ref().map(|_| Default::default()),
            crc64nvme: self.crc64nvme.as_ref().map(|_| Default::default()),
            sha1: self.sha1.as_ref().map(|_| Default::default()),
            sha256: self.sha256.as_ref().map(|_| Default::default()),
        };
        for piece in content {
            hasher.update(piece);
        }
        let computed = Checksums::from(hasher.finalize());
        if computed == self { Ok(computed) } else { Err(ObjectError::BadDigest("checksum")) }
    }
}

impl From<Checksum> for Checksums {
    fn from(checksum: Checksum) -> Checksums {
        Checksums {
            crc32: checksum.checksum_crc32,
            crc32c: checksum.checksum_crc32c,
            crc64nvme: checksum.checksum_crc64nvme,
            sha1: checksum.checksum_sha1,
            sha256: checksum.checksum_sha256,
        }
    }
}

/// Tells one file from another under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Stamp {
    /// A new file exists beside the old one, so their inodes differ even within one tick of the file system's clock.
    inode: u64,
    n_bytes: u64,
    modified_ns: u64,
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        let modified = file.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Stamp {
            inode: inode(file),
            n_bytes: file.len(),
            modified_ns: modified.map_or(0, |since| since.as_nanos() as u64),
        }
    }

    /// The same file, or a faithful copy of it: a copied data folder has other inodes.
    fn is_alike(&self, other: &Stamp) -> bool {
        (self.n_bytes, self.modified_ns) == (other.n_bytes, other.modified_ns)
    }
}

#[cfg(unix)]
fn inode(file: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn inode(_file: &Metadata) -> u64 {
    0
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Version {
    stamp: Stamp,
    attributes: Attributes,
}

/// The attributes of `file`. `None`: the file was put there by hand, or replaced since it was looked at.
pub(super) fn read(path: &Path, file: &Metadata) -> Result<Option<Attributes>, ObjectError> {
    let stamp = Stamp::of(file);
    let versions = versions(path)?;
    let exact = versions.iter().find(|version| version.stamp == stamp);
    let found = exact.or_else(|| versions.iter().find(|version| version.stamp.is_alike(&stamp)));
    Ok(found.map(|version| version.attributes.clone()))
}

/// The attributes that fit what is in the file: a copied data folder has other times. The error says that none do.
///
/// A file that others put in the place of an object is not told from one that is cut off.
pub(super) fn of_content(path: &Path, object: &Path, n_bytes: u64) -> Result<Attributes, ObjectError> {
    let versions = versions(path)?;
    let mut content = Md5::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut file = fs::File::open(object).map_err(ObjectError::missing_key)?;
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => break,
            n_read => content.update(&buffer[..n_read]),
        }
    }
    let tag = hex(&content.finalize());
    let fits = |version: &&Version| {
        // The tag of an object that came in parts is none of its content.
        version.stamp.n_bytes == n_bytes && (version.attributes.e_tag == tag || version.attributes.e_tag.contains('-'))
    };
    match (versions.iter().find(fits), versions.first()) {
        (Some(version), _) => Ok(version.attributes.clone()),
        (None, stored) => {
            let stored = stored.map_or(0, |version| version.stamp.n_bytes);
            let what = format!("it holds {n_bytes} bytes that are not the {stored} that were stored");
            Err(ObjectError::Damaged(object.display().to_string(), what))
        }
    }
}

/// Whether anything is known under this name.
pub(super) fn exist(path: &Path) -> bool {
    path.exists()
}

/// Adds the attributes of `new`, and keeps those of the file that is in place until `new` replaces it.
pub(super) fn announce(
    path: &Path,
    new: &Metadata,
    attributes: &Attributes,
    in_place: Option<&Metadata>,
) -> Result<(), ObjectError> {
    let mut kept = vec![Version { stamp: Stamp::of(new), attributes: attributes.clone() }];
    if let Some(in_place) = in_place {
        let stamp = Stamp::of(in_place);
        kept.extend(versions(path)?.into_iter().filter(|version| version.stamp == stamp));
    }
    let content = serde_json::to_vec(&kept).map_err(io::Error::other)?;
    Ok(replace_file(path, &content)?)
}

/// Attributes of a file nobody stored through us.
pub(super) fn of_a_stray(file: &Metadata) -> Attributes {
    let stamp = Stamp::of(file);
    Attributes { e_tag: format!("{:016x}{:016x}", stamp.modified_ns, stamp.n_bytes), ..Attributes::default() }
}

fn versions(path: &Path) -> Result<Vec<Version>, ObjectError> {
    match fs::read(path) {
        Ok(content) => serde_json::from_slice(&content)
            .map_err(|error| ObjectError::Damaged(path.display().to_string(), error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
