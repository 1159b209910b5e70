//! What follows from a load that was not made, and what becomes of epochs that were put aside.
//!
//! **Promises** an epoch is put aside only for what the warehouse says of its data, or for a file that is not there;
//! everything else is waited for. What was put aside is tried once more, by itself, when loads succeed, and when a loader
//! begins.
//! **Not here**: the counting (`warehouse/load_policy.rs`).

use tracing::{error, info, warn};

use super::{LoadError, Loading, Turn};
use crate::ports::warehouse::WarehouseFailure;
use crate::warehouse::Mode;
use crate::warehouse::backlog::prefix_of;
use crate::warehouse::batch::LoadBatch;
use crate::warehouse::ledger::RefusedEpoch;
use crate::warehouse::load_policy::{LoadPolicy, RefusalStep};
use messages::{EpochNumber, ShardId};

/// What stands in `load_refused` for an epoch that a person has put aside. Only a person takes it back.
const BY_HAND: &str = "put aside by hand (mangrove load --put-aside)";

impl Loading {
    /// What follows from a batch that was not loaded: a step that was taken, or the error, after which to wait.
    pub(super) async fn not_loaded(
        &self,
        batch: &LoadBatch,
        policy: &mut LoadPolicy,
        error: LoadError,
    ) -> Result<Turn, LoadError> {
        let lost = batch.lost().is_some() && error.ran();
        let several = batch.epochs.len() > 1;
        match error.failure() {
            WarehouseFailure::Refused => self.refused(batch, policy, &error, lost).await,
            _ if lost => self.refused(batch, policy, &error, lost).await,
            WarehouseFailure::TooLarge if several => self.refused(batch, policy, &error, lost).await,
            _ => {
                if error.ran() {
                    policy.smaller(batch);
                }
                Err(match batch.epochs.as_slice() {
                    [epoch] if error.ran() => {
                        LoadError::Waits { shard: epoch.shard.clone(), epoch: epoch.epoch, error: Box::new(error) }
                    }
                    _ => error,
                })
            }
        }
    }

    async fn refused(
        &self,
        batch: &LoadBatch,
        policy: &mut LoadPolicy,
        error: &LoadError,
        proven: bool,
    ) -> Result<Turn, LoadError> {
        self.ports.figures.refused();
        let words = error.to_string();
        let tries = match policy.refused(batch, &words, proven) {
            RefusalStep::Smaller => {
                warn!(epochs = batch.epochs.len(), %error, "batch refused, trying fewer epochs");
                0
            }
            RefusalStep::Again(tries) => {
                warn!(epoch = %batch.epochs[0].epoch, %error, "epoch refused, trying again");
                tries
            }
            RefusalStep::PutAside(attempts) => {
                self.put_aside(batch, attempts, &words).await?;
                let epoch = &batch.epochs[0];
                error!(
                    shard = %epoch.shard, epoch = %epoch.epoch, attempts, %error,
                    "epoch put aside: see load_refused, and load it with mangrove load --retry"
                );
                policy.goes_on();
                0
            }
            RefusalStep::Wait(epochs) => return Err(LoadError::SameWords { epochs, error: words }),
        };
        Ok(Turn::Refused { tries })
    }

    async fn put_aside(&self, batch: &LoadBatch, attempts: u32, error: &str) -> Result<(), LoadError> {
        self.ports.faults.reach("loader.refusing", "").await;
        let statements = self.load_of(batch, &[], Mode::New, 0).refusal(attempts, error)?;
        self.ports.warehouse.batch(&statements, &format!("mangrove: put aside {}", batch.id)).await?;
        self.ports.figures.put_aside(error, self.ports.clock.now_ms());
        Ok(())
    }

    /// Puts the next epoch of a shard aside because a person says so. Another one than the next is refused: those before
    /// it would be hidden.
    pub async fn put_aside_by_hand(&self, shard: &ShardId, epoch: EpochNumber) -> Result<(), LoadError> {
        let prefix = prefix_of(&self.stream, shard);
        let tip = self.tips().await?.0.get(shard).map_or(EpochNumber(0), |tip| tip.epoch);
        let manifest = match self.next_manifest(&prefix, tip).await? {
            Some((next, manifest)) if next == epoch => manifest,
            next => {
                let next = next.map(|(next, _)| next);
                return Err(LoadError::NotNext { shard: shard.clone(), epoch, next });
            }
        };
        let batch = LoadBatch::new(&self.stream, self.read(&[manifest], u64::MAX).await?);
        self.put_aside(&batch, 0, BY_HAND).await
    }

    /// Takes a step in looking at what was put aside. It never fails a turn: what waits goes on.
    pub(super) async fn look_back(&self, policy: &mut LoadPolicy) {
        if !policy.looks_back() {
            return;
        }
        if let Err(error) = self.take_back(policy).await {
            policy.looked_in_vain();
            warn!(%error, "what was put aside cannot be looked at, trying again");
        }
    }

    /// One epoch first: if it is refused as before, so will be those that were put aside with the same words.
    async fn take_back(&self, policy: &mut LoadPolicy) -> Result<(), LoadError> {
        let mut refusals = self.refusals().await?;
        refusals.retain(|epoch| epoch.error != BY_HAND);
        let suspects = policy.suspects(&refusals);
        let Some((first, rest)) = suspects.split_first() else { return Ok(()) };
        match self.again(&[first]).await {
            Ok(epochs) => info!(epochs, was = first.error, "loaded after all"),
            Err(error)
                if matches!(error.failure(), WarehouseFailure::Refused | WarehouseFailure::TooLarge) || error.ran() =>
            {
                info!(epochs = suspects.len(), %error, "still refused");
                policy.holds_still(first);
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let Err(error) = self.again(rest).await {
            // Each of them stays where it is, or is found by the next look.
            warn!(epochs = rest.len(), %error, "not all that was put aside could be loaded");
            policy.looked_in_vain();
        }
        Ok(())
    }

    /// Loads epochs that were put aside, as many as make a batch.
    async fn again(&self, epochs: &[&RefusedEpoch]) -> Result<u64, LoadError> {
        let manifests: Vec<String> =
            epochs.iter().take(self.config.epochs_max).map(|epoch| epoch.manifest.clone()).collect();
        if manifests.is_empty() {
            return Ok(0);
        }
        let batch = LoadBatch::new(&self.stream, self.read(&manifests, self.config.bytes_max).await?);
        self.load(&batch, Mode::Again).await?;
        let n = batch.epochs.len() as u64;
        self.ports.figures.taken_back(n);
        Ok(n)
    }
}
