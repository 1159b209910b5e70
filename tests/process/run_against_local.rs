//! GOAL    A worker against a cloud of another process: killed and started again it loses nothing and doubles nothing;
//!         asked to end it commits what it has read and releases its leases; the cloud keeps its data when it is killed
//!         (RAW-ONCE, CLEAN-ONCE, COMPLETE).
//! METHOD  `mangrove local`, `mangrove fleet` and `mangrove run` as processes. The zones are held against the ledgers.

use std::fs;
use std::path::PathBuf;

use mangrove_tests::lake::Lake;
use mangrove_tests::process::leases::lease_owners;
use mangrove_tests::process::ledgers::{Ledgers, assert_holds};
use mangrove_tests::process::{End, Process, SIGKILL, get, n_objects, turn};

use crate::mangrove;

const CONFIG: &str = "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\nworker.id = \"worker-a\"\n\
                      ops.bind = \"127.0.0.1:0\"\nepoch.age_max = \"300ms\"\n";

/// A folder with everything in it.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(scene.path("mangrove.toml"), CONFIG).unwrap();
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn bucket(&self) -> PathBuf {
        self.path("cloud/s3/lake")
    }

    /// The cloud and its address.
    pub(crate) fn cloud(&self) -> (Process, String) {
        let cloud = self.text("cloud");
        let args = ["local", "--bind", "127.0.0.1:0", "--data-dir", &cloud, "--stream", "events", "--shards", "2"];
        let mut local = mangrove(&[args.as_slice(), &["--bucket", "lake"]].concat()).start();
        let url = local.printed("local cloud at ").split(',').next().unwrap().to_owned();
        local.printed("Ctrl-C stops it");
        (local, url)
    }

    pub(crate) fn worker(&self, url: &str, age_max: &str) -> Process {
        let args = ["run", "--config", &self.text("mangrove.toml"), "--endpoint-url", url];
        mangrove(&args).env("MANGROVE_EPOCH__AGE_MAX", age_max).start()
    }

    pub(crate) fn fleet(&self, url: &str, run: &str, duration: &str) -> Process {
        let ledger = self.text(&format!("ledger/{run}.jsonl"));
        let args = ["fleet", "--endpoint-url", url, "--stream", "events", "--ledger", &ledger, "--seed", run];
        mangrove(&[args.as_slice(), &["--sensors", "100", "--rate", "1000", "--for", duration, "--json"]].concat())
            .start()
    }

    /// Waits until a worker has stored all that is acknowledged.
    pub(crate) fn stored(&self, worker: &mut Process) {
        let acked = Ledgers::read(&self.path("ledger")).acked.len() as u64;
        worker.until("all that is acknowledged", |_| Lake::read(&self.bucket()).promised("records") == acked);
    }
}

/// Asked to end, it says that it has drained, and nobody holds a lease.
pub(crate) fn drained(worker: Process, url: &str) -> End {
    worker.signal("TERM");
    let end = worker.end().ok();
    assert!(end.stderr.contains("draining") && end.stderr.contains(" drained"), "{}", end.stderr);
    assert_eq!(lease_owners(url, "mangrove-events"), [None, None], "{}", end.stderr);
    end
}

pub(crate) fn acked_of(end: &End) -> u64 {
    end.json()["acked"].as_u64().unwrap()
}

/// What the worker says that it has read.
fn n_read(ops: &str) -> u64 {
    let (_, metrics) = get(ops, "/metrics");
    let lines = metrics.lines().filter(|line| line.starts_with("mangrove_reader_records_total"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn worker_and_cloud_may_be_killed() {
    let _turn = turn();
    let scene = Scene::new();
    let (cloud, url) = scene.cloud();

    // A worker that is killed in the middle of the stream, and its successor.
    let fleet = scene.fleet(&url, "1", "3s");
    let mut worker = scene.worker(&url, "300ms");
    worker.until("some epochs", |_| n_objects(&scene.bucket(), "manifests") >= 3);
    worker.kill().died_of(SIGKILL);
    let mut worker = scene.worker(&url, "300ms");
    let first = acked_of(&fleet.end().ok());
    scene.stored(&mut worker);
    drained(worker, &url);
    assert_sound(&scene, first);

    // Records that no worker has seen, in a cloud that is killed.
    let second = acked_of(&scene.fleet(&url, "2", "1s").end().ok());
    cloud.kill().died_of(SIGKILL);
    let (cloud, url) = scene.cloud();

    // Read, but no epoch would be due for an hour: the drain commits it.
    let mut worker = scene.worker(&url, "1h");
    let ops = worker.printed("ops endpoint: ");
    worker.until("all records read", |_| n_read(&ops) == second);
    drained(worker, &url);
    assert_sound(&scene, first + second);
    cloud.signal("TERM");
    cloud.end().ok();
}

pub(crate) fn assert_sound(scene: &Scene, acked: u64) {
    let held = assert_holds(&scene.path("ledger"), &scene.bucket());
    println!("{held:?}");
    assert_eq!((held.acked, held.raw), (acked, acked));
}
