//! The shards whose last epoch in the ledger was found in the bucket as it was loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::warehouse::backlog::prefix_of;
use crate::warehouse::batch::LoadBatch;
use crate::warehouse::ledger::Tip;

/// By the prefix of a shard's manifests; as many as the stream has shards. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<BTreeMap<String, Tip>>>);

impl Proven {
    pub(super) fn all(&self) -> BTreeMap<String, Tip> {
        self.lock().clone()
    }

    pub(super) fn insert(&self, prefix: String, tip: Tip) {
        self.lock().insert(prefix, tip);
    }

    /// What was just loaded was read from the bucket.
    pub(super) fn reached(&self, batch: &LoadBatch) {
        for epoch in &batch.epochs {
            let (to, content) = (epoch.to.to_string(), Some(epoch.content.clone()));
            self.insert(prefix_of(&batch.stream, &epoch.shard), Tip { epoch: epoch.epoch, to, content });
        }
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Tip>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
