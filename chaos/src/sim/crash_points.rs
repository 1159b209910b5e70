//! The grid of crash points: every step of a shard's life, met by a panic, a kill or a lost reply, the first time it is
//! taken and while an earlier crash is being recovered from.
//!
//! **Promises** every case tells whether its fault struck: a case that met nothing proves nothing.
//! **Not here**: what happens at random (`schedule.rs`).

use actors::ports::faults::POINTS;
use serde::Serialize;

use super::schedule::{Event, Habit, READ_UNITS, Schedule, WORKERS};
use super::{Report, SimOptions, run};
use crate::cloud::{ClientId, OpMatcher, Service, ServiceFaults};

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strike {
    /// The actor panics.
    ActorPanic,
    /// The process is gone.
    ProcessKill,
    /// The write is applied, and its reply is lost.
    ReplyLost,
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// In a run that nothing has befallen yet.
    FirstRun,
    /// After another process has died with an epoch prepared.
    Recovery,
}

/// One case of the grid.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// A crash point, or a write.
    pub step: &'static str,
    /// What happens there.
    pub strike: Strike,
    /// When.
    pub when: When,
}

/// How a case ended.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// Whether the fault struck.
    pub struck: bool,
    /// The run.
    pub report: Report,
}

/// The writes whose replies can be lost: a name, the operation, and what its request contains.
const WRITES: [(&str, Service, &str, &str); 12] = [
    ("create", Service::DynamoDb, "PutItem", "shardId-"),
    ("claim", Service::DynamoDb, "UpdateItem", "mangroveIncarnation = "),
    ("heartbeat", Service::DynamoDb, "UpdateItem", "SET mangroveBeat"),
    ("take", Service::DynamoDb, "UpdateItem", "SET leaseOwner"),
    ("advance", Service::DynamoDb, "UpdateItem", "checkpointSubSequenceNumber = :v1, mangroveEpoch"),
    ("prepare", Service::DynamoDb, "UpdateItem", "SET pendingCheckpoint"),
    ("claim epoch", Service::S3, "PutObject", ".claim"),
    ("upload", Service::S3, "PutObject", "cleansed/"),
    ("upload state", Service::S3, "PutObject", "state/"),
    ("upload manifest", Service::S3, "PutObject", "manifests/"),
    ("commit", Service::DynamoDb, "UpdateItem", ", mangroveAlertsThrough"),
    ("release", Service::DynamoDb, "UpdateItem", "REMOVE leaseOwner"),
];

/// The steps that are met only where the table is one of the past.
const OF_A_RESTORED_TABLE: [&str; 2] = ["lease.advanced", "advance"];
/// When such a table is put back: after some epochs.
const RESTORED_AT_MS: u64 = 10_000;

/// A death that leaves an epoch prepared.
const EARLIER_CRASH: &str = "committer.prepared=abort@1";

/// Every case.
pub fn grid() -> Vec<Case> {
    let mut cases = Vec::new();
    for when in [When::FirstRun, When::Recovery] {
        for step in POINTS {
            cases.extend([Strike::ActorPanic, Strike::ProcessKill].map(|strike| Case { step, strike, when }));
        }
        let lost = |(step, ..): (&'static str, _, _, _)| Case { step, strike: Strike::ReplyLost, when };
        cases.extend(WRITES.into_iter().map(lost).filter(|case| case.step != "create" || when == When::FirstRun));
    }
    cases
}

/// Runs a case.
pub fn run_case(case: &Case, seed: u64) -> Outcome {
    let report = run(&SimOptions { seed, mutant: None, schedule: Some(schedule(case)) });
    let of = |kind: &str| report.faults.get(kind).copied().unwrap_or(0);
    let struck = match (case.strike, case.when) {
        (Strike::ReplyLost, _) => of("LoseReply") > 0,
        (_, When::FirstRun) => of("struck") > 0,
        // The earlier crash is one of them.
        (_, When::Recovery) => of("struck") > 1,
    };
    Outcome { case: case.clone(), struck, report }
}

/// One shard, and one worker well before the others, so that it is the first boot that meets the case; each worker gives
/// the shard up once, so that it is released too.
fn schedule(case: &Case) -> Schedule {
    let restored = OF_A_RESTORED_TABLE.contains(&case.step);
    let nth = match case.step {
        _ if restored => 1,
        // The second time, so that something is there to be lost.
        "sensor.row" => 20,
        "lease.taken" | "recovery.states" | "committer.released" => 1,
        _ if case.when == When::Recovery => 1,
        _ => 2,
    };
    let plan = match case.strike {
        Strike::ActorPanic => format!("{}=panic@{nth}", case.step),
        Strike::ProcessKill => format!("{}=abort@{nth}", case.step),
        Strike::ReplyLost => String::new(),
    };
    // Nobody knows which boot meets such a table.
    let n_boots = if restored { 3 * WORKERS } else { WORKERS + 1 };
    let plans = match case.when {
        When::FirstRun if restored => vec![plan; n_boots],
        When::FirstRun => vec![plan],
        When::Recovery => [EARLIER_CRASH.to_owned()].into_iter().chain(std::iter::repeat_n(plan, n_boots)).collect(),
    };
    let write = WRITES.iter().find(|(step, ..)| case.strike == Strike::ReplyLost && *step == case.step);
    let lost_replies = write.map_or(Vec::new(), |(_, service, operation, contains)| {
        // A loader's row beats and is claimed too.
        let matcher = OpMatcher::new(*service, operation).containing(contains).besides("mangrove-loader:");
        match case.when {
            When::FirstRun => vec![matcher],
            // Whoever recovers: one of the others, or the same machine again.
            When::Recovery => (1..=n_boots as u32).map(|n| matcher.clone().of(ClientId(n))).collect(),
        }
    });
    let drains = (0..WORKERS).map(|n| (14_000 + 3_000 * n as u64, Event::Drain(n, 500)));
    let restore = restored.then_some((RESTORED_AT_MS, Event::Restore(0, true)));
    Schedule {
        shards: 1,
        skews_ms: [0; WORKERS],
        events: restore.into_iter().chain(drains).collect(),
        boot_gap_ms: 3_000,
        plans,
        storm_ms: 24_000,
        lost_replies,
        habit: Habit::Sensor,
        loads: (ServiceFaults::calm(), 0.0),
        load_faults: Vec::new(),
        failover: None,
        read_units_max: READ_UNITS,
        refresh_after: None,
    }
}
