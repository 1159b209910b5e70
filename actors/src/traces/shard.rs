//! The traces of one shard's epochs: of the one that is being read, and of the one on its way to its commit.
//!
//! Actors find an epoch's trace by its number. It does not travel in the cut: a cut is pinned and stored, and what is
//! stored is a pure function of the records.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use messages::{Batch, BatchTrace, CutReason, EpochNumber, EpochPlan, InFlight, TraceId, TraceParent};

use super::ids::{self, is_sampled};
use super::{OpenSpan, Span, SpanKind, Tracer};
use crate::metrics::failure_name;
use crate::ports::aws::Failure;

/// Epochs between their cut and their commit: there is one. What is beyond was left behind by a mistake.
const UNDER_WAY_MAX: usize = 4;

/// The traces of one shard, over all its incarnations. Cheap to clone; the default is off.
#[derive(Clone, Debug, Default)]
pub struct ShardTraces(Option<Arc<TraceState>>);

#[derive(Debug)]
struct TraceState {
    tracer: Arc<Tracer>,
    stream: String,
    shard: String,
    epochs: Mutex<Epochs>,
}

#[derive(Debug, Default)]
struct Epochs {
    open: OpenTrace,
    under_way: VecDeque<CommittingTrace>,
}

#[derive(Debug, Default)]
enum OpenTrace {
    /// Nothing of it was read yet.
    #[default]
    Undecided,
    /// It has no trace.
    Unsampled,
    Sampled(EpochTrace),
}

/// Its span is the root of the trace. Dropped before the commit it says that the epoch was given up here.
#[derive(Debug)]
struct EpochTrace {
    span: OpenSpan,
    at: TraceParent,
    batches: u32,
    alerts: u32,
    /// Batches and alerts without spans.
    left_out: u64,
}

#[derive(Debug)]
struct CommittingTrace {
    epoch: EpochNumber,
    cut_us: i64,
    trace: EpochTrace,
}

/// When a page of records was asked for, and came.
#[derive(Clone, Copy, Debug)]
pub struct PageTimes {
    asked_us: i64,
    answered_us: i64,
    records: usize,
}

impl ShardTraces {
    pub(super) fn new(tracer: Option<Arc<Tracer>>, stream: &str, shard: &str) -> Self {
        Self(tracer.map(|tracer| {
            let (stream, shard) = (stream.to_owned(), shard.to_owned());
            Arc::new(TraceState { tracer, stream, shard, epochs: Mutex::default() })
        }))
    }

    /// Microseconds since 1970; none while nothing is traced: then nobody looks at the clock.
    pub fn now_us(&self) -> Option<i64> {
        self.0.as_ref().map(|inner| inner.tracer.clock.now_us())
    }

    /// A page came that was asked for then.
    pub fn page(&self, asked_us: Option<i64>, records: usize) -> Option<PageTimes> {
        Some(PageTimes { asked_us: asked_us?, answered_us: self.now_us()?, records })
    }

    /// A page did not come that was asked for then. It is told only in an epoch that has a trace already.
    pub fn page_failed(&self, asked_us: Option<i64>, failure: Failure) {
        let (Some(inner), Some(asked_us)) = (&self.0, asked_us) else { return };
        let OpenTrace::Sampled(trace) = &mut inner.lock().open else { return };
        if !trace.has_room(inner.tracer.config.details_max) {
            return;
        }
        let mut span = inner.get_records(trace.at, asked_us, inner.tracer.clock.now_us());
        span.set("error.type", failure_name(failure));
        span.error = Some(failure_name(failure).to_owned());
        inner.tracer.record(span);
    }

    /// A batch of the open epoch is about to be handed to the sensors. It was decoded since then, from this page.
    pub fn batch(&self, page: Option<PageTimes>, decoding_us: Option<i64>, batch: &Batch) -> Option<BatchTrace> {
        let (inner, decoding_us) = (self.0.as_ref()?, decoding_us?);
        let routed_us = inner.tracer.clock.now_us();
        let since_us = page.map_or(decoding_us, |page| page.asked_us);
        let mut epochs = inner.lock();
        let trace = inner.open(&mut epochs, since_us)?;
        if !trace.has_room(inner.tracer.config.details_max) {
            return None;
        }
        let at = inner.tracer.below(trace.at);
        if let Some(page) = page {
            // Records that were held back for this epoch came with a page of the one before: that is told in both.
            let read = inner.get_records(at, page.asked_us, page.answered_us);
            inner.tracer.record(read.with("messaging.batch.message_count", page.records));
        }
        let decode = inner.span(at, "decode", decoding_us, routed_us);
        let decode = decode.with("mangrove.records", batch.records.len()).with("mangrove.readings", batch.rows.len());
        inner.tracer.record(decode.with("mangrove.rejects", batch.rejects.len()));
        Some(BatchTrace { at, epoch: trace.at.span, since_us, routed_us })
    }

    /// All sensors of a batch have judged their rows.
    pub fn judged(&self, in_flight: &InFlight) {
        let (Some(inner), Some(batch)) = (&self.0, in_flight.batch.trace) else { return };
        let span = inner.span(batch.at, "sensors", batch.routed_us, inner.tracer.clock.now_us());
        inner.tracer.record(span.with("mangrove.sensors", in_flight.batch.groups.len()));
    }

    /// A batch was folded into the windows since then, and is with the sinks: its way ends here.
    pub fn folded(&self, batch: Option<BatchTrace>, since_us: Option<i64>, late: usize) {
        let (Some(inner), Some(batch), Some(since_us)) = (&self.0, batch, since_us) else { return };
        let now_us = inner.tracer.clock.now_us();
        inner.tracer.record(inner.span(batch.at, "aggregate", since_us, now_us).with("mangrove.late", late));
        inner.tracer.record(Span::new(batch.at, Some(batch.epoch), "batch", batch.since_us, now_us));
    }

    /// Where the span of an alert stands that a reading of this batch has raised; none beyond the limit.
    pub fn alert(&self, batch: Option<BatchTrace>) -> Option<TraceParent> {
        let (inner, batch) = (self.0.as_ref()?, batch?);
        let mut epochs = inner.lock();
        let Epochs { open, under_way } = &mut *epochs;
        let open = match open {
            OpenTrace::Sampled(trace) => Some(trace),
            OpenTrace::Undecided | OpenTrace::Unsampled => None,
        };
        let mut traces = open.into_iter().chain(under_way.iter_mut().map(|under_way| &mut under_way.trace));
        let trace = traces.find(|trace| trace.at.trace == batch.at.trace)?;
        if trace.alerts >= inner.tracer.config.details_max {
            trace.left_out += 1;
            return None;
        }
        trace.alerts += 1;
        Some(batch.at)
    }

    /// The open epoch ends here, under this number; what is read from now on belongs to the next one.
    pub fn cut(&self, epoch: EpochNumber) {
        let Some(inner) = &self.0 else { return };
        let cut_us = inner.tracer.clock.now_us();
        let mut epochs = inner.lock();
        // One without records begins with its end.
        inner.open(&mut epochs, cut_us);
        if let OpenTrace::Sampled(trace) = std::mem::take(&mut epochs.open) {
            epochs.under_way.push_back(CommittingTrace { epoch, cut_us, trace });
        }
        if epochs.under_way.len() > UNDER_WAY_MAX {
            epochs.under_way.pop_front();
        }
    }

    /// Every sensor and every window has given its state to the cut.
    pub fn collected(&self, epoch: EpochNumber, states: usize) {
        let Some(inner) = &self.0 else { return };
        let epochs = inner.lock();
        let Some(CommittingTrace { cut_us, trace, .. }) = epochs.under_way.iter().find(|it| it.epoch == epoch) else {
            return;
        };
        let span = inner.span(trace.at, "cut", *cut_us, inner.tracer.clock.now_us());
        inner.tracer.record(span.with("mangrove.states", states));
    }

    /// Begins a step of an epoch that was cut.
    pub fn begin(&self, epoch: EpochNumber, name: &'static str) -> OpenSpan {
        let Some(inner) = &self.0 else { return OpenSpan::none() };
        inner.find(epoch).map_or_else(OpenSpan::none, |at| inner.tracer.begin(at, name))
    }

    /// The trace of an epoch that was cut, for log lines and pages; none if it has none.
    pub fn id(&self, epoch: EpochNumber) -> Option<TraceId> {
        Some(self.0.as_ref()?.find(epoch)?.trace)
    }

    /// The epoch is committed: its trace is complete, but for alerts that receivers are still refusing.
    pub fn committed(&self, plan: &EpochPlan) {
        let Some(inner) = &self.0 else { return };
        let mut epochs = inner.lock();
        let Some(at) = epochs.under_way.iter().position(|it| it.epoch == plan.cut.epoch) else { return };
        let Some(CommittingTrace { trace: EpochTrace { mut span, left_out, .. }, .. }) = epochs.under_way.remove(at)
        else {
            return;
        };
        span.set("mangrove.epoch", plan.cut.epoch.0);
        span.set("mangrove.epoch.reason", reason_name(plan.cut.reason));
        let counts = [
            ("mangrove.records", plan.records),
            ("mangrove.readings", plan.readings),
            ("mangrove.clean", plan.clean),
            ("mangrove.quarantined", plan.quarantined),
            ("mangrove.duplicates", plan.duplicates),
            ("mangrove.alerts", plan.alerts),
            ("mangrove.objects", plan.objects.len() as u64),
            ("mangrove.details_left_out", left_out),
        ];
        counts.into_iter().for_each(|(key, count)| span.set(key, count));
        span.end();
    }

    /// The shard starts again from its checkpoint: what is under way is given up, and its spans say so.
    pub fn rewound(&self) {
        if let Some(inner) = &self.0 {
            *inner.lock() = Epochs::default();
        }
    }
}

impl EpochTrace {
    /// Whether one more batch may have spans.
    fn has_room(&mut self, details_max: u32) -> bool {
        let room = self.batches < details_max;
        self.batches += u32::from(room);
        self.left_out += u64::from(!room);
        room
    }
}

impl TraceState {
    /// The trace of the open epoch. Whether it has one is decided with the first that happens in it.
    fn open<'a>(&self, epochs: &'a mut Epochs, since_us: i64) -> Option<&'a mut EpochTrace> {
        if let OpenTrace::Undecided = epochs.open {
            let trace = ids::trace_id(self.tracer.config.ids, &self.tracer.chance, self.tracer.clock.now_us());
            epochs.open = match is_sampled(trace, self.tracer.config.sample_ratio) {
                true => OpenTrace::Sampled(self.begin(trace, since_us)),
                false => OpenTrace::Unsampled,
            };
        }
        match &mut epochs.open {
            OpenTrace::Sampled(trace) => Some(trace),
            OpenTrace::Undecided | OpenTrace::Unsampled => None,
        }
    }

    fn begin(&self, trace: TraceId, since_us: i64) -> EpochTrace {
        let root = TraceParent { trace, span: ids::span_id(&self.tracer.chance) };
        let mut span = self.tracer.open(root, None, "epoch").since(since_us).of_kind(SpanKind::Consumer);
        span.set("messaging.system", "kinesis");
        span.set("messaging.destination.name", self.stream.clone());
        span.set("messaging.destination.partition.id", self.shard.clone());
        EpochTrace { span, at: root, batches: 0, alerts: 0, left_out: 0 }
    }

    fn find(&self, epoch: EpochNumber) -> Option<TraceParent> {
        let epochs = self.lock();
        epochs.under_way.iter().find(|under_way| under_way.epoch == epoch).map(|under_way| under_way.trace.at)
    }

    fn span(&self, parent: TraceParent, name: &'static str, start_us: i64, end_us: i64) -> Span {
        Span::new(self.tracer.below(parent), Some(parent.span), name, start_us, end_us)
    }

    fn get_records(&self, parent: TraceParent, asked_us: i64, answered_us: i64) -> Span {
        let span = self.span(parent, "GetRecords", asked_us, answered_us).of_kind(SpanKind::Client);
        span.with("rpc.system", "aws-api").with("rpc.service", "Kinesis").with("rpc.method", "GetRecords")
    }

    // A panic while the lock was held leaves whole values behind: each is set in one step.
    fn lock(&self) -> MutexGuard<'_, Epochs> {
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reason_name(reason: CutReason) -> &'static str {
    match reason {
        CutReason::Age => "age",
        CutReason::Bytes => "bytes",
        CutReason::Partitions => "partitions",
        CutReason::Rows => "rows",
        CutReason::ShardEnd => "shard_end",
        CutReason::Shutdown => "shutdown",
    }
}
