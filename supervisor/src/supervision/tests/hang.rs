//! GOAL    A handler that hangs is found, its actor killed or abandoned, and a new incarnation works.
//! METHOD  One probe awaits for ever, one blocks its thread; the watchdog looks every few milliseconds.

use std::time::Duration;

use super::world::{LONG, ProbeMsg, World, config};
use crate::supervision::SupervisorConfig;
use crate::supervision::watchdog::{Pulse, Watchdog, WatchdogConfig};

fn watch(world: &World) -> Watchdog {
    let times = WatchdogConfig { scan_every: Duration::from_millis(10), hang_timeout: Duration::from_millis(100) };
    Watchdog::spawn(world.tree.clone(), times, Pulse::default())
}

#[tokio::test]
async fn a_handler_that_awaits_for_ever_is_killed_and_restarted() {
    let mut world = World::up(config(5)).await;
    let _watchdog = watch(&world);
    world.tell("b", ProbeMsg::AwaitForEver);
    assert_eq!(world.events.take(3).await, ["c stops", "b starts", "c starts"]);
    assert!(world.root.up().await);
    let error = world.node("b").last_error().unwrap().message;
    assert!(error.starts_with("it hung in one handler for"), "{error}");
    assert_eq!(world.restarts(), [0, 1, 1]);
    assert!(world.node("b").busy_for().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_is_abandoned() {
    let mut world = World::up(SupervisorConfig { kill_grace: Duration::from_millis(50), ..config(5) }).await;
    let _watchdog = watch(&world);
    let (free, gate) = std::sync::mpsc::channel();
    let abandoned = world.address("b");
    world.tell("b", ProbeMsg::BlockThread(gate));
    assert_eq!(world.events.take(4).await, ["b blocks", "c stops", "b starts", "c starts"]);
    assert!(world.root.up().await);
    let error = world.node("b").last_error().unwrap().message;
    assert!(error.ends_with("it blocks its thread"), "{error}");
    world.tell("c", ProbeMsg::Forward("hears c"));
    assert_eq!(world.events.next().await, "b hears c");

    // Freed at last, the abandoned one ends without a word to anybody.
    free.send(()).unwrap();
    assert_eq!(world.events.next().await, "b unblocked");
    abandoned.actor().wait(Some(LONG)).await.unwrap();
    assert_eq!(world.restarts(), [0, 1, 1]);
}

#[tokio::test]
async fn work_that_is_merely_slow_is_left_alone() {
    let mut world = World::up(config(5)).await;
    let _watchdog = watch(&world);
    for _ in 0..50 {
        world.tell("a", ProbeMsg::Note("works"));
        assert_eq!(world.events.next().await, "a works");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.restarts(), [0, 0, 0]);
}
