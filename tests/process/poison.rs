//! GOAL    A record that kills every process that looks into it, and a reading that panics its sensor in one process
//!         after the other, end in quarantine after a bounded number of tries; all around them is stored as if they had
//!         not been there (COMPLETE, CLEAN-ONCE, LIVE).
//! METHOD  One such record among others. The binary is started again and again, as an orchestrator would, and really
//!         aborts; what counts the tries is the lease row.

use std::fs;
use std::path::{Path, PathBuf};

use mangrove_tests::history::{reading, sensor_id};
use mangrove_tests::lake::{Lake, bytes, text};
use mangrove_tests::process::{End, Process, SIGABRT, turn};
use mangrove_tests::world::{BUCKET, Record, STREAM, World, hour_start_ms};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::mangrove;

/// More than are read at once with the least caution, before and after.
const RECORDS: usize = 900;
/// Two deaths before there is any caution, one with 256 records at a time, one with 16, three with the record alone,
/// and one for each of two epochs that can be under way.
const DEATHS_MAX: usize = 9;

/// A cloud whose stream has one bad record, and the configuration of its worker.
struct Scene {
    dir: TempDir,
    runtime: Runtime,
    world: World,
    bad: Record,
}

impl Scene {
    fn new(bad_at: usize) -> Self {
        let (dir, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let start_ms = hour_start_ms(2);
        let good = (0..RECORDS as u64).map(|n| reading(n % 20, n / 20, start_ms + n as i64));
        let mut records: Vec<Record> = good.collect();
        let bad = reading(99, 0, start_ms);
        records.insert(bad_at, bad.clone());
        let world = runtime.block_on(async {
            let world = World::new(&dir.path().join("cloud"), 1).await;
            world.put(&records).await;
            world
        });
        let config = format!(
            "stream.name = {STREAM:?}\nbucket.name = {BUCKET:?}\nschema.use = \"climate\"\nworker.id = \"worker-a\"\n\
             ops.bind = \"127.0.0.1:0\"\nepoch.age_max = \"200ms\"\nleases.heartbeat_interval = \"200ms\"\n"
        );
        fs::write(dir.path().join("mangrove.toml"), config).unwrap();
        Self { dir, runtime, world, bad }
    }

    fn lake(&self) -> PathBuf {
        self.dir.path().join("cloud/s3").join(BUCKET)
    }

    fn worker(&self, faults: &str) -> Process {
        let config = self.dir.path().join("mangrove.toml").display().to_string();
        let args = ["run", "--config", &config, "--endpoint-url", &self.world.cloud.endpoint_url()];
        mangrove(&args).env("MANGROVE_FAULTS", faults).start()
    }

    /// Until all records are stored, or the process has died.
    fn try_once(&self, faults: &str) -> Result<End, End> {
        let mut worker = self.worker(faults);
        while worker.is_running() {
            if stored(&self.lake()) == RECORDS as u64 + 1 {
                worker.signal("TERM");
                return Ok(worker.end().ok());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(worker.end().died_of(SIGABRT))
    }

    /// Everything but the bad record is in the cleansed zone once; that one is in quarantine, byte for byte.
    fn assert_quarantined(&self) {
        let lake = Lake::read(&self.lake());
        assert_eq!(lake.rows("cleansed").len(), RECORDS);
        let identities = lake.rows("cleansed").iter().map(mangrove_tests::lake::identity).collect::<Vec<_>>();
        assert_eq!(identities.iter().collect::<std::collections::BTreeSet<_>>().len(), RECORDS);
        let quarantine = lake.rows("quarantine");
        let found: Vec<_> = quarantine.iter().map(|row| (text(row, "reason"), bytes(row, "data"))).collect();
        assert_eq!(found, [("poison".to_owned(), self.bad.1.clone())]);
    }

    fn end(self) {
        self.runtime.block_on(self.world.stop());
    }
}

/// Records of which a manifest tells.
fn stored(lake: &Path) -> u64 {
    Lake::read(lake).promised("records")
}

#[test]
fn a_record_that_kills_the_process_is_quarantined_unread() {
    let _turn = turn();
    let scene = Scene::new(RECORDS / 2);
    let plan = format!("sensor.row[{}]=abort@1", sensor_id(99));
    let mut deaths = 0;
    let end = loop {
        match scene.try_once(&plan) {
            Ok(end) => break end,
            Err(_) => deaths += 1,
        }
        assert!(deaths <= DEATHS_MAX, "{deaths} processes have died of one record");
    };
    assert!(end.stderr.contains("a record is quarantined unread"), "{}", end.stderr);
    scene.assert_quarantined();
    println!("{deaths} deaths until it was quarantined");
    scene.end();
}

#[test]
fn panics_are_counted_across_processes() {
    let _turn = turn();
    // Early: three deaths make a shard be read with caution, and each must come as far as this record.
    let scene = Scene::new(5);
    let panics = format!("sensor.row[{}]=panic@1", sensor_id(99));
    // Each process sees one panic, and dies before anything is prepared.
    for _ in 0..3 {
        let end = scene.try_once(&format!("{panics};committer.planned=abort@1")).expect_err("it aborts");
        assert!(end.stderr.contains("sensor restarted"), "{}", end.stderr);
    }
    let end = scene.try_once(&panics).expect("nothing kills it any more");
    assert!(!end.stderr.contains("sensor restarted"), "the count was forgotten: {}", end.stderr);
    scene.assert_quarantined();
    scene.end();
}
