//! Reading a ledger line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::{FleetError, Line};

/// The whole lines of a ledger, in the order in which they were written.
#[derive(Debug)]
pub struct LedgerLines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    text: Vec<u8>,
}

impl LedgerLines {
    pub(super) fn open(path: &Path) -> Result<Self, FleetError> {
        let file = File::open(path).map_err(|source| super::error(path, "open", source))?;
        Ok(Self { path: path.to_owned(), reader: BufReader::new(file), line: 0, text: Vec::new() })
    }
}

impl Iterator for LedgerLines {
    type Item = Result<Line, FleetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.text.clear();
        if let Err(source) = self.reader.read_until(b'\n', &mut self.text) {
            return Some(Err(super::error(&self.path, "read", source)));
        }
        // No line break: the end, or a line that a kill has torn or that is being written right now.
        self.text.strip_suffix(b"\n")?;
        self.line += 1;
        Some(serde_json::from_slice(&self.text).map_err(|problem| FleetError::LedgerLine {
            path: self.path.clone(),
            line: self.line,
            problem: problem.to_string(),
        }))
    }
}
