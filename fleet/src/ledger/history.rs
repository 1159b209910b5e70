//! What earlier runs have left: which rows are delivered, which are in doubt.

use std::collections::HashMap;
use std::path::Path;

use crate::{Completion, Entry, FleetError, Ledger, Line, Outcome};

/// The sum of a ledger, by sensor (in ledger form) and number.
#[derive(Debug, Default)]
pub(crate) struct History {
    sensors: HashMap<String, HashMap<u64, Fate>>,
    completion: Option<Completion>,
}

/// The last word on one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Delivered, with this digest.
    Acked([u8; 32]),
    /// A copy may be in the stream.
    Doubtful,
    /// A request was about to go out when the run ended, or went out and has been refused.
    Sending,
}

impl Fate {
    /// One run announces a row once, so an announcement without an outcome is from a run that was killed.
    fn sent_again(&mut self) {
        if *self == Self::Sending {
            *self = Self::Doubtful;
        }
    }
}

impl History {
    /// A ledger that is not there is an empty one.
    pub(crate) fn read(path: &Path) -> Result<Self, FleetError> {
        let mut history = Self::default();
        if !path.exists() {
            return Ok(history);
        }
        for (index, line) in Ledger::read(path)?.enumerate() {
            history.add(line?).map_err(|problem| FleetError::LedgerLine {
                path: path.to_owned(),
                line: index as u64 + 1,
                problem,
            })?;
        }
        Ok(history)
    }

    pub(crate) fn completion(&self) -> Option<Completion> {
        self.completion
    }

    /// `sensor` is in ledger form.
    pub(crate) fn fate(&self, sensor: &str, n: u64) -> Option<Fate> {
        self.sensors.get(sensor)?.get(&n).copied()
    }

    fn add(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Outcome(entry) => self.add_entry(entry)?,
            Line::Sending { sending } => {
                for span in sending {
                    let rows = self.sensors.entry(span.sensor).or_default();
                    for n in span.first..=span.last {
                        rows.entry(n).and_modify(Fate::sent_again).or_insert(Fate::Sending);
                    }
                }
            }
            Line::Complete(completion) => self.completion = Some(completion),
        }
        Ok(())
    }

    fn add_entry(&mut self, entry: Entry) -> Result<(), String> {
        let digest = unhex(&entry.sha256).ok_or("sha256 is not 64 hex digits")?;
        let rows = self.sensors.entry(entry.sensor).or_default();
        match (entry.k, rows.get(&entry.n)) {
            (_, Some(Fate::Acked(_))) => {}
            (Outcome::Acked, _) => drop(rows.insert(entry.n, Fate::Acked(digest))),
            (Outcome::Maybe, _) => drop(rows.insert(entry.n, Fate::Doubtful)),
            // Refused to the end and never in doubt: certainly not in the stream.
            (Outcome::Failed, Some(Fate::Sending)) => drop(rows.remove(&entry.n)),
            (Outcome::Failed, Some(Fate::Doubtful) | None) => {}
        }
        Ok(())
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}
