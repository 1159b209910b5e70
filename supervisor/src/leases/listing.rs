//! What follows from a listing of the stream's shards: findings to report, rows to tidy away.
//!
//! **Promises** what is wrong with the table or the stream is said once, by name, and shown until it has passed.
//! **Not here**: asking (`discovery.rs`), deciding who reads what (`assignment.rs`).

use std::collections::BTreeSet;

use actors::ports::aws::CallError;
use actors::ports::leases::LeaseError;
use actors::ports::stream::{Description, Distribution};
use messages::ShardId;
use messages::sample::shared;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::figures::LeaseFinding;
use super::lineage::{self, ListedShards};
use super::{LeasesConfig, LeasesState, log_failure};
use crate::protocol::Discovered;

impl LeasesState {
    pub(super) fn on_discovered(
        &mut self,
        began: Instant,
        result: Result<Discovered, LeaseError>,
        config: &LeasesConfig,
    ) {
        self.discovery.ended(began + config.discover_interval);
        let discovered = match result {
            Ok(discovered) => discovered,
            Err(error) => {
                self.args.figures.call_failed("list", &error);
                // The first time nothing can begin without it.
                if self.listed.is_none() {
                    self.discovery.ended(Instant::now() + config.scan_interval);
                }
                return;
            }
        };
        self.args.figures.call_passed("list");
        if let Some(why) = discovered.other_stream {
            self.stream_is_another(why);
            return;
        }
        self.holdings.stream_is_another(false);
        let nothing_known = self.listed.is_none();
        if let Err(error) = self.hear_of_keys(discovered.description)
            && nothing_known
            && error.may_pass()
        {
            // What is read before may be judged wrongly: nothing begins until the service has said something.
            self.discovery.ended(Instant::now() + config.scan_interval);
            return;
        }
        if !discovered.created.is_empty() {
            info!(shards = ?discovered.created, "new shards");
            self.look_again();
        }
        let (orphans, known) = (discovered.orphans, discovered.known);
        for shard in &orphans {
            self.args.figures.finding(LeaseFinding::Orphan(shard.clone()));
            self.say_once(format!("orphan {shard}"), || {
                error!(
                    %shard,
                    "the bucket has epochs of this shard, but the lease table has no row of it: reading it again would \
                     store everything twice. Stop the workers and let mangrove leases rebuild make the row from the \
                     manifests, or use another bucket"
                );
            });
        }
        let listed: ListedShards = discovered.shards.into_iter().map(|info| (info.shard.clone(), info)).collect();
        let trimmed = self.report_trimmed(&listed, &known, config);
        self.args.figures.retain(|finding| match finding {
            LeaseFinding::Orphan(shard) => orphans.contains(shard),
            LeaseFinding::Trimmed(shard) => trimmed.contains(shard),
            LeaseFinding::OtherStream => false,
            LeaseFinding::Fenced | LeaseFinding::GivenUp(_) | LeaseFinding::Disagrees(_) | LeaseFinding::Unproven => {
                true
            }
        });
        self.tidy(&listed);
        self.unlisted = known.into_iter().filter(|shard| !listed.contains_key(shard)).collect();
        self.listed = Some(listed);
        self.listed_at = Some(began);
        self.look_again();
    }

    /// Whether the stream heeds keys can change at any time.
    fn hear_of_keys(&self, description: Result<Description, CallError>) -> Result<(), CallError> {
        let keys = &self.args.keys;
        let description = description.inspect_err(|error| {
            let error = LeaseError::Call(error.clone());
            self.args.figures.call_failed("describe", &error);
            keys.not_heard(error.to_string());
        })?;
        // A strategy that this build does not know is not the one by keys.
        let by_key = description.distribution == Distribution::ByKey;
        if keys.heard(by_key, self.args.clock.now_ms()) {
            match by_key {
                true => info!("the stream places records by their keys again"),
                false => warn!(
                    "the stream spreads records over its shards whatever their keys are (RecordDistributionStrategy): \
                     what needs one place for each sensor is combined over shards, or switched off"
                ),
            }
        }
        Ok(())
    }

    /// Whether a sensor comes in two shards that are both open; as often as shards are listed.
    pub(super) fn compare_samples(&mut self, config: &LeasesConfig) {
        let now = Instant::now();
        if self.rows.leases.is_empty() || self.compared_at.is_some_and(|at| now - at < config.discover_interval) {
            return;
        }
        self.compared_at = Some(now);
        let open = lineage::open(self.listed.as_ref(), &self.rows);
        let samples = open.filter_map(|lease| Some((&lease.shard, lease.sample.as_ref()?)));
        let now_ms = self.args.clock.now_ms();
        let heeded = self.args.keys.are_heeded();
        if self.args.keys.compared(shared(samples).filter(|_| heeded), now_ms)
            && let Some(seen) = self.args.keys.seen()
        {
            let [one, other] = &seen.shards;
            warn!(%one, %other, sensors = seen.sensors, "sensors come in two open shards at once");
        }
    }

    /// A shard that was trimmed by retention before all of it was read: data is lost, whatever is done now.
    fn report_trimmed(
        &mut self,
        listed: &ListedShards,
        known: &BTreeSet<ShardId>,
        config: &LeasesConfig,
    ) -> BTreeSet<ShardId> {
        let trimmed = lineage::trimmed(listed, known, &self.rows);
        let trimmed: BTreeSet<ShardId> = trimmed.iter().map(|lease| lease.shard.clone()).collect();
        for shard in &trimmed {
            self.args.figures.finding(LeaseFinding::Trimmed(shard.clone()));
            let then = lineage::after_loss(shard, listed, config.rules.skip_trimmed);
            let checkpoint = self.rows.leases.get(shard).map(|lease| lease.checkpoint.to_string());
            self.say_once(format!("trimmed {shard}"), || {
                metrics::counter!("mangrove_shards_trimmed_total").increment(1);
                error!(%shard, checkpoint, then, "DATA LOSS: the stream has forgotten a shard before all was read");
            });
        }
        trimmed
    }

    /// The stream was deleted and made again while this worker ran: no row speaks of its records.
    fn stream_is_another(&mut self, why: String) {
        if self.holdings.stream_is_another(true) {
            error!(why, "the stream is another one now: ending all shards");
        }
        self.args.figures.other_stream(why);
        self.stop_all();
    }

    /// Removes rows that nobody needs. Only the first of the living does.
    fn tidy(&mut self, listed: &ListedShards) {
        if self.observer.candidates().min() != Some(&*self.args.worker_id) {
            return;
        }
        let leases: Vec<_> = lineage::disposable(listed, &self.rows).into_iter().cloned().collect();
        let workers: Vec<_> = self.observer.long_dead().cloned().collect();
        let table = self.args.table.clone();
        self.tasks.spawn(async move {
            for lease in &leases {
                info!(shard = %lease.shard, "forgetting a shard that the stream has forgotten");
                log_failure(table.delete(lease).await);
            }
            for worker in &workers {
                log_failure(table.forget(worker).await);
            }
        });
    }

    pub(super) fn report_bad_rows(&mut self) {
        for bad in std::mem::take(&mut self.rows.bad) {
            let text = bad.to_string();
            self.say_once(text.clone(), || error!(error = text, "a row of the lease table cannot be read"));
        }
    }

    /// Bounded by the table: what is said is said of its rows.
    fn say_once(&mut self, what: String, say: impl FnOnce()) {
        if self.reported.insert(what, ()).is_none() {
            say();
        }
    }
}
