//! The routes: one line each.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::get;

use super::admin::{self, Admin};
use super::guard::Door;
use super::reply::Refusal;
use super::{OpsState, cluster, events, guard, health, history, metrics, page, sensors, shards, snapshot, tree};

/// The ops listener: nothing here changes anything.
pub(super) fn router(state: Arc<OpsState>) -> Router {
    let router = reading();
    #[cfg(feature = "fault-points")]
    let router = router.route(super::chaos::PATH, axum::routing::post(super::chaos::kill));
    let door = Door { state: state.clone(), admin: false };
    router.layer(middleware::from_fn_with_state(door, guard::guard)).with_state(state)
}

/// The admin listener: the same to look at, and the orders.
pub(super) fn admin_router(admin: Arc<Admin>) -> Router {
    let door = Door { state: admin.ops.clone(), admin: true };
    let router = reading().with_state(admin.ops.clone()).merge(admin::router(admin));
    router.layer(middleware::from_fn_with_state(door, guard::guard))
}

fn reading() -> Router<Arc<OpsState>> {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route("/runbooks/{name}", get(page::runbook))
        .route("/openapi.json", get(page::openapi))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::render))
        .route("/overview", get(snapshot::overview))
        .route("/tree", get(tree::tree))
        .route("/shards", get(shards::shards))
        .route("/epochs", get(shards::epochs))
        .route("/sensors", get(sensors::search))
        .route("/sensors/{id}", get(sensors::sensor))
        .route("/alerts", get(history::alerts))
        .route("/restarts", get(history::restarts_route))
        .route("/cluster", get(cluster::cluster))
        .route("/config", get(history::config))
        .route("/events", get(events::events))
        .fallback(unknown)
}

async fn unknown() -> Refusal {
    let hint = "/ is the page, /openapi.json lists all routes, such as /livez, /readyz, /metrics, /tree, /shards";
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing here", hint)
}
