//! What must hold between values of different keys.
//!
//! **Promises** a relation is judged only if all its values are sound by themselves: one mistake is one problem.
//! **Not here**: bounds of single values (`actors`, `edge`).

use std::time::Duration;

use actors::budget::EVENT_BYTES_MIN;
use actors::sinks::{Codec, Encodings};

use super::Config;
use super::layers::{Source, Values};
use super::problems::Problems;
use super::section::seconds;
use super::units::show_bytes;
use crate::memory::{BASE_BYTES, KNOWN_SENSOR_BYTES, LIVE_SENSOR_BYTES};

/// A record of the usual size is held about this often at once: as it came, as columns, as encoded objects.
const HELD_TIMES: u64 = 3;
/// The service allows 5 reads of a shard per second.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(200);
const HOUR: Duration = seconds(3_600);
const DAY: Duration = seconds(86_400);

struct Relations<'a> {
    values: &'a Values,
    /// The problems of single values.
    single: &'a Problems,
    found: Vec<(Source, String, String)>,
}

impl Relations<'_> {
    /// `keys` begin with the one to change. The problem points to whichever of them somebody has set.
    fn must(&mut self, holds: bool, keys: &[&str], what: impl FnOnce() -> String) {
        if holds || keys.iter().any(|key| self.single.concern(key)) {
            return;
        }
        let sources = keys.iter().filter_map(|key| Some((*key, self.source(key)?)));
        let set = sources.clone().find(|(_, source)| !matches!(source, Source::Default | Source::Derived(_)));
        if let Some((key, source)) = set.or_else(|| sources.clone().next()) {
            self.found.push((source.clone(), key.to_owned(), what()));
        }
    }

    fn source(&self, key: &str) -> Option<&Source> {
        let (section, key) = key.split_once('.')?;
        self.values.find(section, key).map(|entry| &entry.source)
    }
}

pub(super) fn check(config: &Config, values: &Values, problems: &mut Problems) {
    let mut relations = Relations { values, single: problems, found: Vec::new() };
    memory(config, &mut relations);
    times(config, &mut relations);
    sensors(config, &mut relations);
    restarts(config, &mut relations);
    warehouse(config, &mut relations);
    for (source, key, what) in relations.found {
        problems.add(&source, key, what);
    }
}

/// What could never be loaded is refused before it is stored.
fn warehouse(config: &Config, relations: &mut Relations<'_>) {
    if config.warehouse.is_none() {
        return;
    }
    let record = config.worker.shard.reader.decode.record_bytes_max;
    let problem = super::warehouse::too_large(config.schema(), record);
    let keys = ["schema.file", "schema.use", "decode.record_bytes_max"];
    relations.must(problem.is_none(), &keys, || problem.clone().unwrap_or_default());
    let taken = actors::warehouse::taken(config.schema());
    relations.must(taken.is_none(), &["schema.file", "schema.use"], || {
        let name = taken.unwrap_or_default();
        format!("the tracked field {name} is called like a column of the warehouse's versions of sensors, and no load of it would go through: rename it, or \
             do without a warehouse (warehouse.enabled = false)")
    });
    let encoding = config.worker.shard.sinks.encoding;
    let promised = "with warehouse.enabled it must be";
    relations.must(encoding.codec == Codec::Snappy, &["parquet.compression", "warehouse.enabled"], || {
        format!("{promised} \"snappy\": Redshift's documentation promises gzip and Snappy, and no other compression")
    });
    relations.must(encoding.encodings == Encodings::V1, &["parquet.encodings", "warehouse.enabled"], || {
        format!("{promised} \"v1\": Redshift's documentation promises Parquet of version 1, and no later encoding")
    });
}

fn memory(config: &Config, relations: &mut Relations<'_>) {
    let (epoch, budget) = (config.worker.shard.committer.bytes_max, config.worker.memory_budget);
    relations.must(epoch * HELD_TIMES <= budget, &["epoch.bytes_max", "worker.memory_budget"], || {
        let (epoch, budget) = (show_bytes(epoch), show_bytes(budget));
        format!(
            "{HELD_TIMES} times epoch.bytes_max ({epoch}) must fit into worker.memory_budget ({budget}), \
                 or reading stops before an epoch is full"
        )
    });
    let rows = config.worker.shard.committer.rows_max;
    relations.must(rows.saturating_mul(EVENT_BYTES_MIN) <= budget, &["epoch.rows_max", "worker.memory_budget"], || {
        format!(
            "epoch.rows_max ({rows}) readings take {EVENT_BYTES_MIN} bytes each at least, more than \
                 worker.memory_budget ({}): at most {} fit",
            show_bytes(budget),
            budget / EVENT_BYTES_MIN
        )
    });
    whole(config, relations);
    let record = config.worker.shard.reader.decode.record_bytes_max as u64;
    relations.must(record <= epoch, &["decode.record_bytes_max", "epoch.bytes_max"], || {
        format!(
            "decode.record_bytes_max ({}) must not exceed epoch.bytes_max ({})",
            show_bytes(record),
            show_bytes(epoch)
        )
    });
}

/// What the process needs whatever comes, beside the sensors that it knows.
fn buffers(config: &Config) -> u64 {
    let live = config.worker.shard.sensors.live_max as u64;
    BASE_BYTES + config.worker.memory_budget + live * LIVE_SENSOR_BYTES
}

fn whole(config: &Config, relations: &mut Relations<'_>) {
    let Some(limit) = config.worker.memory_limit else { return };
    let (live, budget) = (config.worker.shard.sensors.live_max, config.worker.memory_budget);
    let keys = ["sensors.live_max", "worker.memory_budget", "worker.memory_limit"];
    relations.must(buffers(config) <= limit, &keys, || {
        let left = limit.saturating_sub(BASE_BYTES + budget) / LIVE_SENSOR_BYTES;
        let fits = match left {
            0 => format!("not even the budget fits: {} are left for it", show_mib(limit.saturating_sub(BASE_BYTES))),
            n => format!("{n} sensors fit"),
        };
        format!(
            "sensors.live_max ({live}) sensors of {} each, beside worker.memory_budget ({}) and {} for the process, \
                 need {} of the {} that it may use (worker.memory_limit): {fits}",
            show_bytes(LIVE_SENSOR_BYTES),
            show_bytes(budget),
            show_bytes(BASE_BYTES),
            show_mib(buffers(config)),
            show_mib(limit),
        )
    });
}

fn show_mib(bytes: u64) -> String {
    format!("{}MiB", bytes >> 20)
}

/// What is sound, and may still not do.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let known = config.worker.shard.sensors.known_max as u64;
    if let Some(left) = config.worker.memory_limit.map(|limit| limit.saturating_sub(buffers(config)))
        && known.saturating_mul(KNOWN_SENSOR_BYTES) > left
    {
        warnings.push(format!(
            "sensors.known_max ({known} for each shard) is more than the memory holds: beside worker.memory_budget and \
             sensors.live_max, {} are left (worker.memory_limit), about {} known sensors for all shards of this worker",
            show_mib(left),
            left / KNOWN_SENSOR_BYTES
        ));
    }
    let (schema, partitions_max) = (config.schema(), config.worker.shard.committer.partitions_max);
    let spanned = schema.time.partitions(schema.partition_by);
    if spanned.is_none_or(|spanned| spanned > partitions_max as u64) {
        let spanned = spanned.map_or("without an end".to_owned(), |n| format!("{n} partitions wide"));
        warnings.push(format!(
            "the times that schema {:?} believes are {spanned}, epoch.partitions_max is {partitions_max}: few records with \
             many times end an epoch, and a device can hold its shard up with them. Set past_max in [time]",
            schema.name
        ));
    }
    warnings
}

fn times(config: &Config, relations: &mut Relations<'_>) {
    let (attempt, drain) = (config.aws.attempt_timeout, config.drain_timeout);
    relations.must(drain >= attempt * 2, &["worker.drain_timeout", "aws.attempt_timeout"], || {
        format!(
            "worker.drain_timeout ({drain:?}) must be at least twice aws.attempt_timeout ({attempt:?}): \
                 one call may fail and must be tried again"
        )
    });
    let hang = config.worker.watchdog.hang_timeout;
    relations.must(hang >= attempt * 2, &["restarts.hang_timeout", "aws.attempt_timeout"], || {
        format!(
            "restarts.hang_timeout ({hang:?}) must be at least twice aws.attempt_timeout ({attempt:?}): \
                 an actor that waits for a slow call does not hang"
        )
    });
    let leases = &config.worker.leases;
    let (beat, failover) = (leases.heartbeat_interval, leases.patience.worker);
    relations.must(failover >= beat * 3, &["leases.failover_after", "leases.heartbeat_interval"], || {
        format!(
            "leases.failover_after ({failover:?}) must be at least three times leases.heartbeat_interval ({beat:?}): \
                 one heartbeat may be lost"
        )
    });
    let (pause, longest) = (leases.rules.give_up_pause, leases.give_up_pause_max);
    relations.must(pause <= longest, &["leases.give_up_pause", "leases.give_up_pause_max"], || {
        format!("leases.give_up_pause ({pause:?}) must not exceed leases.give_up_pause_max ({longest:?})")
    });
    let scan = leases.scan_interval;
    relations.must(scan * 2 <= failover, &["leases.scan_interval", "leases.failover_after"], || {
        format!("leases.scan_interval ({scan:?}) must be at most half of leases.failover_after ({failover:?})")
    });
    let poll = config.worker.shard.reader.poll_interval;
    let stuck = leases.stuck_after;
    let slowest = config.worker.shard.reader.backoff_max.max(config.worker.shard.sinks.backoff_max).max(poll);
    relations.must(stuck >= (slowest + attempt) * 2, &["leases.stuck_after", "reader.backoff_max"], || {
        format!(
            "leases.stuck_after ({stuck:?}) must be at least twice the longest pause and call ({:?}): \
                 a shard that waits for a failing service is not stuck",
            slowest + attempt
        )
    });
    let allowed = config.aws.endpoint_url.is_some() || poll >= POLL_INTERVAL_MIN;
    relations.must(allowed, &["reader.poll_interval", "aws.endpoint_url"], || {
        format!(
            "must be at least {POLL_INTERVAL_MIN:?}: AWS allows 5 reads of a shard per second and throttles the rest"
        )
    });
    if let Some(warehouse) = &config.warehouse {
        let failover = warehouse.loader.failover_after;
        relations.must(failover >= attempt * 2, &["warehouse.failover_after", "aws.attempt_timeout"], || {
            format!(
                "warehouse.failover_after ({failover:?}) must be at least twice aws.attempt_timeout ({attempt:?}): \
                 one call may fail and must be tried again"
            )
        });
    }
    let alerts = &config.worker.alerts;
    let (timeout, retry_for) = (config.receivers.timeout, alerts.retry_for);
    relations.must(timeout <= retry_for, &["alerts.timeout", "alerts.retry_for"], || {
        format!("alerts.timeout ({timeout:?}) must not exceed alerts.retry_for ({retry_for:?})")
    });
    if let Some(traces) = &config.traces {
        let (batch, queue) = (traces.export.batch_max, traces.export.queue_max);
        relations.must(batch <= queue, &["traces.batch_max", "traces.queue_max"], || {
            format!("traces.batch_max ({batch}) must not exceed traces.queue_max ({queue})")
        });
    }
    relations.must(alerts.backoff_max <= retry_for, &["alerts.backoff_max", "alerts.retry_for"], || {
        format!("alerts.backoff_max ({:?}) must not exceed alerts.retry_for ({retry_for:?})", alerts.backoff_max)
    });
}

fn sensors(config: &Config, relations: &mut Relations<'_>) {
    let sensors = &config.worker.shard.sensors;
    let (live, known) = (sensors.live_max, sensors.known_max);
    relations.must(live <= known, &["sensors.live_max", "sensors.known_max"], || {
        format!("sensors.live_max ({live}) must not exceed sensors.known_max ({known})")
    });
    for (key, timeout) in
        [("sensors.hang_timeout", sensors.hang_timeout), ("sensors.idle_timeout", sensors.idle_timeout)]
    {
        let scan = sensors.scan_interval;
        relations.must(scan <= timeout, &["sensors.scan_interval", key], || {
            format!("sensors.scan_interval ({scan:?}) must not exceed {key} ({timeout:?}), or that is noticed late")
        });
    }
    let windows = &config.worker.shard.aggregator;
    let needed = windows_needed(windows.allowed_lateness);
    let keys = ["aggregator.windows_per_sensor_max", "aggregator.allowed_lateness"];
    relations.must(windows.windows_per_sensor_max >= needed, &keys, || {
        format!("must be at least {needed} for an allowed_lateness of {:?}", windows.allowed_lateness)
    });
}

/// Hours and days that are open at once: those that a reading may still fall into, the partial ones at both ends too.
fn windows_needed(lateness: Duration) -> usize {
    let open = |length: Duration| lateness.as_secs().div_ceil(length.as_secs()) + 1;
    usize::try_from(open(HOUR) + open(DAY)).unwrap_or(usize::MAX)
}

fn restarts(config: &Config, relations: &mut Relations<'_>) {
    let policy = &config.worker.supervisor.restart;
    let (least, most) = (policy.backoff_min, policy.backoff_max);
    relations.must(least <= most, &["restarts.backoff_min", "restarts.backoff_max"], || {
        format!("restarts.backoff_min ({least:?}) must not exceed restarts.backoff_max ({most:?})")
    });
    let waits = (0..policy.restarts_max).map(|n| least.saturating_mul(1 << n.min(20)).min(most));
    let together = waits.fold(Duration::ZERO, Duration::saturating_add);
    relations.must(together < policy.within, &["restarts.within", "restarts.backoff_min", "restarts.restarts_max"], || {
        format!("restarts.within ({:?}) must exceed the {together:?} that {} restarts wait, or there is no limit at all",
            policy.within, policy.restarts_max)
    });
    let watchdog = &config.worker.watchdog;
    relations.must(
        watchdog.scan_every <= watchdog.hang_timeout,
        &["restarts.scan_interval", "restarts.hang_timeout"],
        || {
            format!(
                "restarts.scan_interval ({:?}) must not exceed restarts.hang_timeout ({:?})",
                watchdog.scan_every, watchdog.hang_timeout
            )
        },
    );
}
