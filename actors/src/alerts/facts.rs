//! The facts of alerts on their way: one function per fact, so that figures, metrics, log, spans and what people see of
//! the last alerts cannot disagree.

use std::sync::Arc;
use std::time::Duration;

use messages::{Alert, Severity, TraceParent};
use tracing::field::display;
use tracing::{error, info, warn};

use super::{AlertOutcome, AlertsArgs, RecentAlerts};
use crate::metrics::{self, AlertFigures};
use crate::ports::aws::{CallError, Failure};
use crate::ports::clock::Clock;
use crate::ports::transports::Transport;
use crate::traces::{OpenSpan, SpanKind, Traces};

/// Where facts go.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    clock: Clock,
    figures: Arc<AlertFigures>,
    recent: Arc<RecentAlerts>,
    traces: Traces,
}

/// A transport that is trying to hand an alert over.
#[derive(Debug)]
pub(super) struct Handing<'a> {
    facts: &'a Facts,
    transport: &'static str,
    alert: &'a Alert,
    span: OpenSpan,
}

impl Facts {
    pub(super) fn new(args: &AlertsArgs) -> Self {
        args.transports.iter().for_each(|transport| metrics::transport_begins(transport.kind()));
        let AlertsArgs { clock, figures, recent, traces, .. } = args;
        let (clock, figures, recent) = (clock.clone(), figures.clone(), recent.clone());
        Self { clock, figures, recent, traces: traces.clone() }
    }

    /// An alert waits for its turn. Its span begins with the arrival of its record: it shows what the alert's latency
    /// counts.
    pub(super) fn waits(&self, alert: &Alert, trace: Option<TraceParent>) -> OpenSpan {
        self.raised(alert, trace, AlertOutcome::Waiting)
    }

    /// An alert is given up, as the queue is full.
    pub(super) fn shed(&self, alert: &Alert, trace: Option<TraceParent>) {
        metrics::alert_shed(alert.kind);
        self.raised(alert, trace, AlertOutcome::Shed).fail("the queue was full");
    }

    /// An alert is given up for a receiver, as too many wait for it; answers with that.
    pub(super) fn full(&self, transport: &Transport, alert: &Alert) -> CallError {
        metrics::alert_undelivered(transport.kind(), alert.kind);
        CallError::new(format!("hand an alert to {}", transport.name()), Failure::Throttled, "too many wait for it")
    }

    /// So many alerts wait for the receiver that is furthest behind, or are under way to it.
    pub(super) fn under_way(&self, alerts: usize) {
        metrics::alerts_waiting(alerts);
    }

    /// An alert is handed to its receivers for the first time.
    pub(super) fn handed_over(&self, alert: &Alert) {
        let latency_ms = self.clock.now_ms().saturating_sub(alert.arrival_ms).max(0);
        self.figures.handed_over(alert.kind, latency_ms as u64);
    }

    /// Every receiver has taken an alert, or one has not, for this reason.
    pub(super) fn done(&self, alert: &Alert, span: OpenSpan, error: Option<&CallError>) {
        self.recent.done(&alert.id, error.map(CallError::to_string).as_deref(), self.clock.now_ms());
        match error {
            None => span.end(),
            // Not a receiver's own words: it may answer with what it was sent.
            Some(_) => span.fail("not every receiver took it"),
        }
    }

    /// A receiver begins to refuse whatever it is handed.
    pub(super) fn refuses(&self, transport: &Transport, error: &CallError) {
        metrics::receiver_refuses(transport.kind(), true);
        let receiver = transport.name();
        warn!(receiver, %error, "a receiver refuses all alerts: they wait, and one of them asks now and then");
    }

    /// A receiver that refused takes alerts again.
    pub(super) fn takes_again(&self, transport: &Transport) {
        metrics::receiver_refuses(transport.kind(), false);
        info!(receiver = transport.name(), "a receiver takes alerts again");
    }

    /// A delivery ended with a bug.
    pub(super) fn panicked(&self, alert: &Alert) {
        error!(alert = alert.id, "a delivery panicked");
    }

    /// A transport begins with an alert.
    pub(super) fn hands<'a>(
        &'a self,
        transport: &Transport,
        alert: &'a Alert,
        parent: Option<TraceParent>,
    ) -> Handing<'a> {
        let transport = transport.kind();
        let span = self.traces.begin(parent, transport).of_kind(SpanKind::Client);
        Handing { facts: self, transport, alert, span }
    }

    fn raised(&self, alert: &Alert, trace: Option<TraceParent>, outcome: AlertOutcome) -> OpenSpan {
        let mut span = self.traces.begin(trace, "alert").since(alert.arrival_ms.saturating_mul(1_000));
        if span.at().is_some() {
            span.set("mangrove.alert.id", alert.id.clone());
            span.set("mangrove.alert.kind", alert.kind.as_str());
            span.set("mangrove.alert.severity", severity_name(alert.severity));
        }
        self.recent.raise(alert, outcome, self.clock.now_ms(), span.trace_id());
        span
    }
}

impl Handing<'_> {
    /// The receiver has taken it, so long after the first try.
    pub(super) fn taken(mut self, attempt: u32, took: Duration) {
        metrics::alert_sent(self.transport, self.alert.kind, took);
        self.span.set("mangrove.attempts", attempt);
        self.span.end();
    }

    /// It is tried again.
    pub(super) fn retries(&self, error: &CallError) {
        metrics::alert_retried(self.transport);
        self.facts.recent.retrying(&self.alert.id, &error.to_string());
    }

    /// The receiver did not take it in time.
    pub(super) fn given_up(mut self, attempt: u32, error: &CallError) {
        metrics::alert_undelivered(self.transport, self.alert.kind);
        let (transport, alert, trace_id) = (self.transport, &self.alert.id, self.span.trace_id().map(display));
        warn!(transport, alert, %error, trace_id, "alert given up, it is stored");
        self.span.set("mangrove.attempts", attempt);
        self.span.fail(metrics::failure_name(error.failure));
    }
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}
