//! GOAL    A drain goes backwards through the list; each child finishes what it has, or is stopped after its share.
//! METHOD  Messages wait in mailboxes when the drain begins; one child never finishes.

use std::time::Duration;

use ractor::ActorCell;
use tokio::time::{Instant, timeout};

use super::world::{LONG, ProbeMsg, World, a_b_c, config, subtree, surroundings};
use crate::supervision::{RootError, SupervisorArgs, SupervisorConfig, SupervisorMsg};

#[tokio::test]
async fn children_drain_backwards_and_finish_what_they_have() {
    let mut world = World::up(config(0)).await;
    world.tell("c", ProbeMsg::Forward("hears c"));
    world.tell("b", ProbeMsg::Forward("hears b"));
    assert_eq!(timeout(LONG, world.root.drain(LONG)).await.unwrap().unwrap(), Vec::<String>::new());

    let events = world.events.rest();
    let at =
        |event: &str| events.iter().position(|seen| seen == event).unwrap_or_else(|| panic!("{event}: {events:?}"));
    assert!(at("b hears c") < at("b stops"));
    assert!(at("a hears b") < at("a stops"));
    assert!(at("c stops") < at("b stops") && at("b stops") < at("a stops"));
    timeout(LONG, world.root.ended()).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_does_not_finish_in_its_share_is_named_and_the_others_still_drain() {
    let mut world = World::up(config(0)).await;
    world.tell("c", ProbeMsg::AwaitForEver);
    world.tell("b", ProbeMsg::Note("has work"));
    let began = Instant::now();
    let late = timeout(LONG, world.root.drain(Duration::from_millis(300))).await.unwrap().unwrap();
    assert_eq!(late, ["c"]);
    assert!(began.elapsed() >= Duration::from_millis(100), "c had a third of the time");
    let events = world.events.rest();
    assert_eq!(events, ["b has work", "b stops", "a stops"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_keeps_for_each_what_it_needs_and_no_more_than_an_equal_part() {
    let (told, mut shares) = tokio::sync::mpsc::channel(3);
    let world = World::with(config(0), |w| {
        let drain = move |_: ActorCell, within: Duration| {
            let told = told.clone();
            async move {
                told.send(within).await.unwrap();
                std::future::pending().await
            }
        };
        let a = w.probe("a", None).draining_by(drain.clone()).needing(Duration::from_secs(4));
        let b = w.probe("b", None).draining_by(drain.clone());
        let c = w.probe("c", None).draining_by(drain).needing(Duration::from_secs(100));
        vec![a, b, c]
    })
    .await;
    assert!(world.root.up().await);
    assert_eq!(world.root.drain(Duration::from_secs(18)).await.unwrap(), ["c", "b", "a"]);
    let mut share = async || (shares.recv().await.unwrap().as_secs_f64() * 10.0).round() / 10.0;
    // Six seconds for b and four for a are kept while c drains; then four for a.
    assert_eq!([share().await, share().await, share().await], [8.0, 6.0, 4.0]);
}

#[tokio::test]
async fn a_crash_during_the_drain_is_recorded_and_not_restarted() {
    let mut world = World::up(config(5)).await;
    let b = world.node("b");
    world.tell("b", ProbeMsg::Fail("at last"));
    // Whichever comes first, failure or drain: nothing starts once the drain is done.
    timeout(LONG, world.root.drain(LONG)).await.unwrap().unwrap();
    timeout(LONG, world.root.ended()).await.unwrap().unwrap();
    assert_eq!(b.last_error().unwrap().message, "at last");
    let events = world.events.rest();
    assert_eq!(events.last().unwrap(), "a stops", "{events:?}");
}

#[tokio::test]
async fn a_drain_interrupts_a_back_off() {
    let mut slow = config(5);
    slow.restart.backoff_min = Duration::from_secs(3600);
    slow.restart.backoff_max = Duration::from_secs(3600);
    let mut world = World::up(slow).await;
    world.tell("b", ProbeMsg::Fail("no luck"));
    assert_eq!(world.events.next().await, "c stops");
    timeout(LONG, world.root.drain(LONG)).await.unwrap().unwrap();
    assert_eq!(world.events.rest(), ["a stops"]);
}

#[tokio::test]
async fn subtrees_drain_within_their_share() {
    let mut world = World::with(config(0), |workshop| {
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
    world.tell("c", ProbeMsg::Note("has work"));
    assert_eq!(timeout(LONG, world.root.drain(LONG)).await.unwrap().unwrap(), Vec::<String>::new());
    assert_eq!(world.events.rest(), ["c has work", "c stops", "b stops", "a stops", "z stops"]);
}

#[tokio::test]
async fn a_child_s_own_way_to_drain_is_used() {
    let mut world = World::with(config(0), |w| {
        let events = w.events.clone();
        let drain = move |_: ActorCell, _: Duration| {
            let events = events.clone();
            async move { events.send("a drains its own way".into()).unwrap() }
        };
        vec![w.probe("a", None).draining_by(drain)]
    })
    .await;
    assert!(world.root.up().await);
    world.root.drain(LONG).await.unwrap();
    assert_eq!(world.events.rest(), ["a starts", "a drains its own way", "a stops"]);
}

#[tokio::test]
async fn who_does_not_stop_is_killed() {
    let limits = SupervisorConfig { stop_timeout: Duration::from_millis(20), ..config(0) };
    let mut world = World::up(limits).await;
    world.tell("b", ProbeMsg::AwaitForEver);
    world.until(|world| world.node("b").busy_for().is_some()).await;
    world.root.actor().send_message(SupervisorMsg::Stop).unwrap();
    assert_eq!(world.events.take(2).await, ["c stops", "a stops"]);
}

#[tokio::test]
async fn a_killed_root_takes_its_children_along_and_says_that_it_died() {
    let mut world = World::up(config(0)).await;
    let a = world.address("a");
    world.root.actor().kill();
    assert!(matches!(timeout(LONG, world.root.ended()).await.unwrap(), Err(RootError::Died)));
    a.actor().wait(Some(LONG)).await.unwrap();
    assert!(world.root.drain(LONG).await.is_err());
}
