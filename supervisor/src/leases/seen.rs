//! What the last look at the table showed, for people: who has which shard, and who is alive.
//!
//! **Promises** a copy at most once a second, as large as the table and no larger.
//! **Not here**: what follows from it (`assignment.rs`).

use std::time::Duration;

use actors::ports::leases::{LeaseView, Standing};
use messages::{EpochNumber, Position, ShardId};
use tokio::time::Instant;

use super::LeasesState;
use super::lineage::may_start;

/// Time between two copies.
const COPY_EVERY: Duration = Duration::from_secs(1);

/// What one worker knows of the cluster.
#[derive(Clone, Debug, Default)]
pub struct LeasesSeen {
    /// When the table was last looked at, milliseconds since 1970; 0 before the first time.
    pub at_ms: i64,
    /// The workers, by name.
    pub workers: Vec<WorkerSeen>,
    /// The shards, by id.
    pub shards: Vec<ShardSeen>,
    /// Whether this worker takes no more, and perhaps no longer looks.
    pub leaving: bool,
}

/// A worker as its heartbeat shows it.
#[derive(Clone, Debug)]
pub struct WorkerSeen {
    /// Its name on leases.
    pub id: String,
    /// Where its ops endpoint listens; empty if it does not tell.
    pub address: String,
    /// Whether it is this worker.
    pub me: bool,
    /// Whether its heartbeat has moved lately.
    pub alive: bool,
    /// Whether it gives its shards up and takes none.
    pub leaving: bool,
    /// What it may be given.
    pub standing: Standing,
    /// For how long its heartbeat has stood still.
    pub silent: Duration,
}

/// A shard as its row shows it.
#[derive(Clone, Debug)]
pub struct ShardSeen {
    /// The shard.
    pub shard: ShardId,
    /// The owner.
    pub owner: Option<String>,
    /// Whether whoever works on it may still do so.
    pub owner_alive: bool,
    /// All records up to here are durable.
    pub checkpoint: Position,
    /// The last committed epoch.
    pub epoch: EpochNumber,
    /// Shards that it was split or merged from.
    pub parents: Vec<ShardId>,
    /// Parents that have to be read first and are not.
    pub waits_for: Vec<ShardId>,
    /// Whether an epoch is prepared and not committed.
    pub pending: bool,
    /// The worker that could make no progress on it.
    pub given_up_by: Option<String>,
    /// Whether the stream still holds it.
    pub listed: bool,
    /// Whether it takes no more records.
    pub closed: bool,
    /// For how long its row has stood still.
    pub unmoved: Duration,
}

impl LeasesState {
    /// Copies what was seen, if the last copy is old enough.
    pub(super) fn show(&mut self, now: Instant) {
        if self.shown_at.is_some_and(|at| now.duration_since(at) < COPY_EVERY) {
            return;
        }
        self.shown_at = Some(now);
        let me = &*self.args.worker_id;
        let worker = |(row, silent): (&actors::ports::leases::WorkerRow, Duration)| WorkerSeen {
            id: row.id.clone(),
            address: row.address.clone(),
            me: row.id == me,
            alive: self.observer.is_alive(&row.id),
            leaving: row.leaving,
            standing: row.standing,
            silent: if row.id == me { Duration::ZERO } else { silent },
        };
        let workers = self.observer.workers().map(worker).collect();
        let shards = self.rows.leases.values().map(|lease| self.shard_seen(lease)).collect();
        self.args.figures.saw(LeasesSeen {
            at_ms: self.args.clock.now_ms(),
            workers,
            shards,
            leaving: self.holdings.is_ending(),
        });
    }

    fn shard_seen(&self, lease: &LeaseView) -> ShardSeen {
        let listed = self.listed.as_ref().and_then(|listed| listed.get(&lease.shard));
        let skip_trimmed = self.skip_trimmed;
        let waits = self.listed.as_ref().is_some_and(|listed| !may_start(lease, listed, &self.rows, skip_trimmed));
        let unread =
            |parent: &&ShardId| self.rows.leases.get(*parent).is_none_or(|row| row.checkpoint != Position::ShardEnd);
        ShardSeen {
            shard: lease.shard.clone(),
            owner: lease.owner.clone(),
            owner_alive: lease.owner.is_some() && self.observer.owner_is_alive(lease),
            checkpoint: lease.checkpoint.clone(),
            epoch: lease.epoch,
            parents: lease.parents.clone(),
            waits_for: lease.parents.iter().filter(|_| waits).filter(unread).cloned().collect(),
            pending: lease.pending,
            given_up_by: lease.given_up_by.clone(),
            listed: listed.is_some() || self.listed.is_none(),
            closed: listed.is_some_and(|info| info.closed),
            unmoved: self.observer.unmoved_for(&lease.shard),
        }
    }
}
