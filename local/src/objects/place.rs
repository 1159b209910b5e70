//! Where a key lives. The only place that turns a client's text into a path.

use std::path::{Path, PathBuf};

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::{Authority, PathAndQuery};
use sha2::{Digest, Sha256};

use super::error::ObjectError;

const KEY_BYTES_MAX: usize = 1024;
/// What file systems take as one name.
const NAME_BYTES_MAX: usize = 255;

/// Puts a bucket that is named by the host (`lake.localhost`) into the path, where everything else looks for it.
pub(super) fn in_path(parts: &mut Parts) {
    let host =
        parts.headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Authority>().ok());
    let Some(host) = parts.uri.authority().cloned().or(host) else { return };
    let Some(bucket) = host.host().strip_suffix(".localhost") else { return };
    // How clients of several services call this one.
    if bucket == "s3" {
        return;
    }
    let bucket = bucket.strip_suffix(".s3").unwrap_or(bucket);
    let path = format!("/{bucket}{}", parts.uri.path_and_query().map_or("/", PathAndQuery::as_str));
    let mut uri = parts.uri.clone().into_parts();
    uri.path_and_query = path.parse().ok();
    if let Ok(uri) = uri.try_into() {
        parts.uri = uri;
    }
}

/// The file of an object. Every part of the key is a plain name, so the path stays inside the bucket.
pub(super) fn object(bucket: &Path, key: &str) -> Result<PathBuf, ObjectError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(ObjectError::KeyTooLong);
    }
    let mut path = bucket.to_owned();
    for name in key.split('/') {
        match name {
            "" => return Err(ObjectError::BadKey("it starts or ends with a slash, or has two in a row")),
            "." | ".." => return Err(ObjectError::BadKey("a part of it is a dot or two")),
            name if name.len() > NAME_BYTES_MAX => return Err(ObjectError::KeyTooLong),
            name if name.contains(['\0', '\\']) => return Err(ObjectError::BadKey("it holds a NUL or a backslash")),
            name => path.push(name),
        }
    }
    Ok(path)
}

/// The file of an object's attributes: keys are long, so their names are hashes.
pub(super) fn attributes(folder: &Path, bucket: &str, key: &str) -> PathBuf {
    folder.join(bucket).join(format!("{}.json", hex(&Sha256::digest(key))))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_its_bucket() {
        let long = "x".repeat(256);
        for key in ["../a", "a/../../b", "/etc/passwd", "a//b", "a/", "", ".", "a\0b", "..\\a", &long] {
            assert!(object(Path::new("/data/s3/bucket"), key).is_err(), "{key:?}");
        }
        let path = object(Path::new("/data/s3/bucket"), "raw/year=2026/a..b").unwrap();
        assert_eq!(path, Path::new("/data/s3/bucket/raw/year=2026/a..b"));
    }
}
