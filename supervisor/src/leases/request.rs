//! Handing one shard over because an operator asked for it.
//!
//! **Promises** only in good order, and only if another living worker can take it; this worker leaves it alone for a
//! while then, as it does with one that it could make no progress on.

use messages::{Position, ShardId};

use super::{LeaseFinding, LeasesState, log_failure};
use crate::protocol::{NotHandedOver, ShardsMsg};

impl LeasesState {
    /// Begins to hand a shard over, or says why not.
    pub(super) fn on_hand_over(&mut self, shard: ShardId) -> Result<(), NotHandedOver> {
        let Some(shards) = &self.shards else { return Err(NotHandedOver::Restarting("shards")) };
        self.holdings.requested(&shard, self.observer.candidates().count() < 2)?;
        let _ = shards.send_message(ShardsMsg::HandOver(shard));
        Ok(())
    }

    /// A shard was released because that was asked for: the others are to know that it is theirs.
    pub(super) fn decline(&mut self, shard: &ShardId) {
        let (table, shard, me) = (self.args.table.clone(), shard.clone(), self.args.worker_id.clone());
        self.tasks.spawn(async move { log_failure(table.decline(&shard, &me).await) });
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
        let passed = |finding: &LeaseFinding| matches!(finding, LeaseFinding::Disagrees(shard) if held(shard) || elsewhere(shard));
        self.args.figures.retain(|finding| !passed(finding));
    }
}
