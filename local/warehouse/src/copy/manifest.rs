//! The manifest of a COPY: `{"entries": [{"url": "s3://b/k", "mandatory": true, "meta": {"content_length": 123}}]}`.

use serde::Deserialize;

use super::{File, object};
use crate::error::SqlError;
use crate::object::{ObjectError, ObjectSource};

const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    url: String,
    #[serde(default)]
    mandatory: bool,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    content_length: Option<u64>,
}

/// The files it lists. One that is missing is left out, unless it is mandatory.
pub(super) fn files(objects: &dyn ObjectSource, manifest: &File, columnar: bool) -> Result<Vec<File>, SqlError> {
    let wrong = |why: &str| SqlError(format!("The S3 manifest file {} is not valid: {why}", manifest.url));
    if manifest.object.n_bytes > MANIFEST_BYTES_MAX {
        return Err(wrong(&format!("it is larger than {MANIFEST_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(&manifest.object.path).map_err(|error| wrong(&error.to_string()))?;
    let parsed: Manifest = serde_json::from_slice(&text).map_err(|error| wrong(&error.to_string()))?;
    let mut files: Vec<File> = Vec::with_capacity(parsed.entries.len());
    for Entry { url, mandatory, meta } in parsed.entries {
        let n_bytes = meta.and_then(|meta| meta.content_length);
        if columnar && n_bytes.is_none() {
            return Err(wrong(&format!("meta.content_length is required for columnar files: {url}")));
        }
        // Redshift loads a file once within one COPY, however often it is listed.
        if files.iter().any(|file| file.url == url) {
            continue;
        }
        let found = objects.object(&url);
        if !mandatory && found == Err(ObjectError::Missing) {
            continue;
        }
        let file = object(found, &url)?;
        if n_bytes.is_some_and(|n_bytes| columnar && n_bytes != file.object.n_bytes) {
            let (told, is) = (n_bytes.unwrap_or_default(), file.object.n_bytes);
            let message = format!("Spectrum Scan Error: File {url} has {is} bytes, its manifest says {told}");
            return Err(SqlError(message));
        }
        files.push(file);
    }
    Ok(files)
}
