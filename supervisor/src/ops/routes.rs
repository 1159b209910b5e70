//! The routes: one line each.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;

use super::reply::Refusal;
use super::{OpsState, guard, health, metrics, sensors, tree};

pub(super) fn router(state: Arc<OpsState>) -> Router {
    let router = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::render))
        .route("/tree", get(tree::tree))
        .route("/sensors/{id}", get(sensors::sensor))
        .fallback(unknown);
    #[cfg(feature = "fault-points")]
    let router = router.route(super::chaos::PATH, axum::routing::post(super::chaos::kill));
    router.layer(middleware::from_fn_with_state(state.clone(), guard::guard)).with_state(state)
}

async fn unknown() -> Refusal {
    let hint = "there are /livez, /readyz, /metrics, /tree, /tree?shard=<shard>&offset=0&limit=100, /sensors/<id>";
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing here", hint)
}
