//! GOAL    A failed child restarts with all that may hold its address, and nobody else; too many failures escalate.
//! METHOD  Three probes, each holding the address of the one before. One of them is made to end in every possible way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::node::NodeState;
use actors::verdict::FailureVerdict;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::timeout;

use super::world::{LONG, ProbeMsg, World, a_b_c, config, subtree, surroundings};
use crate::supervision::{RootError, Scope, SupervisorArgs, SupervisorConfig};

#[tokio::test]
async fn crash_of_b_restarts_b_and_c_not_a() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let mut world = World::up(config(5)).await;
    world.tell("b", ProbeMsg::Fail("no luck"));
    assert_eq!(world.events.take(3).await, ["c stops", "b starts", "c starts"]);
    assert!(world.root.up().await);

    assert_eq!(world.restarts(), [0, 1, 1]);
    let error = world.node("b").last_error().unwrap();
    assert_eq!((error.message.as_str(), error.at_ms), ("no luck", 1_700_000_000_000));
    assert!(world.node("c").last_error().is_none());
    assert!(world.tree.nodes().iter().all(|node| node.state() == NodeState::Running));
    // The failure is counted, not what restarts with it.
    let metrics = recorder.handle().render();
    assert!(metrics.contains("mangrove_actor_restarts_total{kind=\"probe\"} 1"), "{metrics}");
}

#[tokio::test]
async fn addresses_are_fresh_after_a_restart() {
    let mut world = World::up(config(5)).await;
    let old = world.address("b");
    world.tell("b", ProbeMsg::Panic);
    assert_eq!(world.events.take(3).await, ["c stops", "b starts", "c starts"]);
    assert!(world.root.up().await);

    world.tell("c", ProbeMsg::Forward("hears c"));
    assert_eq!(world.events.next().await, "b hears c");
    assert!(old.send(ProbeMsg::Note("stale")).is_err());
    assert!(world.node("b").last_error().unwrap().message.contains("probe panics"));
}

#[tokio::test]
async fn one_for_all_restarts_all() {
    let mut world = World::up(SupervisorConfig { scope: Scope::OneForAll, ..config(5) }).await;
    world.tell("b", ProbeMsg::Fail("no luck"));
    let events = world.events.take(5).await;
    assert_eq!(events, ["c stops", "a stops", "a starts", "b starts", "c starts"]);
}

#[tokio::test]
async fn kills_and_stops_that_nobody_asked_for_are_failures() {
    let mut world = World::up(config(5)).await;
    world.address("c").actor().kill();
    assert_eq!(world.events.next().await, "c starts");
    assert!(world.root.up().await);
    assert_eq!(world.node("c").last_error().unwrap().message, "it ended unexpectedly: killed");

    world.tell("c", ProbeMsg::StopYourself);
    assert_eq!(world.events.take(2).await, ["c stops", "c starts"]);
    assert!(world.root.up().await);
    assert_eq!(world.node("c").last_error().unwrap().message, "it ended unexpectedly: bored");
    assert_eq!(world.restarts(), [0, 0, 2]);
}

#[tokio::test]
async fn one_failure_too_many_stops_all_and_names_child_and_cause() {
    let mut world = World::up(config(1)).await;
    world.tell("b", ProbeMsg::Fail("first"));
    assert_eq!(world.events.take(3).await, ["c stops", "b starts", "c starts"]);
    assert!(world.root.up().await);
    let b = world.node("b");
    world.tell("b", ProbeMsg::Fail("second"));
    assert_eq!(world.events.take(2).await, ["c stops", "a stops"]);

    let error = timeout(LONG, world.root.ended()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "gave up on b after 1 restarts within 600s: second");
    assert!(matches!(error, RootError::GivenUp(_)));
    assert_eq!(b.state(), NodeState::GivenUp);
}

#[tokio::test]
async fn a_broken_promise_is_given_up_at_once() {
    let mut world = World::up(config(5)).await;
    let b = world.node("b");
    world.tell("b", ProbeMsg::BreakPromise("two things differ"));
    assert_eq!(world.events.take(2).await, ["c stops", "a stops"]);
    let RootError::GivenUp(given_up) = timeout(LONG, world.root.ended()).await.unwrap().unwrap_err() else {
        panic!("it was not given up")
    };
    assert_eq!((given_up.cause.as_str(), given_up.verdict), ("two things differ", FailureVerdict::Final));
    assert_eq!((b.restarts(), b.state()), (0, NodeState::GivenUp));
}

#[tokio::test]
async fn a_subtree_that_gives_up_fails_its_parent_s_child() {
    let mut world = World::with(config(1), |workshop| {
        let inner = workshop.clone();
        let subtree = subtree("shard", "shard", move |context| {
            let tree = inner.tree();
            SupervisorArgs::new(&context.node.path, a_b_c(&inner), config(0), surroundings(&tree))
        });
        vec![workshop.probe("z", None), subtree]
    })
    .await;
    assert_eq!(world.events.take(4).await, ["z starts", "a starts", "b starts", "c starts"]);
    world.up_at("shard/c").await;
    world.tell("b", ProbeMsg::Fail("no luck"));
    assert_eq!(world.events.take(5).await, ["c stops", "a stops", "a starts", "b starts", "c starts"]);
    let error = world.node("shard").last_error().unwrap().message;
    assert_eq!(error, "gave up on shard/b after 0 restarts within 600s: no luck");

    world.up_at("shard/c").await;
    world.tell("a", ProbeMsg::Fail("still none"));
    assert_eq!(world.events.take(3).await, ["c stops", "b stops", "z stops"]);
    let error = timeout(LONG, world.root.ended()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("gave up on shard/a"), "{error}");
    assert!(error.to_string().contains("still none"), "{error}");
}

#[tokio::test]
async fn a_failure_during_the_back_off_widens_the_scope() {
    let mut slow = config(5);
    slow.restart.backoff_min = Duration::from_millis(200);
    slow.restart.backoff_max = Duration::from_millis(200);
    let mut world = World::up(slow).await;
    world.tell("c", ProbeMsg::Fail("no luck"));
    world.until(|world| world.node("c").state() == NodeState::Restarting).await;
    world.tell("a", ProbeMsg::Fail("none either"));
    assert_eq!(world.events.take(4).await, ["b stops", "a starts", "b starts", "c starts"]);
}

#[tokio::test]
async fn back_off_grows_from_failure_to_failure() {
    let delays = Arc::new(Mutex::new(Vec::new()));
    let mut grows = config(4);
    grows.restart.backoff_min = Duration::from_millis(20);
    grows.restart.backoff_max = Duration::from_millis(80);
    let mut world = World::up(grows).await;
    for _ in 0..4 {
        let failed = std::time::Instant::now();
        world.tell("c", ProbeMsg::Fail("no luck"));
        assert_eq!(world.events.next().await, "c starts");
        delays.lock().unwrap().push(failed.elapsed());
        assert!(world.root.up().await);
    }
    // Jitter is fixed at the middle: three quarters of 20, 40, 80, 80. A busy machine can only make it longer.
    for (delay, least_ms) in delays.lock().unwrap().iter().zip([15, 30, 60, 60]) {
        assert!(*delay >= Duration::from_millis(least_ms), "{delay:?} < {least_ms} ms");
    }
}
