//! Holds a lake to the ledgers: what was acknowledged is there once, and what is there besides is explained.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use fleet::{Entry, Ledger, Line, Outcome};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::judge::assert_sound;
use crate::lake::{Lake, text};

/// What the producers know, over all ledgers of a folder.
#[derive(Debug, Default)]
pub struct Ledgers {
    pub acked: Vec<Entry>,
    /// Payloads whose answer was lost, by their digest.
    maybe: HashMap<String, u64>,
    /// Records that were about to be sent, and no outcome was written.
    n_open: u64,
}

/// What a lake was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub acked: u64,
    pub raw: u64,
    pub cleansed: u64,
    pub quarantined: u64,
    pub duplicates: u64,
    pub epochs: u64,
}

impl Ledgers {
    /// All `.jsonl` files of a folder.
    pub fn read(folder: &Path) -> Self {
        let mut ledgers = Self::default();
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
            ledgers.add(&path);
        }
        ledgers
    }

    fn add(&mut self, path: &Path) {
        // A sender and a number stand for two records where one is a duplicate of the other.
        let mut open: HashMap<(String, u64), u64> = HashMap::new();
        for line in Ledger::read(path).unwrap() {
            match line.unwrap() {
                Line::Sending { sending } => {
                    for span in sending {
                        for n in span.first..=span.last {
                            *open.entry((span.sensor.clone(), n)).or_default() += 1;
                        }
                    }
                }
                Line::Outcome(entry) => {
                    if entry.k != Outcome::Maybe {
                        let open = open.get_mut(&(entry.sensor.clone(), entry.n));
                        *open.expect("an outcome comes after its sending") -= 1;
                    }
                    match entry.k {
                        Outcome::Acked => self.acked.push(entry),
                        Outcome::Maybe => *self.maybe.entry(entry.sha256).or_default() += 1,
                        Outcome::Failed => {}
                    }
                }
                Line::Complete(_) => {}
            }
        }
        self.n_open += open.values().sum::<u64>();
    }
}

/// RAW-ONCE, CLEAN-ONCE and COMPLETE for whatever was acknowledged into this folder's stream, and all that lakes promise.
#[track_caller]
pub fn assert_holds(ledgers: &Path, bucket: &Path) -> Held {
    let (ledgers, lake) = (Ledgers::read(ledgers), Lake::read(bucket));
    assert_sound(&lake);
    let raw = lake.raw();
    assert_raw(&ledgers, &raw);
    assert_rows(&ledgers, &lake, raw.len());
    let count = |zone| lake.rows(zone).len() as u64;
    Held {
        acked: ledgers.acked.len() as u64,
        raw: raw.len() as u64,
        cleansed: count("cleansed"),
        quarantined: count("quarantine"),
        duplicates: count("duplicates"),
        epochs: lake.manifests().len() as u64,
    }
}

/// Every acknowledged payload as often as it was acknowledged; what there is besides may have been stored without
/// anybody hearing of it.
fn assert_raw(ledgers: &Ledgers, raw: &[Vec<u8>]) {
    let mut surplus: HashMap<String, i64> = HashMap::new();
    for payload in raw {
        *surplus.entry(hex(&Sha256::digest(payload))).or_default() += 1;
    }
    for entry in &ledgers.acked {
        *surplus.entry(entry.sha256.clone()).or_default() -= 1;
    }
    let missing: i64 = surplus.values().filter(|n| **n < 0).sum();
    assert_eq!(missing, 0, "acknowledged records that the raw zone does not hold");
    let heard_of = |digest: &str| ledgers.maybe.get(digest).copied().unwrap_or(0);
    let unexplained: u64 = surplus.iter().map(|(digest, n)| (*n as u64).saturating_sub(heard_of(digest))).sum();
    assert!(unexplained <= ledgers.n_open, "{unexplained} records too many, {} were under way", ledgers.n_open);
}

/// Every acknowledged place in the stream has its row, as many places have rows as there are records, none has two.
fn assert_rows(ledgers: &Ledgers, lake: &Lake, n_raw: usize) {
    let zones = ["cleansed", "quarantine", "duplicates"];
    let rows: Vec<_> = zones.into_iter().flat_map(|zone| lake.rows(zone)).collect();
    let places: BTreeSet<_> = rows.iter().map(|row| (text(row, "shard"), text(row, "sequence"))).collect();
    // Each record of a fleet holds one event, or something that is none.
    assert_eq!((places.len(), rows.len()), (n_raw, n_raw), "places in the stream with rows, rows, and raw records");
    let place = |entry: &Entry| (entry.shard.clone().unwrap(), entry.seq.clone().unwrap());
    let acked: BTreeSet<_> = ledgers.acked.iter().map(place).collect();
    assert_eq!(acked.len(), ledgers.acked.len(), "places that were acknowledged twice");
    let missing: Vec<_> = acked.difference(&places).take(3).collect();
    assert!(missing.is_empty(), "acknowledged, and no row: {missing:?}");
}

/// The report counts what the files hold.
#[track_caller]
pub fn assert_reported(report: &Value, held: &Held) {
    let of = |key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key} in {report}"));
    let reported = Held {
        acked: of("records_acked"),
        raw: of("raw_records"),
        cleansed: of("cleansed_rows"),
        quarantined: of("quarantined_rows"),
        duplicates: of("duplicate_rows"),
        epochs: of("epochs_committed"),
    };
    assert_eq!(reported, *held, "what is reported, and what is there");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
