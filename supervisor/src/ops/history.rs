//! What has happened lately: restarts, alerts; and the configuration in effect.

use std::sync::Arc;

use actors::alerts::AlertLine;
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::OpsState;
use super::picture::Picture;
use super::sight::Look;
use crate::supervision::history::{Fall, FallOutcome};

/// One failure of a box or of a sensor.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RestartLine {
    /// The same in every answer.
    pub(super) id: String,
    /// The actor's path; of a sensor, its shard's sensors and its id.
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) at_ms: i64,
    pub(super) cause: String,
    pub(super) outcome: FallOutcome,
    /// Failures within the window, this one included; of a sensor, on the reading in hand.
    pub(super) attempt: u32,
    /// None for a sensor: its readings are limited, not its restarts.
    pub(super) restarts_max: Option<u32>,
    pub(super) within_s: Option<u64>,
    pub(super) delay_ms: Option<u64>,
}

/// Newest first.
pub(super) fn restarts(falls: &[Fall], look: &Look) -> Vec<RestartLine> {
    let of_box = |fall: &Fall| RestartLine {
        id: format!("{}", fall.number),
        path: fall.path.clone(),
        kind: fall.kind,
        at_ms: fall.at_ms,
        cause: fall.cause.clone(),
        outcome: fall.outcome,
        attempt: fall.attempt,
        restarts_max: Some(fall.restarts_max),
        within_s: Some(fall.within_s),
        delay_ms: fall.delay_ms,
    };
    let of_sensors = look.owned.iter().flat_map(|owned| {
        let shard = owned.shard.short();
        owned.falls.iter().map(move |fall| RestartLine {
            id: format!("{shard}/{}/{}", fall.at_ms, fall.sensor),
            path: format!("shards/{shard}/sensors/{}", fall.sensor),
            kind: "sensor",
            at_ms: fall.at_ms,
            cause: fall.cause.clone(),
            outcome: FallOutcome::Restarted,
            attempt: fall.crashes,
            restarts_max: None,
            within_s: None,
            delay_ms: None,
        })
    });
    let mut lines: Vec<RestartLine> = falls.iter().map(of_box).chain(of_sensors).collect();
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
    Json(RestartsReply { worker: state.worker_id.clone(), restarts: Picture::of(&state).restarts.clone() })
}

pub(super) async fn alerts(State(state): State<Arc<OpsState>>) -> Json<AlertsReply> {
    let picture = Picture::of(&state);
    let (raised, alerts) = (picture.alerts_raised, picture.alerts.clone());
    Json(AlertsReply { worker: state.worker_id.clone(), raised, alerts })
}

/// What is secret in it was hidden when it was loaded.
pub(super) async fn config(State(state): State<Arc<OpsState>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "worker": state.worker_id, "sections": state.effective }))
}
