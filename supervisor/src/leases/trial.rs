//! What a worker has to show before it is given what others read: that it can commit.
//!
//! **Owns** how far this process has come: nothing tried, rehearsed, on trial, proven; and its set-backs.
//!
//! **Promises**
//! - Before it takes anything a worker **rehearses**: the states that rows of the table name are in its bucket, and the
//!   bucket lets it write. It changes nothing. A bucket that is another one, or that refuses, costs nobody a shard.
//! - Then it is **on trial**: it takes one shard, whose first epoch ends as soon as it has a record. A commit proves the
//!   worker; so does a shard that is read to its tip with nothing to commit. Only then does it take more.
//! - A worker that fails on trial takes nothing for `leases.give_up_pause`, doubled each time up to
//!   `leases.give_up_pause_max`, as long as a proven one lives. Where none does, it goes on with another shard at once,
//!   and takes what has lain about for the claim patience. Where no other worker lives at all, it takes everything once
//!   it has rehearsed: it can harm nobody, and what it leaves nobody reads.
//! - What was a process's own before it began is its own still: nobody else has it.
//!
//! **Not here**: who should own what (`assignment.rs`).

use std::time::Duration;

use actors::lake::manifest_of_state;
use actors::ports::aws::{CallError, Failure};
use actors::ports::leases::{LeaseError, LeaseTable, Standing};
use actors::ports::objects::Objects;
use messages::{Position, ShardId};
use tokio::time::Instant;
use tracing::{info, warn};

use super::figures::UNTRIED;
use super::holdings::backoff;
use super::{LeasesConfig, LeasesState, out_of_time};
use crate::protocol::{LeasesMsg, ShardFailure, ShardsMsg};

/// Rows whose states are looked for. One that is damaged must not speak for all.
const ROWS_MAX: usize = 4;
const MANIFEST_BYTES_MAX: usize = 16 << 20;
const REHEARSAL_MAX: Duration = Duration::from_secs(20);
const AGAIN_MIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// The longest wait to see that a worker can commit, however long its epochs may last.
const PROOF_MS_MAX: i64 = 10_000;
/// A worker that is given no shard for this long is one to spare.
const SPARE_AFTER: Duration = Duration::from_secs(5);

/// How far this process has come.
#[derive(Debug)]
pub(super) struct Trial {
    proven: bool,
    /// Since when it is known that it reaches what it needs.
    rehearsed_at: Option<Instant>,
    rehearsing: bool,
    again_at: Instant,
    again_after: Duration,
    setbacks: u32,
    resumes_at: Option<Instant>,
    /// What went wrong last.
    why: Option<String>,
}

impl Trial {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            proven: false,
            rehearsed_at: None,
            rehearsing: false,
            again_at: now,
            again_after: AGAIN_MIN,
            setbacks: 0,
            resumes_at: None,
            why: None,
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Its shard has failed.
    pub(super) fn set_back(&mut self, why: String, now: Instant, config: &LeasesConfig) {
        self.setbacks += 1;
        self.resumes_at = Some(now + backoff(self.setbacks, config));
        (self.why, self.rehearsed_at) = (Some(why), None);
        (self.again_at, self.again_after) = (now, AGAIN_MIN);
    }

    fn begins_rehearsal(&mut self, now: Instant) -> bool {
        let begins = !self.proven && self.rehearsed_at.is_none() && !self.rehearsing && now >= self.again_at;
        self.rehearsing |= begins;
        begins
    }

    fn rehearsed(&mut self, result: Result<(), LeaseError>, now: Instant) {
        self.rehearsing = false;
        match result {
            Ok(()) => {
                if self.resumes_at.is_none() {
                    self.why = None;
                }
                self.rehearsed_at = Some(now);
            }
            Err(error) => {
                warn!(why = %error, "this worker takes no shard yet");
                self.why = Some(error.to_string());
                self.again_at = now + self.again_after;
                self.again_after = (self.again_after * 2).min(AGAIN_MAX);
            }
        }
    }

    /// What it may be given. `others`: whether a proven worker lives.
    fn standing(&self, others: bool, now: Instant) -> Standing {
        let waits = self.resumes_at.is_some_and(|at| now < at);
        match (self.proven, self.rehearsed_at) {
            (true, _) => Standing::Proven,
            (false, None) => Standing::Unfit,
            (false, Some(_)) if waits && others => Standing::Unfit,
            (false, Some(_)) => Standing::OnTrial,
        }
    }

    /// What it lacks, in words; none if it lacks nothing, or is one to spare.
    pub(super) fn lacks(&self, shard: Option<&ShardId>, now: Instant) -> Option<String> {
        if self.proven {
            return None;
        }
        match (&self.why, self.rehearsed_at, shard) {
            (Some(why), _, _) => Some(why.clone()),
            (None, None, _) => Some(UNTRIED.to_owned()),
            (None, Some(_), Some(shard)) => {
                Some(format!("nothing of its first shard, {}, is committed", shard.short()))
            }
            (None, Some(at), None) if now.duration_since(at) < SPARE_AFTER => Some("it has no shard yet".to_owned()),
            (None, Some(_), None) => None,
        }
    }
}

impl LeasesState {
    /// What this worker may be given.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let standing = self.trial.standing(self.observer.any_proven(), now);
        let owned = self.args.owned.all();
        let now_ms = self.args.clock.now_ms();
        let none_works = !owned.is_empty() && owned.iter().all(|s| s.context.outcome.failure(now_ms).is_some());
        if standing == Standing::Proven && none_works { Standing::Unwell } else { standing }
    }

    /// Begins to rehearse, once the table and the stream have been seen.
    pub(super) fn rehearse_if_due(&mut self, now: Instant) {
        if self.listed.is_none() || self.shown_at.is_none() || !self.trial.begins_rehearsal(now) {
            return;
        }
        let open = self.rows.leases.values().filter(|row| row.epoch.0 > 0 && row.checkpoint != Position::ShardEnd);
        let shards: Vec<ShardId> = open.take(ROWS_MAX).map(|row| row.shard.clone()).collect();
        let (table, objects) = (self.args.table.clone(), self.args.objects.clone());
        self.begin(REHEARSAL_MAX, async move { rehearse(&table, &objects, &shards).await }, |result| {
            let late = || Err(LeaseError::Call(out_of_time("rehearse")));
            LeasesMsg::Rehearsed(result.unwrap_or_else(|_| late()))
        });
    }

    pub(super) fn on_rehearsed(&mut self, result: Result<(), LeaseError>) {
        self.trial.rehearsed(result, Instant::now());
        self.watch_trial();
        self.look_again();
    }

    /// Notices that the worker has proved itself, or that it fails where others do not.
    pub(super) fn watch_trial(&mut self) {
        let now = Instant::now();
        let owned = self.args.owned.all();
        if !self.trial.proven {
            let rehearsed = self.trial.rehearsed_at.is_some();
            let outcome = |shard: &crate::shard::Shard| {
                let outcome = &shard.context.outcome;
                outcome.has_committed() || (rehearsed && outcome.works())
            };
            if let Some(shard) = owned.iter().find(|shard| outcome(shard)) {
                info!(shard = %shard.context.shard, "this worker has proved itself, and takes what is there");
                self.trial = Trial { proven: true, ..Trial::new(now) };
                self.look_again();
            } else {
                self.try_hard(now);
            }
        }
        let lacks = self.trial.lacks(self.holdings.running().iter().next(), now);
        self.args.figures.proves(lacks);
        if self.standing(now) != self.args.heartbeat.row().standing {
            // The others wait for that word.
            self.beat.soon();
        }
    }

    /// On trial: the shard shows soon whether it works. One that does not is given back at once if others can read it.
    fn try_hard(&self, now: Instant) {
        let (now_ms, others) = (self.args.clock.now_ms(), self.observer.any_proven());
        let wanted = self.observer.anybody_else() && (others || self.unowned > 0);
        for shard in self.args.owned.all() {
            let outcome = &shard.context.outcome;
            let long = outcome.waits_since_ms().is_some_and(|since_ms| now_ms - since_ms > PROOF_MS_MAX);
            if (wanted || long) && self.trial.standing(others, now) == Standing::OnTrial {
                shard.hurry();
            }
            let (Some(shards), Some(failure)) = (&self.shards, outcome.failure(now_ms)) else { continue };
            if others && failure.lasting {
                // One that has ended needs no end.
                let _ = shards
                    .send_message(ShardsMsg::GiveUp(shard.context.shard.clone(), ShardFailure::FailureStreak(failure)));
            }
        }
    }
}

/// Whether a worker could go on with what is there. Changes nothing.
async fn rehearse(table: &LeaseTable, objects: &Objects, shards: &[ShardId]) -> Result<(), LeaseError> {
    let mut wrong: Option<CallError> = None;
    for shard in shards {
        let state = match table.get(shard).await {
            Ok(row) => row.and_then(|row| row.state_key),
            // One row, or one object, must not speak for all.
            Err(LeaseError::Row(_)) => continue,
            Err(error) => return Err(error),
        };
        let Some(state) = state else { continue };
        let manifest = manifest_of_state(&state);
        let looked = match objects.length(&state).await {
            // A lifecycle rule may have taken the state of a shard that nobody reads any more; manifests stay.
            Err(error) if error.failure == Failure::NotFound => objects.length(&manifest).await.map_err(|_| error),
            looked => looked,
        };
        let looked = match looked {
            Ok(_) => may_write(objects, &manifest).await,
            Err(error) => Err(error),
        };
        match looked {
            Ok(()) => return Ok(()),
            Err(error) => wrong = Some(error),
        }
    }
    match wrong {
        None => Ok(()),
        Some(error) if error.failure != Failure::NotFound => Err(error.into()),
        Some(error) => {
            let message = format!(
                "bucket {:?} has no state of any shard that the lease table was asked for: is bucket.name that of the \
                 workers before? ({})",
                objects.bucket(),
                error.message
            );
            Err(CallError { message, ..error }.into())
        }
    }
}

async fn may_write(objects: &Objects, manifest: &str) -> Result<(), CallError> {
    match objects.may_put(manifest, MANIFEST_BYTES_MAX).await {
        // Tidied away: then the first commit has to tell.
        Err(error) if error.failure == Failure::NotFound => Ok(()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leases::{Patience, Rules};
    use crate::shard::StreamStart;

    fn config() -> LeasesConfig {
        let second = Duration::from_secs(1);
        LeasesConfig {
            heartbeat_interval: second,
            patience: Patience { worker: second * 3, foreign: second * 20 },
            scan_interval: second,
            read_units_max: 20.0,
            discover_interval: second,
            stuck_after: second * 60,
            handovers_per_minute: 60,
            give_up_pause_max: second * 600,
            rules: Rules {
                shards_max: 10,
                give_up_pause: second * 20,
                claim_patience: second * 9,
                skip_trimmed: false,
            },
            start: StreamStart::Oldest,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn from_nothing_to_proven() {
        let now = Instant::now();
        let mut trial = Trial::new(now);
        assert_eq!(trial.standing(true, now), Standing::Unfit);
        assert!(trial.begins_rehearsal(now) && !trial.begins_rehearsal(now));
        trial.rehearsed(Err(CallError::new("list", Failure::Refused, "no bucket").into()), now);
        let lacks = Some("list: no bucket".to_owned());
        assert_eq!((trial.standing(false, now), trial.lacks(None, now)), (Standing::Unfit, lacks));
        assert!(!trial.begins_rehearsal(now));
        let later = now + AGAIN_MIN;
        assert!(trial.begins_rehearsal(later));
        trial.rehearsed(Ok(()), later);
        assert_eq!(trial.standing(true, later), Standing::OnTrial);
        assert!(trial.lacks(None, later).is_some(), "a shard may come");
        assert_eq!(trial.lacks(None, later + SPARE_AFTER), None, "it is one to spare");
        trial.proven = true;
        assert_eq!(trial.standing(true, later), Standing::Proven);
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_leaves_all_to_others_for_longer_each_time_and_to_nobody_not_at_all() {
        let (now, config) = (Instant::now(), config());
        let mut trial = Trial::new(now);
        let pause = config.rules.give_up_pause;
        for (setbacks, times) in [(1, 1), (2, 2), (3, 4)] {
            trial.set_back("it failed".into(), now, &config);
            trial.rehearsed(Ok(()), now);
            assert_eq!(trial.setbacks, setbacks);
            let until = now + pause * times;
            let just_before = until - Duration::from_millis(1);
            assert_eq!(trial.standing(true, just_before), Standing::Unfit);
            assert_eq!(trial.standing(false, just_before), Standing::OnTrial, "it harms nobody");
            assert_eq!(trial.standing(true, until), Standing::OnTrial);
            assert_eq!(
                trial.lacks(None, until + SPARE_AFTER),
                Some("it failed".into()),
                "until it has proved otherwise"
            );
        }
        (0..40).for_each(|_| trial.set_back("it failed".into(), now, &config));
        trial.rehearsed(Ok(()), now);
        assert_eq!(trial.standing(true, now + config.give_up_pause_max), Standing::OnTrial);
    }
}
