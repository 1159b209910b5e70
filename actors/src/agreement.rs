//! Whether a shard's lease row and the manifests in the bucket say the same, before the shard is read.
//!
//! **Owns** one look at the manifests and claims behind the row's epoch.
//! **Promises**
//! - A row is not believed alone: a lease table can be restored as of some minutes ago, be of another stream, or be set
//!   back by hand, and the bucket knows. Where the bucket is further by whole epochs that follow on the row, reading goes
//!   on behind them; whatever else differs is named, and nothing is written (RAW-ONCE, CLEAN-ONCE, CHECKPOINT).
//! - One listing of one page, and the row's own manifest; more is read only where they differ (BOUNDED).
//!
//! **Fails** by a disagreement that names both sides and the way on.
//! **Not here**: the rule itself (`agreement/rule.rs`); writing the row (`ports/leases.rs`).

mod error;
mod rebuild;
mod rule;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use messages::{EpochNumber, EpochPlan, ShardId};
use sha2::{Digest as _, Sha256};
use tracing::warn;

pub use self::error::{AgreementError, BadPlan, Disagreement};
pub use self::rebuild::{Whole, newest};
pub use self::rule::is_home;
use self::rule::{Agreement, Evidence};
use crate::lake::{behind, epoch_of_claim, epoch_of_manifest, manifests_of};
use crate::ports::aws::CallError;
use crate::ports::faults::Faults;
use crate::ports::leases::{Advance, Home, LeaseRow, Pending};
use crate::ports::objects::Put;
use crate::recovery::Reads;

/// A page of a listing. Each epoch has a manifest and a claim, so that a row may be some hundred epochs behind.
const KEYS_MAX: usize = 1_000;
/// Manifests that are read at once.
const READS_MAX: usize = 16;

/// The row and the bucket agree, or can be made to.
#[derive(Debug)]
pub struct Agreed {
    /// What taking the row has to write; none if it is as it should be.
    pub advance: Option<Advance>,
    /// The manifest of the row's epoch, if it cannot be read though the claim says what it said: nothing is loaded
    /// behind it.
    pub damaged: Option<String>,
}

/// A manifest or claim as it was found.
#[derive(Clone, Debug)]
pub(crate) struct FoundPlan {
    pub(crate) key: String,
    /// By its name.
    pub(crate) epoch: EpochNumber,
    pub(crate) bytes: Bytes,
    /// What it says, or what is wrong with it.
    pub(crate) plan: Result<EpochPlan, BadPlan>,
}

/// Holds a row against the bucket. `stream` is the stream's name, of which keys are made.
pub async fn agree(
    reads: &Reads,
    home: &Home,
    stream: &str,
    row: &LeaseRow,
    faults: &Faults,
) -> Result<Agreed, AgreementError> {
    rule::is_row_home(home, stream, row, faults)?;
    let listed = ListedKeys::look(reads, stream, row).await?;
    let found = listed.read(reads, row).await?;
    let evidence = Evidence { row, home, listed: &listed, found: &found };
    let Agreement { advance, lost, damaged } = rule::decide(&evidence, faults)?;
    if let Some(claim) = lost {
        let key = format!("{}.json", claim.key.trim_end_matches(".claim"));
        warn!(shard = %row.shard, key, "the manifest of the last epoch is gone: it is written again, from its claim");
        put_again(reads, &key, &claim).await?;
    }
    Ok(Agreed { advance, damaged })
}

/// A manifest that is gone, as its claim has it. Somebody may have been faster: it says the same then.
async fn put_again(reads: &Reads, key: &str, claim: &FoundPlan) -> Result<(), AgreementError> {
    let digest: String = Sha256::digest(&claim.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let objects = claim.plan.as_ref().map_or(0, |plan| plan.objects.len() as u64);
    match reads.objects().put_new(key, claim.bytes.clone(), &digest, objects).await? {
        Put::Created | Put::Same => Ok(()),
        Put::Different => Err(Disagreement::Damaged { key: key.to_owned(), problem: BadPlan::OtherThanClaim }.into()),
    }
}

/// The keys of a shard's manifests and claims from the row's epoch on.
#[derive(Debug, Default)]
pub(crate) struct ListedKeys {
    /// Where they are.
    pub(crate) prefix: String,
    /// Manifests of the row's epoch.
    pub(crate) own: Vec<String>,
    /// Manifests of later epochs, in order.
    pub(crate) ahead: Vec<String>,
    /// Claims of the row's epoch and later ones, in order.
    pub(crate) claims: Vec<String>,
    /// Whether there are more than were listed.
    pub(crate) more: bool,
}

/// What was read of them.
#[derive(Debug, Default)]
pub(crate) struct ReadPlans {
    pub(crate) own: Vec<FoundPlan>,
    pub(crate) ahead: Vec<FoundPlan>,
    /// The claim of the row's epoch; read only if its manifest does not speak for itself.
    pub(crate) own_claim: Option<FoundPlan>,
    /// The claim behind the newest manifest.
    pub(crate) next_claim: Option<FoundPlan>,
}

impl ListedKeys {
    async fn look(reads: &Reads, stream: &str, row: &LeaseRow) -> Result<Self, AgreementError> {
        let prefix = manifests_of(stream, &row.shard);
        let before = EpochNumber(row.epoch.0.saturating_sub(1));
        let (keys, more) = reads.objects().list_behind(&prefix, &behind(&prefix, before), KEYS_MAX).await?;
        Ok(Self { more, ..Self::of(prefix, row.epoch, keys) })
    }

    pub(crate) fn of(prefix: String, epoch: EpochNumber, keys: Vec<String>) -> Self {
        let mut listed = Self { prefix, ..Self::default() };
        for key in keys {
            match (epoch_of_manifest(&key), epoch_of_claim(&key)) {
                (Some(of), _) if of == epoch => listed.own.push(key),
                (Some(of), _) if of > epoch => listed.ahead.push(key),
                (_, Some(of)) if of >= epoch => listed.claims.push(key),
                _ => {}
            }
        }
        listed
    }

    /// The newest epoch that has a manifest, or the row's.
    pub(crate) fn newest(&self, row: &LeaseRow) -> EpochNumber {
        self.ahead.last().and_then(|key| epoch_of_manifest(key)).unwrap_or(row.epoch)
    }

    pub(crate) fn claim(&self, epoch: EpochNumber) -> Option<&String> {
        self.claims.iter().find(|key| epoch_of_claim(key) == Some(epoch))
    }

    async fn read(&self, reads: &Reads, row: &LeaseRow) -> Result<ReadPlans, AgreementError> {
        let mut read = ReadPlans::default();
        for key in &self.own {
            read.own.push(match reads.get(key).await {
                Ok(bytes) => FoundPlan::new(key.clone(), &row.shard, bytes),
                // A store answers so for an object that it finds damaged. Its claim says what it said.
                Err(error) if self.claim(row.epoch).is_some() => FoundPlan::unread(key, row.epoch, error),
                Err(error) => return Err(error.into()),
            });
        }
        // A row that is so far behind is refused, whatever they say.
        if !self.more {
            read.ahead = found(reads, &row.shard, &self.ahead).await?;
        }
        let speaks = matches!(read.own.as_slice(), [own] if own.plan.is_ok());
        let wanted = |key: Option<&String>| key.cloned().into_iter().collect::<Vec<_>>();
        let own = wanted(self.claim(row.epoch).filter(|_| row.epoch.0 > 0 && !speaks));
        read.own_claim = found(reads, &row.shard, &own).await?.pop();
        let next = wanted(self.claim(self.newest(row).next()));
        read.next_claim = found(reads, &row.shard, &next).await?.pop();
        Ok(read)
    }
}

async fn found(reads: &Reads, shard: &ShardId, keys: &[String]) -> Result<Vec<FoundPlan>, AgreementError> {
    let one = |key: String| async move {
        let bytes = reads.get(&key).await?;
        Ok::<_, AgreementError>(FoundPlan::new(key, shard, bytes))
    };
    let calls: Vec<BoxFuture<'_, _>> = keys.iter().map(|key| one(key.clone()).boxed()).collect();
    stream::iter(calls).buffered(READS_MAX).try_collect().await
}

impl FoundPlan {
    pub(crate) fn new(key: String, shard: &ShardId, bytes: Bytes) -> Self {
        let epoch = epoch_of_manifest(&key).or_else(|| epoch_of_claim(&key)).unwrap_or(EpochNumber(0));
        let plan = serde_json::from_slice::<EpochPlan>(&bytes).map_err(|error| BadPlan::Malformed(error.to_string()));
        let plan = plan.and_then(|plan| match () {
            () if plan.format > EpochPlan::FORMAT => Err(BadPlan::Newer(plan.format)),
            () if plan.cut.epoch != epoch => Err(BadPlan::OtherEpoch(plan.cut.epoch)),
            () if plan.shard != *shard => Err(BadPlan::OtherShard(plan.shard)),
            () => Ok(plan),
        });
        Self { key, epoch, bytes, plan }
    }

    fn unread(key: &str, epoch: EpochNumber, error: CallError) -> Self {
        Self { key: key.to_owned(), epoch, bytes: Bytes::new(), plan: Err(error.into()) }
    }

    pub(crate) fn plan(&self) -> Result<&EpochPlan, Disagreement> {
        let damaged = |problem: &BadPlan| Disagreement::Damaged { key: self.key.clone(), problem: problem.clone() };
        self.plan.as_ref().map_err(damaged)
    }
}

fn pending(plan: &EpochPlan) -> Pending {
    Pending { to: plan.cut.to.clone(), plan: Box::new(plan.clone()) }
}
