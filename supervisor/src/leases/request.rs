//! Handing one shard over because an operator asked for it.
//!
//! **Promises** only in good order, and only if another living worker can take it; this worker leaves it alone for a
//! while then, as it does with one that it could make no progress on.

use std::collections::BTreeSet;
use std::time::Duration;

use messages::{Position, ShardId};
use tokio::time::Instant;

use super::{LeasesState, Trouble, log_failure};
use crate::protocol::ShardsMsg;

/// Until every look at the table shows that this worker does not want the shard.
const SHUN_FOR: Duration = Duration::from_secs(2);

impl LeasesState {
    /// Begins to hand a shard over, or says why not.
    pub(super) fn on_hand_over(&mut self, shard: ShardId) -> Result<(), String> {
        if !self.running.contains(&shard) {
            return Err(format!("this worker does not work on shard {}", shard.short()));
        }
        if self.observer.candidates().count() < 2 {
            return Err("no other worker lives that could take it: start one first, or drain this one".to_owned());
        }
        let Some(shards) = &self.shards else { return Err("the shards are just restarting: try again".to_owned()) };
        if !self.leaving_shards.insert(shard.clone()) {
            return Err(format!("shard {} is being handed over already", shard.short()));
        }
        let _ = shards.send_message(ShardsMsg::HandOver(shard.clone()));
        self.declined.insert(shard, None);
        Ok(())
    }

    /// A shard was released: if that was asked for, the others are to know that it is theirs.
    pub(super) fn decline(&mut self, shard: &ShardId) {
        let Some(since) = self.declined.get_mut(shard) else { return };
        *since = Some(Instant::now());
        let (table, shard, me) = (self.args.table.clone(), shard.clone(), self.args.worker_id.clone());
        self.tasks.spawn(async move { log_failure(table.decline(&shard, &me).await) });
    }

    /// The shards that were just handed over on request, or refused because row and bucket disagree.
    pub(super) fn shunned(&mut self, refused_for: Duration) -> BTreeSet<ShardId> {
        self.declined.retain(|_, since| since.is_none_or(|since| since.elapsed() <= SHUN_FOR));
        self.refused.retain(|_, since| since.elapsed() <= refused_for);
        self.declined.keys().chain(self.refused.keys()).cloned().collect()
    }

    /// A refusal has passed when the shard works here after all, or was taken elsewhere, or its row is gone.
    pub(super) fn forget_refusals(&mut self) {
        let owned = self.args.owned.all();
        let works = |id: &ShardId| self.args.owned.outcome_if_any(id).is_some_and(|outcome| outcome.works());
        let held = |id: &ShardId| owned.iter().any(|shard| shard.context.shard == *id && shard.was_held()) && works(id);
        let elsewhere = |id: &ShardId| match self.rows.leases.get(id) {
            Some(row) if row.checkpoint == Position::ShardEnd => true,
            Some(row) => {
                row.owner.as_deref().is_some_and(|owner| owner != &*self.args.worker_id)
                    && self.observer.owner_is_alive(row)
            }
            None => true,
        };
        let passed =
            |trouble: &Trouble| matches!(trouble, Trouble::Disagrees(shard) if held(shard) || elsewhere(shard));
        self.args.figures.retain(|trouble| !passed(trouble));
    }
}
