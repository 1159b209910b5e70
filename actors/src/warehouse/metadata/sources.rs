//! Where a content comes from: which body of which object, so that an object that can no longer be read keeps what it
//! said last.
//!
//! **Owns** the list beside a content, and the rules by which an object is doubted. All of them look at the object and at
//! its last good body alone, so that every worker comes to the same.
//!
//! **Promises** an object is held, and not used, if it cannot be read, or if it is cut off: in quotes, in half a line, in
//! half a cell, empty where there were rows, or without the larger part of many rows.
//!
//! **Not here**: fetching bodies (`loading/metadata.rs`), forms (`form.rs`).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::files::Subject;
use super::rows::ObjectRows;
use crate::warehouse::batch::hex;

/// Bodies lie here, by their digests, for ever.
const BODIES: &str = "metadata/objects";
/// The version of the list.
const FORMAT: u32 = 1;
/// An object of at least so many rows that keeps less than half of them at once is taken for one that was cut off.
const SHRINKS_FROM: usize = 10;

/// The last good body of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastGood {
    /// What it is about.
    pub subject: Subject,
    /// The object's key.
    pub key: String,
    /// SHA-256 of the body, in hex.
    pub body: String,
    /// Its length.
    pub bytes: u64,
    /// Rows that were used.
    pub rows: usize,
    /// Whether it ended with its line.
    pub ends_line: bool,
}

/// The sources of a content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSources {
    format: u32,
    /// By subject and key.
    pub objects: Vec<LastGood>,
}

impl LastGood {
    /// The source that a part makes, which was read from this body.
    pub fn of(part: &ObjectRows, body: &[u8]) -> Self {
        Self {
            subject: part.subject,
            key: part.key.clone(),
            body: hex(&Sha256::digest(body)),
            bytes: body.len() as u64,
            rows: part.rows(),
            ends_line: part.ends_line,
        }
    }

    /// Where the body lies.
    pub fn body_key(&self) -> String {
        format!("{BODIES}/{}", self.body)
    }

    /// Why a part that could be read takes the place of this body not. `shortened` says whether its body is the
    /// beginning of this one.
    pub fn doubt(&self, part: &ObjectRows, shortened: bool) -> Option<String> {
        let (before, now) = (self.rows, part.rows());
        if before > 0 && now == 0 {
            return Some(format!("has no row that can be used, and had {before}"));
        }
        if !part.ends_line && (self.ends_line || shortened) {
            return Some("ends within a line, as if cut off: end the last line with a line break".to_owned());
        }
        (before >= SHRINKS_FROM && now.saturating_mul(2) < before).then(|| {
            format!(
                "has {now} rows and had {before}, as if cut off: if that is meant, delete the object and put it again"
            )
        })
    }
}

impl ContentSources {
    /// In order.
    pub fn new(mut objects: Vec<LastGood>) -> Self {
        objects.sort();
        Self { format: FORMAT, objects }
    }

    /// Where the list of a content lies.
    pub fn key(digest: &str) -> String {
        format!("metadata/{digest}/sources.json")
    }

    /// Reads a list.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let list: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if list.format > FORMAT {
            return Err(format!("has format {}; this build reads up to {FORMAT}", list.format));
        }
        Ok(list)
    }

    /// The list as it is stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it is plain data with text keys")
    }

    /// The last good body of an object.
    pub fn find(&self, subject: Subject, key: &str) -> Option<&LastGood> {
        self.objects.iter().find(|source| source.subject == subject && source.key == key)
    }
}
