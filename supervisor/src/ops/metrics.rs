//! The metrics' recorder: what it keeps, and how it stays small; and what is asked for at the scrape.
//!
//! **Promises** what an actor no longer has leaves no value behind: gauges of shards are made at the scrape, from the
//! shards that are owned then. A recorder would keep the lag of a shard that was handed over for ever.

mod families;
mod process;
mod scrape;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use self::families::family;
pub use self::scrape::Scrape;
use super::OpsState;

/// From a millisecond (a hot path) to five minutes (an epoch that waits for its end); the promises are judged at 1, 5
/// and 60 s.
const SECONDS_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Observations are kept one by one until the next upkeep, also when nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Adds what is known only when it is asked for.
pub type Scraped = Arc<dyn Fn(&mut Scrape) + Send + Sync>;

/// All metrics of one process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorded: PrometheusHandle,
    scraped: Option<Scraped>,
    /// The data's, not the one that answers requests.
    runtime: Option<Handle>,
}

/// The last text, and when it was written.
#[derive(Debug, Default)]
pub(super) struct LastScrape(Mutex<Option<(Instant, Bytes)>>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl From<PrometheusHandle> for Metrics {
    fn from(recorded: PrometheusHandle) -> Self {
        Self { recorded, scraped: None, runtime: Handle::try_current().ok() }
    }
}

impl Metrics {
    /// The same, with more to ask for.
    pub fn with(self, scraped: Scraped) -> Self {
        Self { scraped: Some(scraped), ..self }
    }

    fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::new(self.recorded.render());
        process::scrape(&mut scrape, self.runtime.as_ref());
        if let Some(scraped) = &self.scraped {
            scraped(&mut scrape);
        }
        scrape
    }
}

/// Makes this process record metrics, and says what each means. Once per process: the metrics' facade has room for one
/// recorder.
pub fn install_metrics() -> Result<Metrics, BuildError> {
    let recorded = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .install_recorder()?;
    actors::metrics::describe();
    families::describe();
    Ok(recorded.into())
}

pub(super) async fn upkeep(metrics: Metrics) {
    let mut ticks = interval(UPKEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.recorded.run_upkeep();
    }
}

pub(super) async fn render(State(state): State<Arc<OpsState>>) -> impl IntoResponse {
    // Held while it is written: whoever comes meanwhile gets the same.
    let mut last = state.memory.scraped.0.lock().await;
    let fresh = last.as_ref().filter(|(written, _)| written.elapsed() < state.config.snapshot_every);
    let text = match fresh {
        Some((_, text)) => text.clone(),
        None => {
            let text = Bytes::from(written(&state).await);
            *last = Some((Instant::now(), text.clone()));
            text
        }
    };
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn written(state: &OpsState) -> String {
    let ready = (state.readiness)().await.iter().all(|check| check.ok);
    let mut scrape = state.metrics.scrape();
    scrape.value(&family::READY, f64::from(u8::from(ready)));
    scrape.into_text()
}
