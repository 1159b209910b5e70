//! Several recorded files as one stream of rows in event time.
//!
//! **Owns** the open files and the next row of each.
//! **Promises** that rows leave in order of time, and of file name where times are equal: every run sees the same
//! order. A file that is not sorted itself stays in its own order.
//! **Fails** with what opening or reading a file says.
//! **Not here**: numbering, sending.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::warn;

use super::mapping::ReplayMapping;
use super::source::{BadRow, Row, Source};
use crate::{FleetError, Progress};

/// Bad rows that are shown; all are counted.
const SAMPLES_MAX: usize = 20;

pub(super) struct Merge {
    sources: Vec<Source>,
    /// The next row of each source, if it has one.
    heads: Vec<Option<Row>>,
    order: BinaryHeap<Reverse<(i64, usize)>>,
    bad: BadRows,
}

/// The rows that did not parse.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BadRows {
    pub count: u64,
    pub samples: Vec<String>,
}

impl Merge {
    pub(super) fn open(
        pattern: &str,
        mapping: Arc<ReplayMapping>,
        progress: Arc<Progress>,
    ) -> Result<Self, FleetError> {
        let sources = find(pattern)?
            .iter()
            .map(|path| Source::open(path, mapping.clone(), progress.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let heads = sources.iter().map(|_| None).collect();
        let mut merge = Self { sources, heads, order: BinaryHeap::new(), bad: BadRows::default() };
        (0..merge.sources.len()).try_for_each(|at| merge.advance(at))?;
        Ok(merge)
    }

    /// The next row in event time.
    pub(super) fn next(&mut self) -> Result<Option<Row>, FleetError> {
        let Some(Reverse((_, at))) = self.order.pop() else {
            return Ok(None);
        };
        let row = self.heads[at].take();
        self.advance(at)?;
        Ok(row)
    }

    /// Sends all rows in chunks; ends early, without an error, when nobody takes them any more.
    pub(super) fn pump(mut self, chunk_rows: usize, chunks: &mpsc::Sender<Vec<Row>>) -> Result<BadRows, FleetError> {
        let mut chunk = Vec::with_capacity(chunk_rows);
        while let Some(row) = self.next()? {
            chunk.push(row);
            if chunk.len() == chunk_rows {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(chunk_rows));
                if chunks.blocking_send(full).is_err() {
                    return Ok(self.bad);
                }
            }
        }
        // The last one may go nowhere; the receiver knows why.
        let _ = chunks.blocking_send(chunk);
        Ok(self.bad)
    }

    /// Reads on in one file until a row parses.
    fn advance(&mut self, at: usize) -> Result<(), FleetError> {
        while let Some(next) = self.sources[at].next()? {
            match next {
                Ok(row) => {
                    self.order.push(Reverse((row.time_ms, at)));
                    self.heads[at] = Some(row);
                    return Ok(());
                }
                Err(BadRow { line, problem }) => {
                    let place = format!("{}:{line}: {problem}", self.sources[at].path().display());
                    self.bad.add(place);
                }
            }
        }
        Ok(())
    }
}

impl BadRows {
    fn add(&mut self, place: String) {
        self.count += 1;
        if self.samples.len() < SAMPLES_MAX {
            warn!(row = place, "row does not parse");
            self.samples.push(place);
        }
    }
}

pub(super) fn find(pattern: &str) -> Result<Vec<PathBuf>, FleetError> {
    let paths = glob::glob(pattern)
        .map_err(|error| FleetError::Pattern { pattern: pattern.to_owned(), problem: error.to_string() })?;
    // Sorted by the iterator already; sorted again because the order of rows hangs on it.
    let mut paths = paths
        .map(|path| path.map_err(|e| FleetError::Source { path: e.path().to_owned(), source: e.into() }))
        .collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| path.is_file());
    paths.sort();
    match paths.is_empty() {
        true => Err(FleetError::NoMatch { pattern: pattern.to_owned() }),
        false => Ok(paths),
    }
}
