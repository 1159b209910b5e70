//! GOAL    An operator can see and steer a cluster of real workers: orders do what they say, lose nothing, and are for
//!         who has the token alone (RAW-ONCE, INERT).
//! METHOD  A cloud, two workers and a fleet as processes; the admin endpoint of one is told to hand over, restart, split
//!         and drain. The zones are held against the ledger in the end.

use std::fs;

use mangrove_tests::lake::Lake;
use mangrove_tests::process::ledgers::assert_holds;
use mangrove_tests::process::{Process, get, post, turn};
use serde_json::{Value, json};

use crate::mangrove;

const TOKEN: &str = "correct-horse-battery-staple-0123";

fn json_of(base: &str, target: &str) -> Value {
    let (status, body) = get(base, target);
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn order(admin: &str, name: &str, body: &Value) -> (u16, String) {
    let headers = format!("Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n");
    post(admin, &format!("/admin/{name}"), &headers, &body.to_string())
}

fn shards(ops: &str, of: impl Fn(&Value) -> bool) -> Vec<String> {
    let reply = json_of(ops, "/shards");
    let lines = reply["shards"].as_array().unwrap().iter().filter(|line| of(line));
    lines.map(|line| line["shard"].as_str().unwrap().to_owned()).collect()
}

fn here(ops: &str) -> Vec<String> {
    shards(ops, |line| line["here"] == true && line["state"] == "reading")
}

#[test]
fn orders_do_what_they_say_and_lose_nothing() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("token"), format!("{TOKEN}\n")).unwrap();
    let config = "stream.name = \"events\"\nbucket.name = \"lake\"\nschema.use = \"climate\"\nops.bind = \"127.0.0.1:0\"\n\
                  epoch.age_max = \"300ms\"\n";
    let admin = format!("admin.bind = \"127.0.0.1:0\"\nadmin.token_file = {:?}\n", path("token"));
    fs::write(path("b.toml"), config).unwrap();
    fs::write(path("a.toml"), format!("{config}{admin}")).unwrap();
    let cloud = path("cloud");
    let args = ["local", "--bind", "127.0.0.1:0", "--data-dir", &cloud, "--stream", "events", "--shards", "4"];
    let mut local = mangrove(&[args.as_slice(), &["--bucket", "lake"]].concat()).start();
    let url = local.printed("local cloud at ").split(',').next().unwrap().to_owned();
    local.printed("Ctrl-C stops it");
    let worker = |name: &str| {
        let config = path(&format!("{name}.toml"));
        let mut worker = mangrove(&["run", "--config", &config, "--worker-id", name, "--endpoint-url", &url]).start();
        let ops = worker.printed("ops endpoint: ");
        (worker, ops)
    };
    let (mut a, ops_a) = worker("a");
    let admin = a.printed("admin endpoint: ");
    let (mut b, ops_b) = worker("b");
    let ledger = path("ledger/1.jsonl");
    let fleet = ["fleet", "--endpoint-url", &url, "--stream", "events", "--ledger", &ledger, "--seed", "1"];
    let rest = ["--sensors", "100", "--rate", "500", "--for", "12s", "--json"];
    let fleet = mangrove(&[fleet.as_slice(), &rest].concat()).start();
    a.until("two shards each", |_| here(&ops_a).len() == 2 && here(&ops_b).len() == 2);

    // What is seen: each other, epochs, and the readings of a sensor that somebody looks at.
    a.until("the other worker's answer", |_| {
        let cluster = json_of(&ops_a, "/cluster");
        let answered = |worker: &Value| worker["worker"] == "b" && worker["answered"] == true;
        let members = cluster["workers"].as_array().unwrap();
        members.iter().any(|worker| answered(worker) && worker["tree"]["worker"] == "b")
    });
    a.until("a committed epoch", |_| {
        let epochs = json_of(&ops_a, "/epochs");
        epochs["shards"][0]["epochs"]
            .as_array()
            .is_some_and(|lines| lines.iter().any(|line| line["step"] == "committed"))
    });
    let found = json_of(&ops_a, "/sensors?q=s-&limit=1")["sensors"][0]["sensor_id"].as_str().unwrap().to_owned();
    a.until("recent readings", |_| {
        let sensor = json_of(&ops_a, &format!("/sensors/{found}"));
        sensor["recent"]["readings"].as_array().is_some_and(|readings| readings.len() >= 3)
    });
    let shown = get(&ops_a, "/config").1;
    assert!(shown.contains("token_file") && !shown.contains(TOKEN), "{shown}");

    // Nobody without the token.
    let body = json!({"shard": here(&ops_a)[0], "reason": "balance"}).to_string();
    assert_eq!(post(&admin, "/admin/hand-over", "Content-Type: application/json\r\n", &body).0, 401);
    assert_eq!(get(&admin, "/admin/hand-over").0, 405);
    assert_eq!(order(&ops_a, "drain", &json!({"confirm": "a", "reason": "update"})).0, 405);

    // A restart shows with its count and its reason, whoever looks.
    let [first, second] = <[String; 2]>::try_from(here(&ops_a)).unwrap();
    let restarted = format!("shards/{first}/sinks");
    let (status, reply) = order(&admin, "restart", &json!({"path": restarted, "reason": "a test"}));
    assert_eq!(status, 200, "{reply}");
    a.until("the restart", |_| {
        let restart = &json_of(&ops_a, "/restarts")["restarts"][0];
        restart["path"] == restarted.as_str()
            && restart["attempt"] == 1
            && restart["cause"].as_str().unwrap().starts_with("restarted on request: a test")
    });
    a.until("the shard again", |_| here(&ops_a).contains(&first));

    // Another worker takes what is handed over, and what is split.
    let (status, reply) = order(&admin, "hand-over", &json!({"shard": second, "reason": "balance"}));
    assert_eq!(status, 200, "{reply}");
    a.until("the hand-over", |_| here(&ops_b).contains(&second) && !here(&ops_a).contains(&second));
    let (status, reply) = order(&admin, "split", &json!({"shard": first, "confirm": first, "reason": "hot"}));
    assert_eq!(status, 200, "{reply}");
    let children = |ops: &str| shards(ops, |line| line["parents"] == json!([first]));
    a.until("both children", |_| {
        let children = children(&ops_b);
        let read: Vec<String> = [here(&ops_a), here(&ops_b)].concat();
        children.len() == 2 && children.iter().all(|child| read.contains(child))
    });

    // A drained worker ends well, and the other has everything.
    let (status, reply) = order(&admin, "drain", &json!({"confirm": "a", "reason": "update"}));
    assert_eq!(status, 200, "{reply}");
    let end = a.end().ok();
    assert!(end.stderr.contains("admin action") && end.stderr.contains("reason=\"update\""), "{}", end.stderr);
    assert!(!end.stderr.contains(TOKEN));
    let acked = fleet.end().ok().json()["acked"].as_u64().unwrap();
    let bucket = dir.path().join("cloud/s3/lake");
    stored(&mut b, &bucket, acked);
    let held = assert_holds(&dir.path().join("ledger"), &bucket);
    assert_eq!((held.acked, held.raw), (acked, acked));
}

fn stored(worker: &mut Process, bucket: &std::path::Path, acked: u64) {
    worker.until("all that is acknowledged", |_| Lake::read(bucket).promised("records") == acked);
}
