//! GOAL    The process stays within the memory that it was given, whatever the data is made of, and everything lands:
//!         nothing is given up, nothing fenced, good events among it are stored, and within ten seconds (BOUNDED, LIVE).
//! METHOD  The binary with its defaults and a memory limit, the chart's among them. Where a control group can be made it runs in one of
//!         that size, which kills whatever needs more; the kernel's own high-water mark is held against the limit anyway.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use mangrove_tests::lake::{Lake, parquet_rows, text};
use mangrove_tests::process::{End, Process, turn_alone};
use mangrove_tests::world::{BUCKET, Record, STREAM, World, an_hour_ago};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::mangrove;

/// `resources.limits.memory` of the chart.
const OF_THE_CHART: u64 = 2 << 30;
/// The least that holds budget and live sensors, and some hundred thousand known ones.
const LITTLE: u64 = 768 << 20;

struct Scene {
    dir: TempDir,
    runtime: Runtime,
    world: World,
    limit: u64,
}

impl Scene {
    fn new(shards: u32, limit: u64) -> Self {
        let (dir, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        let world = runtime.block_on(World::new(&dir.path().join("cloud"), shards));
        // What is held against a limit here is memory: on a busy machine a million sensors may need longer than by default.
        let config = format!(
            "stream.name = {STREAM:?}\nbucket.name = {BUCKET:?}\nschema.use = \"climate\"\nworker.id = \"worker-a\"\n\
             ops.bind = \"127.0.0.1:0\"\nworker.memory_limit = {limit}\nepoch.age_max = \"2s\"\n\
             leases.failover_after = \"10s\"\nworker.drain_timeout = \"60s\"\n"
        );
        fs::write(dir.path().join("mangrove.toml"), config).unwrap();
        Self { dir, runtime, world, limit }
    }

    fn put(&self, records: &[Record]) {
        self.runtime.block_on(self.world.put(records));
    }

    fn lake(&self) -> Lake {
        Lake::read(&self.dir.path().join("cloud/s3").join(BUCKET))
    }

    fn worker(&self) -> (Process, Option<Group>) {
        let config = self.dir.path().join("mangrove.toml").display().to_string();
        let mut worker =
            mangrove(&["run", "--config", &config, "--endpoint-url", &self.world.cloud.endpoint_url()]).start();
        let group = Group::of(worker.id(), self.limit);
        worker.printed("ops endpoint: ");
        (worker, group)
    }

    /// Until so many records are stored, and then to the end, within its memory and without any alarm.
    fn eats(&self, (mut worker, group): (Process, Option<Group>), records: u64) {
        for _ in 0..5 {
            // Each wait has its own patience: a slow machine may need more than one.
            if stored_within(&mut worker, || self.lake().promised("records") == records) {
                break;
            }
        }
        assert_eq!(self.lake().promised("records"), records);
        worker.signal("TERM");
        // What is open is written at the end, which takes the most.
        let mut peak = 0;
        while let Some(bytes) = worker.peak_bytes() {
            peak = bytes.max(peak);
            sleep(Duration::from_millis(5));
        }
        let end = worker.end().ok();
        println!("peak {} MiB of {}, in a group of its own: {}", peak >> 20, self.limit >> 20, group.is_some());
        assert_calm(peak, self.limit, &end);
    }
}

fn stored_within(worker: &mut Process, fact: impl Fn() -> bool) -> bool {
    let began = std::time::Instant::now();
    while began.elapsed().as_secs() < 50 {
        assert!(worker.is_running(), "it died: of its memory?");
        if fact() {
            return true;
        }
        sleep(Duration::from_millis(500));
    }
    false
}

/// A control group with the limit, in whichever version is mounted.
struct Group(PathBuf);

impl Group {
    fn of(pid: u32, bytes: u64) -> Option<Self> {
        let name = format!("mangrove-test-{pid}");
        let mounts = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        mounts.into_iter().find_map(|(mount, limit)| {
            let path = Path::new(mount).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            let set = |file: &str, value: String| fs::write(group.0.join(file), value).is_ok();
            (group.0.join(limit).exists() && set(limit, bytes.to_string()) && set("cgroup.procs", pid.to_string()))
                .then_some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn assert_calm(peak: u64, limit: u64, end: &End) {
    assert!(peak > 0 && peak < limit, "{} MiB of {}", peak >> 20, limit >> 20);
    for word in ["given up", "nothing has moved", "others take them", "restart"] {
        assert!(!end.stderr.contains(word), "{word}: {}", end.stderr);
    }
}

fn good(n: usize) -> Vec<Record> {
    (0..n).map(one_good).collect()
}

fn one_good(s: usize) -> Record {
    let time = an_hour_ago(s as i64);
    let event = format!(r#"{{"sensor_id":"good-{s}","event_id":"good-{s}","ts":"{time}","temperature":20.5}}"#);
    (format!("good-{s}"), event.into_bytes())
}

/// A fifth of a second of hostility: sensors never seen again, two-byte events, times that cannot be, no JSON at all.
fn hostile(step: usize) -> Vec<Record> {
    const IDS: usize = 200;
    let time = an_hour_ago(0);
    let id = |n: usize| format!(r#"{{"sensor_id":"{:x}","ts":"{time}","temperature":20.5}}"#, step * IDS + n);
    let ids: Vec<String> = (0..IDS).map(id).collect();
    let impossible = r#"{"sensor_id":"liar","ts":"0001-01-01T00:00:00Z","temperature":20.5}"#;
    let records = [ids.join("\n").into_bytes(), b"{}".repeat(500), impossible.into(), vec![0xff; 10_000]];
    records.into_iter().enumerate().map(|(n, data)| (format!("{step}-{n}"), data)).collect()
}

/// When the epochs that hold the readings of good sensors were whole.
fn landed(lake: &Lake) -> BTreeMap<String, SystemTime> {
    let whole: Vec<(String, SystemTime)> = lake
        .files("manifests", ".json")
        .iter()
        .map(|file| (fs::read_to_string(file).unwrap(), fs::metadata(file).unwrap().modified().unwrap()))
        .collect();
    let mut landed = BTreeMap::new();
    for file in lake.files("cleansed", ".parquet") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let (_, at) = whole.iter().find(|(manifest, _)| manifest.contains(name)).unwrap();
        let sensors = parquet_rows(&file).into_iter().map(|row| text(&row, "sensor_id"));
        landed.extend(sensors.filter(|sensor| sensor.starts_with("good-")).map(|sensor| (sensor, *at)));
    }
    landed
}

/// Each id once, many to a record, and some sensors that come among them.
fn flood_of_ids(ids: usize, shards: u32, limit: u64) {
    const EACH: usize = 500;
    let _turn = turn_alone();
    let scene = Scene::new(shards, limit);
    let time = an_hour_ago(0);
    let event = |n: usize| format!(r#"{{"sensor_id":"{n:x}","ts":"{time}","temperature":20.5}}"#);
    let record = |n: usize| {
        let events: Vec<String> = (n * EACH..(n + 1) * EACH).map(event).collect();
        (n.to_string(), events.join("\n").into_bytes())
    };
    let flood: Vec<Record> = (0..ids / EACH).map(record).collect();
    scene.put(&flood);
    scene.put(&good(50));
    scene.eats(scene.worker(), (ids / EACH + 50) as u64);
    assert_eq!(scene.lake().promised("clean"), (ids + 50) as u64);
    scene.runtime.block_on(scene.world.stop());
}

#[test]
fn four_hundred_thousand_sensors_on_four_shards() {
    flood_of_ids(400_000, 4, LITTLE);
}

#[test]
fn a_million_sensors_on_one_shard() {
    flood_of_ids(1_000_000, 1, OF_THE_CHART);
}

#[test]
fn two_byte_events_by_the_million() {
    const RECORDS: usize = 2_000;
    let _turn = turn_alone();
    let scene = Scene::new(1, LITTLE);
    let flood: Vec<Record> = (0..RECORDS).map(|n| (n.to_string(), b"{}".repeat(1_000))).collect();
    scene.put(&flood);
    scene.put(&good(50));
    scene.eats(scene.worker(), (RECORDS + 50) as u64);
    assert_eq!((scene.lake().promised("quarantined"), scene.lake().promised("clean")), (RECORDS as u64 * 1_000, 50));
    scene.runtime.block_on(scene.world.stop());
}

#[test]
fn what_is_good_lands_in_time_while_the_rest_is_hostile() {
    const STEPS: usize = 75;
    const EVERY: usize = 3;
    const WITHIN: Duration = Duration::from_secs(10);
    let _turn = turn_alone();
    let scene = Scene::new(1, LITTLE);
    let running = scene.worker();
    let mut sent = Vec::new();
    for step in 0..STEPS {
        scene.put(&hostile(step));
        if step % EVERY == 0 {
            scene.put(&[one_good(step)]);
            sent.push((step, SystemTime::now()));
        }
        sleep(Duration::from_millis(200));
    }
    scene.eats(running, (STEPS * 4 + sent.len()) as u64);
    let landed = landed(&scene.lake());
    let took =
        |(step, at): &(usize, SystemTime)| landed[&format!("good-{step}")].duration_since(*at).unwrap_or_default();
    let slowest = sent.iter().map(took).max().unwrap();
    println!("the slowest of {} good events landed after {} ms", sent.len(), slowest.as_millis());
    assert!(slowest < WITHIN, "{slowest:?}");
    scene.runtime.block_on(scene.world.stop());
}
