//! What the manifests of a shard add up to, whatever its lease row says: for a command, not for a start.
//!
//! **Promises** the newest epoch of a chain of numbers without a gap; two manifests of one number, and one that cannot be
//! read, are refused by name. It lists all of a shard's manifests, and reads the last.

use messages::{EpochNumber, EpochPlan, ShardId};

use super::error::{AgreementError, BadPlan, Disagreement};
use super::{FoundPlan, pending};
use crate::lake::{epoch_of_claim, epoch_of_manifest, manifests_of};
use crate::ports::leases::{Advance, Home};
use crate::recovery::Reads;

/// A shard as the bucket has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// The shard, by its own manifests.
    pub shard: ShardId,
    /// Its first epoch that has a manifest.
    pub first: EpochNumber,
    /// How far it is.
    pub at: Advance,
}

/// What lies under a prefix of manifests of this stream; none if nothing does.
pub async fn newest(reads: &Reads, home: &Home, stream: &str, prefix: &str) -> Result<Option<Whole>, AgreementError> {
    let keys = reads.objects().list(prefix).await?;
    let Some((first, last)) = unbroken(&keys)? else { return Ok(None) };
    let bytes = reads.get(last).await?;
    let bad = |problem| Disagreement::Damaged { key: last.to_owned(), problem };
    let shard =
        serde_json::from_slice::<EpochPlan>(&bytes).map_err(|error| bad(BadPlan::Malformed(error.to_string())))?.shard;
    if manifests_of(stream, &shard) != prefix {
        return Err(bad(BadPlan::Elsewhere(shard)).into());
    }
    let found = FoundPlan::new(last.to_owned(), &shard, bytes);
    let plan = found.plan()?;
    if let Some(theirs) = &plan.stream {
        home.reads(last, theirs).map_err(Disagreement::Home)?;
    }
    let claim = match keys.iter().find(|key| epoch_of_claim(key) == Some(found.epoch.next())) {
        Some(key) => Some(FoundPlan::new(key.clone(), &shard, reads.get(key).await?)),
        None => None,
    };
    let state_key = plan.state_key().map(str::to_owned);
    let mut at = Advance { checkpoint: plan.cut.to.clone(), epoch: found.epoch, state_key, pending: None };
    if let Some(claim) = &claim {
        let next = claim.plan()?;
        if next.cut.from != at.checkpoint {
            let problem = BadPlan::NotNext { from: next.cut.from.clone(), end: at.checkpoint };
            return Err(Disagreement::Damaged { key: claim.key.clone(), problem }.into());
        }
        at.pending = Some(pending(next));
    }
    Ok(Some(Whole { shard, first, at }))
}

/// The first number and the last key of manifests whose numbers follow on each other.
fn unbroken(keys: &[String]) -> Result<Option<(EpochNumber, &str)>, Disagreement> {
    let mut first = None;
    let mut last: Option<(EpochNumber, &str)> = None;
    for key in keys {
        let Some(epoch) = epoch_of_manifest(key) else { continue };
        match last {
            Some((before, twin)) if before == epoch => {
                return Err(Disagreement::Twice { epoch, first: twin.to_owned(), second: key.clone() });
            }
            Some((before, _)) if before.next() != epoch => {
                return Err(Disagreement::Gap { row: before, missing: before.next(), newest: epoch });
            }
            _ => {}
        }
        first = first.or(Some(epoch));
        last = Some((epoch, key));
    }
    Ok(first.zip(last).map(|(first, (_, last))| (first, last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_manifests_has_no_gap_and_no_twin() {
        let keys = |names: &[&str]| names.iter().map(|name| format!("manifests/e/0/{name}")).collect::<Vec<_>>();
        let chain = keys(&["00000003-9.json", "00000004.claim", "00000004.json", "00000005.claim"]);
        assert_eq!(unbroken(&chain), Ok(Some((EpochNumber(3), "manifests/e/0/00000004.json"))));
        assert_eq!(unbroken(&keys(&["00000001.claim"])), Ok(None));
        let gap = keys(&["00000003.json", "00000005.json"]);
        assert!(matches!(unbroken(&gap), Err(Disagreement::Gap { missing: EpochNumber(4), .. })));
        let twice = keys(&["00000003-9.json", "00000003.json"]);
        assert!(matches!(unbroken(&twice), Err(Disagreement::Twice { .. })));
    }
}
