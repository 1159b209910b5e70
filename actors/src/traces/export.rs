//! Gathers spans that have ended and hands them to an OpenTelemetry collector, a request at a time.
//!
//! **Owns** the queue of spans that have ended, and one request at a time.
//!
//! **Promises**
//! - At most `queue_max` spans wait (BOUNDED). A collector that is away, refuses or hangs costs spans and a counter,
//!   nothing else: a request is never tried again.
//! - What is still there at the end is sent within `flush_timeout`, or counted as lost.
//!
//! **Fails** by losing spans. `mangrove_trace_spans_lost_total` says how many and why.
//!
//! **Not here**: making spans (`traces.rs`), their bytes (`otlp.rs`), HTTP (`ports/collector.rs`).

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::{Span, otlp};
use crate::metrics;
use crate::ports::collector::{Collector, CollectorAddress, Loss};

/// A collector that keeps failing is complained about this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Where spans go, and how.
#[derive(Clone, Debug)]
pub struct ExportConfig {
    /// The collector.
    pub collector: CollectorAddress,
    /// The resource that sends: `service.name` and so on.
    pub resource: Vec<(String, String)>,
    /// Spans that may wait.
    pub queue_max: usize,
    /// Spans in one request.
    pub batch_max: usize,
    /// A request goes out at the latest this long after its first span came.
    pub interval: Duration,
    /// For all that is left at the end.
    pub flush_timeout: Duration,
}

/// Takes spans from the queue and sends them.
#[derive(Debug)]
pub struct Exporter {
    config: ExportConfig,
    collector: Collector,
    resource: otlp::Resource,
    ended: mpsc::Receiver<Span>,
    /// The spans of the next request, or of the one under way.
    waiting: Vec<Span>,
    /// When it was last said that the collector fails; none while it does not.
    complained: Option<Instant>,
}

/// An exporter, and the queue that leads to it. Nothing is sent before [`Exporter::run`].
pub fn open(config: ExportConfig) -> Result<(mpsc::Sender<Span>, Exporter), String> {
    let collector = Collector::new(&config.collector)?;
    let (queue, ended) = mpsc::channel(config.queue_max.max(1));
    let resource = otlp::Resource::of(&config.resource);
    Ok((queue, Exporter { config, collector, resource, ended, waiting: Vec::new(), complained: None }))
}

impl Exporter {
    /// Sends what comes, until it is told to stop; then what is left, within the time for that.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        let (mut told, within) = (stop.clone(), self.config.flush_timeout);
        let time_is_up = async move {
            stopped(&mut told).await;
            tokio::time::sleep(within).await;
        };
        tokio::select! {
            () = self.forward(stop) => {}
            () = time_is_up => {}
        }
        self.ended.close();
        let mut left = self.waiting.len();
        while self.ended.try_recv().is_ok() {
            left += 1;
        }
        if left > 0 {
            metrics::spans_lost("shutdown", left as u64);
            warn!(spans = left, "traces were not sent in time (traces.flush_timeout)");
        }
    }

    async fn forward(&mut self, mut stop: watch::Receiver<bool>) {
        let mut more = true;
        while more && !*stop.borrow() {
            tokio::select! {
                () = stopped(&mut stop) => {}
                gathered = self.gather() => more = gathered,
            }
            self.send().await;
        }
        while self.gather_rest() {
            self.send().await;
        }
    }

    /// Waits for the spans of the next request. False when there will be no more. What it has taken when it is given
    /// up stays in `waiting`.
    async fn gather(&mut self) -> bool {
        let Some(first) = self.ended.recv().await else { return false };
        self.waiting.push(first);
        let due = Instant::now() + self.config.interval;
        while self.waiting.len() < self.config.batch_max {
            match timeout_at(due, self.ended.recv()).await {
                Ok(Some(span)) => self.waiting.push(span),
                Ok(None) => return false,
                Err(_) => break,
            }
        }
        true
    }

    /// Takes what is there already. False if there is nothing.
    fn gather_rest(&mut self) -> bool {
        while self.waiting.len() < self.config.batch_max {
            let Ok(span) = self.ended.try_recv() else { break };
            self.waiting.push(span);
        }
        !self.waiting.is_empty()
    }

    /// Sends what is waiting. Whatever comes of it, it does not wait any more.
    async fn send(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        metrics::spans_waiting(self.ended.len() + self.waiting.len());
        let spans = self.waiting.len() as u64;
        let answer = self.collector.post(otlp::request(&self.resource, &self.waiting)).await;
        let outcome = answer.map(|answer| otlp::rejected(&answer));
        self.waiting.clear();
        metrics::spans_waiting(self.ended.len());
        let rejected = match &outcome {
            Ok(rejected) => (*rejected).min(spans),
            Err(_) => spans,
        };
        metrics::spans_sent(spans - rejected);
        let loss = match outcome {
            Ok(0) => None,
            Ok(_) => Some(Loss::Refused("some spans of a request".to_owned())),
            Err(loss) => Some(loss),
        };
        match loss {
            Some(loss) => {
                metrics::spans_lost(loss.cause(), rejected);
                self.complain(&loss, rejected);
            }
            None if self.complained.take().is_some() => info!("the collector takes traces again"),
            None => {}
        }
    }

    fn complain(&mut self, loss: &Loss, spans: u64) {
        let now = Instant::now();
        if self.complained.is_some_and(|since| now.duration_since(since) < COMPLAIN_EVERY) {
            return;
        }
        self.complained = Some(now);
        let (Loss::Unreachable(error) | Loss::Refused(error)) = loss;
        warn!(
            spans,
            cause = loss.cause(),
            error,
            "the collector does not take traces (traces.endpoint); nothing else is lost"
        );
    }
}

/// Returns when it is told to stop, or when nobody can tell any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
