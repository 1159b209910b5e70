//! What follows from the end of a shard here: it is given back, left alone for a while, or looked for again.
//!
//! **Promises** a shard that failed here is left to others, for longer each time; what became of it is remembered until
//! it works here again, or is in other hands.
//! **Not here**: ending shards (`shards.rs`).

use actors::ports::leases::LeaseError;
use actors::shard::Failing;
use messages::ShardId;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{GIVING_UP_MAX, LeaseFinding, LeasesConfig, LeasesState, log_failure, out_of_time};
use crate::protocol::{Ending, LeasesMsg, ShardFailure};

impl LeasesState {
    /// What became of a shard here is remembered while it is in this worker's hands, or nobody else has taken it; that
    /// it was given up, until it works again.
    pub(super) fn forget_what_has_passed(&mut self) {
        let (rows, running, me) = (&self.rows.leases, self.holdings.running(), &*self.args.worker_id);
        let waits = |shard: &ShardId| {
            let row = rows.get(shard).filter(|row| row.owner.is_none());
            row.is_some_and(|row| row.given_up_by.as_deref() == Some(me))
        };
        let mine = |shard: &ShardId| rows.get(shard).is_some_and(|row| row.owner.as_deref() == Some(me));
        let owned = &self.args.owned;
        owned.retain_outcomes(|shard| running.contains(shard) || mine(shard) || waits(shard));
        let works = |shard: &ShardId| owned.outcome_if_any(shard).is_some_and(|outcome| outcome.works());
        self.holdings.retain_failures(|shard| rows.contains_key(shard) && !works(shard));
        let now_ms = self.args.clock.now_ms();
        let is_failing =
            |shard: &ShardId| owned.outcome_if_any(shard).is_some_and(|outcome| outcome.failure(now_ms).is_some());
        self.args.figures.retain(|finding| !matches!(finding, LeaseFinding::GivenUp(shard) if !is_failing(shard)));
    }

    pub(super) fn on_ended(&mut self, shard: &ShardId, ending: Ending, config: &LeasesConfig) {
        let ending = self.judged(ending);
        let declined = self.holdings.ended(shard, &ending, self.began.elapsed(), config);
        self.args.owned.settle(0);
        match ending {
            Ending::Finished => {
                info!(%shard, "shard finished");
                // Its children are most likely there already.
                self.finished_at = Some(Instant::now());
                self.discovery.soon();
            }
            Ending::Released => {
                self.args.figures.handed_over();
                if declined {
                    self.decline(shard);
                }
            }
            Ending::Stopped => {}
            Ending::Lost => {
                self.args.figures.lost();
                warn!(%shard, "the lease was lost: another worker has the shard");
            }
            Ending::Refused(disagreement) => self.refuse(shard, disagreement.to_string()),
            Ending::Broken(given_up) => self.refuse(shard, given_up.cause),
            Ending::Failed(failure) => {
                let cause = failure.to_string();
                error!(%shard, cause, "shard given up");
                self.args.owned.outcome(shard).failed(Failing::Running, &cause, true, self.args.clock.now_ms());
                self.args.figures.gave_up(shard, cause.clone());
                if !self.trial.is_proven() {
                    let why = format!("shard {} failed here: {cause}", shard.short());
                    self.trial.set_back(why, Instant::now(), config);
                }
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

    fn refuse(&self, shard: &ShardId, cause: String) {
        error!(%shard, cause, "what was promised of the shard and what is there disagree: it is not read");
        self.args.figures.refused(shard, cause);
    }

    /// A worker that has committed nothing yet is no judge of a promise: others look at the shard too, and it goes on with
    /// another one.
    fn judged(&self, ending: Ending) -> Ending {
        match ending {
            Ending::Broken(given_up) if !self.trial.is_proven() => Ending::Failed(ShardFailure::Broken(given_up)),
            other => other,
        }
    }

    /// If it could not be written, the shard is taken again here: better than not at all.
    pub(super) fn on_gave_up(&mut self, shard: &ShardId, result: Result<(), LeaseError>) {
        log_failure(result);
        self.holdings.gave_up(shard, self.began.elapsed());
        self.look_again();
    }
}
