//! What the leases do by the way: reporting what is lost or cannot be read, and removing rows that nobody needs.

use messages::ShardId;
use tracing::{error, info};

use super::lineage::{self, Listed};
use super::{LeasesConfig, LeasesState, Trouble, log_failure};

impl LeasesState {
    /// A shard that was trimmed by retention before all of it was read: data is lost, whatever is done now.
    pub(super) fn report_trimmed(&mut self, listed: &Listed, config: &LeasesConfig) {
        // A shard may have been listed and created since the rows were read.
        let trimmed: Vec<ShardId> = lineage::trimmed(listed, &self.rows).iter().map(|l| l.shard.clone()).collect();
        for shard in trimmed {
            self.args.figures.trouble(Trouble::Trimmed(shard.clone()));
            let skip = config.rules.skip_trimmed;
            let checkpoint = self.rows.leases.get(&shard).map(|lease| lease.checkpoint.to_string());
            self.say_once(format!("trimmed {shard}"), || {
                metrics::counter!("mangrove_shards_trimmed_total").increment(1);
                let then = if skip { "its children are read" } else { "its children wait (stream.on_trimmed)" };
                error!(%shard, checkpoint, then, "DATA LOSS: the stream has forgotten a shard before all was read");
            });
        }
    }

    /// Removes rows that nobody needs. Only the first of the living does.
    pub(super) fn tidy(&mut self, listed: &Listed) {
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
    pub(super) fn say_once(&mut self, what: String, say: impl FnOnce()) {
        if self.reported.insert(what, ()).is_none() {
            say();
        }
    }
}
