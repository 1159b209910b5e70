//! How the simulated workers are set up: the shipped defaults where times are concerned, small where sizes are.

use std::time::Duration;

use actors::committer::CommitterConfig;
use actors::loader::LoaderConfig;
use actors::loading::{LoadingConfig, MetadataConfig, RefusalPatience};
use actors::ports::warehouse::{WarehousePlace, WarehouseTarget};
use actors::sensors::SensorsConfig;
use actors::sinks::Encoding;
use messages::EventSchema;
use supervisor::config::Config;
use supervisor::worker::WorkerConfig;

use super::schedule::Schedule;
use crate::oracle::Limits;

/// Another stream that names the same lease table.
pub(super) const OTHER_STREAM: &str = "others";
pub(super) const STREAM: &str = "events";
pub(super) const BUCKET: &str = "lake";
pub(super) const TABLE: &str = "leases";
pub(super) const NAMESPACE: &str = "mangrove";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The schema of all simulated sensors.
pub(super) fn schema() -> EventSchema {
    EventSchema::built_in("climate").expect("it is built in")
}

/// Where loads go, and how much goes at once: little, so that there are many.
pub(super) fn loading() -> LoadingConfig {
    LoadingConfig {
        namespace: NAMESPACE.to_owned(),
        iam_role: String::new(),
        epochs_max: 20,
        bytes_max: 1 << 30,
        patience: RefusalPatience { attempts_max: 2, alike_max: 3 },
        metadata: MetadataConfig::none(),
        encoding: Encoding::RECOMMENDED,
        spectrum: None,
    }
}

/// When.
pub(super) fn loader() -> LoaderConfig {
    LoaderConfig {
        load_interval: seconds(6),
        backoff_max: seconds(2),
        failover_after: seconds(4),
        turn_max: seconds(15),
    }
}

/// Which warehouse, and for how long a statement is waited for.
pub(super) fn warehouse() -> (WarehouseTarget, Duration) {
    let place = WarehousePlace::Workgroup("simulation".to_owned());
    (WarehouseTarget { place, database: "dev".to_owned(), db_user: None, secret_arn: None }, seconds(15))
}

/// A worker as it is shipped, but for what makes more happen in a minute, and what the schedule has of its own.
pub(super) fn worker(worker_id: &str, schedule: &Schedule) -> WorkerConfig {
    let mut config = Config::shipped(worker_id, schema());
    let WorkerConfig { leases, shard, alerts, watchdog, .. } = &mut config;
    if let Some(failover) = schedule.failover {
        leases.rules.claim_patience =
            leases.rules.claim_patience.mul_f64(failover.div_duration_f64(leases.patience.worker));
        leases.patience.worker = failover;
    }
    // Shorter, so that a run sees it; longer than any pause that services cause.
    leases.stuck_after = seconds(20);
    leases.rules.give_up_pause = seconds(5);
    leases.give_up_pause_max = seconds(30);
    leases.read_units_max = schedule.read_units_max;
    shard.sensors =
        SensorsConfig { known_max: 10_000, live_max: 16, idle_timeout: seconds(3), ..shard.sensors.clone() };
    let committer = shard.committer.clone();
    shard.committer = CommitterConfig { age_max: seconds(2), bytes_max: 64 << 10, full_state_every: 4, ..committer };
    if let Some(refresh_after) = schedule.refresh_after {
        shard.committer.refresh_after = refresh_after;
    }
    shard.sinks.encoding.gzip_level = 1;
    shard.sinks.uploads_max = 4;
    alerts.in_flight_max = 16;
    alerts.drain_timeout = seconds(30);
    // By the machine's own clock, which a simulation outruns: what hangs in it is found by its progress.
    watchdog.hang_timeout = seconds(3_600);
    config
}

/// What the replay of the oracle needs to know.
pub(super) fn limits() -> Limits {
    let WorkerConfig { shard, event_ids_max, .. } = worker("oracle", &Schedule::of_seed(0));
    Limits { decode: shard.reader.decode, event_ids_max, lateness: shard.aggregator.allowed_lateness }
}
