//! One gzip object of lines: written line by line, digested on the way.
//!
//! **Owns** the settings of every line file.
//! **Promises** equal lines give equal bytes from one build: the gzip header carries no time and no name.
//! **Fails** as a whole: nothing is stored before the last byte is encoded.
//! **Not here**: what is in a line.

use std::io::{BufWriter, IntoInnerError, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use messages::{EncodedObject, Zone};

use super::error::EncodeError;
use super::job::Job;
use crate::lake::digest::{Digest, hex};

/// The compressor costs a call's overhead per write: lines are collected first.
const BUFFER_BYTES: usize = 64 * 1024;

/// An open line object.
pub(super) struct LinesObject {
    zone: Zone,
    gzip: BufWriter<GzEncoder<Vec<u8>>>,
    digest: Digest,
    rows: u64,
}

impl LinesObject {
    /// Begins an object.
    pub(super) fn create(job: &Job<'_>, zone: Zone) -> Self {
        let level = Compression::new(job.context.encoding.gzip_level.min(9));
        let gzip = GzBuilder::new().mtime(0).write(Vec::new(), level);
        let digest = Digest::new(zone.extension());
        Self { zone, gzip: BufWriter::with_capacity(BUFFER_BYTES, gzip), digest, rows: 0 }
    }

    /// Appends a line that belongs to `key`.
    pub(super) fn push(&mut self, key: &str, line: &[u8]) -> Result<(), EncodeError> {
        self.add(key, line, b"\n")
    }

    /// Appends a record as it is; one that ends in a line break is a line already.
    pub(super) fn push_record(&mut self, key: &str, data: &[u8]) -> Result<(), EncodeError> {
        self.add(key, data, if data.ends_with(b"\n") { b"" } else { b"\n" })
    }

    fn add(&mut self, key: &str, line: &[u8], end: &[u8]) -> Result<(), EncodeError> {
        self.rows += 1;
        self.digest.bytes(key.as_bytes());
        self.digest.bytes(line);
        let written = self.gzip.write_all(line).and_then(|()| self.gzip.write_all(end));
        written.map_err(|source| EncodeError::Compress { zone: self.zone, source })
    }

    /// Ends the object.
    pub(super) fn finish(self, key: String) -> Result<EncodedObject, EncodeError> {
        let zone = self.zone;
        let gzip = self.gzip.into_inner().map_err(IntoInnerError::into_error);
        let bytes = gzip.and_then(GzEncoder::finish).map_err(|source| EncodeError::Compress { zone, source })?;
        Ok(EncodedObject::new(key, zone, self.rows, hex(&self.digest.finish()), bytes))
    }
}
