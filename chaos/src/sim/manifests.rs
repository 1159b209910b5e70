//! The manifest goes last: whoever finds one finds everything that it names, at every moment.

use std::collections::BTreeSet;

use super::world::{World, violation};
use crate::cloud::PutOutcome;
use crate::oracle::Violation;

pub(super) fn check(world: &World) -> Vec<Violation> {
    let objects = world.cloud.objects();
    let mut there = BTreeSet::new();
    let mut violations = Vec::new();
    for write in world.cloud.object_history() {
        if write.outcome != PutOutcome::Created {
            continue;
        }
        if write.key.starts_with("manifests/") && write.key.ends_with(".json") {
            let bytes = objects.get(&write.key).map(|object| object.bytes.clone()).unwrap_or_default();
            let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let named =
                manifest["objects"].as_array().into_iter().flatten().filter_map(|object| object["key"].as_str());
            for key in named.filter(|key| !there.contains(*key)) {
                violations.push(violation("MANIFEST", format!("{} was there before {key}", write.key)));
            }
        }
        there.insert(write.key);
    }
    violations
}
