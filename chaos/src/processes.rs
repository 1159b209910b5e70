//! Several workers, a producer and a local cloud as real processes; something is broken every few seconds; then all
//! comes to rest and the oracle judges what was stored.
//!
//! **Owns** one run, from its folder to its verdict.
//!
//! **Promises**
//! - The seed decides which faults come when. At least one worker is running at any time.
//! - Only its own processes are ended; all of them, whatever becomes of the run.
//! - Every wait has an end, and what takes longer is a violation (LIVE).
//!
//! **Fails** with what is missing outside; what the product does wrong is a violation of the report instead.
//!
//! **Not here**: judging (`oracle.rs`), the faults that services do (`mangrove local --faults`).

mod child;
mod driver;
mod journal;
mod planner;
mod report;
mod reshard;
mod scene;
mod settle;
mod stalls;
mod windows;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use supervisor::exit::CliError;

use self::driver::Driver;
pub use self::report::Report;
use self::scene::Scene;

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long things are broken.
    pub duration: Duration,
    /// Chooses the faults and the events.
    pub seed: u64,
    /// Workers.
    pub workers: usize,
    /// Time between two faults.
    pub every: Duration,
    /// Events per second.
    pub rate: u32,
    /// Simulated sensors.
    pub sensors: u32,
    /// Shards in the beginning.
    pub shards: u32,
    /// Whether there is a warehouse.
    pub warehouse: bool,
    /// Where everything goes; none is a temporary folder.
    pub data_dir: Option<PathBuf>,
}

/// Runs it to its verdict.
pub async fn run(options: &Options) -> Result<Report, CliError> {
    let scene = Scene::set(options).await?;
    let mut driver = Driver::start(scene, options).await?;
    driver.drive().await?;
    let report = settle::settle(driver).await?;
    Ok(report)
}

/// Ctrl-C or SIGTERM.
pub async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        // Without a handler the system ends the process, and its pipes end its children.
        Err(_) => std::future::pending().await,
    }
}
