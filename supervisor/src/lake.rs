//! What the committed epochs in a bucket add up to, read from their manifests.

use actors::lake::epoch_of_manifest;
use actors::ports::aws::CallError;
use actors::ports::objects::Objects;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use messages::EpochPlan;
use serde::Serialize;

/// Manifests read at once.
const READS_MAX: usize = 16;
const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// Sums over all manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LakeTotals {
    /// Epochs.
    pub epochs: u64,
    /// Records in the raw zone.
    pub records: u64,
    /// Readings in them.
    pub readings: u64,
    /// Rows in the cleansed zone.
    pub clean: u64,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// Rows recognised as duplicates.
    pub duplicates: u64,
    /// Alerts raised by readings.
    pub alerts: u64,
    /// Objects, manifests included, and claims left out: they say what manifests say.
    pub objects: u64,
}

/// A bucket could not be summed up.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// It could not be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A manifest cannot be understood.
    #[error("manifest {key:?}: {problem}")]
    Manifest {
        /// Which one.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads every manifest.
pub async fn totals(objects: &Objects) -> Result<LakeTotals, LakeError> {
    let mut keys = objects.list("manifests/").await?;
    keys.retain(|key| epoch_of_manifest(key).is_some());
    stream::iter(keys.into_iter().map(|key| plan(objects, key)))
        .buffer_unordered(READS_MAX)
        .try_fold(LakeTotals::default(), |sums, plan| async move { Ok(sums.plus(&plan)) })
        .await
}

async fn plan(objects: &Objects, key: String) -> Result<EpochPlan, LakeError> {
    let json = objects.get(&key, MANIFEST_BYTES_MAX).await?;
    serde_json::from_slice(&json).map_err(|e| LakeError::Manifest { key, problem: e.to_string() })
}

impl LakeTotals {
    fn plus(self, plan: &EpochPlan) -> Self {
        Self {
            epochs: self.epochs + 1,
            records: self.records + plan.records,
            readings: self.readings + plan.readings,
            clean: self.clean + plan.clean,
            quarantined: self.quarantined + plan.quarantined,
            duplicates: self.duplicates + plan.duplicates,
            alerts: self.alerts + plan.alerts,
            objects: self.objects + plan.objects.len() as u64 + 1,
        }
    }
}
