//! The orders themselves: each checked, carried out, and logged with its reason.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use messages::ShardId;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::Admin;
use crate::ops::guard::RemoteIp;
use crate::ops::reply::Refusal;

const REASON_CHARS_MAX: usize = 200;

type Order<T> = Result<Json<T>, JsonRejection>;
type ActionOutcome = Result<Json<ActionDone>, Refusal>;

/// What was done, in words.
#[derive(Debug, Serialize)]
pub(super) struct ActionDone {
    done: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RestartOrder {
    path: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardOrder {
    shard: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SplitOrder {
    shard: String,
    confirm: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeOrder {
    shard: String,
    with: String,
    confirm: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainRequest {
    confirm: String,
    reason: String,
}

/// Exactly one of path and sensor.
#[cfg(feature = "fault-points")]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KillOrder {
    path: Option<String>,
    sensor: Option<String>,
    reason: String,
}

pub(super) async fn restart(
    State(admin): State<Arc<Admin>>,
    Extension(from): Extension<RemoteIp>,
    order: Order<RestartOrder>,
) -> ActionOutcome {
    let order = read(order)?;
    let reason = reason(&order.reason)?;
    let tree = &admin.ops.tree;
    // A shard as a whole restarts with any of its actors.
    let path = match tree.find(&order.path).filter(|node| node.kind == "shard") {
        Some(shard) => format!("{}/committer", shard.path),
        None => order.path.clone(),
    };
    let listed = tree.listed().into_iter().find(|listed| listed.node.path == path);
    let intensity = listed.and_then(|listed| listed.intensity).ok_or_else(no_such_actor)?;
    let (spent, max) = (intensity.spent(), intensity.restarts_max());
    if spent + 1 >= max {
        let error = format!("{spent} of {max} restarts within {:?} are spent", intensity.within());
        return Err(conflict(error, "one failure more and the level above would give up: wait a moment"));
    }
    if !tree.kill(&path, &format!("restarted on request: {reason}")) {
        return Err(no_such_actor());
    }
    Ok(done(&from, "restart", &path, &reason, format!("{path} restarts from the checkpoint; nothing is lost")))
}

#[cfg(feature = "fault-points")]
pub(super) async fn kill(
    State(admin): State<Arc<Admin>>,
    Extension(from): Extension<RemoteIp>,
    order: Order<KillOrder>,
) -> ActionOutcome {
    use crate::ops::sensors::parse_id;

    let order = read(order)?;
    let reason = reason(&order.reason)?;
    let (target, killed) = match (order.path, order.sensor) {
        (Some(path), None) => {
            let killed = admin.ops.tree.kill(&path, &format!("killed on request: {reason}"));
            (path, killed)
        }
        (None, Some(sensor)) => {
            let killed = admin.ops.sensors.kill(parse_id(&sensor, &admin.ops.sensor_id)?).await?;
            (sensor, killed)
        }
        (Some(_), Some(_)) | (None, None) => return Err(bad("name a path or a sensor")),
    };
    match killed {
        true => Ok(done(&from, "kill", &target, &reason, format!("{target} was killed"))),
        false => Err(no_such_actor()),
    }
}

pub(super) async fn hand_over(
    State(admin): State<Arc<Admin>>,
    Extension(from): Extension<RemoteIp>,
    order: Order<ShardOrder>,
) -> ActionOutcome {
    let order = read(order)?;
    let reason = reason(&order.reason)?;
    let shard = known(&admin, &order.shard)?;
    let hint = "see /shards for who has it, /cluster for who lives";
    admin.controls.hand_over(shard.clone()).await.map_err(|error| conflict(error, hint))?;
    let what = format!("shard {} commits what was read, then another worker takes it", shard.short());
    Ok(done(&from, "hand_over", shard.short(), &reason, what))
}

pub(super) async fn split(
    State(admin): State<Arc<Admin>>,
    Extension(from): Extension<RemoteIp>,
    order: Order<SplitOrder>,
) -> ActionOutcome {
    let order = read(order)?;
    let reason = reason(&order.reason)?;
    let shard = known(&admin, &order.shard)?;
    confirmed(&order.confirm, &order.shard, "the shard")?;
    let at = admin.controls.split(shard.clone()).await.map_err(|error| conflict(error, RESHARD_HINT))?;
    let what = format!("shard {} is split at {at}; its children are read when it is at its end", shard.short());
    Ok(done(&from, "split", shard.short(), &reason, what))
}

pub(super) async fn merge(
    State(admin): State<Arc<Admin>>,
    Extension(from): Extension<RemoteIp>,
    order: Order<MergeOrder>,
) -> ActionOutcome {
    let order = read(order)?;
    let reason = reason(&order.reason)?;
    let (shard, with) = (known(&admin, &order.shard)?, known(&admin, &order.with)?);
    confirmed(&order.confirm, &order.shard, "the shard")?;
    admin.controls.merge(shard.clone(), with.clone()).await.map_err(|error| conflict(error, RESHARD_HINT))?;
    let what = format!(
        "shards {} and {} are merged; the child is read when both are at their end",
        shard.short(),
        with.short()
    );
    Ok(done(&from, "merge", shard.short(), &reason, what))
}

pub(super) async fn drain(
    State(admin): State<Arc<Admin>>,
    Extension(from): Extension<RemoteIp>,
    order: Order<DrainRequest>,
) -> ActionOutcome {
    let order = read(order)?;
    let reason = reason(&order.reason)?;
    let worker = &admin.ops.worker_id;
    confirmed(&order.confirm, worker, "the worker")?;
    // Said before it is done: afterwards nobody is left to say it.
    let what = format!("worker {worker} commits what it has read, releases its shards and ends");
    let done = done(&from, "drain", worker, &reason, what);
    admin.controls.drain();
    Ok(done)
}

const RESHARD_HINT: &str = "it needs kinesis:SplitShard and kinesis:MergeShards, open shards, and an active stream";

fn read<T>(order: Order<T>) -> Result<T, Refusal> {
    order.map(|Json(order)| order).map_err(|error| bad(error.body_text()))
}

fn reason(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    match text.chars().count() {
        1..=REASON_CHARS_MAX => Ok(text.escape_debug().to_string()),
        _ => Err(bad(format!("reason: say why, in 1 to {REASON_CHARS_MAX} characters"))),
    }
}

fn confirmed(confirm: &str, target: &str, what: &str) -> Result<(), Refusal> {
    match confirm == target {
        true => Ok(()),
        false => Err(bad(format!("confirm: type the name of {what} again, {target:?}"))),
    }
}

/// A shard of the stream, by its short or full id.
fn known(admin: &Admin, name: &str) -> Result<ShardId, Refusal> {
    let look = admin.ops.status.status();
    let wanted = ShardId::new(name);
    let ids = look.seen.shards.iter().map(|seen| &seen.shard).chain(look.owned.iter().map(|owned| &owned.shard));
    let found = ids.into_iter().find(|id| id.short() == wanted.short()).cloned();
    found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "the stream has no such shard", "see /shards"))
}

fn no_such_actor() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no such actor can be restarted", "see /tree for what there is")
}

fn conflict(error: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, error, hint)
}

fn bad(error: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, error, "see /openapi.json for what every order takes")
}

fn done(from: &RemoteIp, action: &str, target: &str, reason: &str, done: String) -> Json<ActionDone> {
    let target = target.escape_debug();
    info!(action, %target, reason, from = %from.0, "admin action");
    Json(ActionDone { done })
}
