//! GOAL    A task in the tree is supervised like any actor.
//! METHOD  A task that fails, panics and ends on its first three lives, then waits to be told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;
use tokio::time::timeout;

use super::world::{LONG, World, config};
use crate::supervision::{ChildSpec, StartContext};

#[tokio::test]
async fn a_task_is_restarted_when_it_ends_and_told_when_to() {
    let lives = Arc::new(AtomicU32::new(0));
    let mut world = World::with(config(5), |workshop| {
        let (events, lives) = (workshop.events.clone(), lives.clone());
        vec![ChildSpec::task("t", "task", move |_: StartContext, mut down: watch::Receiver<bool>| {
            let (events, life) = (events.clone(), lives.fetch_add(1, Ordering::Relaxed));
            async move {
                match life {
                    0 => return Err("no socket"),
                    1 => panic!("no luck"),
                    2 => return Ok(()),
                    _ => events.send("waits".into()).unwrap(),
                }
                let _ = down.wait_for(|down| *down).await;
                events.send("ends in order".into()).unwrap();
                Ok(())
            }
        })]
    })
    .await;
    assert_eq!(world.events.next().await, "waits");
    world.until(|world| world.restarts() == [3]).await;
    assert_eq!(world.node("t").last_error().unwrap().message, "its task ended");
    assert_eq!(timeout(LONG, world.root.drain(LONG)).await.unwrap().unwrap(), Vec::<String>::new());
    assert_eq!(world.events.rest(), ["ends in order"]);
}
