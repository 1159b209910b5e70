//! Looking at the other workers' heartbeats alone, where looking at the whole table so often would cost too much.
//!
//! **Promises** LIVE, by any number of shards: a worker that is silent is noticed as soon as with a small table, and then
//! the table is looked at at once. All looks together keep to `leases.read_units_max` in the long run, but for the one at
//! the table that follows a listing of the stream's shards (BOUNDED).
//! **Not here**: who is new, which the next look at the table shows; what to do about the dead, which needs one too.

use std::time::Duration;

use actors::ports::aws::CallError;
use actors::ports::leases::LeaseRows;
use tokio::time::Instant;

use super::{LeasesConfig, LeasesState, out_of_time};
use crate::protocol::LeasesMsg;

/// How often the table is looked at, by the budget of looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Time from one look at the table to the next.
    pub(super) scan: Duration,
    /// Whether heartbeats are looked at in between.
    pub(super) watches: bool,
}

impl Pace {
    /// By what the last look at the table has cost. Where it is too large to be looked at as often as wanted, the
    /// heartbeats of others have half of the budget.
    pub(super) fn after(read_units: f64, has_others: bool, config: &LeasesConfig) -> Self {
        let scan = affordable(read_units, config.read_units_max);
        match scan > config.scan_interval && has_others {
            true => Self { scan: scan * 2, watches: true },
            false => Self { scan: scan.max(config.scan_interval), watches: false },
        }
    }
}

fn affordable(read_units: f64, read_units_max: f64) -> Duration {
    Duration::from_secs_f64(read_units / read_units_max.max(f64::MIN_POSITIVE))
}

impl LeasesState {
    pub(super) fn watch_if_due(&mut self, now: Instant, config: &LeasesConfig) {
        let workers: Vec<String> = self.observer.others().map(str::to_owned).collect();
        if !self.watches || workers.is_empty() || !self.watch.begins(now) {
            return;
        }
        let (table, asked_for) = (self.args.table.clone(), workers.clone());
        self.begin(config.patience.worker, async move { table.workers(&workers).await }, move |result| {
            let late = || Err(out_of_time("look at the heartbeats"));
            LeasesMsg::Watched(now, asked_for, result.unwrap_or_else(|_| late()))
        });
    }

    pub(super) fn on_watched(
        &mut self,
        began: Instant,
        asked_for: &[String],
        result: Result<LeaseRows, CallError>,
        config: &LeasesConfig,
    ) {
        let rows = match result {
            Ok(rows) => rows,
            Err(error) => {
                self.args.figures.call_failed("watch", &error.into());
                return self.watch.ended(Instant::now() + config.scan_interval);
            }
        };
        self.args.figures.call_passed("watch");
        let pause = config.scan_interval.max(affordable(rows.read_units, config.read_units_max / 2.0));
        self.watch.ended(began + pause);
        let was_asked_for = |id: &str| asked_for.iter().any(|asked| asked == id);
        let times = (began.duration_since(self.began), self.began.elapsed());
        // Whoever is gone leaves shards behind, and whoever came may take some.
        if self.observer.heard(&rows.workers, was_asked_for, times) {
            self.scan.soon();
        }
    }
}
