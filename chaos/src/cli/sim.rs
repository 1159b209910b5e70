//! `chaos sim`: many seeds, as many at once as there are processors.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actors::ports::faults::Mechanism;
use clap::Args;
use serde::Serialize;

use crate::cloud::LoadMutant;
use crate::sim::{Report, SimOptions, run};

/// Reports of bad runs that are told in full.
const TOLD_MAX: usize = 10;

/// Simulates whole clusters under everything that can befall them, one run per seed
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  chaos sim --seeds 1..200                      200 runs; exit code 1 if any promise is broken
  chaos sim --seeds 17 --verbose                one run again, with the last requests
  chaos sim --seeds 1..200 --mutant no-prepare  must be caught: exit code 1 if no run notices
  chaos sim --seeds 1..60 --mutant all          every mutant in turn, each until it is caught")]
pub struct SimArgs {
    /// One seed, or a range of them: 1..200 has both ends
    #[arg(long, value_parser = seeds, default_value = "1..50")]
    pub seeds: RangeInclusive<u64>,
    /// Run with a safety mechanism switched off, by the mutant's name; `all` for each in turn
    #[arg(long, value_name = "NAME", value_parser = mutant)]
    pub mutant: Option<String>,
    /// Run so many of the seeds twice, and compare the hashes over all their requests
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub twice: u64,
    /// Runs at once [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Log what the workers do, as `mangrove` does: info, debug, or by module
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Tell every run
    #[arg(long)]
    pub verbose: bool,
}

/// The sum of many runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Runs that broke a promise.
    pub bad: u64,
    /// Runs whose repetition had another trace.
    pub not_repeatable: Vec<u64>,
    /// Runs that were repeated.
    pub repeated: u64,
    /// Simulated seconds.
    pub simulated_s: f64,
    /// Seconds.
    pub took_s: f64,
    /// Simulated minutes that a minute of this machine buys.
    pub speed: f64,
    /// Records stored.
    pub records: u64,
    /// Records that no consumer finds.
    pub missing: u64,
    /// Records that a consumer finds twice.
    pub doubled: u64,
    /// Epochs committed.
    pub epochs: u64,
    /// Transactions that brought them into the warehouse.
    pub loads: u64,
    /// What was injected, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Takeovers, hand-overs, losses and fences.
    pub leases: BTreeMap<String, u64>,
    /// The first bad runs.
    pub reports: Vec<Report>,
}

/// How a mutant fared.
#[derive(Clone, Debug, Serialize)]
pub struct MutantFate {
    /// Its name.
    pub mutant: String,
    /// The seed that noticed, and what it noticed first; none if no seed did.
    pub caught: Option<(u64, String)>,
    /// Runs that it took.
    pub runs: u64,
}

/// Runs it; true if all is well.
pub fn sim(args: &SimArgs) -> Result<bool, serde_json::Error> {
    silence_injected_panics();
    if let Some(filter) = &args.log {
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        log.without_time().with_ansi(false).init();
    }
    match args.mutant.as_deref() {
        Some(name) => mutants(args, name),
        None => seeds_in_turn(args),
    }
}

/// Injected panics come by the thousand; any other one is news.
pub(super) fn silence_injected_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if !text.starts_with("injected fault") {
            tell(panic);
        }
    }));
}

fn seeds_in_turn(args: &SimArgs) -> Result<bool, serde_json::Error> {
    let summary = summary(args);
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    }
    Ok(summary.bad == 0 && summary.not_repeatable.is_empty())
}

/// Runs all seeds.
pub fn summary(args: &SimArgs) -> Summary {
    let began = Instant::now();
    let summary = Mutex::new(Summary::default());
    let repeat_below = args.seeds.start().saturating_add(args.twice);
    in_parallel(args, None, |seed, report| {
        let again = (seed < repeat_below).then(|| run(&options(seed, None)).trace);
        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(again) = again {
            summary.repeated += 1;
            if again != report.trace {
                summary.not_repeatable.push(seed);
            }
        }
        summary.add(report);
        true
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.took_s = began.elapsed().as_secs_f64();
    summary.speed = summary.simulated_s / summary.took_s.max(f64::MIN_POSITIVE);
    summary
}

/// Workers that lack a mechanism, and loads that do.
fn all_mutants() -> impl Iterator<Item = &'static str> {
    let of_loads = LoadMutant::ALL.iter().map(|mutant| mutant.name());
    Mechanism::ALL.iter().map(|mechanism| mechanism.mutant()).chain(of_loads)
}

fn mutants(args: &SimArgs, name: &str) -> Result<bool, serde_json::Error> {
    let names: Vec<&str> = match name {
        "all" => all_mutants().collect(),
        name => vec![name],
    };
    let mut fates = Vec::new();
    for name in names {
        let fate = hunt(args, name);
        let told = fate.caught.as_ref().map_or("NOT CAUGHT".to_owned(), |(seed, what)| format!("seed {seed}: {what}"));
        eprintln!("{name:32} {:4} runs  {}", fate.runs, told.chars().take(160).collect::<String>());
        fates.push(fate);
    }
    if args.json {
        println!("{}", serde_json::to_string(&fates)?);
    }
    Ok(fates.iter().all(|fate| fate.caught.is_some()))
}

/// Runs a mutant until a seed notices.
pub fn hunt(args: &SimArgs, name: &str) -> MutantFate {
    let (runs, caught) = (AtomicU64::new(0), Mutex::new(None));
    in_parallel(args, Some(name), |seed, report| {
        runs.fetch_add(1, Ordering::Relaxed);
        let Some(first) = report.violations.first() else { return true };
        let what = format!("{}: {}", first.invariant, first.what);
        caught.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((seed, what));
        false
    });
    let caught = caught.into_inner().unwrap_or_else(PoisonError::into_inner);
    MutantFate { mutant: name.to_owned(), caught, runs: runs.into_inner() }
}

/// Runs the seeds until `each` says that it is enough.
fn in_parallel(args: &SimArgs, mutant: Option<&str>, each: impl Fn(u64, Report) -> bool + Sync) {
    let threads = args.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let (next, enough) = (AtomicU64::new(*args.seeds.start()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > *args.seeds.end() {
                        break;
                    }
                    let report = run(&options(seed, mutant));
                    if args.verbose || (mutant.is_none() && !report.is_clean()) {
                        tell(&report);
                    }
                    if !each(seed, report) {
                        enough.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

fn options(seed: u64, mutant: Option<&str>) -> SimOptions {
    SimOptions { seed, mutant: mutant.map(str::to_owned), schedule: None }
}

fn tell(report: &Report) {
    let Report { seed, records, epochs, took_ms, .. } = report;
    eprintln!("seed {seed}: {records} records, {epochs} epochs, {took_ms} ms, {:?} {:?}", report.faults, report.leases);
    for violation in &report.violations {
        eprintln!("  {}: {}", violation.invariant, violation.what);
    }
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.simulated_s += report.simulated_ms as f64 / 1000.0;
        self.records += report.records;
        self.missing += report.missing;
        self.doubled += report.doubled;
        self.epochs += report.epochs;
        self.loads += report.loads;
        for (kind, n) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += n;
        }
        for (kind, n) in &report.leases {
            *self.leases.entry(kind.clone()).or_default() += n;
        }
        if !report.is_clean() {
            self.bad += 1;
            if self.reports.len() < TOLD_MAX {
                self.reports.push(report);
            }
        }
    }
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || "write one seed, or a range such as 1..200".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let range = match text.split_once("..") {
        Some((first, last)) => number(first)?..=number(last.trim_start_matches('='))?,
        None => number(text)?..=number(text)?,
    };
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

fn mutant(name: &str) -> Result<String, String> {
    if name == "all" || all_mutants().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = all_mutants().collect();
    Err(format!("no such mutant; there are: all, {}", names.join(", ")))
}
