//! GOAL    Whatever befalls a load, and whoever else loads meanwhile, the warehouse holds what the lake holds: every
//!         reading once, every epoch in the ledger once (CLEAN-ONCE, LIVE).
//! METHOD  One lake, copied. Loaders that die, hang, are stopped and killed at every step, the first time and in the load
//!         that follows a crash; every call of a load answered late, not at all, or with an error; warehouses that are
//!         away, and files that they refuse. Each fault is seen to strike. Then both sides are read row by row: the
//!         lake's files by a reader of their own, the tables by SQL.

mod calls;
mod dying;
mod mutants;
mod refused;
mod together;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actors::loading::Loading;
use mangrove_tests::history::{history, setup};
use mangrove_tests::warehouse::{assert_loaded, loader_config, until_loaded};
use mangrove_tests::world::{Setup, World, copy_folder, finish, stocked};
use supervisor::worker::Worker;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
const SHARDS: u32 = 2;
/// The tail of the stream is cut by age.
const AGE_MAX: Duration = Duration::from_millis(300);
/// Cases that run at once.
const AT_ONCE: usize = 4;

/// A folder whose lake holds some epochs, and whose warehouse is empty.
async fn stock(dir: &Path) -> PathBuf {
    let stock = dir.join("stock");
    stocked(&stock, SHARDS, &history(6, 2)).await;
    let world = World::new(&stock, SHARDS).await;
    finish(world.worker(&Setup { age_max: AGE_MAX, ..setup() }).await).await;
    world.stop().await;
    stock
}

async fn copy_of(stock: &Path, name: &str) -> World {
    let to = stock.with_file_name(name);
    copy_folder(stock, &to);
    World::new(&to, SHARDS).await
}

fn loading(world: &World) -> Loading {
    world.loading(&setup().schema, "")
}

/// A worker that loads, with these crash points.
fn loader(worker_id: &'static str, faults: &str) -> Setup {
    Setup { worker_id, loads: Some(loader_config()), faults: faults.into(), age_max: AGE_MAX, ..setup() }
}

/// What everything here comes to.
async fn assert_whole(world: &World) {
    until_loaded(&loading(world)).await;
    assert_loaded(&world.lake(), &world.analyst()).await;
}

/// How often the loader was restarted, and nobody else was.
fn restarts_of_loader(worker: &Worker) -> u64 {
    let nodes = worker.tree().nodes();
    let others = nodes.iter().filter(|node| node.path != "loader" && node.restarts() > 0);
    assert_eq!(others.map(|node| node.path.clone()).collect::<Vec<_>>(), Vec::<String>::new());
    nodes.iter().find(|node| node.path == "loader").map_or(0, |node| node.restarts())
}

fn is_active(worker: &Worker) -> bool {
    worker.loader_figures().is_some_and(|figures| figures.is_active())
}

/// Waits until it holds; panics with what was waited for.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(POLL).await;
    }
}
