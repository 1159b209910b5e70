//! GOAL    Whole clusters under everything that can befall them keep every promise (RAW-ONCE, CLEAN-ONCE, COMPLETE, ORDER,
//!         STATE, OWNER, CHECKPOINT, LINEAGE, ALERT, LIVE), and the warehouse says what the lake says (WAREHOUSE, INTERVAL,
//!         LEDGER); a seed is a run; whoever lacks a safety mechanism is caught.
//! METHOD  The simulation over fixed seeds, the grid of crash points, and a few mutants; `chaos sim --mutant all` has them all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on shall say where")]

use std::time::Duration;

use chaos::cli::sim::{SimArgs, hunt, summary};
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SimArgs,
}

fn args(line: &str) -> SimArgs {
    Line::parse_from(std::iter::once("sim").chain(line.split(' '))).args
}

#[test]
fn fifty_seeds_keep_every_promise_and_come_out_the_same_twice() {
    let summary = summary(&args("--seeds 1..50 --twice 5"));
    assert_eq!((summary.runs, summary.bad), (50, 0), "{:#?}", summary.reports);
    assert_eq!((summary.missing, summary.doubled), (0, 0));
    assert_eq!((summary.repeated, summary.not_repeatable), (5, Vec::new()));
    // What does not happen is not shown.
    let crashes = ["kill", "sleep", "drain", "kill actor", "struck"];
    let services =
        ["split", "merge", "spread", "restore", "share", "LoseReply", "Late", "Conflict", "Abort", "expired"];
    for fault in crashes.into_iter().chain(services) {
        assert!(summary.faults.get(fault).is_some_and(|n| *n > 0), "no {fault}: {:?}", summary.faults);
    }
    assert!(summary.loads > 100, "{} loads", summary.loads);
    for event in ["takeovers", "handovers", "fences"] {
        assert!(summary.leases[event] > 0, "no {event}: {:?}", summary.leases);
    }
}

#[test]
fn every_crash_point_is_survived() {
    let summary = chaos::cli::crash_points::summary(1);
    assert!(summary.cases > 60, "only {} cases", summary.cases);
    assert!(summary.not_reached.is_empty(), "{:?}", summary.not_reached);
    assert!(summary.bad.is_empty(), "{:#?}", summary.bad);
    assert_eq!((summary.missing, summary.doubled), (0, 0));
}

/// Under the failover time of `values-production.yaml`.
#[test]
fn a_lease_table_that_is_silent_to_all_fences_each_worker_once_at_most() {
    let short = chaos::sim::run_silence(1, Duration::from_secs(3));
    let long = chaos::sim::run_silence(2, Duration::from_secs(20));
    for (run, fences) in [(&short, 0), (&long, 3)] {
        println!("fences {}, read again after {} ms", run.leases["fences"], run.back_ms);
        assert!(run.is_clean() && (run.missing, run.doubled) == (0, 0), "{run:#?}");
        assert_eq!(run.leases["fences"], fences, "{:?}", run.leases);
        assert!(run.faults["weather"] == 1 && run.back_ms > 0 && run.back_ms < 5_000, "{} ms", run.back_ms);
    }
}

/// By a table of the size of ten seconds' budget, and the shipped failover time.
#[test]
fn a_worker_that_dies_is_followed_as_soon_where_the_table_is_large() {
    // At all places between two looks at the table, of which none is more than twelve seconds from the next.
    for killed_at_ms in (30_000..42_000).step_by(2_000) {
        let run = chaos::sim::run_large_table(killed_at_ms, killed_at_ms);
        println!("read again {} ms after the death", run.back_ms);
        assert!(run.is_clean() && (run.missing, run.doubled) == (0, 0), "{run:#?}");
        assert!(run.faults["kill"] == 1 && run.back_ms > 2_000 && run.back_ms < 5_000, "{} ms", run.back_ms);
    }
}

#[test]
fn mutants_are_caught() {
    let args = args("--seeds 1..60");
    let of_epochs = ["no-prepare", "commit-before-upload", "no-claim-on-the-number"];
    let of_shards =
        ["child-without-states", "child-takes-windows-over", "takes-from-the-living", "idle-shard-not-refreshed"];
    let of_agreement = ["manifests-not-looked-at", "row-of-another-stream-believed", "samples-not-compared"];
    // The one without a lock needs two loads of one moment, and about twenty runs to have them: it is hunted by hand.
    let of_loads =
        ["load-without-guard", "ledger-after-the-load", "ledger-before-the-load", "unanswered-load-believed"];
    for mutant in of_epochs.into_iter().chain(of_shards).chain(of_agreement).chain(of_loads) {
        let fate = hunt(&args, mutant);
        assert!(fate.caught.is_some(), "{mutant} was not noticed in {} runs", fate.runs);
    }
}
