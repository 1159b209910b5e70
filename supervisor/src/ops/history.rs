//! What has happened lately: restarts, alerts; and the configuration in effect.

use std::sync::Arc;

use actors::alerts::AlertLine;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::OpsState;
use super::snapshot::Snapshot;
use super::status::WorkerStatus;
use crate::supervision::history::{FailureOutcome, FailureRecord};

/// One failure of an actor or of a sensor.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RestartLine {
    /// The same in every answer.
    pub(super) id: String,
    /// The actor's path; of a sensor, its shard's sensors and its id.
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) at_ms: i64,
    pub(super) cause: String,
    pub(super) outcome: FailureOutcome,
    /// Failures within the window, this one included; of a sensor, on the reading in hand.
    pub(super) attempt: u32,
    /// None for a sensor: its readings are limited, not its restarts.
    pub(super) restarts_max: Option<u32>,
    pub(super) within_s: Option<u64>,
    pub(super) delay_ms: Option<u64>,
}

/// Newest first.
pub(super) fn restarts(failures: &[FailureRecord], status: &WorkerStatus) -> Vec<RestartLine> {
    let of_actor = |failure: &FailureRecord| RestartLine {
        id: format!("{}", failure.number),
        path: failure.path.clone(),
        kind: failure.kind,
        at_ms: failure.at_ms,
        cause: failure.cause.clone(),
        outcome: failure.outcome,
        attempt: failure.attempt,
        restarts_max: Some(failure.restarts_max),
        within_s: Some(failure.within_s),
        delay_ms: failure.delay_ms,
    };
    let of_sensors = status.owned.iter().flat_map(|owned| {
        let shard = owned.shard.short();
        owned.failures.iter().map(move |failure| RestartLine {
            id: format!("{shard}/{}/{}", failure.at_ms, failure.sensor),
            path: format!("shards/{shard}/sensors/{}", failure.sensor),
            kind: "sensor",
            at_ms: failure.at_ms,
            cause: failure.cause.clone(),
            outcome: FailureOutcome::Restarted,
            attempt: failure.crashes,
            restarts_max: None,
            within_s: None,
            delay_ms: None,
        })
    });
    let mut lines: Vec<RestartLine> = failures.iter().map(of_actor).chain(of_sensors).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.at_ms));
    lines
}

#[derive(Debug, Serialize)]
pub(super) struct RestartsReply {
    worker: String,
    restarts: Vec<RestartLine>,
}

#[derive(Debug, Serialize)]
pub(super) struct AlertsReply {
    worker: String,
    /// Since the worker began.
    raised: u64,
    alerts: Vec<AlertLine>,
}

pub(super) async fn restarts_route(State(state): State<Arc<OpsState>>) -> Json<RestartsReply> {
    Json(RestartsReply { worker: state.worker_id.clone(), restarts: Snapshot::of(&state).restarts.clone() })
}

pub(super) async fn alerts(State(state): State<Arc<OpsState>>) -> Json<AlertsReply> {
    let snapshot = Snapshot::of(&state);
    let (raised, alerts) = (snapshot.alerts_raised, snapshot.alerts.clone());
    Json(AlertsReply { worker: state.worker_id.clone(), raised, alerts })
}

/// What is secret in it was hidden when it was loaded.
pub(super) async fn config(State(state): State<Arc<OpsState>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "worker": state.worker_id, "sections": state.effective }))
}
