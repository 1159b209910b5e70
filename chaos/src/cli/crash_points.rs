//! `chaos crash-points`: the whole grid, as many cases at once as there are processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::sim::silence_injected_panics;
use crate::sim::crash_points::{Case, Outcome, grid, run_case};

/// Crashes at every step, the first time and during recovery, by panic, kill and lost reply
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  chaos crash-points
  chaos crash-points --seed 3 --json")]
pub struct CrashPointsArgs {
    /// Decides everything else in the runs
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The sum of the grid.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GridSummary {
    /// Cases.
    pub cases: usize,
    /// Cases that broke a promise.
    pub bad: Vec<Outcome>,
    /// Cases whose fault met nothing.
    pub not_reached: Vec<Case>,
    /// Records that no consumer finds.
    pub missing: u64,
    /// Records that a consumer finds twice.
    pub doubled: u64,
    /// Seconds.
    pub took_s: f64,
}

/// Runs it; true if all is well.
pub fn crash_points(args: &CrashPointsArgs) -> Result<bool, serde_json::Error> {
    silence_injected_panics();
    let summary = summary(args.seed);
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    Ok(summary.bad.is_empty() && summary.not_reached.is_empty())
}

/// Runs every case.
pub fn summary(seed: u64) -> GridSummary {
    let began = Instant::now();
    let (cases, next) = (grid(), AtomicUsize::new(0));
    let summary = Mutex::new(GridSummary { cases: cases.len(), ..GridSummary::default() });
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_case(case, seed);
                    summary.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.took_s = began.elapsed().as_secs_f64();
    summary
}

impl GridSummary {
    fn add(&mut self, outcome: Outcome) {
        self.missing += outcome.report.missing;
        self.doubled += outcome.report.doubled;
        if !outcome.struck {
            self.not_reached.push(outcome.case.clone());
        }
        if !outcome.report.is_clean() {
            self.bad.push(outcome);
        }
    }
}
