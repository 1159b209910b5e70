//! GOAL    Killed at any moment and started again with the same command and folder, a demo and a replay hold every
//!         acknowledged record once, and no reading twice (RAW-ONCE, CLEAN-ONCE, COMPLETE).
//! METHOD  The process aborts itself at each step of an epoch, of the first and of the second one; or is ended by
//!         SIGKILL where something can be seen to be under way. Then the zones are held against the ledgers.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use mangrove_tests::lake::{Lake, integer, text};
use mangrove_tests::process::ledgers::{assert_holds, assert_reported};
use mangrove_tests::process::{Call, Process, SIGABRT, SIGKILL, n_objects, turn};
use tempfile::TempDir;

use crate::mangrove;

const STATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/beijing-air");
/// The replay of each station: a replay of some seconds.
const ROWS: usize = 18_000;

/// A folder with short epochs, and what a user does in it.
struct Scene {
    dir: TempDir,
    args: Vec<String>,
}

impl Scene {
    fn new(what: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("mangrove.toml");
        fs::write(&config, "[epoch]\nage_max = \"300ms\"\n").unwrap();
        let (data, config) = (dir.path().join("data").display().to_string(), config.display().to_string());
        let common = ["--shards", "2", "--data-dir", &data, "--config", &config, "--json", "--ops-port", "0"];
        let args = ["demo"].iter().chain(what).chain(&common).map(|arg| (*arg).to_owned()).collect();
        Self { dir, args }
    }

    fn simulated() -> Self {
        Self::new(&["--for", "2s", "--rate", "1000", "--sensors", "100"])
    }

    fn call(&self) -> Call {
        mangrove(&self.args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn bucket(&self) -> PathBuf {
        self.data().join("s3/mangrove-demo")
    }

    fn ledgers(&self) -> PathBuf {
        self.data().join("ledger")
    }

    /// Starts it, waits until this much more is acknowledged and this many more epochs have a manifest, and kills it.
    fn killed(&self, n_acked: usize, n_manifests: usize) {
        let acked = self.n_acked() + n_acked;
        let manifests = n_objects(&self.bucket(), "manifests") + n_manifests;
        let mut process = self.call().start();
        let reached = |_: &Process| self.n_acked() >= acked && n_objects(&self.bucket(), "manifests") >= manifests;
        process.until("moment to kill it", reached);
        process.kill().died_of(SIGKILL);
    }

    fn n_acked(&self) -> usize {
        let files = fs::read_dir(self.ledgers()).into_iter().flatten().map(|entry| entry.unwrap().path());
        let acked = |path: PathBuf| {
            let lines = BufReader::new(File::open(path).unwrap()).split(b'\n');
            lines.filter(|line| line.as_ref().unwrap().starts_with(br#"{"k":"acked""#)).count()
        };
        files.map(acked).sum()
    }
}

fn aborted_at(step: &str, n: u32) {
    let _turn = turn();
    let scene = Scene::simulated();
    let plan = format!("{step}[000000000000]=abort@{n}");
    scene.call().env("MANGROVE_FAULTS", &plan).run().died_of(SIGABRT);
    let report = scene.call().run().ok().json();
    let held = assert_holds(&scene.ledgers(), &scene.bucket());
    assert_reported(&report, &held);
    println!("{plan}: {held:?}");
}

#[test]
fn aborted_before_prepare() {
    aborted_at("committer.planned", 1);
    aborted_at("committer.planned", 2);
}

#[test]
fn aborted_between_prepare_and_commit() {
    aborted_at("committer.prepared", 1);
    aborted_at("committer.prepared", 2);
}

#[test]
fn aborted_between_two_objects() {
    aborted_at("sinks.object", 1);
    aborted_at("sinks.object", 2);
}

#[test]
fn aborted_before_the_manifest() {
    aborted_at("sinks.manifest", 1);
    aborted_at("sinks.manifest", 2);
}

#[test]
fn aborted_before_commit() {
    aborted_at("committer.uploaded", 1);
    aborted_at("committer.uploaded", 2);
}

#[test]
fn aborted_after_commit() {
    aborted_at("committer.committed", 1);
    aborted_at("committer.committed", 2);
}

#[test]
fn a_demo_killed_three_times() {
    let _turn = turn();
    let scene = Scene::simulated();
    for (n_acked, n_manifests) in [(1, 0), (1, 1), (1, 4)] {
        scene.killed(n_acked, n_manifests);
    }
    let report = scene.call().run().ok().json();
    let held = assert_holds(&scene.ledgers(), &scene.bucket());
    assert_reported(&report, &held);
    println!("{held:?}");
}

/// A judgement that cannot fail says nothing.
#[test]
fn what_is_missing_or_doubled_is_noticed() {
    let _turn = turn();
    let scene = Scene::simulated();
    scene.call().run().ok();
    let judged = || catch_unwind(|| assert_holds(&scene.ledgers(), &scene.bucket())).is_ok();
    assert!(judged());
    for (zone, ending) in [("raw", ".jsonl.gz"), ("cleansed", ".parquet"), ("manifests", ".json")] {
        let object = Lake::read(&scene.bucket()).files(zone, ending).remove(0);
        let aside = scene.dir.path().join("aside");
        fs::rename(&object, &aside).unwrap();
        assert!(!judged(), "an object of {zone} is missing");
        fs::rename(&aside, &object).unwrap();
        let double = object.with_file_name(format!("0{ending}"));
        fs::copy(&object, &double).unwrap();
        assert!(!judged(), "an object of {zone} is there twice");
        fs::remove_file(&double).unwrap();
    }
    assert!(judged());
}

#[test]
fn a_replay_killed_three_times() {
    let _turn = turn();
    let stations = tempfile::tempdir().unwrap();
    let mut recorded = cut(stations.path(), "Aotizhongxin");
    recorded.extend(cut(stations.path(), "Changping"));
    let pattern = format!("{}/*.csv.gz", stations.path().display());
    let scene = Scene::new(&["--replay", &pattern, "--schema", "air-quality"]);
    for n_acked in [1, 5_000] {
        scene.killed(n_acked, 0);
        assert!(scene.n_acked() < recorded.len(), "nothing was left to send");
    }
    scene.killed(0, 2);

    let report = scene.call().run().ok().json();
    let held = assert_holds(&scene.ledgers(), &scene.bucket());
    assert_reported(&report, &held);
    assert!(report["rows_skipped"].as_u64() > Some(5_000), "{report}");
    let lake = Lake::read(&scene.bucket());
    let rows = lake.rows("cleansed");
    let landed: BTreeSet<_> = rows.iter().map(|row| (text(row, "sensor_id"), integer(row, "event_time"))).collect();
    assert!(landed == recorded, "{} rows recorded, {} landed", recorded.len(), landed.len());
    println!("{held:?}, skipped {}, sent again {}", report["rows_skipped"], report["fleet"]["maybe_resent"]);

    let keys = lake.keys();
    let again = scene.call().run().ok().json();
    assert_eq!(again["already_complete"], true);
    assert_eq!(again["rows_skipped"].as_u64(), Some(recorded.len() as u64));
    assert_reported(&again, &held);
    assert_eq!(lake.keys(), keys, "a replay that was complete has changed the objects");
}

/// The beginning of a station's file, and its rows by station and microseconds since 1970.
fn cut(folder: &Path, station: &str) -> BTreeSet<(String, i64)> {
    let whole = File::open(format!("{STATIONS}/{station}.csv.gz")).unwrap();
    let file = File::create(folder.join(format!("{station}.csv.gz"))).unwrap();
    let mut file = GzEncoder::new(file, Compression::fast());
    let mut rows = BTreeSet::new();
    for (n, line) in BufReader::new(MultiGzDecoder::new(whole)).lines().take(ROWS + 1).enumerate() {
        let line = line.unwrap();
        writeln!(file, "{line}").unwrap();
        if n > 0 {
            rows.insert((station.to_owned(), time_us(&line)));
        }
    }
    file.finish().unwrap();
    assert_eq!(rows.len(), ROWS);
    rows
}

/// `No,year,month,day,hour,...`
fn time_us(line: &str) -> i64 {
    let mut numbers = line.split(',').skip(1).map(|number| number.parse::<u32>().unwrap());
    let mut next = || numbers.next().unwrap();
    let date = chrono::NaiveDate::from_ymd_opt(next() as i32, next(), next()).unwrap();
    date.and_hms_opt(next(), 0, 0).unwrap().and_utc().timestamp_micros()
}
