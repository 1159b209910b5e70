//! The lease table as it was at earlier times of a run, for restoring it.
//!
//! **Promises** as many copies as a run has half seconds.
//! **Not here**: when it is restored (`schedule.rs`).

use std::collections::BTreeMap;

use crate::cloud::{Cloud, Item, StoredObject};

const EVERY_MS: i64 = 500;
/// A backup is from before what has just been written.
const AGE_MS_MIN: i64 = 400;

/// Copies of the table, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Backups {
    copies: Vec<(i64, BTreeMap<String, Item>)>,
    now_ms: i64,
}

impl Backups {
    /// Keeps a copy, if the last one is old enough.
    pub(super) fn look(&mut self, cloud: &Cloud, now_ms: i64) {
        self.now_ms = now_ms;
        if self.copies.last().is_none_or(|(at_ms, _)| now_ms - at_ms >= EVERY_MS) {
            self.copies.push((now_ms, cloud.rows()));
        }
    }

    /// One of the copies that have the same shards as the table has now.
    pub(super) fn pick(&self, now: &BTreeMap<String, Item>, pick: u64) -> Option<BTreeMap<String, Item>> {
        fn shards(rows: &BTreeMap<String, Item>) -> Vec<&String> {
            rows.keys().filter(|key| key.starts_with("shardId-")).collect()
        }
        let old = |at_ms: &i64| self.now_ms - at_ms >= AGE_MS_MIN;
        let fit = self.copies.iter().filter(|(at_ms, rows)| old(at_ms) && shards(rows) == shards(now));
        let fit: Vec<_> = fit.filter(|(_, rows)| rows.contains_key("mangrove-table")).collect();
        let (_, rows) = fit.get(pick as usize % fit.len().max(1))?;
        Some(rows.clone())
    }
}

/// Whether some epoch has its state stored and no manifest yet.
pub(super) fn upload_is_under_way(objects: &BTreeMap<String, StoredObject>) -> bool {
    let states = objects.keys().filter_map(|key| key.strip_prefix("state/")?.strip_suffix(".state"));
    states.into_iter().any(|epoch| !objects.contains_key(&format!("manifests/{epoch}.json")))
}
