//! Traces: what an epoch, and the alerts that it raised, spent their time on.
//!
//! One trace is one epoch of one shard: the pages that it was read with, the batches on their way through the actors,
//! the cut, the encoding, the three steps of the commit. Never one reading: there are too many.
//!
//! **Owns** the spans that have begun, and the decision which epochs have a trace.
//!
//! **Promises**
//! - Off, nothing is made: no id, no look at the clock, no allocation. Every place costs one branch.
//! - Nobody waits for a trace. What finds the queue full is dropped and counted (BOUNDED).
//! - Whether an epoch is traced follows from its trace id alone.
//! - No payload, and no sensor's id, in a span (INERT).
//!
//! **Fails** by missing: a span whose actor dies says that it was given up, or is not there.
//!
//! **Not here**: HTTP (`ports/collector.rs`). Spans are made where the work is, by hand: `tracing`'s would cost
//! every event, and ractor's would cost every actor 1.4 KB.

mod export;
mod ids;
mod otlp;
mod shard;
mod span;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::sync::Arc;

use messages::{SpanId, TraceId, TraceParent};
use tokio::sync::mpsc;

pub use self::export::{ExportConfig, Exporter, open};
pub use self::ids::{IdFormat, is_sampled};
pub use self::shard::{PageTimes, ShardTraces};
pub use self::span::{Attribute, Span, SpanKind};
pub use self::upload::UploadTrace;
use crate::metrics;
use crate::ports::chance::Chance;
use crate::ports::clock::Clock;

/// What is traced.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// The share of epochs that have a trace, 0 to 1.
    pub sample_ratio: f64,
    /// How trace ids are made.
    pub ids: IdFormat,
    /// Batches of one epoch that have spans; and alerts of one epoch that have spans.
    pub details_max: u32,
}

/// Begins spans and hands the ended ones on. Cheap to clone; the default is off.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Tracer>>);

struct Tracer {
    config: TracesConfig,
    clock: Clock,
    chance: Chance,
    ended: mpsc::Sender<Span>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Traces {
    /// No traces.
    pub fn off() -> Self {
        Self(None)
    }

    /// Traces whose spans go into this queue.
    pub fn new(config: TracesConfig, clock: Clock, chance: Chance, ended: mpsc::Sender<Span>) -> Self {
        Self(Some(Arc::new(Tracer { config, clock, chance, ended })))
    }

    /// Begins a span below another; none has none below it.
    pub fn begin(&self, parent: Option<TraceParent>, name: &'static str) -> OpenSpan {
        let (Some(tracer), Some(parent)) = (&self.0, parent) else { return OpenSpan::none() };
        tracer.begin(parent, name)
    }

    /// The traces of one shard's epochs.
    pub fn of_shard(&self, stream: &str, shard: &str) -> ShardTraces {
        ShardTraces::new(self.0.clone(), stream, shard)
    }
}

impl Tracer {
    fn begin(self: &Arc<Self>, parent: TraceParent, name: &'static str) -> OpenSpan {
        self.open(self.below(parent), Some(parent.span), name)
    }

    fn open(self: &Arc<Self>, at: TraceParent, parent: Option<SpanId>, name: &'static str) -> OpenSpan {
        let now_us = self.clock.now_us();
        let span = Span::new(at, parent, name, now_us, now_us);
        OpenSpan(Some(Box::new(Begun { tracer: self.clone(), span })))
    }

    /// A new place in the same trace.
    fn below(&self, parent: TraceParent) -> TraceParent {
        TraceParent { trace: parent.trace, span: ids::span_id(&self.chance) }
    }

    fn record(&self, span: Span) {
        match self.ended.try_send(span) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => metrics::spans_lost("queue_full", 1),
            // The worker is going down and has sent its last ones.
            Err(mpsc::error::TrySendError::Closed(_)) => metrics::spans_lost("shutdown", 1),
        }
    }
}

/// A span that has begun. Dropped without an end it was given up, and says so.
#[derive(Debug, Default)]
#[must_use = "a span that nobody ends is one that failed"]
pub struct OpenSpan(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    tracer: Arc<Tracer>,
    span: Span,
}

impl OpenSpan {
    /// Nothing is traced.
    pub fn none() -> Self {
        Self(None)
    }

    /// Where spans below this one stand.
    pub fn at(&self) -> Option<TraceParent> {
        self.0.as_ref().map(|begun| begun.span.at)
    }

    /// The trace, for log lines and pages.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.at().map(|at| at.trace)
    }

    /// It began earlier: microseconds since 1970.
    pub fn since(mut self, start_us: i64) -> Self {
        if let Some(begun) = &mut self.0 {
            begun.span.start_us = start_us;
        }
        self
    }

    /// It is, seen from here, what another service does.
    pub fn of_kind(mut self, kind: SpanKind) -> Self {
        if let Some(begun) = &mut self.0 {
            begun.span.kind = kind;
        }
        self
    }

    /// Says something about it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Attribute>) {
        if let Some(begun) = &mut self.0 {
            begun.span.set(key, value);
        }
    }

    /// It has ended well.
    pub fn end(self) {
        self.finish(None);
    }

    /// It has ended as this has.
    pub fn end_with<T, E: fmt::Display>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.end(),
            Err(error) if self.0.is_some() => self.fail(&error.to_string()),
            Err(_) => {}
        }
    }

    /// It has failed. The text must hold nothing of a payload.
    pub fn fail(self, why: &str) {
        self.finish(Some(why));
    }

    fn finish(mut self, error: Option<&str>) {
        if let Some(begun) = self.0.take() {
            begun.finish(error);
        }
    }
}

impl Begun {
    fn finish(self, error: Option<&str>) {
        let Begun { tracer, mut span } = self;
        // A clock that was set back must not make a span end before it begins.
        span.end_us = tracer.clock.now_us().max(span.start_us);
        span.error = error.map(span::shortened);
        tracer.record(span);
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some(begun) = self.0.take() {
            begun.finish(Some("given up"));
        }
    }
}
