//! GOAL    Every route answers what it promises.
//! METHOD  Real requests to a served endpoint; the tree's nodes are set by hand.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actors::node::NodeState;
use serde_json::json;
use tokio::time::timeout;

use super::world::{LONG, World, config};
use crate::ops::{OpsConfig, TreeReply};
use crate::tree_view::{Colour, render};

#[tokio::test]
async fn alive_until_a_node_is_given_up_or_hangs() {
    let world = World::serve(OpsConfig { hang_timeout: Duration::ZERO, ..config() }).await;
    assert_eq!(world.json("/livez").await, (200, json!({"ok": true, "worker": "w1", "checks": []})));

    world.nodes["alerts"].failed("no webhook", 1);
    world.nodes["alerts"].set_state(NodeState::GivenUp);
    let (status, reply) = world.json("/livez").await;
    assert_eq!(status, 503);
    assert_eq!(reply["checks"], json!([{"name": "alerts", "ok": false, "why": "given up: no webhook"}]));

    world.nodes["alerts"].set_state(NodeState::Running);
    let busy = world.nodes["elsewhere/reader"].handling();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (status, reply) = world.json("/livez").await;
    assert_eq!((status, &reply["checks"][0]["name"]), (503, &json!("elsewhere/reader")));
    drop(busy);
    assert_eq!(world.json("/livez").await.0, 200);
}

#[tokio::test]
async fn ready_if_every_check_holds() {
    let world = World::serve(config()).await;
    assert_eq!(world.json("/readyz").await.0, 200);
    world.ready.store(false, Ordering::Relaxed);
    let (status, reply) = world.json("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(reply["checks"][0], json!({"name": "leases", "ok": false, "why": "no lease yet"}));
    assert_eq!(reply["checks"][1]["ok"], json!(true));
}

#[tokio::test]
async fn metrics_are_text() {
    let world = World::serve(config()).await;
    let response = world.get("/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(response.text().await.unwrap().contains("mangrove_test_total 7"));
}

#[tokio::test]
async fn the_tree_is_nested_in_order_with_each_shard_s_sensors_in_numbers() {
    let world = World::serve(config()).await;
    world.nodes["shards/000000000003"].started();
    world.nodes["shards/000000000003"].restarted();
    world.nodes["shards/000000000003/committer"].failed("no\u{1b}[2J bucket", 5);
    let reply: TreeReply = world.get("/tree").await.json().await.unwrap();

    assert_eq!(reply.worker, "w1");
    let names: Vec<&str> = reply.children.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["alerts", "shards", "elsewhere"]);
    assert_eq!(reply.children[2].kind, "group");
    let shard = &reply.children[1].children[0];
    assert_eq!((shard.path.as_str(), shard.kind.as_str()), ("shards/000000000003", "shard"));
    assert_eq!((shard.state.as_str(), shard.restarts), ("running", 1));
    assert_eq!(shard.sensors.map(|s| (s.total, s.live, s.restarting)), Some((2500, 2000, 1)));
    // Listed before its parent, and still below it.
    let committer = &shard.children[0];
    assert_eq!(committer.last_error.as_ref().map(|e| (e.message.as_str(), e.at)), Some(("no\u{1b}[2J bucket", 5)));
    assert!(render(&reply, Colour::Never).contains("no\\u{1b}[2J bucket"));
}

#[tokio::test]
async fn sensors_come_in_pages() {
    let world = World::serve(config()).await;
    let (status, reply) = world.json("/tree?shard=000000000003&after=s0001&limit=2").await;
    assert_eq!(status, 200);
    assert_eq!((&reply["total"], &reply["live"], &reply["after"]), (&json!(2500), &json!(2000), &json!("s0001")));
    assert_eq!(reply["next"], json!("s0003"));
    assert_eq!(reply["sensors"][0]["sensor_id"], json!("s0002"));
    assert_eq!(reply["sensors"].as_array().unwrap().len(), 2);

    for (query, n) in [
        ("", 100),
        ("&limit=999999999", 1000),
        ("&after=s2498", 1),
        ("&after=t", 0),
        ("&offset=0", 100),
        ("&limit=0", 0),
    ] {
        let (_, reply) = world.json(&format!("/tree?shard=shardId-000000000003{query}")).await;
        assert_eq!(reply["sensors"].as_array().map(Vec::len), Some(n), "{query}");
    }
    let (status, reply) = world.json("/tree?shard=000000000099").await;
    assert_eq!((status, &reply["hint"]), (404, &json!("it owns 000000000003")));
    for query in ["offset=1", "offset=-1", "limit=many", "limit=99999999999999999999999", "shard=a&shard=b"] {
        assert_eq!(world.json(&format!("/tree?shard=000000000003&{query}")).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn a_sensor_is_found_by_its_encoded_id() {
    let world = World::serve(config()).await;
    for (target, id) in [("/sensors/s-1.a:b@c_d", "s-1.a:b@c_d"), ("/sensors/a%2Fb", "a/b"), ("/sensors/%C3%BC", "ü")]
    {
        let (status, reply) = world.json(target).await;
        assert_eq!((status, &reply["sensor_id"]), (200, &json!(id)), "{target}");
    }
    let (status, reply) = world.json("/sensors/nobody").await;
    assert_eq!(status, 404);
    assert!(reply["hint"].as_str().unwrap().contains("first event"));
    let (status, reply) = world.json("/sensors/mute").await;
    assert_eq!((status, &reply["error"]), (503, &json!("shard 000000000007 did not answer in time")));
}

#[tokio::test]
async fn it_ends_when_told() {
    let world = World::serve(config()).await;
    let _idle = world.connect().await;
    assert_eq!(world.get("/livez").await.status(), 200);
    world.shutdown.send(true).unwrap();
    // Well before the idle socket's time is over.
    timeout(LONG / 2, world.served).await.unwrap().unwrap();
}
