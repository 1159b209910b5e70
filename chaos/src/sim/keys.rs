//! KEYS: a worker knows whether the stream heeds keys, and whether sensors come in two open shards at once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use messages::sample::shared;
use messages::{Sample, ShardId};

use super::host::Host;
use super::schedule::Habit;
use super::world::{World, violation};
use crate::cloud::Item;
use crate::oracle::Violation;

/// The findings of the one worker that has looked around when nothing was left to do.
pub(super) fn check(world: &World) -> Vec<Violation> {
    let Some(worker) = world.hosts[0].host.as_ref().and_then(Host::worker) else { return Vec::new() };
    let (keys, mut violations) = (worker.keys(), Vec::new());
    let spreads = matches!(world.habit(), Habit::Spread | Habit::Switching);
    if keys.are_heeded() == spreads {
        violations.push(violation("KEYS", format!("the stream heeds keys: {}, and not {spreads}", keys.are_heeded())));
    }
    let samples: Vec<(ShardId, Sample)> = world.cloud.rows().iter().filter_map(|(key, row)| sample(key, row)).collect();
    let there = shared(samples.iter().map(|(shard, sample)| (shard, sample)));
    if there.is_some() && world.habit() == Habit::Sensor {
        violations.push(violation("KEYS", format!("{there:?} share sensors, and no producer has them do so")));
    }
    if (there.is_some() && !spreads) != keys.seen().is_some() {
        violations.push(violation("KEYS", format!("{there:?} share sensors, seen was {:?}", keys.seen())));
    }
    violations
}

fn sample(key: &str, row: &Item) -> Option<(ShardId, Sample)> {
    let text = |name: &str, kind: &str| row.get(name)?.get(kind)?.as_str();
    let open = key.starts_with("shardId-") && text("checkpoint", "S") != Some("SHARD_END");
    let bytes = STANDARD.decode(text("mangroveSample", "B").filter(|_| open)?).ok()?;
    Some((ShardId::new(key), Sample::decode(&bytes)?))
}
