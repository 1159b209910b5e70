//! What the process costs: its own memory, processor time and files, and how busy the runtime's threads are.
//!
//! **Fails** by leaving out what the system does not tell: only Linux has `/proc`.

use std::fs;

use tokio::runtime::Handle;

use super::Scrape;
use super::families::{self as all, PROCESS_FIGURES};

pub(super) fn scrape(scrape: &mut Scrape, runtime: Option<&Handle>) {
    scrape.samples(&all::BUILD_INFO, [([env!("CARGO_PKG_VERSION")], 1.0)]);
    for (family, read) in PROCESS_FIGURES {
        scrape.samples(family, read().map(|value| ([], value)));
    }
    if let Some(runtime) = runtime {
        let figures = runtime.metrics();
        let threads = figures.num_workers();
        let busy = (0..threads).map(|thread| figures.worker_total_busy_duration(thread).as_secs_f64()).sum();
        scrape.value(&all::RUNTIME_THREADS, threads as f64);
        scrape.value(&all::RUNTIME_BUSY_SECONDS, busy);
        scrape.value(&all::RUNTIME_TASKS, figures.num_alive_tasks() as f64);
        scrape.value(&all::RUNTIME_QUEUE, figures.global_queue_depth() as f64);
    }
}

/// The kernel counts processor time in hundredths of a second, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn cpu_seconds() -> Option<f64> {
    let [user, system] = stat([14, 15])?;
    Some((user + system) / TICKS_PER_SECOND)
}

pub(super) fn start_time_seconds() -> Option<f64> {
    let [after_boot] = stat([22])?;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + after_boot / TICKS_PER_SECOND)
}

pub(super) fn resident_bytes() -> Option<f64> {
    Some(crate::memory::used()? as f64)
}

pub(super) fn open_files() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

pub(super) fn files_max() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// Fields of `/proc/self/stat`, counted from 1 as its manual does. The second one is the program's name, in brackets,
/// and may hold anything.
fn stat<const N: usize>(fields: [usize; N]) -> Option<[f64; N]> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let after_name: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let mut values = [0.0; N];
    for (value, field) in values.iter_mut().zip(fields) {
        *value = after_name.get(field - 3)?.parse().ok()?;
    }
    Some(values)
}
