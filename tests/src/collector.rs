//! An OpenTelemetry collector, as far as a sender can tell: it reads what comes with the protocol's own messages.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    Takes,
    Fails,
    Hangs,
}

/// One that listens on a free port, as long as the runtime lives.
#[derive(Clone, Debug)]
pub struct Collector {
    pub address: String,
    manners: Manners,
    requests: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Collector {
    pub async fn open(manners: Manners) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { address, manners, requests: Arc::default() };
        // Whatever else is asked is an alert that a webhook takes.
        let app = Router::new().route("/v1/traces", post(take)).fallback(async || StatusCode::OK);
        let app = app.with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        collector
    }

    /// Headers and bodies of all requests.
    pub fn requests(&self) -> Vec<(HeaderMap, Bytes)> {
        self.requests.lock().unwrap().clone()
    }

    /// The bodies as the protocol reads them.
    pub fn messages(&self) -> Vec<ExportTraceServiceRequest> {
        self.requests().into_iter().map(|(_, body)| ExportTraceServiceRequest::decode(body).unwrap()).collect()
    }

    /// All spans, by trace.
    pub fn traces(&self) -> BTreeMap<String, Vec<Span>> {
        let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        let resources = self.messages().into_iter().flat_map(|message| message.resource_spans);
        for span in resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans) {
            traces.entry(hex(&span.trace_id)).or_default().push(span);
        }
        traces
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    collector.requests.lock().unwrap().push((headers, body));
    match collector.manners {
        Manners::Takes => StatusCode::OK,
        Manners::Fails => StatusCode::INTERNAL_SERVER_ERROR,
        Manners::Hangs => pending().await,
    }
}

/// As pages and log lines write ids.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The texts and numbers of attributes, as text.
pub fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let shown = |pair: &KeyValue| match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    pairs.iter().map(|pair| (pair.key.clone(), shown(pair).unwrap())).collect()
}

/// The names of the spans, if they are one tree: one root, every other below a span of the same trace.
#[track_caller]
pub fn tree(spans: &[Span]) -> BTreeSet<&str> {
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
    let (roots, others): (Vec<&Span>, Vec<&Span>) = spans.iter().partition(|span| span.parent_span_id.is_empty());
    assert_eq!(roots.len(), 1, "{roots:?}");
    for span in &others {
        assert!(ids.contains(span.parent_span_id.as_slice()), "{span:?} hangs in the air");
    }
    for span in spans {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    // Whoever is followed upwards ends at the root.
    let parent = |span: &Span| spans.iter().find(|other| other.span_id == span.parent_span_id);
    for span in &others {
        let mut at = *span;
        let steps = std::iter::from_fn(|| parent(at).inspect(|above| at = above)).take(spans.len()).count();
        assert!(steps < spans.len(), "{span:?} is in a circle");
    }
    spans.iter().map(|span| span.name.as_str()).collect()
}
