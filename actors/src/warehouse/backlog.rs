//! Which epochs come next: whole, in order per shard, all shards in turn.
//!
//! **Promises** an epoch is chosen only if every earlier one of its shard is chosen or known to the ledger; no shard
//! waits until another has caught up; a choice has an end, by epochs and by bytes.
//! **Not here**: reading manifests.

use std::collections::BTreeMap;

use messages::{EpochNumber, ShardId};

use super::ledger::Tips;
use crate::sinks::manifests_of;

/// The manifests of one shard that the ledger does not know yet, in order, as far as they were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Their keys.
    pub manifests: Vec<String>,
}

/// Where to look for manifests: a prefix, and the key that all new ones sort behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The prefix of the shard's manifests.
    pub prefix: String,
    /// The last epoch that the ledger knows; 0 for none.
    pub tip: EpochNumber,
    /// What every later key sorts behind.
    pub after: String,
}

/// Where to look, given the prefixes that exist. Shards that are loaded to their end are left out: there are ever more
/// of them.
pub fn places(stream: &str, prefixes: &[String], tips: &Tips) -> Vec<Place> {
    let known: BTreeMap<String, &ShardId> = tips.0.keys().map(|shard| (manifests_of(stream, shard), shard)).collect();
    let mut places = Vec::new();
    for prefix in prefixes {
        let tip = known.get(prefix).and_then(|shard| tips.0.get(*shard));
        if tip.is_some_and(|tip| tip.ended) {
            continue;
        }
        let tip = tip.map_or(EpochNumber(0), |tip| tip.epoch);
        places.push(after(prefix, tip));
    }
    places
}

/// Where the manifests of a shard are that come after an epoch.
pub fn after(prefix: &str, tip: EpochNumber) -> Place {
    // Whatever follows the number is made of digits and letters.
    Place { prefix: prefix.to_owned(), tip, after: format!("{prefix}{:08}-~", tip.0) }
}

/// The number in a manifest's key; none if it is no manifest's.
pub fn epoch_of(key: &str) -> Option<EpochNumber> {
    let name = key.rsplit('/').next()?.strip_suffix(".json")?;
    let (number, _) = name.split_once('-')?;
    number.parse().ok().map(EpochNumber)
}

/// The manifests that wait without a gap behind the tip, and where there is a gap.
pub fn in_order(tip: EpochNumber, keys: Vec<String>) -> (Vec<String>, Option<EpochNumber>) {
    let mut next = tip.next();
    let mut kept = Vec::new();
    for key in keys {
        match epoch_of(&key) {
            // The lake may begin later than the stream: what retention took there cannot be loaded.
            Some(epoch) if epoch == next || (tip.0 == 0 && kept.is_empty()) => {
                next = epoch.next();
                kept.push(key);
            }
            Some(_) => return (kept, Some(next)),
            None => {}
        }
    }
    (kept, None)
}

/// At most this many manifests, one of each shard in turn.
pub fn in_turn(waiting: &[Waiting], epochs_max: usize) -> Vec<String> {
    let longest = waiting.iter().map(|shard| shard.manifests.len()).max().unwrap_or(0);
    let rounds = (0..longest).flat_map(|round| waiting.iter().filter_map(move |shard| shard.manifests.get(round)));
    rounds.take(epochs_max).cloned().collect()
}
