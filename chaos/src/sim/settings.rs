//! How the simulated workers are set up: the shipped defaults where times are concerned, small where sizes are.

use std::sync::Arc;
use std::time::Duration;

use actors::aggregator::WindowsConfig;
use actors::alerts::AlertsConfig;
use actors::committer::CommitterConfig;
use actors::loader::LoaderConfig;
use actors::loading::{LoadingConfig, MetadataConfig, RefusalPatience};
use actors::ports::warehouse::{WarehousePlace, WarehouseTarget};
use actors::reader::ReaderConfig;
use actors::reader::decode::DecodeLimits;
use actors::sensor::SensorRules;
use actors::sensors::SensorsConfig;
use actors::sinks::{Encoding, SinksConfig};
use messages::EventSchema;
use supervisor::leases::{LeasesConfig, Patience, Rules};
use supervisor::shard::ShardConfig;
use supervisor::shard::StreamStart;
use supervisor::supervision::watchdog::WatchdogConfig;
use supervisor::supervision::{RestartPolicy, Scope, SupervisorConfig};
use supervisor::worker::WorkerConfig;

use crate::oracle::Limits;

/// Another stream that names the same lease table.
pub(super) const OTHER_STREAM: &str = "others";
pub(super) const STREAM: &str = "events";
pub(super) const BUCKET: &str = "lake";
pub(super) const TABLE: &str = "leases";
pub(super) const NAMESPACE: &str = "mangrove";
pub(super) const EVENT_IDS_MAX: usize = 32;
const LATENESS_S: u64 = 3_600;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The schema of all simulated sensors.
pub(super) fn schema() -> EventSchema {
    EventSchema::built_in("climate").expect("it is built in")
}

fn decode() -> DecodeLimits {
    DecodeLimits { record_bytes_max: 256 << 10, events_per_record_max: 1_000, depth_max: 64 }
}

/// What the replay of the oracle needs to know.
pub(super) fn limits() -> Limits {
    Limits { decode: decode(), event_ids_max: EVENT_IDS_MAX, lateness: seconds(LATENESS_S) }
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

pub(super) fn worker(worker_id: &str) -> WorkerConfig {
    let patience = Patience { worker: seconds(3), foreign: seconds(20) };
    WorkerConfig {
        worker_id: worker_id.to_owned(),
        address: String::new(),
        keys: actors::keys::Expected::Detect,
        schema: Arc::new(schema()),
        event_ids_max: EVENT_IDS_MAX,
        history_max: SensorRules::HISTORY,
        memory_budget: 128 << 20,
        memory_limit: None,
        leases: LeasesConfig {
            heartbeat_interval: seconds(1),
            patience,
            scan_interval: millis(250),
            read_units_max: 1_000.0,
            discover_interval: seconds(10),
            // Shorter than the default, so that a run sees it; longer than any pause that services cause.
            stuck_after: seconds(20),
            handovers_per_minute: 60,
            give_up_pause_max: seconds(30),
            rules: Rules {
                shards_max: 1_000,
                give_up_pause: seconds(5),
                claim_patience: patience.worker * 3,
                skip_trimmed: false,
            },
            start: StreamStart::Oldest,
        },
        handover_timeout: seconds(20),
        shard: ShardConfig {
            reader: ReaderConfig {
                poll_interval: millis(200),
                records_max: 10_000,
                partitions_max: 512,
                rows_max: 250_000,
                decode: decode(),
                whole_aggregates: false,
                backoff_max: seconds(5),
                failures_max: 20,
            },
            sensors: SensorsConfig {
                known_max: 10_000,
                live_max: 16,
                idle_timeout: seconds(3),
                crashes_max: 3,
                hang_timeout: seconds(10),
                scan_interval: seconds(1),
            },
            aggregator: WindowsConfig { allowed_lateness: seconds(LATENESS_S), windows_per_sensor_max: 64 },
            sinks: SinksConfig {
                encoding: Encoding { gzip_level: 1, ..Encoding::RECOMMENDED },
                uploads_max: 4,
                attempts_max: 8,
                backoff_max: seconds(5),
            },
            committer: CommitterConfig {
                age_max: seconds(2),
                bytes_max: 64 << 10,
                partitions_max: 512,
                rows_max: 250_000,
                full_state_every: 4,
            },
            skip_trimmed: false,
            start: StreamStart::Oldest,
        },
        alerts: AlertsConfig {
            queue_max: 10_000,
            in_flight_max: 16,
            retry_for: seconds(300),
            backoff_max: seconds(10),
            drain_timeout: seconds(30),
        },
        supervisor: SupervisorConfig {
            restart: RestartPolicy {
                restarts_max: 5,
                within: seconds(60),
                backoff_min: millis(200),
                backoff_max: seconds(10),
            },
            scope: Scope::RestForOne,
            start_timeout: seconds(30),
            stop_timeout: seconds(10),
            kill_grace: seconds(2),
        },
        // By the machine's own clock, which a simulation outruns: what hangs in it is found by its progress.
        watchdog: WatchdogConfig { scan_every: seconds(1), hang_timeout: seconds(3_600) },
        nodes_max: 10_000,
    }
}
