//! Ids, and which of them are traced.
//!
//! **Promises** an id is never all zeros, which the protocol reads as "none".

use messages::{SpanId, TraceId};

use crate::ports::chance::Chance;

/// How trace ids are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFormat {
    /// 128 bits of chance, as W3C Trace Context has them.
    W3c,
    /// As AWS X-Ray wants them: the first 32 bits are the seconds since 1970.
    Xray,
}

pub(super) fn trace_id(format: IdFormat, chance: &Chance, now_us: i64) -> TraceId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&chance.bits().to_be_bytes());
    id[8..].copy_from_slice(&chance.bits().max(1).to_be_bytes());
    if format == IdFormat::Xray {
        let seconds = u32::try_from(now_us.div_euclid(1_000_000)).unwrap_or(u32::MAX);
        id[..4].copy_from_slice(&seconds.to_be_bytes());
    }
    TraceId(id)
}

pub(super) fn span_id(chance: &Chance) -> SpanId {
    SpanId(chance.bits().max(1).to_be_bytes())
}

/// Whether a trace of this id is among this share of all. It is OpenTelemetry's own rule (`TraceIdRatioBased`), so that
/// others who see the id decide alike; the bits that it looks at are chance in either format.
pub fn is_sampled(trace: TraceId, ratio: f64) -> bool {
    const ALL: f64 = (1u64 << 63) as f64;
    if ratio >= 1.0 {
        return true;
    }
    let mut low = [0; 8];
    low.copy_from_slice(&trace.0[8..]);
    u64::from_be_bytes(low) >> 1 < (ratio.max(0.0) * ALL) as u64
}
