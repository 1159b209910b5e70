//! Reads the sections of the actors, with the bounds of each value.
//!
//! **Owns** the bounds: the least and the most that an actor was built for.
//! **Not here**: relations between values (`relations`), what stands around the worker (`edge`).

use std::time::Duration;

use actors::aggregator::WindowsConfig;
use actors::alerts::AlertsConfig;
use actors::committer::CommitterConfig;
use actors::keys::Expected;
use actors::ports::receivers::ReceiversConfig;
use actors::reader::ReaderConfig;
use actors::reader::decode::DecodeLimits;
use actors::sensors::SensorsConfig;
use actors::sinks::{Codec, Encoding, Encodings, SinksConfig};

use super::addresses;
use super::section::{GIB, KIB, MIB, Reading, Section, millis, seconds};
use crate::leases::{LeasesConfig, Patience, Rules};
use crate::shard::ShardConfig;
use crate::shard::StreamStart;
use crate::supervision::watchdog::WatchdogConfig;
use crate::supervision::{RestartPolicy, Scope, SupervisorConfig};

const HOUR: Duration = seconds(3_600);
const DAY: Duration = seconds(86_400);

/// Receivers of one kind; each gets every alert.
const RECEIVERS_MAX: usize = 16;

/// The actors of every shard.
pub(super) fn shard(reading: &mut Reading<'_>) -> ShardConfig {
    let skip_trimmed = on_trimmed(&mut reading.section("stream"));
    let start = start(&mut reading.section("stream"));
    let committer = committer(&mut reading.section("epoch"));
    let decode = (decode(&mut reading.section("decode")), kpl_hash_range(&mut reading.section("decode")));
    let parquet = parquet(&mut reading.section("parquet"));
    ShardConfig {
        reader: reader(&mut reading.section("reader"), decode, &committer),
        sensors: sensors(&mut reading.section("sensors")),
        aggregator: aggregator(&mut reading.section("aggregator")),
        sinks: sinks(&mut reading.section("sinks"), parquet),
        committer,
        skip_trimmed,
        start,
    }
}

/// Where shards begin that nobody has read.
fn start(s: &mut Section<'_>) -> StreamStart {
    s.read("start", |found| match found.value.as_str() {
        Some("oldest") => Ok(StreamStart::Oldest),
        Some("latest") => Ok(StreamStart::Latest),
        text => match text.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok()) {
            Some(time) if time > chrono::Utc::now() => found.wrong("a time that has passed, or \"latest\""),
            Some(time) => Ok(StreamStart::At(time.timestamp_millis())),
            None => found.wrong("\"oldest\", \"latest\", or a time such as \"2026-11-30T06:00:00Z\""),
        },
    })
}

/// What becomes of the children of a shard that the stream has forgotten.
fn on_trimmed(s: &mut Section<'_>) -> bool {
    s.choice("on_trimmed", &[("halt", false), ("continue", true)])
}

/// What is expected of a sensor's place.
pub(super) fn keys(s: &mut Section<'_>) -> Expected {
    s.choice("keys", &[("detect", Expected::Detect), ("sensor", Expected::Sensor), ("spread", Expected::Spread)])
}

/// Whether aggregates are taken whole also where keys decide on the shard.
fn kpl_hash_range(s: &mut Section<'_>) -> bool {
    s.choice("kpl_hash_range", &[("check", false), ("ignore", true)])
}

/// The worker's part in the cluster, and how long a hand-over may take.
pub(super) fn leases(s: &mut Section<'_>, skip_trimmed: bool, start: StreamStart) -> (LeasesConfig, Duration) {
    let patience = Patience {
        worker: s.duration("failover_after", millis(500)..=HOUR),
        foreign: s.duration("foreign_failover_after", seconds(1)..=HOUR),
    };
    let rules = Rules {
        shards_max: s.count("shards_max", 1..=10_000),
        give_up_pause: s.duration("give_up_pause", millis(100)..=HOUR),
        // Whoever should have taken a shard has had three times the time to notice.
        claim_patience: patience.worker * 3,
        skip_trimmed,
    };
    let config = LeasesConfig {
        heartbeat_interval: s.duration("heartbeat_interval", millis(100)..=seconds(60)),
        patience,
        scan_interval: s.duration("scan_interval", millis(50)..=seconds(60)),
        read_units_max: s.count::<u32>("read_units_max", 1..=100_000).into(),
        discover_interval: s.duration("discover_interval", millis(500)..=HOUR),
        stuck_after: s.duration("stuck_after", seconds(1)..=HOUR),
        handovers_per_minute: s.count("handovers_per_minute", 1..=10_000),
        give_up_pause_max: s.duration("give_up_pause_max", millis(100)..=DAY),
        rules,
        start,
    };
    (config, s.duration("handover_timeout", millis(500)..=HOUR))
}

fn reader(
    s: &mut Section<'_>,
    (decode, whole_aggregates): (DecodeLimits, bool),
    epoch: &CommitterConfig,
) -> ReaderConfig {
    ReaderConfig {
        poll_interval: s.duration("poll_interval", millis(5)..=seconds(60)),
        records_max: s.count("records_max", 1..=10_000),
        partitions_max: epoch.partitions_max,
        rows_max: epoch.rows_max,
        decode,
        whole_aggregates,
        backoff_max: s.duration("backoff_max", millis(10)..=seconds(300)),
        failures_max: s.count("failures_max", 1..=10_000),
    }
}

fn decode(s: &mut Section<'_>) -> DecodeLimits {
    DecodeLimits {
        // The service takes records of up to 10 MiB.
        record_bytes_max: s.bytes("record_bytes_max", KIB..=10 * MIB),
        events_per_record_max: s.count("events_per_record_max", 1..=100_000),
        // The decoder recurses; deeper would need a larger stack.
        depth_max: s.count("depth_max", 2..=256),
    }
}

fn sensors(s: &mut Section<'_>) -> SensorsConfig {
    SensorsConfig {
        known_max: s.count("known_max", 1..=100_000_000),
        live_max: s.count("live_max", 1..=10_000_000),
        idle_timeout: s.duration("idle_timeout", millis(100)..=30 * DAY),
        crashes_max: s.count("crashes_max", 1..=100),
        hang_timeout: s.duration("hang_timeout", millis(100)..=HOUR),
        scan_interval: s.duration("scan_interval", millis(10)..=seconds(60)),
    }
}

/// Every sensor remembers this many; it is part of its stored state.
pub(super) fn event_ids_max(s: &mut Section<'_>) -> usize {
    s.count("event_ids_max", 1..=1_024)
}

/// So is what every sensor remembers of its attributes.
pub(super) fn history_max(s: &mut Section<'_>) -> usize {
    s.count("history_max", 2..=256)
}

fn aggregator(s: &mut Section<'_>) -> WindowsConfig {
    WindowsConfig {
        allowed_lateness: s.duration("allowed_lateness", Duration::ZERO..=7 * DAY),
        windows_per_sensor_max: s.count("windows_per_sensor_max", 2..=10_000),
    }
}

fn committer(s: &mut Section<'_>) -> CommitterConfig {
    CommitterConfig {
        age_max: s.duration("age_max", millis(50)..=HOUR),
        bytes_max: s.bytes("bytes_max", 64 * KIB..=GIB),
        // More would make a plan that no lease row can hold.
        partitions_max: s.count("partitions_max", 1..=5_000),
        rows_max: s.count("rows_max", 1_000..=100_000_000),
        full_state_every: s.count("full_state_every", 1..=10_000),
        // Longer than any epoch.
        refresh_after: s.duration("refresh_after", HOUR..=30 * DAY),
    }
}

fn parquet(s: &mut Section<'_>) -> (Codec, Encodings) {
    let codec = s.choice("compression", &[("snappy", Codec::Snappy), ("zstd", Codec::Zstd)]);
    (codec, s.choice("encodings", &[("v1", Encodings::V1), ("v2", Encodings::V2)]))
}

fn sinks(s: &mut Section<'_>, (codec, encodings): (Codec, Encodings)) -> SinksConfig {
    let encoding = Encoding {
        gzip_level: s.count("gzip_level", 0..=9),
        zstd_level: s.count("zstd_level", 1..=22),
        codec,
        encodings,
        row_group_rows: s.count("row_group_rows", 1_024..=16 << 20),
    };
    SinksConfig {
        encoding,
        uploads_max: s.count("uploads_max", 1..=256),
        attempts_max: s.count("attempts_max", 1..=1_000),
        backoff_max: s.duration("backoff_max", millis(10)..=seconds(300)),
    }
}

/// The actor that sends alerts.
pub(super) fn alerts(s: &mut Section<'_>) -> AlertsConfig {
    AlertsConfig {
        queue_max: s.count("queue_max", 1..=1_000_000),
        in_flight_max: s.count("in_flight_max", 1..=4_096),
        retry_for: s.duration("retry_for", seconds(1)..=DAY),
        backoff_max: s.duration("backoff_max", millis(10)..=HOUR),
        drain_timeout: s.duration("drain_timeout", Duration::ZERO..=HOUR),
    }
}

/// Where it sends them.
pub(super) fn receivers(s: &mut Section<'_>) -> ReceiversConfig {
    ReceiversConfig {
        webhooks: s.texts("webhooks", RECEIVERS_MAX, addresses::receiver),
        alertmanagers: s.texts("alertmanagers", RECEIVERS_MAX, addresses::receiver),
        sns_topics: s.texts("sns_topics", RECEIVERS_MAX, addresses::topic),
        timeout: s.duration("timeout", millis(10)..=seconds(60)),
    }
}

/// How failed and hanging actors come back.
pub(super) fn restarts(s: &mut Section<'_>) -> (SupervisorConfig, WatchdogConfig) {
    let restart = RestartPolicy {
        restarts_max: s.count("restarts_max", 0..=1_000),
        within: s.duration("within", seconds(1)..=DAY),
        backoff_min: s.duration("backoff_min", millis(1)..=seconds(60)),
        backoff_max: s.duration("backoff_max", millis(1)..=HOUR),
    };
    let supervisor = SupervisorConfig {
        restart,
        // Whoever holds an address of a failed actor stands after it; other levels choose their own.
        scope: Scope::RestForOne,
        start_timeout: s.duration("start_timeout", millis(100)..=HOUR),
        stop_timeout: s.duration("stop_timeout", millis(100)..=HOUR),
        kill_grace: s.duration("kill_grace", millis(10)..=seconds(60)),
    };
    let watchdog = WatchdogConfig {
        scan_every: s.duration("scan_interval", millis(10)..=seconds(60)),
        hang_timeout: s.duration("hang_timeout", millis(100)..=HOUR),
    };
    (supervisor, watchdog)
}
