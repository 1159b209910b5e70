//! GOAL    Children start in order; starts that fail, hang or panic are failures like any other; nothing is left over.
//! METHOD  Start functions that misbehave on their first calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use messages::AlertsMsg;
use ractor::ActorRef;
use tokio::time::timeout;

use super::world::{LONG, ProbeMsg, Workshop, World, config, surroundings};
use crate::supervision::{
    ChildSpec, StartContext, StartError, StartOnce, SupervisorArgs, SupervisorConfig, SupervisorMsg,
};

/// A probe whose start does `first` instead on its first call.
fn at_first<F>(workshop: &Workshop, name: &'static str, first: F) -> ChildSpec
where
    F: Fn(StartContext) -> BoxFuture<'static, StartError> + Send + Sync + Clone + 'static,
{
    let (workshop, calls) = (workshop.clone(), Arc::new(AtomicU32::new(0)));
    ChildSpec::new(name, "probe", move |context| {
        let (workshop, first) = (workshop.clone(), first.clone());
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if is_first {
                return Err(first(context).await);
            }
            workshop.start(name, None, context).await
        }
    })
}

async fn recovers(
    limits: SupervisorConfig,
    first: impl Fn(StartContext) -> BoxFuture<'static, StartError> + Send + Sync + Clone + 'static,
) -> World {
    let mut world =
        World::with(limits, |w| vec![w.probe("a", None), at_first(w, "b", first), w.probe("c", None)]).await;
    assert!(timeout(LONG, world.root.up()).await.unwrap());
    assert_eq!(world.events.rest(), ["a starts", "b starts", "c starts"]);
    assert_eq!(world.restarts(), [0, 1, 0]);
    world
}

fn message(world: &World) -> String {
    world.node("b").last_error().unwrap().message
}

#[tokio::test]
async fn a_start_that_fails_is_tried_again() {
    let world = recovers(config(5), |_| Box::pin(async { StartError::failed("no bucket") })).await;
    assert_eq!(message(&world), "it could not start: no bucket");
}

#[tokio::test]
async fn a_start_that_panics_is_tried_again() {
    let world = recovers(config(5), |_| Box::pin(async { panic!("no bucket") })).await;
    assert_eq!(message(&world), "its start panicked: no bucket");
}

#[tokio::test]
async fn a_start_that_hangs_is_tried_again() {
    let limits = SupervisorConfig { start_timeout: Duration::from_millis(50), ..config(5) };
    let world = recovers(limits, |_| Box::pin(std::future::pending())).await;
    assert_eq!(message(&world), "it did not start within 50ms");
}

#[tokio::test]
async fn an_actor_whose_start_failed_later_is_killed() {
    let orphan = Arc::new(std::sync::Mutex::new(None));
    let held = orphan.clone();
    let (events, _keep) = tokio::sync::mpsc::unbounded_channel();
    let _world = recovers(config(5), move |context| {
        let (held, events) = (held.clone(), events.clone());
        Box::pin(async move {
            let probe = super::world::Probe { name: "orphan", events, before: None, node: context.node.clone() };
            *held.lock().unwrap() = Some(context.spawn(probe, ()).await.unwrap());
            StartError::failed("after the spawn")
        })
    })
    .await;
    let orphan = orphan.lock().unwrap().clone().unwrap();
    orphan.wait(Some(LONG)).await.unwrap();
}

#[tokio::test]
async fn a_failure_during_the_start_of_a_later_sibling_restarts_from_the_failed_one() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let held = gate.clone();
    let mut world = World::with(config(5), |w| {
        let first = move |_| -> BoxFuture<'static, StartError> {
            let gate = held.clone();
            Box::pin(async move {
                let _ = gate.acquire().await;
                StartError::failed("too late")
            })
        };
        vec![w.probe("a", None), at_first(w, "b", first)]
    })
    .await;
    assert_eq!(world.events.next().await, "a starts");
    world.until(|world| world.node("a").state() == actors::node::NodeState::Running).await;
    world.tell("a", ProbeMsg::Fail("meanwhile"));
    world.until(|world| world.node("a").last_error().is_some()).await;
    gate.add_permits(1);
    assert_eq!(world.events.take(2).await, ["a starts", "b starts"]);
}

#[tokio::test]
async fn a_wrong_order_or_protocol_is_told() {
    let asks = |name: &'static str| {
        ChildSpec::new("b", "probe", move |context: StartContext| async move {
            context.address::<AlertsMsg>(name).map(|address| ActorRef::get_cell(address.actor()))
        })
    };
    for (name, expected) in [("c", "no sibling called \"c\" runs before it"), ("a", "the sibling \"a\" does not take")]
    {
        let mut world = World::with(config(0), |w| vec![w.probe("a", None), asks(name), w.probe("c", None)]).await;
        let error = timeout(LONG, world.root.ended()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_stop_is_expected_and_goes_backwards() {
    let mut world = World::up(config(0)).await;
    world.root.actor().send_message(SupervisorMsg::Stop).unwrap();
    assert_eq!(world.events.take(3).await, ["c stops", "b stops", "a stops"]);
    timeout(LONG, world.root.ended()).await.unwrap().unwrap();
    world.root.actor().wait(Some(LONG)).await.unwrap();
    world.until(|world| world.tree.nodes().is_empty()).await;
}

/// Two probes whose names are prepared by this function: of incarnation `n`, so many of them.
async fn prepared(prepare: impl Fn(u32) -> Result<usize, StartError> + Send + Sync + 'static) -> World {
    const NAMES: [[&str; 2]; 3] = [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]];
    let world = World::of(|workshop| {
        let (workshop, n) = (workshop.clone(), AtomicU32::new(0));
        let around = surroundings(&workshop.tree());
        let children = vec![ChildSpec::prepared("a", "probe"), ChildSpec::prepared("b", "probe")];
        SupervisorArgs::new("", children, config(2), around).prepared_by(move || {
            let n = n.fetch_add(1, Ordering::Relaxed);
            let start = |name: &'static str| -> StartOnce {
                let workshop = workshop.clone();
                Box::new(move |context| Box::pin(workshop.start(name, None, context)))
            };
            let starts = prepare(n).map(|n_starts| NAMES[n as usize].map(start).into_iter().take(n_starts).collect());
            async { starts }
        })
    })
    .await;
    assert!(timeout(LONG, world.root.up()).await.unwrap());
    world
}

#[tokio::test]
async fn every_incarnation_is_prepared_afresh_for_all() {
    let mut world = prepared(|_| Ok(2)).await;
    assert_eq!(world.events.rest(), ["a0 starts", "b0 starts"]);
    world.tell("b0", ProbeMsg::Fail("no luck"));
    assert_eq!(world.events.take(3).await, ["a0 stops", "a1 starts", "b1 starts"]);
}

#[tokio::test]
async fn a_preparation_that_fails_is_a_failure_of_the_first() {
    let fails = |n| if n == 0 { Err(StartError::failed("no bucket")) } else { Ok(2) };
    let mut world = prepared(fails).await;
    assert_eq!(world.events.rest(), ["a1 starts", "b1 starts"]);
    assert_eq!(world.node("a").last_error().unwrap().message, "it could not start: no bucket");
}

#[tokio::test]
async fn a_child_that_nothing_is_prepared_for_is_a_failure() {
    let mut world = prepared(|n| Ok(if n == 0 { 1 } else { 2 })).await;
    assert_eq!(world.events.rest(), ["a0 starts", "a0 stops", "a1 starts", "b1 starts"]);
    assert_eq!(world.node("b").last_error().unwrap().message, "nothing is prepared for it");
}
