//! Where a piece of work stands in a trace: ids that travel with the data.
//!
//! **Not here**: what a span says, and who takes it.

use std::fmt;

use serde::{Serialize, Serializer};

/// A trace: 16 bytes, shown in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// A span of a trace: 8 bytes, shown in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// The span that further spans stand below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

/// The span of a batch, which is open while the batch travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchTrace {
    /// The batch's own span.
    pub at: TraceParent,
    /// The span of the batch's epoch.
    pub epoch: SpanId,
    /// When its records were asked for, microseconds since 1970.
    pub since_us: i64,
    /// When it was handed to the sensors, microseconds since 1970.
    pub routed_us: i64,
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
