//! GOAL    A lease table that was lost is made again from the bucket: workers go on where the last epochs ended, and
//!         every record is stored once (RAW-ONCE, CLEAN-ONCE, CHECKPOINT). A look alone writes nothing, and nothing is
//!         written while a worker lives.
//! METHOD  `mangrove leases rebuild` as a process, against a cloud whose lease table was deleted; a worker and a fleet
//!         before and after it. The zones are held against the ledgers.

use mangrove_tests::process::leases::{delete_table, has_table, lease_owners};
use mangrove_tests::process::{End, Process, SIGKILL, turn};
use serde_json::Value;

use crate::mangrove;
use crate::run_against_local::{Scene, acked_of, assert_sound, drained};

const TABLE: &str = "mangrove-events";
/// The exit code if something outside is not as it should be.
const ENVIRONMENT: i32 = 3;

fn rebuild(scene: &Scene, url: &str, flags: &[&str]) -> End {
    let config = scene.text("mangrove.toml");
    let args = ["leases", "rebuild", "--config", &config, "--endpoint-url", url];
    mangrove(&[args.as_slice(), flags].concat()).run()
}

/// A worker that has stored what a fleet has sent, and how much that was.
fn worker_with_records(scene: &Scene, url: &str) -> (Process, u64) {
    let mut worker = scene.worker(url, "300ms");
    let acked = acked_of(&scene.fleet(url, "1", "1s").end().ok());
    scene.stored(&mut worker);
    (worker, acked)
}

/// What becomes of each shard's row, and the epochs that row and manifests have.
fn steps(reply: &Value) -> Vec<(&str, Option<u64>, Option<u64>)> {
    let step = |line| -> (&str, _, _) {
        let line: &Value = line;
        (line["step"].as_str().unwrap(), line["row_epoch"].as_u64(), line["manifest_epoch"].as_u64())
    };
    reply["shards"].as_array().unwrap().iter().map(step).collect()
}

#[track_caller]
fn assert_refused(end: &End) {
    assert_eq!((end.status.code(), end.stdout.as_str()), (Some(ENVIRONMENT), ""), "{}", end.stderr);
    assert!(end.stderr.contains("worker worker-a lives: stop all workers first"), "{}", end.stderr);
}

#[test]
fn a_lease_table_that_was_lost_is_made_again() {
    let _turn = turn();
    let scene = Scene::new();
    let (cloud, url) = scene.cloud();
    let (worker, first) = worker_with_records(&scene, &url);
    drained(worker, &url);
    delete_table(&url, TABLE);

    // A look says what would be done, and does not even make the table.
    let look = rebuild(&scene, &url, &["--json"]).ok().json();
    let [("create", None, Some(a)), ("create", None, Some(b))] = steps(&look)[..] else { panic!("{look}") };
    assert_eq!(look["written"], false, "{look}");
    let shown = rebuild(&scene, &url, &[]).ok().stdout;
    assert!(shown.contains("2 rows would be written; --yes writes them."), "{shown}");
    assert!(!has_table(&url, TABLE));

    let shown = rebuild(&scene, &url, &["--yes"]).ok().stdout;
    assert!(shown.contains("2 rows written. Start the workers."), "{shown}");
    assert_eq!(lease_owners(&url, TABLE), [None, None]);
    let look = rebuild(&scene, &url, &["--json"]).ok().json();
    assert_eq!(steps(&look), [("keep", Some(a), Some(a)), ("keep", Some(b), Some(b))], "{look}");

    let second = acked_of(&scene.fleet(&url, "2", "1s").end().ok());
    let mut worker = scene.worker(&url, "300ms");
    scene.stored(&mut worker);

    // It writes those rows itself: whoever looks may, and nobody else writes.
    let look = rebuild(&scene, &url, &["--json"]).ok().json();
    assert_eq!(look["written"], false, "{look}");
    assert_refused(&rebuild(&scene, &url, &["--yes"]));

    drained(worker, &url);
    assert_sound(&scene, first + second);
    cloud.signal("TERM");
    cloud.end().ok();
}

/// The row by which a worker is seen to live is lost with the others; it writes another.
#[test]
fn a_worker_that_outlives_its_lease_table_is_seen_to_live() {
    let _turn = turn();
    let scene = Scene::new();
    let (cloud, url) = scene.cloud();
    let (worker, first) = worker_with_records(&scene, &url);
    delete_table(&url, TABLE);
    assert_refused(&rebuild(&scene, &url, &["--yes"]));
    worker.kill().died_of(SIGKILL);

    // What is put meanwhile waits for its successor.
    let second = acked_of(&scene.fleet(&url, "2", "1s").end().ok());
    let shown = rebuild(&scene, &url, &["--yes"]).ok().stdout;
    assert!(shown.contains("2 rows written. Start the workers."), "{shown}");
    let mut worker = scene.worker(&url, "300ms");
    scene.stored(&mut worker);
    drained(worker, &url);
    assert_sound(&scene, first + second);
    cloud.signal("TERM");
    cloud.end().ok();
}
