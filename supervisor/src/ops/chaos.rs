//! `POST /chaos/kill`: ends one actor on purpose. Only in builds for tests (`fault-points`).
//!
//! **Owns** nothing.
//! **Promises** only the machine itself is served: the connection came in on loopback, and no browser sent the request
//! on behalf of a page (a page's POST carries an `Origin`).
//! **Fails** with 404 for what is not there: an actor that is just restarting may come back.
//! **Not here**: what follows; that is what a test wants to see.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::ORIGIN;
use axum::http::{Method, StatusCode};
use serde::Deserialize;

use super::OpsState;
use super::guard::LocalIp;
use super::reply::Refusal;
use super::sensors::{bad_request, parse_id};

pub(super) const PATH: &str = "/chaos/kill";
const HINT: &str = "?path=shards/<shard>/<actor>, ?path=<actor>, or ?sensor=<id>";

/// Exactly one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KillQuery {
    path: Option<String>,
    sensor: Option<String>,
}

/// Whether a request that is no GET may pass the guard.
pub(super) fn admits(request: &Request) -> bool {
    let from_here = request.extensions().get::<LocalIp>().is_some_and(|local| local.0.to_canonical().is_loopback());
    request.method() == Method::POST
        && request.uri().path() == PATH
        && from_here
        && !request.headers().contains_key(ORIGIN)
}

pub(super) async fn kill(
    State(state): State<Arc<OpsState>>,
    query: Result<Query<KillQuery>, QueryRejection>,
) -> Result<StatusCode, Refusal> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text(), HINT))?;
    let killed = match (query.path, query.sensor) {
        (Some(path), None) => state.tree.kill(&path, "killed on request"),
        (None, Some(sensor)) => state.sensors.kill(parse_id(&sensor, &state.sensor_id)?).await?,
        (Some(_), Some(_)) | (None, None) => return Err(bad_request("say what to kill, one thing at a time", HINT)),
    };
    match killed {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::new(StatusCode::NOT_FOUND, "no such actor can be killed", "see /tree for what there is")),
    }
}
