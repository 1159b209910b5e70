//! GOAL    An epoch is one trace, from GetRecords to the commit, and an alert is in the trace of its reading; a
//!         collector that fails costs spans and a counter; nothing that sensors send is in a trace (BOUNDED, INERT).
//! METHOD  A worker as a process, over records with a mark in every place that is theirs, and a collector that reads what
//!         comes with the protocol's own messages. Collectors that are away, refuse and hang.

use std::fs;
use std::time::Duration;

use mangrove_tests::collector::{Collector, Manners, attributes, hex, tree};
use mangrove_tests::lake::Lake;
use mangrove_tests::process::{End, Process, get, turn};
use mangrove_tests::world::{BUCKET, Record, STREAM, World, an_hour_ago};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::mangrove;

const MARK: &str = "c4n4ry-5ee1";
const TOKEN: &str = "t0ken-0f-the-c0llector";

/// Twenty calm readings of one sensor, then one at 80 degrees, which raises an alert.
fn records() -> Vec<Record> {
    let reading = |n: i64| {
        let celsius = if n == 20 { 80.0 } else { 20.0 + (n % 3) as f64 };
        let time = an_hour_ago(n * 60_000);
        let json =
            format!(r#"{{"sensor_id":"s-{MARK}","event_id":"{MARK}-{n}","ts":"{time}","temperature":{celsius}}}"#);
        (format!("key-{MARK}"), json.into_bytes())
    };
    (0..=20).map(reading).collect()
}

/// A cloud with the records, and a worker over them.
struct Scene {
    runtime: Runtime,
    dir: tempfile::TempDir,
    world: World,
    stored: u64,
}

impl Scene {
    fn new() -> Self {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let world = runtime.block_on(World::new(&dir.path().join("cloud"), 1));
        Self { runtime, dir, world, stored: 0 }
    }

    fn collector(&self, manners: Manners) -> Collector {
        self.runtime.block_on(Collector::open(manners))
    }

    /// Puts the records, and waits until a worker with these settings has stored them.
    fn worker(&mut self, settings: &str) -> (Process, String) {
        let config = format!(
            "stream.name = \"{STREAM}\"\nbucket.name = \"{BUCKET}\"\nleases.table = \"leases\"\nschema.use = \"climate\"\n\
             ops.bind = \"127.0.0.1:0\"\nepoch.age_max = \"300ms\"\n{settings}\n"
        );
        let file = self.dir.path().join("mangrove.toml");
        fs::write(&file, config).unwrap();
        let records = records();
        self.runtime.block_on(self.world.put(&records));
        self.stored += records.len() as u64;
        let url = self.world.cloud.endpoint_url();
        let mut worker = mangrove(&["run", "--config", &file.display().to_string(), "--endpoint-url", &url])
            .env("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=worker-0,deployment.environment.name=a%2Cb")
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-token={TOKEN}"))
            .start();
        let ops = worker.printed("ops endpoint: ");
        let (bucket, stored) = (self.dir.path().join("cloud/s3").join(BUCKET), self.stored);
        worker.until("all records", |_| Lake::read(&bucket).promised("records") == stored);
        (worker, ops)
    }
}

fn ended(worker: Process) -> End {
    worker.signal("TERM");
    worker.end().ok()
}

/// The value of a series, as it is written.
fn metric(ops: &str, series: &str) -> f64 {
    let (_, text) = get(ops, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

fn json(ops: &str, target: &str) -> Value {
    serde_json::from_str(&get(ops, target).1).unwrap()
}

#[test]
fn an_epoch_and_its_alert_are_one_trace() {
    let _turn = turn();
    let mut scene = Scene::new();
    let collector = scene.collector(Manners::Takes);
    let began = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let address = &collector.address;
    let (mut worker, ops) = scene.worker(&format!(
        "[traces]\nendpoint = \"{address}\"\nsample_ratio = 1.0\nids = \"xray\"\ninterval = \"100ms\"\n\
         [alerts]\nwebhooks = [\"{address}/hook\"]"
    ));
    let committed = |epochs: &Value| {
        let first = &epochs["shards"][0]["epochs"][0];
        (first["step"] == "committed").then(|| first["trace_id"].as_str().unwrap().to_owned())
    };
    let mut of_epoch = None;
    worker.until("a committed epoch", |_| {
        of_epoch = committed(&json(&ops, "/epochs"));
        of_epoch.is_some()
    });
    worker.until("an alert that was sent", |_| json(&ops, "/alerts")["alerts"][0]["outcome"] == "sent");
    let of_alert = json(&ops, "/alerts")["alerts"][0]["trace_id"].as_str().unwrap().to_owned();
    worker.until("spans that were sent", |_| metric(&ops, "mangrove_trace_spans_sent_total") > 0.0);
    assert_eq!(metric(&ops, "mangrove_trace_spans_lost_total{cause=\"queue_full\"}"), 0.0);
    let end = ended(worker);

    let traces = collector.traces();
    for spans in traces.values() {
        let names = tree(spans);
        for name in ["epoch", "cut", "encode", "prepare", "upload", "manifests", "commit"] {
            assert!(names.contains(name), "no {name} in {names:?}");
        }
        assert!(spans.iter().all(|span| span.status.is_none()), "{spans:?}");
    }
    assert!(traces.contains_key(&of_epoch.unwrap()), "the page names a trace that nobody has");
    let spans = &traces[&of_alert];
    let names = tree(spans);
    for name in ["GetRecords", "batch", "decode", "sensors", "aggregate", "raw", "cleansed", "alert", "webhook"] {
        assert!(names.contains(name), "no {name} in {names:?}");
    }
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    assert_eq!(hex(&named("webhook").parent_span_id), hex(&named("alert").span_id));
    assert_eq!(hex(&named("alert").parent_span_id), hex(&named("batch").span_id));
    let root = named("epoch");
    let root_says = attributes(&root.attributes);
    assert_eq!((root_says["messaging.destination.name"].as_str(), root.kind), (STREAM, 5));
    let alert_says = attributes(&named("alert").attributes);
    assert_eq!(alert_says["mangrove.alert.kind"], "range");

    // X-Ray wants the time in the first 32 bits.
    let ended = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    for span in traces.values().flatten() {
        let seconds = u32::from_be_bytes(span.trace_id[..4].try_into().unwrap()).into();
        assert!((began.as_secs()..=ended.as_secs()).contains(&seconds), "{}", hex(&span.trace_id));
    }
    for message in collector.messages() {
        let resource = attributes(&message.resource_spans[0].resource.as_ref().unwrap().attributes);
        assert_eq!((resource["service.name"].as_str(), resource["k8s.pod.name"].as_str()), ("mangrove", "worker-0"));
        assert_eq!(resource["deployment.environment.name"], "a,b");
        assert!(resource.contains_key("service.version") && resource.contains_key("service.instance.id"));
    }
    for (headers, body) in collector.requests() {
        assert_eq!(
            (headers["content-type"].as_bytes(), headers["x-token"].as_bytes()),
            (&b"application/x-protobuf"[..], TOKEN.as_bytes())
        );
        assert!(!String::from_utf8_lossy(&body).contains(MARK), "a trace says what a sensor has sent");
    }
    assert!(!end.stderr.contains(TOKEN), "{}", end.stderr);
}

#[test]
fn a_collector_that_fails_costs_spans_and_nothing_else() {
    let _turn = turn();
    let mut scene = Scene::new();
    let away = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", free.local_addr().unwrap())
    };
    let (fails, hangs) = (scene.collector(Manners::Fails), scene.collector(Manners::Hangs));
    for (address, cause) in [(&away, "unreachable"), (&fails.address, "refused"), (&hangs.address, "unreachable")] {
        let (mut worker, ops) = scene.worker(&format!(
            "[traces]\nendpoint = \"{address}\"\nsample_ratio = 1\ninterval = \"20ms\"\ntimeout = \"300ms\"\n\
             flush_timeout = \"500ms\""
        ));
        let lost = format!("mangrove_trace_spans_lost_total{{cause=\"{cause}\"}}");
        worker.until("spans that were lost", |_| metric(&ops, &lost) > 0.0);
        assert_eq!(metric(&ops, "mangrove_trace_spans_sent_total"), 0.0);
        worker.until("readiness", |_| get(&ops, "/readyz").0 == 200);
        let end = ended(worker);
        assert!(end.after < Duration::from_secs(30), "{:?}", end.after);
        let complaints = end.stderr.matches("the collector does not take traces").count();
        assert_eq!(complaints, 1, "{}", end.stderr);
        assert!(!end.stderr.contains(address.as_str()) && !end.stderr.contains(TOKEN), "{}", end.stderr);
    }
    assert!(!fails.requests().is_empty() && !hangs.requests().is_empty());

    // Nothing is sent when nothing is wanted.
    let takes = scene.collector(Manners::Takes);
    let (worker, ops) = scene.worker(&format!("[traces]\nendpoint = \"{}\"\nsample_ratio = 0.0", takes.address));
    let shown = json(&ops, "/epochs");
    assert!(shown["shards"][0]["epochs"][0]["trace_id"].is_null(), "{shown}");
    ended(worker);
    assert!(takes.requests().is_empty());
}
