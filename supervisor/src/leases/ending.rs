//! What follows from the end of a shard here: it is given back, left alone for a while, or looked for again.
//!
//! **Promises** a shard that failed here is left to others, for longer each time; what became of it is remembered until
//! it works here again, or is in other hands.
//! **Not here**: ending shards (`shards.rs`).

use std::time::Duration;

use actors::ports::leases::LeaseError;
use actors::shard::Failing;
use messages::ShardId;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{GIVING_UP_MAX, LeasesConfig, LeasesState, Trouble, log_failure, out_of_time};
use crate::protocol::{Ending, LeasesMsg};

impl LeasesState {
    /// What became of a shard here is remembered while it is in this worker's hands, or nobody else has taken it; that
    /// it was given up, until it works again.
    pub(super) fn forget_what_has_passed(&mut self) {
        let (rows, running, me) = (&self.rows.leases, &self.running, &*self.args.worker_id);
        let waits = |shard: &ShardId| {
            let row = rows.get(shard).filter(|row| row.owner.is_none());
            row.is_some_and(|row| row.given_up_by.as_deref() == Some(me))
        };
        let mine = |shard: &ShardId| rows.get(shard).is_some_and(|row| row.owner.as_deref() == Some(me));
        let owned = &self.args.owned;
        owned.retain_outcomes(|shard| running.contains(shard) || mine(shard) || waits(shard));
        self.backing_off
            .retain(|shard, _| rows.contains_key(shard) && !owned.outcome_if_any(shard).is_some_and(|o| o.works()));
        let now_ms = self.args.clock.now_ms();
        let is_ill = |shard: &ShardId| owned.outcome_if_any(shard).is_some_and(|outcome| outcome.ill(now_ms).is_some());
        self.args.figures.retain(|trouble| !matches!(trouble, Trouble::GivenUp(shard) if !is_ill(shard)));
    }

    pub(super) fn on_ended(&mut self, shard: &ShardId, ending: Ending, config: &LeasesConfig) {
        let ending = self.judged(ending);
        // One that is given up runs, for this box, until the row says so: or it would be taken again at once.
        if !matches!(ending, Ending::Failed(_)) {
            self.running.remove(shard);
        }
        self.leaving_shards.remove(shard);
        if ending != Ending::Released {
            self.declined.remove(shard);
        }
        self.changed_at = Instant::now();
        self.args.figures.unsettled();
        match ending {
            Ending::Finished => {
                info!(%shard, "shard finished");
                // Its children are most likely there already.
                self.finished_at = Some(Instant::now());
                self.discovery.soon();
            }
            Ending::Released => {
                self.args.figures.handed_over();
                self.decline(shard);
            }
            Ending::Stopped => {}
            Ending::Lost => {
                self.args.figures.lost();
                warn!(%shard, "the lease was lost: another worker has the shard");
            }
            Ending::Refused(cause) | Ending::Broken(cause) => {
                error!(%shard, cause, "what was promised of the shard and what is there disagree: it is not read");
                self.refused.insert(shard.clone(), Instant::now());
                self.args.figures.refused(shard, cause);
            }
            Ending::Failed(cause) => {
                error!(%shard, cause, "shard given up");
                self.args.owned.outcome(shard).failed(Failing::Running, &cause, true, self.args.clock.now_ms());
                self.args.figures.gave_up(shard, cause.clone());
                self.set_back(shard, cause, config);
                let (table, id, me) = (self.args.table.clone(), shard.clone(), self.args.worker_id.clone());
                let shard = shard.clone();
                self.begin(GIVING_UP_MAX, async move { table.give_up(&id, &me).await }, move |result| {
                    let late = || Err(LeaseError::Call(out_of_time("give a shard up")));
                    LeasesMsg::GaveUp(shard, result.unwrap_or_else(|_| late()))
                });
            }
        }
        self.look_again();
    }

    /// A worker that has committed nothing yet is no judge of a promise: others look at the shard too, and it goes on with
    /// another one.
    fn judged(&self, ending: Ending) -> Ending {
        match ending {
            Ending::Broken(cause) if !self.trial.is_proven() => Ending::Failed(cause),
            other => other,
        }
    }

    /// The shard is left alone for longer than the last time; a worker that has proved nothing leaves all alone.
    fn set_back(&mut self, shard: &ShardId, cause: String, config: &LeasesConfig) {
        let now = Instant::now();
        if !self.trial.is_proven() {
            self.trial.set_back(format!("shard {} failed here: {cause}", shard.short()), now, config);
        }
        let (failures, until) = self.backing_off.entry(shard.clone()).or_insert((0, now));
        *failures += 1;
        *until = now + backoff(*failures, config);
    }

    /// If it could not be written, the shard is taken again here: better than not at all.
    pub(super) fn on_gave_up(&mut self, shard: &ShardId, result: Result<(), LeaseError>) {
        log_failure(result);
        self.running.remove(shard);
        self.changed_at = Instant::now();
        self.look_again();
    }
}

/// How long a shard that failed this often in a row is left alone where others can take it.
pub(super) fn backoff(failures: u32, config: &LeasesConfig) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    config
        .rules
        .give_up_pause
        .saturating_mul(1 << doublings)
        .min(config.give_up_pause_max.max(config.rules.give_up_pause))
}
