//! Objects of lines.
//!
//! **Owns** unpacking, and the forms of a record: as it is, with or without the line's end, or as Base64 with its identity.
//! **Promises** at most [`OBJECT_BYTES_MAX`] are unpacked.
//! **Fails** with a text that says what is wrong with the object.
//! **Not here**: whose line it is.

use std::io::{BufRead, BufReader, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::place::Place;

/// Far more than an epoch may hold.
const OBJECT_BYTES_MAX: u64 = 4 << 30;

/// A record of the raw zone.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sha256: [u8; 32],
    /// Number of its object.
    pub(super) object: u32,
    /// Its identity, if it was written with it.
    pub(super) place: Option<Place>,
}

/// A line of the companion file.
#[derive(Deserialize)]
struct Escaped {
    sequence: String,
    data: String,
}

#[derive(Deserialize)]
struct Alert {
    id: String,
}

/// What the lines of an object are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Records, which end like this; the line's end may be more.
    Records(&'static [u8]),
    /// Records in Base64.
    Escaped,
}

impl Form {
    /// As the documentation has it: the name says how the records end.
    pub(super) fn of(key: &str, escaped: bool) -> Self {
        match key {
            _ if escaped => Self::Escaped,
            key if key.ends_with(".crlf.jsonl.gz") => Self::Records(b"\r\n"),
            key if key.ends_with(".lf.jsonl.gz") => Self::Records(b"\n"),
            _ => Self::Records(b""),
        }
    }
}

/// Reads all lines of an object.
pub(super) fn read(bytes: &Bytes, form: Form, object: u32, lines: &mut Vec<Line>) -> Result<(), String> {
    each(bytes, |line| {
        let (place, sha256) = match form {
            Form::Records(end) => {
                let line = match end {
                    b"\r\n" => line.strip_suffix(b"\r").ok_or("a line does not end as its file's name says")?,
                    _ => line,
                };
                (None, Sha256::new().chain_update(line).chain_update(end).finalize())
            }
            Form::Escaped => {
                let row: Escaped = serde_json::from_slice(line).map_err(|e| e.to_string())?;
                let data = BASE64_STANDARD.decode(row.data).map_err(|e| e.to_string())?;
                let place = Place::parse(&row.sequence).ok_or("a line has no sequence number")?;
                (Some(place), Sha256::digest(data))
            }
        };
        lines.push(Line { sha256: sha256.into(), object, place });
        Ok(())
    })
}

/// The ids of all alerts of an object.
pub(super) fn alert_ids(bytes: &Bytes) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    each(bytes, |line| {
        let alert: Alert = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        ids.push(alert.id);
        Ok(())
    })?;
    Ok(ids)
}

fn each(bytes: &Bytes, mut line: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut reader = BufReader::with_capacity(64 << 10, MultiGzDecoder::new(bytes.as_ref()).take(OBJECT_BYTES_MAX));
    let mut text = Vec::new();
    loop {
        text.clear();
        reader.read_until(b'\n', &mut text).map_err(|e| e.to_string())?;
        match text.strip_suffix(b"\n") {
            Some(content) => line(content)?,
            None if text.is_empty() => return Ok(()),
            None => return Err("its last line has no end".to_owned()),
        }
    }
}
