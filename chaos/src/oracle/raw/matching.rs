//! Which record a line is.
//!
//! **Owns** the records of one shard that have no line yet, found by their bytes.
//! **Promises** a record is given once; of equal payloads the earliest that fits is given.
//! **Fails** never.
//! **Not here**: what a line that is no record's means.

use super::super::evidence::Record;
use super::super::lake::Stored;
use super::super::place::{Place, Pos};
use super::lines::Line;

const HOUR_MS: i64 = 3_600_000;
/// Equal payloads that are looked at for one line. Behind so many that do not fit, none is expected to.
const CANDIDATES_MAX: usize = 64;

/// Where a line's record has to lie.
pub(super) struct Window {
    pub(super) from: Pos,
    pub(super) to: Pos,
    /// Hours since 1970.
    pub(super) hour: Option<i64>,
}

/// What became of a line.
pub(super) enum Found {
    /// It is this record.
    Fits(Place),
    /// It is this record, which arrived in another hour.
    OtherHour(Place),
    /// It is this record, which belongs to another epoch.
    OtherEpoch(Place),
    /// It is one of several copies, of which not all were acknowledged.
    Ambiguous,
    /// Every record with these bytes has its line.
    Spent,
    /// No record has these bytes.
    Unknown,
}

/// The records of one shard.
pub(super) struct Matching<'a> {
    records: &'a [Stored],
    evidence: &'a [Record],
    taken: Vec<bool>,
    /// Payloads in order, with the numbers of their records in order of places. Held here rather than looked up: a
    /// search over millions would wait for memory at every step.
    by_payload: Vec<([u8; 32], u32)>,
    /// At the beginning of each payload's run: where it ends, and how many of it are taken for certain.
    runs: Vec<(u32, u32)>,
    /// The payloads of all lines in order, if there may be more copies than records.
    copies: Vec<[u8; 32]>,
}

impl<'a> Matching<'a> {
    /// `copies` are all lines, where some may be copies that nobody acknowledged.
    pub(super) fn new(records: &'a [Stored], evidence: &'a [Record], copies: &[Line]) -> Self {
        let payload = |n: usize| evidence[records[n].record as usize].sha256;
        let mut by_payload: Vec<([u8; 32], u32)> = (0..records.len()).map(|n| (payload(n), n as u32)).collect();
        by_payload.sort_unstable();
        let mut runs = vec![(0, 0); records.len()];
        let mut start = 0;
        for run in by_payload.chunk_by(|a, b| a.0 == b.0) {
            let end = start + run.len();
            runs[start].0 = end as u32;
            start = end;
        }
        let mut copies: Vec<[u8; 32]> = copies.iter().map(|line| line.sha256).collect();
        copies.sort_unstable();
        Self { records, evidence, taken: vec![false; records.len()], by_payload, runs, copies }
    }

    pub(super) fn take(&mut self, line: &Line, window: &Window) -> Found {
        let run = self.run(&line.sha256);
        if run.is_empty() {
            return Found::Unknown;
        }
        let ambiguous = self.copies_of(&line.sha256) > run.len();
        if let Some(place) = line.place.filter(|_| !ambiguous) {
            return self.take_at(place, line, window);
        }
        let (start, mut skip) = (run.start, self.runs[run.start].1 as usize);
        while skip < run.len() && self.taken[self.by_payload[start + skip].1 as usize] {
            skip += 1;
        }
        self.runs[start].1 = skip as u32;
        let mut best: Option<(u8, u32)> = None;
        for at in (start + skip..run.end).take(CANDIDATES_MAX) {
            let n = self.by_payload[at].1;
            let grade = self.grade(n, window);
            if !self.taken[n as usize] && best.is_none_or(|(known, _)| grade < known) {
                best = Some((grade, n));
                if grade == 0 {
                    break;
                }
            }
        }
        match best {
            None => Found::Spent,
            // Another copy may be the one that was acknowledged.
            Some((grade, _)) if ambiguous && grade == 2 => Found::Spent,
            Some((_, n)) => {
                let found = self.give(n, window);
                if ambiguous { Found::Ambiguous } else { found }
            }
        }
    }

    /// The records that no line was found for.
    pub(super) fn missing(&self) -> impl Iterator<Item = Place> + '_ {
        self.records.iter().zip(&self.taken).filter(|(_, taken)| !**taken).map(|(stored, _)| stored.place)
    }

    fn take_at(&mut self, place: Place, line: &Line, window: &Window) -> Found {
        let at = self.records.partition_point(|stored| stored.place < place);
        let same =
            |stored: &&Stored| stored.place == place && self.evidence[stored.record as usize].sha256 == line.sha256;
        match self.records.get(at).filter(same) {
            Some(_) if self.taken[at] => Found::Spent,
            Some(_) => self.give(at as u32, window),
            None => Found::Unknown,
        }
    }

    fn give(&mut self, n: u32, window: &Window) -> Found {
        self.taken[n as usize] = true;
        let place = self.records[n as usize].place;
        match self.grade(n, window) {
            0 => Found::Fits(place),
            1 => Found::OtherHour(place),
            _ => Found::OtherEpoch(place),
        }
    }

    /// 0 fits, 1 has another hour, 2 another epoch.
    fn grade(&self, n: u32, window: &Window) -> u8 {
        let stored = self.records[n as usize];
        if !window.to.covers(window.from, stored.place) {
            return 2;
        }
        let arrival = self.evidence[stored.record as usize].arrival_ms.map(|ms| ms.div_euclid(HOUR_MS));
        u8::from(arrival.zip(window.hour).is_some_and(|(arrived, hour)| arrived != hour))
    }

    fn run(&self, sha256: &[u8; 32]) -> std::ops::Range<usize> {
        let start = self.by_payload.partition_point(|(payload, _)| payload < sha256);
        match self.by_payload.get(start) {
            Some((payload, _)) if payload == sha256 => start..self.runs[start].0 as usize,
            _ => start..start,
        }
    }

    fn copies_of(&self, sha256: &[u8; 32]) -> usize {
        let start = self.copies.partition_point(|copy| copy < sha256);
        self.copies[start..].partition_point(|copy| copy == sha256)
    }
}
