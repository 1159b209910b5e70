//! Which epochs come next: whole, in order per shard, all shards in turn.
//!
//! **Promises** an epoch is chosen only if every earlier one of its shard is chosen or known to the ledger; no shard
//! waits until another has caught up; a choice has an end, by epochs and by bytes.
//! **Not here**: reading manifests.

use std::collections::BTreeMap;

use messages::{EpochNumber, ShardId};

use super::ledger::{Tip, Tips};
use crate::lake::{behind, epoch_of_manifest, manifests_of, recomputed, recomputed_of};

/// The manifests of one shard that the ledger does not know yet, in order, as far as they were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Their keys.
    pub manifests: Vec<String>,
}

/// Where to look for manifests: a prefix, and the key that all new ones sort behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingPlace {
    /// The prefix of the shard's manifests.
    pub prefix: String,
    /// The last epoch that the ledger knows; 0 for none.
    pub tip: EpochNumber,
    /// What every later key sorts behind.
    pub after: String,
    /// What the ledger says of that epoch, if it is still to be held against the bucket: its manifest is listed too.
    pub unproven: Option<Tip>,
}

/// Where the manifests lie of what the ledger calls a shard.
pub fn prefix_of(stream: &str, shard: &ShardId) -> String {
    match *shard == recomputed().shard {
        true => recomputed_of(stream),
        false => manifests_of(stream, shard),
    }
}

/// Where to look, given the prefixes that exist. Shards that are loaded to their end are left out, once their last epoch
/// was found in the bucket as the ledger has it: there are ever more of them.
pub fn places(stream: &str, prefixes: &[String], tips: &Tips, proven: &BTreeMap<String, Tip>) -> Vec<ListingPlace> {
    let known: BTreeMap<String, &Tip> = tips.0.iter().map(|(shard, tip)| (prefix_of(stream, shard), tip)).collect();
    let mut places = Vec::new();
    for prefix in prefixes {
        let place = match known.get(prefix) {
            None => after(prefix, EpochNumber(0)),
            Some(tip) if proven.get(prefix) != Some(*tip) => {
                let before = after(prefix, EpochNumber(tip.epoch.0.saturating_sub(1)));
                ListingPlace { tip: tip.epoch, unproven: Some((*tip).clone()), ..before }
            }
            Some(tip) if tip.ended() => continue,
            Some(tip) => after(prefix, tip.epoch),
        };
        places.push(place);
    }
    places
}

/// Where the manifests of a shard are that come after an epoch.
pub fn after(prefix: &str, tip: EpochNumber) -> ListingPlace {
    ListingPlace { prefix: prefix.to_owned(), tip, after: behind(prefix, tip), unproven: None }
}

/// Where the order of a shard's manifests ends before their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// This one is missing.
    Gap(EpochNumber),
    /// There are two of this number.
    Twice(EpochNumber),
}

/// The manifests that wait in order behind the tip, and where that ends.
pub fn in_order(tip: EpochNumber, keys: Vec<String>) -> (Vec<String>, Option<Break>) {
    let mut next = tip.next();
    let mut kept: Vec<String> = Vec::new();
    for key in keys {
        match epoch_of_manifest(&key) {
            // The lake may begin later than the stream: what retention took there cannot be loaded.
            Some(epoch) if epoch == next || (tip.0 == 0 && kept.is_empty()) => {
                next = epoch.next();
                kept.push(key);
            }
            // Which of them is the right one, nobody knows: neither is loaded.
            Some(epoch) if epoch.next() == next && !kept.is_empty() => {
                kept.pop();
                return (kept, Some(Break::Twice(epoch)));
            }
            Some(_) => return (kept, Some(Break::Gap(next))),
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
