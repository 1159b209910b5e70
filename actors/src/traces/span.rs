//! One span, as plain data.

use std::borrow::Cow;

use messages::{SpanId, TraceParent};

/// Errors are kept up to this length.
const ERROR_CHARS_MAX: usize = 200;

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace, and the span's own id.
    pub at: TraceParent,
    /// The span that it belongs to; none for the epoch itself.
    pub parent: Option<SpanId>,
    /// What it is; one of a few words.
    pub name: &'static str,
    /// The kind of work.
    pub kind: SpanKind,
    /// When it began, microseconds since 1970.
    pub start_us: i64,
    /// When it ended, microseconds since 1970.
    pub end_us: i64,
    /// What else there is to say.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed; none if it did not.
    pub error: Option<String>,
}

/// The kind of a span, in the words of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Our own.
    Internal,
    /// A service's that we wait for.
    Client,
    /// Ours on what came from a stream.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A number.
    Integer(i64),
    /// A text of ours, or a name from the configuration.
    Text(Cow<'static, str>),
}

impl Span {
    pub(super) fn new(at: TraceParent, parent: Option<SpanId>, name: &'static str, start_us: i64, end_us: i64) -> Self {
        let (kind, end_us) = (SpanKind::Internal, end_us.max(start_us));
        Self { at, parent, name, kind, start_us, end_us, attributes: Vec::new(), error: None }
    }

    pub(super) fn with(mut self, key: &'static str, value: impl Into<Attribute>) -> Self {
        self.set(key, value);
        self
    }

    pub(super) fn of_kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Attribute>) {
        self.attributes.push((key, value.into()));
    }
}

/// A bounded text on one line.
pub(super) fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ERROR_CHARS_MAX).collect()
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Attribute {
    fn from(number: usize) -> Self {
        (number as u64).into()
    }
}

impl From<u32> for Attribute {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<&'static str> for Attribute {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}
