//! Listing a bucket: a walk over the folders that can hold the prefix, one page at a time.
//!
//! **Owns** nothing.
//! **Promises** byte order of keys, and that a page goes on where the one before ended, whatever was written between.
//! **Fails** only when a folder cannot be read; an object deleted during the walk is left out.
//! **Not here**: an index. A page costs a walk over all keys with the prefix.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::attributes;
use super::error::ObjectError;
use super::place;
use super::store::ObjectStore;

/// The real service's bound, and ours.
const PAGE_MAX: usize = 1_000;

/// What to list.
pub(super) struct Listing {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    /// Only what sorts behind this: a key or a common prefix.
    pub(super) after: Option<String>,
    pub(super) n_max: usize,
}

/// One line of a listing.
pub(super) enum Line {
    Object { key: String, n_bytes: u64, modified: SystemTime, e_tag: Option<String> },
    Prefix(String),
}

/// A part of a listing.
pub(super) struct Page {
    pub(super) lines: Vec<Line>,
    /// Where to go on, if there is more.
    pub(super) next: Option<String>,
}

impl ObjectStore {
    /// The names of all buckets, with when they were made.
    pub(super) fn all_buckets(&self) -> Result<Vec<(String, SystemTime)>, ObjectError> {
        let mut buckets = Vec::new();
        for entry in fs::read_dir(&self.buckets)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                let metadata = entry.metadata()?;
                buckets.push((name, metadata.created().or_else(|_| metadata.modified())?));
            }
        }
        buckets.sort();
        Ok(buckets)
    }

    pub(super) fn list(&self, bucket: &str, listing: &Listing) -> Result<Page, ObjectError> {
        let root = self.bucket(bucket)?;
        let n_max = listing.n_max.min(PAGE_MAX);
        let mut page = Page { lines: Vec::new(), next: None };
        let mut last: Option<String> = None;

        for key in self.keys(&root, &listing.prefix, listing.after.as_deref())? {
            let group = listing.delimiter.as_deref().and_then(|delimiter| group(&key, &listing.prefix, delimiter));
            let name = group.unwrap_or(&key);
            // A group was emitted with its first key, here or on the page before.
            if last.as_deref() == Some(name) || listing.after.as_deref() == Some(name) {
                continue;
            }
            if page.lines.len() == n_max {
                page.next = last;
                break;
            }
            let line = match group {
                Some(group) => Line::Prefix(group.to_owned()),
                None => match fs::metadata(root.join(&key)) {
                    Ok(file) => Line::Object {
                        key: key.clone(),
                        n_bytes: file.len(),
                        modified: file.modified()?,
                        e_tag: self.tag(bucket, &key, &file),
                    },
                    // Deleted since the walk.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                },
            };
            last = Some(name.to_owned());
            page.lines.push(line);
        }
        Ok(page)
    }

    /// The tag of an object in a listing; none for one that is damaged, which whoever reads it is told.
    fn tag(&self, bucket: &str, key: &str, file: &fs::Metadata) -> Option<String> {
        let about = place::attributes(&self.attributes, bucket, key);
        match attributes::read(&about, file) {
            Ok(Some(attributes)) => Some(attributes.e_tag),
            Ok(None) if !attributes::exist(&about) => Some(attributes::of_a_stray(file).e_tag),
            Ok(None) => attributes::of_content(&about, &self.buckets.join(bucket).join(key), file.len())
                .ok()
                .map(|found| found.e_tag),
            Err(_) => None,
        }
    }

    /// All keys with the prefix and behind `after`, sorted.
    pub(super) fn keys(&self, root: &Path, prefix: &str, after: Option<&str>) -> Result<Vec<String>, ObjectError> {
        let (folder, _) = prefix.rsplit_once('/').unwrap_or(("", ""));
        let is_plain = folder.is_empty() || !folder.split('/').any(|name| matches!(name, "" | "." | ".."));
        let mut keys = Vec::new();
        if !is_plain {
            return Ok(keys);
        }
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(root.join(&folder)) {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if entry.file_type()?.is_dir() {
                    if prefix.starts_with(&key) || key.starts_with(prefix) {
                        folders.push(key);
                    }
                } else if key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after) {
                    keys.push(key);
                }
            }
        }
        keys.sort();
        Ok(keys)
    }
}

/// The part of the key up to the first delimiter behind the prefix.
fn group<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let rest = key.get(prefix.len()..)?;
    let at = rest.find(delimiter).filter(|_| !delimiter.is_empty())?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}
