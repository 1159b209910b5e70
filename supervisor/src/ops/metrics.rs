//! The metrics' recorder: what it keeps, and how it stays small.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics::{describe_counter, describe_gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};

use super::OpsState;

/// From a millisecond (a hot path) to a minute (an upload that struggles); the promises are judged at 1, 5 and 60 s.
const SECONDS_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Observations are kept one by one until the next upkeep, also when nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Makes this process record metrics, and says what each means. Once per process: the metrics' facade has room for one
/// recorder.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    actors::metrics::describe();
    describe_counter!("mangrove_actor_restarts_total", "restarts of boxes, by kind");
    describe_gauge!("mangrove_ops_connections", "open connections of the ops endpoint");
    describe_counter!("mangrove_ops_connections_evicted_total", "idle connections closed in favour of new ones");
    describe_counter!("mangrove_ops_connections_refused_total", "connections refused because all others were busy");
    describe_counter!("mangrove_admin_refused_total", "requests that the admin endpoint has refused");
    Ok(handle)
}

pub(super) async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

pub(super) async fn render(State(state): State<Arc<OpsState>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}
