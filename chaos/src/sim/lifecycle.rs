//! A lifecycle rule on `state/`, as the documentation allows it.
//!
//! **Promises** it takes what is old, and asks nobody.
//! **Not here**: whether somebody needs it: whoever does not start any more shows that (`world.rs`).

use std::collections::BTreeMap;

use crate::cloud::{Cloud, StoredObject};

/// Takes every state that was stored before this time, and gives them to whoever judges the run: what they said counts.
pub(super) fn take_states(cloud: &Cloud, before_ms: i64) -> BTreeMap<String, StoredObject> {
    let is_old = |(key, object): &(String, StoredObject)| key.starts_with("state/") && object.created_ms < before_ms;
    let old: BTreeMap<String, StoredObject> = cloud.objects().into_iter().filter(is_old).collect();
    old.keys().for_each(|key| {
        cloud.remove_object(key);
    });
    old
}
