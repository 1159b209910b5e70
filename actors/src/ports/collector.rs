//! Sends spans to an OpenTelemetry collector: OTLP over HTTP, in its binary form.
//!
//! **Owns** the queue of spans that have ended, and one request at a time.
//!
//! **Promises**
//! - At most `queue_max` spans wait (BOUNDED). A collector that is away, refuses or hangs costs spans and a counter,
//!   nothing else: a request is never tried again.
//! - What is still there at the end is sent within `flush_timeout`, or counted as lost.
//! - Its address and its headers, which may hold a token, stay out of the log.
//!
//! **Fails** by losing spans. `mangrove_trace_spans_lost_total` says how many and why.
//!
//! **Not here**: making spans (`traces.rs`).

mod otlp;

use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::transports::http_client;
use crate::metrics;
use crate::traces::Span;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// A collector that keeps failing is complained about this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Where spans go, and how.
#[derive(Clone)]
pub struct CollectorConfig {
    /// The address that takes them by POST.
    pub endpoint: String,
    /// Headers of every request; they may hold a token.
    pub headers: Vec<(String, String)>,
    /// Who sends: `service.name` and so on.
    pub resource: Vec<(String, String)>,
    /// Spans that may wait.
    pub queue_max: usize,
    /// Spans in one request.
    pub batch_max: usize,
    /// A request goes out at the latest this long after its first span came.
    pub interval: Duration,
    /// For one request.
    pub timeout: Duration,
    /// For all that is left at the end.
    pub flush_timeout: Duration,
}

/// Without the address and the values of the headers, which may be tokens.
impl fmt::Debug for CollectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("CollectorConfig")
            .field("headers", &names)
            .field("resource", &self.resource)
            .field("queue_max", &self.queue_max)
            .field("batch_max", &self.batch_max)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("flush_timeout", &self.flush_timeout)
            .finish_non_exhaustive()
    }
}

/// Takes spans from the queue and sends them.
#[derive(Debug)]
pub struct Collector {
    config: CollectorConfig,
    http: reqwest::Client,
    headers: HeaderMap,
    resource: otlp::Resource,
    ended: mpsc::Receiver<Span>,
    /// The spans of the next request, or of the one under way.
    waiting: Vec<Span>,
    /// When it was last said that the collector fails; none while it does not.
    complained: Option<Instant>,
}

/// Why spans did not reach the collector.
#[derive(Debug)]
enum Loss {
    Unreachable(String),
    Refused(String),
}

impl Loss {
    fn cause(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused(_) => "refused",
        }
    }
}

/// A collector, and the queue that leads to it. Nothing is sent before [`Collector::run`].
pub fn open(config: CollectorConfig) -> Result<(mpsc::Sender<Span>, Collector), String> {
    let http = http_client(config.timeout).map_err(|error| format!("set up the HTTP client of traces: {error}"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let header = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        let (Ok(name), Ok(mut value)) = header else {
            return Err("OTEL_EXPORTER_OTLP_HEADERS: a name or a value cannot stand in a header".to_owned());
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let (queue, ended) = mpsc::channel(config.queue_max.max(1));
    let resource = otlp::Resource::of(&config.resource);
    Ok((queue, Collector { config, http, headers, resource, ended, waiting: Vec::new(), complained: None }))
}

impl Collector {
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
        let outcome = self.post(otlp::request(&self.resource, &self.waiting)).await;
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

    /// Answers how many of the spans the collector did not want.
    async fn post(&self, body: Vec<u8>) -> Result<u64, Loss> {
        let request = self.http.post(&self.config.endpoint).headers(self.headers.clone());
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/x-protobuf").body(body);
        let mut answer = request.send().await.map_err(|error| Loss::Unreachable(in_words(error)))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Loss::Refused(status.to_string()));
        }
        // The spans are there: an answer that cannot be read changes nothing.
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Ok(0);
            }
        }
        Ok(otlp::rejected(&bytes))
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

/// What went wrong, to its cause, without the address.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
