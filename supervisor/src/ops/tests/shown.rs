//! GOAL    The page's routes say what is so, in words that lead to the cause.
//! METHOD  Real requests to a served endpoint over a worker of which one of everything is known; the judgement of single
//!         situations by calling it.

use std::time::Duration;

use actors::loading::{FailingLoads, LoaderStatus, MetadataFailure};
use actors::node::{Node, NodeState};
use actors::ports::aws::Failure;
use actors::shard::UnseenPath;
use actors::shard::{EpochLine, EpochStep, HeldUp, Holds};
use messages::CutReason;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::status::{NOW_MS, held, owned, status};
use super::world::{LONG, World, config};
use crate::leases::LeaseFinding;
use crate::ops::diagnosis::{Diagnosis, Level, Observed, diagnosis};
use crate::ops::flow::stages;
use crate::ops::page::RUNBOOKS;
use crate::ops::sampler::Sampler;
use crate::ops::shards::{ShardLine, ShardState, lines};
use crate::ops::status::{OwnedStatus, WorkerStatus};
use crate::supervision::tree::ListedNode;

/// The judgement of the one shard that is worked on, and of the whole.
fn judged(look: &WorkerStatus, nodes: &[&std::sync::Arc<Node>]) -> (ShardLine, Diagnosis) {
    let sampler = Sampler::default();
    let listed: Vec<ListedNode> =
        nodes.iter().map(|node| ListedNode { node: (*node).clone(), intensity: None }).collect();
    let shards = lines(look, &listed, &sampler, "w1");
    let evidence = Observed { status: look, listed: &listed, failures: &[], shards: &shards, sampler: &sampler };
    let diagnosis = diagnosis(&evidence);
    for finding in &diagnosis.findings {
        assert!(RUNBOOKS.iter().any(|(name, _)| *name == finding.runbook), "{} has no runbook", finding.runbook);
    }
    (shards.into_iter().find(|line| line.shard == "000000000003").unwrap(), diagnosis)
}

fn with(change: impl FnOnce(&mut WorkerStatus)) -> WorkerStatus {
    let mut look = status();
    change(&mut look);
    look
}

#[test]
fn the_reason_shown_is_the_nearest_to_the_cause() {
    let reader = Node::new("shards/000000000003/reader", "reader");
    reader.started();
    let cases: [(WorkerStatus, ShardState, &str, Option<&str>); 9] = [
        (status(), ShardState::Reading, "", None),
        (with(|look| look.owned[0].lag_ms = Some(90_000)), ShardState::Lagging, "90 s", Some("MangroveShardLagging")),
        (
            with(|look| look.owned[0].stalled = Duration::from_secs(20)),
            ShardState::Stuck,
            "nothing has moved for 20 s",
            Some("MangroveShardStuck"),
        ),
        (
            with(|look| look.owned[0].holds.budget_since_ms = Some(NOW_MS - 30_000)),
            ShardState::Held,
            "12.0 MiB of 128.0 MiB",
            Some("MangroveBudgetExhausted"),
        ),
        (
            // The budget is full because nothing can be stored.
            with(|look| {
                let budget_since_ms = Some(NOW_MS - 30_000);
                look.owned[0].holds =
                    Holds { uploading: Some(held("no such bucket")), budget_since_ms, ..Holds::default() };
            }),
            ShardState::Held,
            "cannot be stored: no such bucket (try 4)",
            Some("MangroveUploadsFailing"),
        ),
        (
            with(|look| look.owned[0].holds.reading = Some(held("network down"))),
            ShardState::Held,
            "cannot be read: network down",
            Some("MangroveShardStuck"),
        ),
        (
            with(|look| {
                let key = HeldUp { failure: Failure::Key, ..held("arn:aws:kms:eu-west-1:1:key/k is disabled") };
                look.owned[0].holds.uploading = Some(key);
            }),
            ShardState::Held,
            "arn:aws:kms:eu-west-1:1:key/k is disabled",
            Some("MangroveKeyRefused"),
        ),
        (
            // Nobody has said how far behind it is.
            with(|look| (look.owned[0].lag_ms, look.owned[0].read_at_ms) = (None, NOW_MS - 300_000)),
            ShardState::Reading,
            "",
            None,
        ),
        (
            with(|look| look.owned[0].holds.starting = Some(held("no table"))),
            ShardState::Starting,
            "cannot start: no table",
            Some("MangroveLeaseTableUnreachable"),
        ),
    ];
    for (look, state, words, runbook) in cases {
        let (line, _) = judged(&look, &[&reader]);
        assert_eq!((line.state, line.runbook), (state, runbook), "{words}");
        assert!(line.holds.as_deref().unwrap_or_default().contains(words), "{words}: {:?}", line.holds);
    }

    let trimmed = with(|look| look.owned[0].holds.trimmed_since_ms = Some(NOW_MS - 9_000));
    let (_, diagnosis) = judged(&trimmed, &[&reader]);
    let said = diagnosis.findings.iter().find(|finding| finding.runbook == "MangroveShardTrimmed").unwrap();
    assert!(said.since_ms == NOW_MS - 9_000 && said.what.contains("oldest record"), "{}", said.what);

    reader.failed("no records\n", NOW_MS - 7_000);
    reader.set_state(NodeState::Restarting);
    let (line, diagnosis) = judged(&status(), &[&reader]);
    assert_eq!((line.state, line.culprit.as_deref()), (ShardState::Restarting, Some("shards/000000000003/reader")));
    assert!(diagnosis.findings.iter().any(|finding| finding.view == "tree" && finding.since_ms == NOW_MS - 7_000));
}

#[test]
fn the_worst_and_then_the_oldest_comes_first() {
    let (_, diagnosis) = judged(&status(), &[]);
    let whats: Vec<&str> = diagnosis.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(whats, ["Worker w3 has been silent for 60 s."], "an unowned shard of this moment is none");
    let look = with(|look| {
        look.lease_findings.push((LeaseFinding::Fenced, "no heartbeat".into()));
        look.owned[0].holds.uploading = Some(held("slow down"));
    });
    let (_, diagnosis) = judged(&look, &[]);
    assert_eq!((diagnosis.level, diagnosis.findings[0].runbook), (Level::Critical, "MangroveFenced"));
    assert_eq!(diagnosis.findings.len(), 3);
    assert!(diagnosis.sentence.contains("And 2 findings more"), "{}", diagnosis.sentence);
    let empty = WorkerStatus { at_ms: NOW_MS, owned: vec![owned()], ..WorkerStatus::default() };
    let (_, diagnosis) = judged(&empty, &[]);
    assert!(diagnosis.sentence.starts_with("All is well: 1 shard read here, 200 ms behind"), "{}", diagnosis.sentence);
}

#[test]
fn a_warehouse_that_is_not_loaded_says_why_and_since_when() {
    let failing =
        |failures| FailingLoads { since_ms: NOW_MS - 90_000, failures, error: "the cluster is paused".into() };
    let loader = |look: &mut WorkerStatus, failures| {
        *look = WorkerStatus { at_ms: NOW_MS, loader: look.loader.take(), ..WorkerStatus::default() };
        let loader = look.loader.as_mut().unwrap();
        (loader.waiting, loader.failing) = (12, Some(failing(failures)));
    };
    let findings = |look: &WorkerStatus| {
        let evidence = Observed { status: look, listed: &[], failures: &[], shards: &[], sampler: &Sampler::default() };
        (diagnosis(&evidence).findings, stages(&evidence))
    };
    let (found, flow) = findings(&with(|look| loader(look, 2)));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].since_ms, found[0].runbook), (NOW_MS - 90_000, "MangroveWarehouseLagging"));
    assert_eq!(found[0].what, "The warehouse is not loaded, 12 epochs wait in the lake: the cluster is paused.");
    let stage = flow.iter().find(|stage| stage.name == "loader").unwrap();
    assert_eq!((stage.held, stage.note.as_str()), (true, "12 epochs waiting"));
    assert_eq!(flow.last().map(|stage| (stage.name, stage.note.as_str())), Some(("warehouse", "1.8 s")));
    assert!(findings(&with(|look| loader(look, 1))).0.is_empty(), "a single failure is tried again");
    let aside = |ago_ms| {
        with(|look| {
            let loader = LoaderStatus { put_aside_ms: Some(NOW_MS - ago_ms), ..LoaderStatus::default() };
            *look = WorkerStatus { at_ms: NOW_MS, loader: Some(loader), ..WorkerStatus::default() };
        })
    };
    assert_eq!(findings(&aside(60_000)).0[0].runbook, "MangroveWarehouseRefused");
    assert!(findings(&aside(7_200_000)).0.is_empty());
    let metadata = |active| {
        with(|look| {
            let what = "The metadata object a.csv is not used: is empty; what it said before stays in force".to_owned();
            let metadata = Some(MetadataFailure { since_ms: NOW_MS - 5_000, what });
            let loader = Some(LoaderStatus { active, metadata, ..LoaderStatus::default() });
            *look = WorkerStatus { at_ms: NOW_MS, loader, ..WorkerStatus::default() };
        })
    };
    let (found, _) = findings(&metadata(true));
    assert_eq!((found[0].since_ms, found[0].runbook), (NOW_MS - 5_000, "MangroveMetadataUnreadable"));
    assert!(found[0].what.starts_with("The metadata object a.csv is not used: is empty;"), "{}", found[0].what);
    assert!(findings(&metadata(false)).0.is_empty(), "another worker looks at it");
    let flow = findings(&aside(0)).1;
    assert!(flow.iter().any(|stage| stage.note == "another worker loads"), "{flow:?}");
}

#[test]
fn a_path_that_no_event_has_is_told_unless_another_shard_has_it() {
    let unseen = |of: &str, required: bool| UnseenPath {
        of: of.to_owned(),
        path: of.to_uppercase(),
        closest: required.then(|| "pm-2-5".to_owned()),
        required,
    };
    let found = |shards: Vec<Option<Vec<UnseenPath>>>| {
        let owned = shards.into_iter().map(|unseen_paths| OwnedStatus { unseen_paths, ..owned() });
        let look = WorkerStatus { at_ms: NOW_MS, owned: owned.collect(), ..WorkerStatus::default() };
        let (sampler, listed, failures) = (Sampler::default(), &[], &[]);
        let findings =
            diagnosis(&Observed { status: &look, listed, failures, shards: &[], sampler: &sampler }).findings;
        findings.into_iter().map(|finding| (finding.level, finding.what)).collect::<Vec<_>>()
    };
    let pm25 = "No event of the last epoch has PM25, where the event schema looks for pm25; events have pm-2-5.";
    let co = "No event of the last epoch has CO, where the event schema looks for co.";
    let both = || Some(vec![unseen("pm25", true), unseen("co", false)]);
    assert_eq!(found(vec![None, both()]), [(Level::Warning, pm25.to_owned()), (Level::Notice, co.to_owned())]);
    assert_eq!(found(vec![both(), Some(vec![unseen("co", false)])]), [(Level::Notice, co.to_owned())]);
    assert_eq!(found(vec![both(), Some(Vec::new())]), []);
    assert_eq!(found(vec![None]), []);
}

#[tokio::test]
async fn shards_are_shown_with_who_has_them_and_what_they_wait_for() {
    let world = World::serve(config()).await;
    let (status, reply) = world.json("/shards").await;
    assert_eq!(status, 200);
    let of =
        |shard: &str| reply["shards"].as_array().unwrap().iter().find(|line| line["shard"] == shard).unwrap().clone();
    assert_eq!((&of("000000000003")["state"], &of("000000000003")["here"]), (&json!("reading"), &json!(true)));
    assert_eq!(of("000000000003")["bytes_in_flight"], json!(4096));
    assert_eq!((&of("000000000004")["state"], &of("000000000004")["owner"]), (&json!("elsewhere"), &json!("w2")));
    assert_eq!(of("000000000000")["children"], json!(["000000000004"]));
    assert_eq!(of("000000000005")["holds"], json!("nobody has had it for 9.0 s"));
    assert_eq!(of("000000000006")["state"], json!("waiting"));
}

#[tokio::test]
async fn sensors_are_found_by_how_their_id_begins() {
    let world = World::serve(config()).await;
    let (status, reply) = world.json("/sensors?q=s12&limit=3").await;
    let ids: Vec<&Value> = reply["sensors"].as_array().unwrap().iter().map(|line| &line["sensor_id"]).collect();
    assert_eq!((status, ids), (200, vec![&json!("s1200"), &json!("s1201"), &json!("s1202")]));
    assert_eq!((&reply["total"], &reply["unanswered"]), (&json!(2500), &json!(["000000000007"])));
    for (query, n) in [("", 50), ("?limit=999999", 200), ("?q=%3Cscript%3E", 0), ("?q=%ff", 0)] {
        let (status, reply) = world.json(&format!("/sensors{query}")).await;
        assert_eq!((status, reply["sensors"].as_array().map(Vec::len)), (200, Some(n)), "{query}");
    }
    assert_eq!(world.json("/sensors?limit=-1").await.0, 400);
    assert_eq!(world.json("/sensors?query=a").await.0, 400);
}

#[tokio::test]
async fn a_silent_peer_is_shown_as_such() {
    let world = World::serve(config()).await;
    let (status, reply) = world.json("/cluster").await;
    assert_eq!(status, 200);
    let member = |at: usize| &reply["workers"][at];
    assert_eq!((&member(0)["worker"], &member(0)["answered"]), (&json!("w1"), &json!(true)));
    assert_eq!((&member(1)["answered"], &member(1)["why"]), (&json!(false), &json!("it cannot be reached")));
    assert_eq!(member(2)["alive"], json!(false));
    assert!(member(2)["why"].as_str().unwrap().contains("ops.advertise"));
}

#[tokio::test]
async fn events_begin_with_a_picture_and_go_on_with_what_changes() {
    let world = World::serve(config()).await;
    let mut socket = world.connect().await;
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let mut buffer = vec![0; 1 << 16];
    let mut read_until = async |mark: &str| {
        while !text.contains(mark) {
            let n = timeout(LONG, socket.read(&mut buffer)).await.unwrap().unwrap();
            assert!(n > 0, "it has ended: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
        text.clone()
    };
    let first = read_until("event: picture").await;
    assert!(first.contains("content-type: text/event-stream") && first.contains("200 OK"), "{first}");
    let first = read_until("\n\n").await;
    assert!(
        first.contains("\"node/shards/000000000003/committer\"") || read_until("overview").await.contains("overview")
    );
    world.nodes["alerts"].failed("no webhook", NOW_MS);
    let change = read_until("no webhook").await;
    assert!(change.contains("event: change") && change.contains("\"number\":2"), "{change}");

    // Another may listen, a third may not; and whoever leaves makes room.
    let other = world.get("/events").await;
    assert_eq!(other.status(), 200);
    let (status, refusal) = world.json("/events").await;
    assert_eq!((status, &refusal["error"]), (503, &json!("2 pages are listening already")));
    drop(other);
    let freed = async {
        while world.get("/events").await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, freed).await.unwrap();
}

#[tokio::test]
async fn the_page_is_served_under_a_policy_that_runs_nothing_else() {
    let world = World::serve(config()).await;
    let response = world.get("/").await;
    let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(!policy.contains("unsafe") && policy.contains("require-trusted-types-for 'script'"), "{policy}");
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    let html = response.text().await.unwrap();
    for file in ["style.css", "app.js"] {
        assert!(html.contains(&format!("/page/{file}")), "{html}");
    }
    for file in ["style.css", "app.js", "dom.js", "store.js", "views.js", "sensors.js", "admin.js"] {
        let response = world.get(&format!("/page/{file}")).await;
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        assert!(kind.starts_with(if file.ends_with("css") { "text/css" } else { "text/javascript" }), "{file}: {kind}");
        // Nothing parses text, and nothing is fetched from elsewhere.
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "https://", "localStorage", "@import"]
        {
            assert!(!text.contains(forbidden), "{file} has {forbidden}");
        }
    }
    assert_eq!(world.json("/page/none.js").await.0, 404);
    assert!(world.get("/runbooks/MangroveShardStuck").await.text().await.unwrap().starts_with("# MangroveShardStuck"));
    assert_eq!(world.json("/runbooks/..%2f..%2fCargo").await.0, 404);
}

/// What the data has used up of what the configuration allows is said, with the key and the shard.
#[test]
fn limits_that_the_data_has_reached_are_findings() {
    let found = |change: &dyn Fn(&mut WorkerStatus)| {
        let look = with(|look| {
            *look =
                WorkerStatus { at_ms: NOW_MS, owned: vec![owned()], limits: look.limits, ..WorkerStatus::default() };
            change(look);
        });
        let evidence =
            Observed { status: &look, listed: &[], failures: &[], shards: &[], sampler: &Sampler::default() };
        diagnosis(&evidence).findings.into_iter().map(|finding| (finding.what, finding.runbook)).collect::<Vec<_>>()
    };
    assert_eq!(found(&|look| look.memory = Some((600 << 20, 768 << 20))), []);
    let memory = found(&|look| look.memory = Some((740 << 20, 768 << 20)));
    assert!(memory[0].0.contains("worker.memory_limit") && memory[0].1 == "MangroveBudgetExhausted", "{memory:?}");
    let refused = |ago_ms: i64| found(&|look| look.owned[0].refused_ms = Some(NOW_MS - ago_ms));
    assert!(refused(1_000)[0].0.contains("sensors.known_max"), "{:?}", refused(1_000));
    assert_eq!(refused(3_600_000), []);
    let aged = |days: i64| found(&|look| look.owned[0].states_age_ms = Some(days * 86_400_000));
    assert_eq!(aged(10), []);
    let old = aged(11);
    assert!(old[0].0.contains("epoch.refresh_after") && old[0].1 == "MangroveStatesOld", "{old:?}");
    let line = |reason| EpochLine {
        epoch: 1,
        step: EpochStep::Committed,
        reason,
        bytes: 0,
        records: 0,
        readings: 0,
        clean: 0,
        quarantined: 0,
        duplicates: 0,
        alerts: 0,
        objects: 0,
        to: String::new(),
        cut_ms: NOW_MS,
        prepared_ms: None,
        uploaded_ms: None,
        committed_ms: None,
        trace_id: None,
    };
    let epochs = |reasons: [CutReason; 3]| found(&|look| look.owned[0].epochs = reasons.map(line).into());
    assert_eq!(epochs([CutReason::Partitions, CutReason::Age, CutReason::Partitions]), []);
    let partitions = epochs([CutReason::Partitions; 3]);
    assert!(partitions[0].0.contains("epoch.partitions_max"), "{partitions:?}");
}
