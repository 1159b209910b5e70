//! One sensor by its id, those whose id begins with something, and a shard's sensors page by page.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use messages::schema::IdSpec;
use messages::{SensorId, SensorView, ShardId};
use serde::{Deserialize, Serialize};

use super::OpsState;
use super::directory::{FoundSensor, SearchFound, Unanswered};
use super::guard::busy;
use super::rate_limit::RateLimiter;
use super::reply::Refusal;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
const SEARCH_DEFAULT: usize = 50;
const SEARCH_MAX: usize = 200;
/// Shards named in a hint.
const HINT_SHARDS_MAX: usize = 20;

/// Questions that actors of the data path answer: so many at once, and then one every so often. All other requests are
/// answered from copies.
const ASKS_AT_ONCE: u32 = 200;
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How often the actors are asked.
#[derive(Debug)]
pub(super) struct Asks(RateLimiter);

impl Default for Asks {
    fn default() -> Self {
        Self(RateLimiter::new(ASKS_AT_ONCE, ASK_EVERY))
    }
}

impl Asks {
    fn take(&self) -> Result<(), Refusal> {
        if self.0.try_turn() { Ok(()) } else { Err(busy()) }
    }
}

/// Which page of which shard.
#[derive(Debug, Deserialize)]
pub(super) struct PageQuery {
    pub(super) shard: Option<String>,
    after: Option<String>,
    /// What pages were numbered by once. To skip sensors is to walk over them, on the path of data.
    offset: Option<u64>,
    limit: Option<usize>,
}

/// A page with what was asked for.
#[derive(Debug, Serialize)]
pub(super) struct PageReply {
    worker: String,
    shard: String,
    /// The id before the page; none for the first page.
    after: Option<String>,
    limit: usize,
    /// What to ask for next; none if this page is the last.
    next: Option<String>,
    #[serde(flatten)]
    page: messages::SensorPage,
}

pub(super) async fn sensor(
    State(state): State<Arc<OpsState>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<SensorView>, Refusal> {
    let Path(id) = id.map_err(|error| bad_request(error.body_text(), "encode the id as UTF-8 in percent notation"))?;
    let id = parse_id(&id, &state.sensor_id)?;
    state.memory.asks.take()?;
    match state.sensors.find(id).await? {
        Some(view) => Ok(Json(view)),
        None => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "no shard of this worker knows the sensor",
            "ask the worker that owns its shard; a sensor is known from its first event on",
        )),
    }
}

/// What ids begin with, and how many to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    q: Option<String>,
    limit: Option<usize>,
}

/// The first sensors found, ordered by id.
#[derive(Debug, Serialize)]
pub(super) struct SearchReply {
    worker: String,
    q: String,
    limit: usize,
    /// Sensors that this worker's shards know.
    total: usize,
    sensors: Vec<FoundSensor>,
    /// Shards that did not answer: they may be restarting.
    unanswered: Vec<String>,
}

pub(super) async fn search(
    State(state): State<Arc<OpsState>>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<SearchReply>, Refusal> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text(), "?q=<what ids begin with>&limit=50"))?;
    let q = query.q.unwrap_or_default();
    let limit = query.limit.unwrap_or(SEARCH_DEFAULT).min(SEARCH_MAX);
    state.memory.asks.take()?;
    let SearchFound { mut sensors, unanswered } = state.sensors.search(&q, limit).await;
    sensors.sort_by(|a, b| a.summary.sensor_id.cmp(&b.summary.sensor_id));
    sensors.truncate(limit);
    let total = state.sensors.counts().await.iter().map(|counts| counts.total).sum();
    Ok(Json(SearchReply { worker: state.worker_id.clone(), q, limit, total, sensors, unanswered }))
}

pub(super) async fn page(state: &OpsState, shard: &str, query: &PageQuery) -> Result<PageReply, Refusal> {
    let shard = ShardId::new(shard).short().to_owned();
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    if query.offset.is_some_and(|offset| offset > 0) {
        return Err(bad_request(
            "pages have no offset",
            "after=<the last id of the page before>, as the reply's `next`",
        ));
    }
    state.memory.asks.take()?;
    match state.sensors.page(&shard, query.after.as_deref(), limit).await? {
        Some(page) => {
            let last = page.sensors.last().filter(|_| page.sensors.len() == limit);
            let (next, after) = (last.map(|sensor| sensor.sensor_id.clone()), query.after.clone());
            Ok(PageReply { worker: state.worker_id.clone(), shard, after, limit, next, page })
        }
        None => Err(unknown_shard(state).await),
    }
}

pub(super) fn query(query: Result<Query<PageQuery>, QueryRejection>) -> Result<PageQuery, Refusal> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(error) => Err(bad_request(error.body_text(), "shard and after are texts, limit is a whole number")),
    }
}

pub(super) fn parse_id(id: &str, spec: &IdSpec) -> Result<SensorId, Refusal> {
    if !id.is_empty() && id.len() <= spec.bytes_max && id.chars().all(|c| spec.allows(c)) {
        return Ok(SensorId::new(id));
    }
    let hint = format!(
        "1 to {} bytes of ASCII letters, digits and . _ : @ - {}",
        spec.bytes_max,
        spec.extra_characters.escape_debug()
    );
    Err(bad_request("the schema allows no such sensor id", hint))
}

async fn unknown_shard(state: &OpsState) -> Refusal {
    let owned = state.sensors.counts().await;
    let names: Vec<&str> = owned.iter().take(HINT_SHARDS_MAX).map(|counts| counts.shard.as_str()).collect();
    let hint = match names.as_slice() {
        [] => "it owns none at the moment".to_owned(),
        names => format!("it owns {}{}", names.join(", "), if owned.len() > names.len() { ", ..." } else { "" }),
    };
    Refusal::new(StatusCode::NOT_FOUND, "this worker does not own the shard", hint)
}

pub(super) fn bad_request(error: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, error, hint)
}

impl From<Unanswered> for Refusal {
    fn from(error: Unanswered) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "the shard may be restarting: try again")
    }
}
