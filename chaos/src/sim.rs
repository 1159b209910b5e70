//! The simulation: several whole workers, a stream that is resharded, and everything that can befall them, in one
//! thread, under a paused clock, from one seed.
//!
//! **Owns** the hosts, the producer and the schedule of what befalls whom.
//!
//! **Promises**
//! - A seed gives the same run again, to the last request: [`Report::trace`] is a hash over all of them.
//! - The workers are the product's own, down to the SDK clients; only clock, chance, threads and network are simulated.
//! - After the last fault the run must come to rest by itself; what does not is a violation of LIVE.
//!
//! **Fails** never: what goes wrong in the product is in the report.
//!
//! **Not here**: judging what landed (`oracle.rs`); the services (`cloud.rs`).

pub mod crash_points;
mod evidence;
mod host;
mod keys;
mod lifecycle;
mod manifests;
mod producer;
mod reads;
mod restore;
mod schedule;
mod settings;
mod silence;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

pub use self::schedule::{Event, Habit, Schedule};
pub use self::silence::{run_large_table, run_silence};
use self::world::World;
use crate::oracle::{Violation, judge, nothing_new};

/// Violations of one run that are told in full.
const TOLD_MAX: usize = 12;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Decides everything.
    pub seed: u64,
    /// The safety mechanism that the workers lack.
    pub mutant: Option<String>,
    /// What befalls whom; none is as the seed has it.
    pub schedule: Option<Schedule>,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Hash over all requests.
    pub trace: String,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Real milliseconds.
    pub took_ms: u64,
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
    /// Takeovers, hand-overs, losses and fences of all workers that ended in good order.
    pub leases: BTreeMap<String, u64>,
    /// The longest from the end of bad weather, or from the death of a worker, until every open shard was read again, in
    /// simulated milliseconds.
    pub back_ms: u64,
    /// How often a promise was not kept.
    pub n_violations: u64,
    /// The first of them.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Nothing here is of a kind that a warehouse refuses: an epoch that was put aside was so wrongly, and hides what it holds.
fn put_aside(verdict: &crate::oracle::Verdict) -> Option<Violation> {
    let n = verdict.warehouse.as_ref().map_or(0, |figures| figures.put_aside);
    (n > 0).then(|| world::violation("WAREHOUSE", format!("{n} epochs were put aside, and nothing is wrong with them")))
}

/// Runs one seed.
pub fn run(options: &SimOptions) -> Report {
    let began = Instant::now();
    let schedule = options.schedule.clone().unwrap_or_else(|| Schedule::of_seed(options.seed));
    let mut world = World::new(options.seed, schedule, options.mutant.clone());
    world.play();
    let mut violations = world.come_to_rest();
    // What nobody could do in peace is told by what keeps it from resting.
    let before = violations.is_empty().then(|| evidence::collect(&world));
    // Before anybody comes back: it would send what those that are gone have not.
    if let Some(before) = &before {
        violations.extend(evidence::unsent_alerts(&world, before));
        violations.extend(world.start_for_nothing());
    }
    let mut evidence = evidence::collect(&world);
    match evidence::warehouse(&world) {
        Ok(tables) => evidence.warehouse = Some(tables),
        Err(unread) => violations.push(unread),
    }
    let verdict = judge(&evidence, &settings::schema());
    violations.extend(verdict.violations.clone());
    violations.extend(reads::check(&world));
    violations.extend(reads::losses(&world));
    violations.append(&mut world.refused);
    violations.extend(manifests::check(&world));
    if before.is_none() {
        violations.extend(evidence::unsent_alerts(&world, &evidence));
    }
    violations.extend(put_aside(&verdict));
    violations.extend(before.iter().flat_map(|before| nothing_new(before, &evidence)));
    let n_violations = violations.len() as u64;
    violations.truncate(TOLD_MAX);
    Report {
        seed: options.seed,
        trace: world.cloud.trace_hash(),
        simulated_ms: world.elapsed_ms(),
        took_ms: began.elapsed().as_millis() as u64,
        records: verdict.records,
        missing: verdict.missing,
        doubled: verdict.doubled,
        epochs: verdict.epochs,
        loads: verdict.warehouse.map_or(0, |figures| figures.loads),
        faults: world.faults(),
        leases: world.lease_counts.clone(),
        back_ms: world.back_ms,
        n_violations,
        violations,
    }
}
