//! The verdict of a run, for people and for scripts.
//!
//! **Owns** its words.
//! **Promises** one line of JSON holds everything; violations are bounded.
//! **Fails** never.
//! **Not here**: judging.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::stalls::Cause;
use super::stalls::Times;
use crate::oracle::{Verdict, Violation};

/// Told in full; the rest is more of the same.
const VIOLATIONS_MAX: usize = 50;

/// The verdict of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether there was no violation at all.
    pub ok: bool,
    /// The same seed chooses the same faults.
    pub seed: u64,
    /// How long things were broken.
    pub seconds: f64,
    /// Workers.
    pub workers: usize,
    /// What was broken, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Faults that could not be done when it was their turn.
    pub passed_over: u64,
    /// What the services did wrong, by service and kind.
    pub injected: BTreeMap<String, u64>,
    /// Starts of workers that failed because a service did.
    pub failed_starts: u64,
    /// Shards taken from workers that were dead or silent.
    pub takeovers: u64,
    /// Shards handed over to even out the load.
    pub handovers: u64,
    /// Leases that were lost to others.
    pub losses: u64,
    /// Times that a worker stopped because it could not write its heartbeat.
    pub fences: u64,
    /// Shards that a worker gave up.
    pub given_up: u64,
    /// Lines of level ERROR in the workers' logs.
    pub error_lines: u64,
    /// How long shards were not read, by cause.
    pub(super) recovery: BTreeMap<Cause, Times>,
    /// From the end of the producer until all was committed.
    pub caught_up_ms: Option<u64>,
    /// From the end of the workers until all was in the warehouse; none without one.
    pub loaded_ms: Option<u64>,
    /// Records that the stream has acknowledged.
    pub acked: u64,
    /// Records that were stored and that no consumer finds.
    pub missing: u64,
    /// Records and readings that a consumer finds twice.
    pub doubled: u64,
    /// Violations by promise.
    pub found: BTreeMap<String, u64>,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// The oracle's figures.
    pub verdict: Verdict,
    /// Where logs, ledger and data are, if they were kept.
    pub data_dir: Option<PathBuf>,
}

impl Report {
    /// Adds all violations of a kind, and says so.
    pub(super) fn violate(&mut self, violations: impl IntoIterator<Item = Violation>) {
        for violation in violations {
            *self.found.entry(violation.invariant.to_owned()).or_default() += 1;
            self.keep(violation);
        }
        self.ok = self.found.is_empty();
    }

    /// Takes in what the oracle found.
    pub(super) fn judged(&mut self, mut verdict: Verdict) {
        (self.missing, self.doubled) = (verdict.missing, verdict.doubled);
        for (invariant, n) in &verdict.found {
            *self.found.entry((*invariant).to_owned()).or_default() += n;
        }
        for violation in std::mem::take(&mut verdict.violations) {
            self.keep(violation);
        }
        self.verdict = verdict;
        self.ok = self.found.is_empty();
    }

    fn keep(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// For people, with how to repeat it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |args: std::fmt::Arguments<'_>| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{args}");
        };
        let faults: u64 = self.faults.values().sum();
        line(format_args!("{faults} faults in {:.0} s: {}", self.seconds, counted(&self.faults)));
        line(format_args!("injected into services: {}", counted(&self.injected)));
        line(format_args!(
            "takeovers {}, hand-overs {}, leases lost {}, fences {}, given up {}, failed starts {}",
            self.takeovers, self.handovers, self.losses, self.fences, self.given_up, self.failed_starts
        ));
        for (cause, times) in &self.recovery {
            let Times { count, p50_ms, p99_ms, max_ms } = times;
            line(format_args!("  {cause:<11?} x {count:<3} p50 {p50_ms} ms, p99 {p99_ms} ms, max {max_ms} ms"));
        }
        let after = |ms: Option<u64>| ms.map_or_else(|| "never".to_owned(), |ms| format!("after {ms} ms"));
        let loaded = self.verdict.warehouse.map_or_else(String::new, |_| format!(", loaded {}", after(self.loaded_ms)));
        line(format_args!(
            "caught up {}{loaded}; checked {}",
            after(self.caught_up_ms),
            self.verdict.checked.iter().copied().collect::<Vec<_>>().join(", ")
        ));
        line(format_args!(
            "acknowledged {}, stored {}, raw {}, cleansed {}, quarantined {}, duplicates {}, epochs {}, missing {}, doubled {}",
            self.acked,
            self.verdict.records,
            self.verdict.raw,
            self.verdict.cleansed,
            self.verdict.quarantined,
            self.verdict.duplicates,
            self.verdict.epochs,
            self.missing,
            self.doubled
        ));
        if let Some(found) = &self.verdict.warehouse {
            line(format_args!(
                "warehouse: readings {}, versions {}, windows {}, alerts {}, epochs {} in {} loads, put aside {}, missing {}, \
                 doubled {}, unexpected {}, altered {}",
                found.readings,
                found.versions,
                found.windows,
                found.alerts,
                found.epochs,
                found.loads,
                found.put_aside,
                found.missing,
                found.doubled,
                found.unexpected,
                found.altered
            ));
        }
        for violation in &self.violations {
            line(format_args!("{}: {}", violation.invariant, violation.what));
        }
        line(format_args!(
            "{}",
            if self.ok { "CLEAN".to_owned() } else { format!("VIOLATED: {}", counted(&self.found)) }
        ));
        if let Some(folder) = &self.data_dir {
            line(format_args!("logs, ledger and data: {}", folder.display()));
        }
        line(format_args!("replay with --seed {}", self.seed));
        text
    }
}

fn counted(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{what} {n}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}
