//! What a worker looks like that has one of everything.

use std::sync::Arc;
use std::time::Duration;

use actors::alerts::{AlertLine, AlertOutcome};
use actors::keys::Keys;
use actors::loading::LoaderStatus;
use actors::ports::aws::Failure;
use actors::shard::{HeldUp, Holds, ReadingEpoch, SensorFailureRecord};
use messages::{Alert, AlertKind, EpochNumber, Position, SensorId, Severity, ShardId, TraceId};

use crate::leases::{LeasesSeen, ShardSeen, WorkerSeen};
use crate::ops::status::{EpochLimits, OwnedStatus, WorkerStatus};
use actors::ports::leases::Standing;

pub(super) const NOW_MS: i64 = 1_700_000_000_000;

pub(super) fn status() -> WorkerStatus {
    let shards = vec![
        ShardSeen { closed: true, checkpoint: Position::ShardEnd, owner: None, ..seen(0) },
        seen(3),
        ShardSeen { owner: Some("w2".into()), parents: vec![ShardId::new("shardId-000000000000")], ..seen(4) },
        ShardSeen { owner: None, owner_alive: false, unmoved: Duration::from_secs(9), ..seen(5) },
        ShardSeen { owner: None, owner_alive: false, waits_for: vec![ShardId::new("shardId-000000000005")], ..seen(6) },
    ];
    let workers = vec![
        worker("w1", "http://127.0.0.1:1", true),
        // Nobody listens there.
        worker("w2", "http://127.0.0.1:1", false),
        WorkerSeen { alive: false, silent: Duration::from_secs(60), ..worker("w3", "", false) },
    ];
    WorkerStatus {
        at_ms: NOW_MS,
        waits: None,
        owned: vec![owned()],
        seen: Arc::new(LeasesSeen { at_ms: NOW_MS - 300, workers, shards, leaving: false }),
        lease_findings: Vec::new(),
        budget_taken: 12 << 20,
        budget_max: 128 << 20,
        alerts: vec![alert("a1", AlertOutcome::Sent), alert("a0", AlertOutcome::Waiting)],
        alerts_raised: 2,
        alert_latency_ms: [Some(12), Some(40)],
        loader: Some(LoaderStatus { active: true, readings: 800, lag_ms: Some(1_800), ..LoaderStatus::default() }),
        memory: Some((100 << 20, 768 << 20)),
        keys: Keys::default(),
        limits: EpochLimits {
            age_max: Duration::from_secs(10),
            bytes_max: 32 << 20,
            partitions_max: 512,
            rows_max: 250_000,
            refresh_after: Duration::from_secs(7 * 86_400),
        },
    }
}

pub(super) fn owned() -> OwnedStatus {
    let failure =
        SensorFailureRecord { sensor: "<img src=x>".into(), cause: "bug".into(), at_ms: NOW_MS - 500, crashes: 1 };
    OwnedStatus {
        shard: ShardId::new("shardId-000000000003"),
        lag_ms: Some(200),
        read_at_ms: NOW_MS - 100,
        read: 1000,
        committed: 900,
        epoch: 7,
        sensors: 2500,
        sensors_live: 2000,
        sensor_restarts: 1,
        ended: false,
        stalled: Duration::ZERO,
        holds: Holds::default(),
        failure: None,
        open: ReadingEpoch { since_ms: Some(NOW_MS - 2_000), bytes: 4096, rows: 40, partitions: 2 },
        epochs: Vec::new(),
        refused_ms: None,
        states_age_ms: None,
        failures: vec![failure],
        unseen_paths: Some(Vec::new()),
    }
}

pub(super) fn held(cause: &str) -> HeldUp {
    HeldUp { cause: cause.into(), since_ms: NOW_MS - 30_000, attempts: 4, failure: Failure::Transient }
}

fn seen(n: u32) -> ShardSeen {
    ShardSeen {
        shard: ShardId::new(&format!("shardId-{n:012}")),
        owner: Some("w1".into()),
        owner_alive: true,
        checkpoint: Position::TrimHorizon,
        epoch: EpochNumber(7),
        parents: Vec::new(),
        waits_for: Vec::new(),
        pending: false,
        given_up_by: None,
        listed: true,
        closed: false,
        unmoved: Duration::ZERO,
    }
}

fn worker(id: &str, address: &str, me: bool) -> WorkerSeen {
    let (id, address) = (id.to_owned(), address.to_owned());
    let standing = Standing::Proven;
    WorkerSeen { id, address, me, alive: true, leaving: false, standing, silent: Duration::ZERO }
}

fn alert(id: &str, outcome: AlertOutcome) -> AlertLine {
    let alert = Alert {
        id: id.into(),
        kind: AlertKind::Range,
        severity: Severity::Critical,
        sensor_id: SensorId::new("s1"),
        field: Some("temperature".into()),
        value: Some(99.0),
        message: "temperature 99 is outside -40 to 85".into(),
        event_time_us: NOW_MS * 1000,
        arrival_ms: NOW_MS - 900,
        shard: "shardId-000000000003".into(),
        sequence: Some("1".into()),
    };
    let done_ms = (outcome == AlertOutcome::Sent).then_some(NOW_MS - 850);
    AlertLine { alert, outcome, raised_ms: NOW_MS - 880, done_ms, error: None, trace_id: Some(TraceId([7; 16])) }
}
