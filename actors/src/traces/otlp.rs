//! What an OTLP request is made of, as far as we use it (opentelemetry-proto 1.x, `collector/trace/v1`).
//!
//! Written out here, because the generated messages would bring a gRPC stack along; a test reads them with the
//! generated ones.

use prost::{Message, Oneof};

use super::{Attribute, Span, SpanKind};

/// The name of what makes the spans.
const SCOPE: &str = "mangrove";
const NANOS_PER_MICRO: u64 = 1_000;
/// The sampled flag of W3C Trace Context.
const SAMPLED: u32 = 1;
const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// The resource: the process that sends.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<OtlpScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct OtlpScope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<OtlpStatus>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct OtlpStatus {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "OtlpValue", tags = "1, 3")]
    value: Option<OtlpValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum OtlpValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Integer(i64),
}

#[derive(Clone, PartialEq, Message)]
struct CollectorAnswer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

impl Resource {
    pub(super) fn of(attributes: &[(String, String)]) -> Self {
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(key, OtlpValue::Text(value.clone())));
        Self { attributes: attributes.collect() }
    }
}

impl KeyValue {
    fn new(key: &str, value: OtlpValue) -> Self {
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

impl From<&Attribute> for OtlpValue {
    fn from(attribute: &Attribute) -> Self {
        match attribute {
            Attribute::Integer(number) => Self::Integer(*number),
            Attribute::Text(text) => Self::Text(text.clone().into_owned()),
        }
    }
}

/// The body of a request with these spans.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let scope = OtlpScope { name: SCOPE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = spans.iter().map(SpanMessage::of).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }];
    Request { resource_spans }.encode_to_vec()
}

/// How many spans of a request the collector did not want. An answer that says nothing wanted them all.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let partial = CollectorAnswer::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

impl SpanMessage {
    fn of(span: &Span) -> Self {
        let nanos = |us: i64| u64::try_from(us).unwrap_or(0).saturating_mul(NANOS_PER_MICRO);
        Self {
            trace_id: span.at.trace.0.to_vec(),
            span_id: span.at.span.0.to_vec(),
            parent_span_id: span.parent.map(|parent| parent.0.to_vec()).unwrap_or_default(),
            name: span.name.to_owned(),
            kind: match span.kind {
                SpanKind::Internal => 1,
                SpanKind::Client => 3,
                SpanKind::Consumer => 5,
            },
            start_time_unix_nano: nanos(span.start_us),
            end_time_unix_nano: nanos(span.end_us),
            attributes: span.attributes.iter().map(|(key, value)| KeyValue::new(key, value.into())).collect(),
            status: span.error.clone().map(|message| OtlpStatus { message, code: STATUS_ERROR }),
            flags: SAMPLED,
        }
    }
}
