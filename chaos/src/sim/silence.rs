//! What befalls the lease table alone: it says nothing to anybody for a while, under the failover time that
//! `values-production.yaml` has; it is so large that it is seldom looked at.
//!
//! **Promises** nothing else befalls: what a run shows is what that does.

use std::time::Duration;

use super::schedule::{Event, Habit, READ_UNITS, Schedule, WORKERS};
use super::{Report, SimOptions, run};
use crate::cloud::{ServiceFaults, Weather};

/// `leases.failover_after` for production.
const FAILOVER: Duration = Duration::from_secs(10);
/// Before it every shard is being read.
const QUIET_MS: u64 = 10_000;
/// After it there is time to come back.
const AFTER_MS: u64 = 10_000;

/// A run of three workers in which DynamoDB takes every request and answers none, for this long.
pub fn run_silence(seed: u64, silence: Duration) -> Report {
    let for_ms = silence.as_millis() as u64;
    let silent = ServiceFaults { hang_before: 1.0, ..ServiceFaults::calm() };
    let weather = Weather { dynamodb: silent, ..Weather::calm() };
    let schedule = Schedule {
        shards: 6,
        skews_ms: [0; WORKERS],
        events: vec![(QUIET_MS, Event::Weather(Box::new(weather), for_ms))],
        boot_gap_ms: 0,
        plans: Vec::new(),
        storm_ms: QUIET_MS + for_ms + AFTER_MS,
        lost_replies: Vec::new(),
        habit: Habit::Sensor,
        loads: (ServiceFaults::calm(), 0.0),
        load_faults: Vec::new(),
        failover: Some(FAILOVER),
        read_units_max: READ_UNITS,
        refresh_after: None,
    };
    run(&SimOptions { seed, mutant: None, schedule: Some(schedule) })
}

/// A run in which one of three workers dies at some time, and the table is so large, by what a look at it may cost, that it
/// is looked at once in ten seconds.
pub fn run_large_table(seed: u64, killed_at_ms: u64) -> Report {
    // A row is half a unit: so many of shards and workers, and of what else is there.
    let read_units_max = 1.2;
    let schedule = Schedule {
        shards: 6,
        skews_ms: [0; WORKERS],
        events: vec![(killed_at_ms, Event::Kill(1, 30_000))],
        boot_gap_ms: 0,
        plans: Vec::new(),
        storm_ms: killed_at_ms + 15_000,
        lost_replies: Vec::new(),
        habit: Habit::Sensor,
        loads: (ServiceFaults::calm(), 0.0),
        load_faults: Vec::new(),
        failover: None,
        read_units_max,
        refresh_after: None,
    };
    run(&SimOptions { seed, mutant: None, schedule: Some(schedule) })
}
