//! The upload of an epoch: one span, and one below it for each zone. Objects can be many; zones are few.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use messages::{EpochNumber, NotStored, TraceId, Zone};

use super::{OpenSpan, ShardTraces, Span, SpanKind};

/// An upload that is under way.
#[derive(Debug)]
pub struct UploadTrace {
    span: OpenSpan,
    zones: Mutex<BTreeMap<Zone, ZoneTrace>>,
}

#[derive(Debug)]
struct ZoneTrace {
    span: Span,
    objects: u64,
    stored: u64,
    bytes: u64,
    retries: u64,
}

impl UploadTrace {
    /// The upload of this epoch begins.
    pub fn begin(traces: &ShardTraces, epoch: EpochNumber) -> Self {
        Self { span: traces.begin(epoch, "upload"), zones: Mutex::default() }
    }

    /// The trace, for log lines.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.span.trace_id()
    }

    /// An object of this zone is going to be uploaded.
    pub fn object(&self, zone: Zone, bytes: usize) {
        let Some(begun) = &self.span.0 else { return };
        let mut zones = self.zones();
        let zone = zones.entry(zone).or_insert_with(|| {
            let (at, now_us) = (begun.tracer.below(begun.span.at), begun.tracer.clock.now_us());
            let span = Span::new(at, Some(begun.span.at.span), zone.folder(), now_us, now_us);
            ZoneTrace { span: span.of_kind(SpanKind::Client), objects: 0, stored: 0, bytes: 0, retries: 0 }
        });
        zone.objects += 1;
        zone.bytes += bytes as u64;
    }

    /// An object of this zone is tried again.
    pub fn retried(&self, zone: Zone) {
        self.change(zone, |zone, _| zone.retries += 1);
    }

    /// An object of this zone is stored. The zone's span lasts until its last one.
    pub fn stored(&self, zone: Zone) {
        self.change(zone, |zone, now_us| {
            zone.stored += 1;
            zone.span.end_us = now_us.max(zone.span.start_us);
        });
    }

    /// The upload has ended so.
    pub fn end(self, result: &Result<(), NotStored>) {
        let zones = self.zones.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = &self.span.0 {
            for ZoneTrace { span, objects, stored, bytes, retries } in zones.into_values() {
                let span = span.with("mangrove.objects", objects).with("mangrove.bytes", bytes);
                let mut span = span.with("mangrove.retries", retries);
                span.error = (stored < objects).then(|| format!("{stored} of {objects} objects were stored"));
                begun.tracer.record(span);
            }
        }
        self.span.end_with(result);
    }

    fn change(&self, zone: Zone, change: impl FnOnce(&mut ZoneTrace, i64)) {
        let Some(begun) = &self.span.0 else { return };
        if let Some(zone) = self.zones().get_mut(&zone) {
            change(zone, begun.tracer.clock.now_us());
        }
    }

    // A panic while the lock was held leaves whole values behind.
    fn zones(&self) -> MutexGuard<'_, BTreeMap<Zone, ZoneTrace>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
