//! What a worker answers when its metrics are scraped.
//!
//! **Promises** it costs a look at each actor and each owned shard, never at a sensor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actors::keys::{Expected, Keys};
use actors::metrics::Family;
use actors::node::NodeState;
use actors::shard::{ShardContext, ShardFigures};

use super::Worker;
use super::readiness::SILENCE_MS_MAX;
use crate::leases::LeaseFinding;
use crate::ops::family::*;
use crate::ops::{Scrape, Scraped};
use crate::shard::Shard;
use crate::supervision::tree::Tree;

impl Worker {
    /// What a scrape asks this worker for.
    pub fn scraped(&self) -> Scraped {
        let (owned, leases, budget) = (self.owned.clone(), self.leases.clone(), self.budget.clone());
        let (tree, clock, limit) = (self.tree.clone(), self.clock.clone(), self.status.memory_limit);
        let (keys, refresh_after) = (self.keys.clone(), self.status.limits.refresh_after);
        Arc::new(move |scrape| {
            actors(scrape, &tree);
            shards(scrape, &owned.all(), clock.now_ms());
            scrape.value(&STATE_REFRESH_AFTER, refresh_after.as_secs_f64());
            scrape.value(&BUDGET, budget.taken() as f64);
            scrape.value(&BUDGET_LIMIT, budget.bytes_max() as f64);
            scrape.samples(&MEMORY_LIMIT, limit.map(|bytes| ([], bytes as f64)));
            scrape.value(&SHARDS_UNOWNED, leases.unowned() as f64);
            scrape.samples(&HEARTBEAT_AGE, leases.heartbeat_age().map(|age| ([], age.as_secs_f64())));
            let mut findings = BTreeMap::from(LeaseFinding::KINDS.map(|kind| (kind, 0.0)));
            leases.findings().iter().for_each(|(finding, _)| *findings.entry(finding.kind()).or_default() += 1.0);
            scrape.samples(&LEASE_FINDINGS, findings.into_iter().map(|(kind, n)| ([kind], n)));
            scrape.samples(&KEY_TROUBLES, key_troubles(&keys).into_iter().map(|(kind, n)| ([kind], n)));
        })
    }
}

fn key_troubles(keys: &Keys) -> [(&'static str, f64); 3] {
    let told = |value: f64| if keys.expected() == Expected::Spread { 0.0 } else { value };
    let one_if = |finding: bool| f64::from(u8::from(finding));
    [
        ("ignored", told(one_if(keys.is_spread_by_service()))),
        ("shared", told(keys.seen().map_or(0, |seen| seen.sensors) as f64)),
        ("unknown", told(one_if(keys.unknown().is_some()))),
    ]
}

/// Actors of one kind, all of them together.
#[derive(Default)]
struct ActorsOfKind {
    by_state: BTreeMap<&'static str, f64>,
    queued: f64,
    busy: Duration,
}

fn actors(scrape: &mut Scrape, tree: &Tree) {
    let mut kinds: BTreeMap<&'static str, ActorsOfKind> = BTreeMap::new();
    for node in tree.nodes() {
        let actors = kinds.entry(node.kind).or_insert_with(|| ActorsOfKind {
            by_state: NodeState::ALL.map(|state| (state.as_str(), 0.0)).into(),
            ..ActorsOfKind::default()
        });
        *actors.by_state.entry(node.state().as_str()).or_default() += 1.0;
        actors.queued += node.queued() as f64;
        actors.busy = actors.busy.max(node.busy_for().unwrap_or_default());
    }
    let states = kinds.iter().flat_map(|(kind, actors)| actors.by_state.iter().map(|(state, n)| ([*kind, *state], *n)));
    scrape.samples(&ACTORS, states);
    scrape.samples(&ACTOR_QUEUE, kinds.iter().map(|(kind, actors)| ([*kind], actors.queued)));
    scrape.samples(&ACTOR_BUSY, kinds.iter().map(|(kind, actors)| ([*kind], actors.busy.as_secs_f64())));
}

fn shards(scrape: &mut Scrape, owned: &[Shard], now_ms: i64) {
    scrape.value(&SHARDS_OWNED, owned.len() as f64);
    let named: Vec<(String, &ShardContext)> =
        owned.iter().map(|shard| (shard.context.shard.to_string(), &shard.context)).collect();
    let mut gauge = |family: &Family, value: &dyn Fn(&ShardContext) -> Option<f64>| {
        scrape.samples(family, named.iter().filter_map(|(name, shard)| Some(([name.as_str()], value(shard)?))));
    };
    gauge(&SHARD_LAG_MS, &|shard| lag_ms(&shard.figures, now_ms).map(|lag_ms| lag_ms as f64));
    gauge(&SHARD_READING, &|shard| Some(f64::from(u8::from(is_read(&shard.figures, now_ms)))));
    gauge(&SHARD_STALLED, &|shard| Some(shard.progress.stalled_for().as_secs_f64()));
    gauge(&SHARD_UNCOMMITTED, &|shard| {
        let (read, committed) = shard.figures.progress();
        Some(read.saturating_sub(committed) as f64)
    });
    gauge(&READER_BEHIND, &|shard| shard.figures.millis_behind().map(|behind_ms| behind_ms as f64 / 1000.0));
    gauge(&SENSORS_KNOWN, &|shard| Some(shard.figures.sensors().0 as f64));
    gauge(&SENSORS_LIVE, &|shard| Some(shard.figures.sensors().1 as f64));
    gauge(&SILENCES, &|shard| Some(shard.figures.silences() as f64));
    gauge(&WINDOWS, &|shard| Some(shard.figures.windows() as f64));
    gauge(&PATHS_UNSEEN, &|shard| shard.figures.unseen_paths().map(|paths| paths.len() as f64));
    let oldest = named.iter().filter_map(|(_, shard)| states_age_ms(&shard.figures, now_ms)).max();
    scrape.samples(&STATE_OLDEST, oldest.map(|age_ms| ([], age_ms as f64 / 1_000.0)));
}

/// How old the oldest state is that a start would read. A shard that was read to its end starts no more.
pub(super) fn states_age_ms(figures: &ShardFigures, now_ms: i64) -> Option<i64> {
    let since_ms = figures.states_since_ms().filter(|_| !figures.has_ended());
    since_ms.map(|since_ms| now_ms.saturating_sub(since_ms).max(0))
}

/// What the last page said, and the time since: a reader that stands still falls behind. None before the first page, and if
/// it did not say.
fn lag_ms(figures: &ShardFigures, now_ms: i64) -> Option<i64> {
    let silent_ms = if figures.is_closed() { 0 } else { now_ms.saturating_sub(figures.read_at_ms()).max(0) };
    figures.millis_behind().map(|behind_ms| behind_ms + silent_ms)
}

/// Whether pages come. One that was read to its end needs none.
pub(super) fn is_read(figures: &ShardFigures, now_ms: i64) -> bool {
    let read_at_ms = figures.read_at_ms();
    figures.has_ended() || (read_at_ms > 0 && now_ms.saturating_sub(read_at_ms) < SILENCE_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_stands_still_falls_behind() {
        let figures = ShardFigures::default();
        assert_eq!((lag_ms(&figures, 1_000), is_read(&figures, 1_000)), (None, false), "not read yet");
        figures.read(1, None, 900);
        assert_eq!((lag_ms(&figures, 1_000), is_read(&figures, 1_000)), (None, true), "the page did not say");
        figures.read(1, Some(300), 1_000);
        assert_eq!((lag_ms(&figures, 1_200), is_read(&figures, 1_200)), (Some(500), true));
        assert_eq!((lag_ms(&figures, 41_000), is_read(&figures, 41_000)), (Some(40_300), false));
        figures.set_closed();
        assert_eq!(lag_ms(&figures, 90_000), Some(300), "nothing more will come");
        figures.set_ended();
        assert!(is_read(&figures, 90_000));
    }

    #[test]
    fn states_grow_older_until_they_are_written_anew_or_nobody_needs_them() {
        let figures = ShardFigures::default();
        assert_eq!(states_age_ms(&figures, 1_000), None, "a start would read none");
        figures.set_states_since(Some(400));
        assert_eq!([states_age_ms(&figures, 1_000), states_age_ms(&figures, 100)], [Some(600), Some(0)]);
        figures.set_states_since(Some(900));
        assert_eq!(states_age_ms(&figures, 1_000), Some(100));
        figures.set_ended();
        assert_eq!(states_age_ms(&figures, 1_000), None);
    }
}
