//! GOAL    Whatever step of an epoch an actor dies in, its shard goes on from the checkpoint and has caught up within a
//!         minute; afterwards nothing is missing, nothing is there twice and nothing is out of order (RAW-ONCE,
//!         CLEAN-ONCE, ORDER, CHECKPOINT, LIVE).
//! METHOD  One stream, copied; a calm worker on one copy, and one worker per fault point and epoch on the others.

use std::path::Path;
use std::time::Duration;

use mangrove_tests::history::{history, setup};
use mangrove_tests::judge::{assert_device_order, assert_same_content, assert_whole, chains};
use mangrove_tests::lake::Lake;
use mangrove_tests::world::{Setup, World, caught_up, copy_folder, finish, stocked};
use supervisor::worker::Worker;
use tokio::task::JoinSet;

const FIRST: &str = "000000000000";
const FIRST_SHARD: &str = "shardId-000000000000";

/// Two epochs are cut by partitions, the tail by age.
fn with(faults: &str) -> Setup {
    Setup { faults: faults.into(), age_max: Duration::from_millis(300), ..setup() }
}

/// One actor failed, all actors of its shard were restarted once, and nobody else.
fn assert_one_restart(worker: &Worker, faults: &str) {
    let nodes = worker.tree().nodes();
    let actors = format!("shards/{FIRST}/");
    for node in &nodes {
        let expected = u64::from(node.path.starts_with(&actors));
        assert_eq!(node.restarts(), expected, "restarts of {} under {faults}", node.path);
    }
    assert_eq!(nodes.iter().filter(|node| node.path.starts_with(&actors)).count(), 5, "actors of the shard");
    // An actor that finds its neighbour dead ends with it; that is no failure of its own.
    let errors: Vec<_> =
        nodes.iter().filter_map(|node| Some((node.path.clone(), node.last_error()?.message))).collect();
    let own: Vec<_> = errors.iter().filter(|(_, error)| !error.ends_with("has ended")).collect();
    assert_eq!(own.len(), 1, "one actor failed under {faults}: {errors:?}");
    assert!(own[0].1.contains("injected fault"), "{own:?}");
}

async fn run(stock: &Path, to: &Path, shards: u32, faults: &str) -> Lake {
    copy_folder(stock, to);
    let world = World::new(to, shards).await;
    let worker = world.worker(&with(faults)).await;
    caught_up(&worker).await;
    match faults {
        "" => assert_eq!(worker.restarts(), 0),
        faults => assert_one_restart(&worker, faults),
    }
    finish(worker).await;
    world.lake()
}

/// How often the sinks reach an object until the last one of this epoch (from 0); each manifest counts as one.
fn objects_through(calm: &Lake, epoch: usize) -> usize {
    let objects = |n: usize| chains(calm)[FIRST_SHARD][n]["objects"].as_array().unwrap().len();
    (0..=epoch).map(|n| objects(n) + 1).sum::<usize>() - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_dies_at_any_step_of_an_epoch_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (stock, put) = (dir.path().join("stock"), history(16, 2));
    stocked(&stock, 2, &put).await;
    let calm = run(&stock, &dir.path().join("calm"), 2, "").await;
    assert_whole(&calm, &put);
    assert!(chains(&calm)[FIRST_SHARD].len() >= 3, "there is a second epoch to die in");

    let mut plans = Vec::new();
    for epoch in [1, 2] {
        for point in ["committer.planned", "committer.prepared", "sinks.manifest", "committer.uploaded"] {
            plans.push(format!("{point}[{FIRST}]=panic@{epoch}"));
        }
        plans.push(format!("committer.committed[{FIRST}]=panic@{epoch}"));
        // Before the first object of the epoch, and at its last one, when others are there already.
        let before = if epoch == 1 { 0 } else { objects_through(&calm, 0) + 1 };
        plans.push(format!("sinks.object[{FIRST}]=panic@{}", before + 1));
        plans.push(format!("sinks.object[{FIRST}]=panic@{}", objects_through(&calm, epoch - 1)));
    }
    for few in plans.chunks(4) {
        let mut runs = JoinSet::new();
        for faults in few.iter().cloned() {
            let (stock, to) = (stock.clone(), dir.path().join(&faults));
            runs.spawn(async move { (run(&stock, &to, 2, &faults).await, faults) });
        }
        while let Some(ended) = runs.join_next().await {
            let (lake, faults) = ended.unwrap();
            println!("judging {faults}");
            assert_whole(&lake, &put);
            assert_device_order(&lake);
            assert_same_content(&lake, &calm);
        }
    }
}

/// A drain may add an epoch that has windows and no records. Its end is where it begins, so that no record will ever
/// tell the next owner that it has reached it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_epoch_without_records_is_finished_by_the_next_worker() {
    let dir = tempfile::tempdir().unwrap();
    let (stock, put) = (dir.path().join("stock"), history(4, 2));
    let (first, later) = put.split_at(put.len() - 20);
    stocked(&stock, 1, first).await;
    let calm = chains(&run(&stock, &dir.path().join("calm"), 1, "").await).remove(FIRST_SHARD).unwrap();
    let last = calm.len();
    assert_eq!((&calm[last - 1]["records"], &calm[last - 1]["cut"]["reason"]), (&0.into(), &"shutdown".into()));

    copy_folder(&stock, &dir.path().join("run"));
    let world = World::new(&dir.path().join("run"), 1).await;
    let worker = world.worker(&with(&format!("committer.prepared=panic@{last}"))).await;
    caught_up(&worker).await;
    let _ = worker.drain(Duration::from_secs(2)).await.unwrap();
    let row = world.lease_row(FIRST_SHARD).await;
    assert_eq!(row.get("pendingCheckpoint"), Some(&row["checkpoint"]), "an epoch without records is prepared");

    let next = world.worker(&with("")).await;
    world.put(later).await;
    caught_up(&next).await;
    assert_eq!(next.restarts(), 0);
    finish(next).await;
    let lake = world.lake();
    assert_whole(&lake, &put);
    assert_device_order(&lake);
    assert_eq!(chains(&lake)[FIRST_SHARD][..last], calm, "the prepared epoch is the one that was undisturbed");
}
