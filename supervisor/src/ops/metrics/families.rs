//! Name, labels and meaning of what the supervisor's side counts, and of what is asked for at the scrape.

use actors::metrics::Family;

use super::process;

/// What is told to the recorder as it happens.
pub(super) const RECORDED: &[Family] = &[
    Family::gauge("mangrove_ops_connections", &[], "open connections of the ops endpoint"),
    Family::counter("mangrove_ops_connections_evicted_total", &[], "idle connections closed in favour of new ones"),
    Family::counter("mangrove_ops_requests_refused_total", &[], "requests told to come again because too many came"),
    Family::counter(
        "mangrove_ops_pictures_total",
        &[],
        "pictures made of the worker, each shared by all requests of its moment",
    ),
    Family::counter("mangrove_log_lines_left_out_total", &[], "log lines that were not written (log.lines_max)"),
    Family::counter("mangrove_lease_takeovers_total", &[], "shards taken from another worker that was silent or left"),
    Family::counter("mangrove_lease_handovers_total", &[], "shards given up in good order"),
    Family::counter("mangrove_leases_lost_total", &[], "shards that another worker took while this one worked on them"),
    Family::counter(
        "mangrove_lease_failures_total",
        &["call", "failure"],
        "calls of the lease table that failed, by what for and by what can be done about it",
    ),
    Family::counter(
        "mangrove_fences_total",
        &[],
        "times that the worker ended all its shards because its heartbeat could not be written",
    ),
    Family::counter(
        "mangrove_shards_given_up_total",
        &[],
        "shards that failed, or hung, so long that they were given up",
    ),
    Family::counter("mangrove_admin_refused_total", &[], "requests that the admin endpoint has refused"),
    Family::counter(
        "mangrove_shards_refused_total",
        &[],
        "shards that were not read because their lease row and the bucket disagree",
    ),
    Family::counter("mangrove_shards_trimmed_total", &[], "shards that retention took before all was read: DATA LOSS"),
];

/// What the calls of the lease table are for.
const LEASE_CALLS: [&str; 5] = ["heartbeat", "scan", "watch", "list", "describe"];

pub(super) const BUILD_INFO: Family = Family::gauge("mangrove_build_info", &["version"], "1, with the version");
pub(super) const RUNTIME_THREADS: Family =
    Family::gauge("mangrove_runtime_threads", &[], "threads of the runtime, those for blocking work not counted");
pub(super) const RUNTIME_BUSY_SECONDS: Family = Family::counter(
    "mangrove_runtime_busy_seconds_total",
    &[],
    "time that the runtime's threads were busy; divided by their number it is their utilisation",
);
pub(super) const RUNTIME_TASKS: Family = Family::gauge("mangrove_runtime_tasks", &[], "tasks alive");
pub(super) const RUNTIME_QUEUE: Family =
    Family::gauge("mangrove_runtime_queue", &[], "tasks that are ready and wait for a thread");

type Read = fn() -> Option<f64>;

/// Named as every Prometheus client names them.
pub(super) const PROCESS_FIGURES: &[(&Family, Read)] = &[
    (&Family::counter("process_cpu_seconds_total", &[], "processor time, user and system"), process::cpu_seconds),
    (
        &Family::gauge("process_start_time_seconds", &[], "start of the process, seconds since 1970"),
        process::start_time_seconds,
    ),
    (&Family::gauge("process_resident_memory_bytes", &[], "resident memory"), process::resident_bytes),
    (&Family::gauge("process_open_fds", &[], "open file descriptors"), process::open_files),
    (&Family::gauge("process_max_fds", &[], "file descriptors that may be open"), process::files_max),
];

/// What the worker is asked for at the scrape.
pub mod family {
    use actors::metrics::Family;

    /// Readiness.
    pub const READY: Family = Family::gauge("mangrove_worker_ready", &[], "1 if `/readyz` says yes, else 0");
    /// Age of the heartbeat.
    pub const HEARTBEAT_AGE: Family = Family::gauge(
        "mangrove_heartbeat_age_seconds",
        &[],
        "since the last heartbeat that was written had begun; the worker fences itself at two thirds of \
         leases.failover_after",
    );
    /// Owned shards.
    pub const SHARDS_OWNED: Family = Family::gauge("mangrove_shards_owned", &[], "shards that this worker works on");
    /// Shards without owner.
    pub const SHARDS_UNOWNED: Family = Family::gauge(
        "mangrove_shards_unowned",
        &[],
        "readable shards without a living owner, as this worker saw them in its last look at the lease table",
    );
    /// What keeps shards from being read.
    pub const LEASE_FINDINGS: Family = Family::gauge(
        "mangrove_lease_troubles",
        &["trouble"],
        "what keeps shards from being read, now: fenced, given_up, trimmed, orphan, unproven, disagrees, other_stream",
    );
    /// What is not as it should be with the stream's keys.
    pub const KEY_TROUBLES: Family = Family::gauge(
        "mangrove_key_troubles",
        &["trouble"],
        "what keeps sensors from having one place each, now: ignored (the stream spreads records whatever their keys \
         are: 1), shared (sensors of the samples that come in two open shards), unknown (the stream cannot be asked: 1); \
         0 where stream.keys is \"spread\"",
    );
    /// Lag.
    pub const SHARD_LAG_MS: Family = Family::gauge(
        "mangrove_shard_lag_ms",
        &["shard"],
        "how far the reader is behind the tip of its shard, in milliseconds: as the last page said, and the time since",
    );
    /// Whether a shard is read.
    pub const SHARD_READING: Family =
        Family::gauge("mangrove_shard_reading", &["shard"], "1 if a page of the shard came in the last 30 s, else 0");
    /// For how long nothing moved.
    pub const SHARD_STALLED: Family = Family::gauge(
        "mangrove_shard_stalled_seconds",
        &["shard"],
        "for how long nothing has moved in the shard that should; at leases.stuck_after it is given up",
    );
    /// Read and not committed.
    pub const SHARD_UNCOMMITTED: Family =
        Family::gauge("mangrove_shard_uncommitted_records", &["shard"], "records read and not committed yet");
    /// Behind, as the stream says.
    pub const READER_BEHIND: Family = Family::gauge(
        "mangrove_reader_behind_seconds",
        &["shard"],
        "how far the last page ended from the tip of the shard, as the stream says (MillisBehindLatest)",
    );
    /// Known sensors.
    pub const SENSORS_KNOWN: Family =
        Family::gauge("mangrove_sensors_known", &["shard"], "sensors that the shard knows");
    /// Live sensors.
    pub const SENSORS_LIVE: Family =
        Family::gauge("mangrove_sensors_live", &["shard"], "sensors of the shard that have an actor");
    /// Silent sensors that are not reported.
    pub const SILENCES: Family = Family::gauge(
        "mangrove_silences_waiting",
        &["shard"],
        "silent sensors that the alerts actor had no room for yet: they are reported as it has",
    );
    /// Open windows.
    pub const WINDOWS: Family =
        Family::gauge("mangrove_aggregator_windows", &["shard"], "windows that were open at the last cut");
    /// Paths without a value.
    pub const PATHS_UNSEEN: Family = Family::gauge(
        "mangrove_schema_paths_unseen",
        &["shard"],
        "paths of the event schema that no event of the shard's last epoch had (of at least 100 events)",
    );
    /// The oldest state.
    pub const STATE_OLDEST: Family = Family::gauge(
        "mangrove_state_oldest_seconds",
        &[],
        "age of the oldest state in S3 that a start of one of this worker's shards would read: a lifecycle rule that takes \
         it takes it too early",
    );
    /// When states are written anew.
    pub const STATE_REFRESH_AFTER: Family = Family::gauge(
        "mangrove_state_refresh_after_seconds",
        &[],
        "at what age states are written anew (epoch.refresh_after); at twice that age they may expire",
    );
    /// The budget in use.
    pub const BUDGET: Family = Family::gauge("mangrove_budget_bytes", &[], "bytes of the worker's budget in use");
    /// The budget.
    pub const BUDGET_LIMIT: Family =
        Family::gauge("mangrove_budget_limit_bytes", &[], "the worker's byte budget (worker.memory_budget)");
    /// The memory.
    pub const MEMORY_LIMIT: Family = Family::gauge(
        "mangrove_memory_limit_bytes",
        &[],
        "bytes of memory that the process may use (worker.memory_limit, or what the system says)",
    );
    /// Actors.
    pub const ACTORS: Family = Family::gauge("mangrove_actors", &["kind", "state"], "actors, by kind and state");
    /// Queues.
    pub const ACTOR_QUEUE: Family = Family::gauge(
        "mangrove_actor_queue",
        &["kind"],
        "messages that wait for an actor, all actors of the kind together",
    );
    /// Busy.
    pub const ACTOR_BUSY: Family = Family::gauge(
        "mangrove_actor_busy_seconds",
        &["kind"],
        "for how long the longest of the handlers at work has been at it; at restarts.hang_timeout it is killed",
    );

    /// All of them.
    pub const ALL: &[&Family] = &[
        &READY,
        &HEARTBEAT_AGE,
        &SHARDS_OWNED,
        &SHARDS_UNOWNED,
        &LEASE_FINDINGS,
        &KEY_TROUBLES,
        &SHARD_LAG_MS,
        &SHARD_READING,
        &SHARD_STALLED,
        &SHARD_UNCOMMITTED,
        &READER_BEHIND,
        &SENSORS_KNOWN,
        &SENSORS_LIVE,
        &SILENCES,
        &WINDOWS,
        &PATHS_UNSEEN,
        &STATE_OLDEST,
        &STATE_REFRESH_AFTER,
        &BUDGET,
        &BUDGET_LIMIT,
        &MEMORY_LIMIT,
        &ACTORS,
        &ACTOR_QUEUE,
        &ACTOR_BUSY,
    ];
}

/// Says what each recorded metric means, and begins those whose labels are known.
pub(super) fn describe() {
    RECORDED.iter().for_each(Family::describe);
    for call in LEASE_CALLS {
        for failure in actors::metrics::FAILURES {
            metrics::counter!("mangrove_lease_failures_total", "call" => call, "failure" => failure).increment(0);
        }
    }
}

/// Every metric that there is, by name.
#[cfg(test)]
pub(super) fn everything() -> std::collections::BTreeMap<&'static str, Family> {
    let own = [BUILD_INFO, RUNTIME_THREADS, RUNTIME_BUSY_SECONDS, RUNTIME_TASKS, RUNTIME_QUEUE];
    let process = PROCESS_FIGURES.iter().map(|(family, _)| **family);
    let asked = family::ALL.iter().map(|family| **family);
    let recorded = actors::metrics::families().chain(RECORDED).copied();
    recorded.chain(own).chain(process).chain(asked).map(|family| (family.name, family)).collect()
}
