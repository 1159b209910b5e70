//! The facts of encoding and uploading an epoch: one function per fact, so that figures, metrics, log, spans and crash
//! points cannot disagree.

use messages::{Cause, EncodedEpoch, EncodedObject, EpochNumber, EpochPlan, NotStored, Zone};
use tokio::time::Instant;
use tracing::field::display;
use tracing::{error, warn};

use crate::metrics;
use crate::ports::aws::CallError;
use crate::ports::objects::Put;
use crate::shard::{Failing, Hold, ShardContext};
use crate::traces::{OpenSpan, UploadTrace};

/// An epoch that is being encoded.
#[derive(Debug)]
pub(super) struct Encodes {
    began: Instant,
    span: OpenSpan,
}

impl Encodes {
    /// Encoding begins.
    pub(super) fn begin(context: &ShardContext, epoch: EpochNumber) -> Self {
        Self { began: Instant::now(), span: context.traces.begin(epoch, "encode") }
    }

    /// It has ended so.
    pub(super) fn end(self, encoded: &Result<Box<EncodedEpoch>, Cause>) {
        metrics::epoch_encoded(self.began.elapsed());
        self.span.end_with(encoded);
    }
}

/// An epoch is encoded, and kept until it may be uploaded.
pub(super) fn sealed(context: &ShardContext) {
    context.progress.came_closer();
    context.faults.hit("sinks.sealed", context.shard.short());
}

/// Where the facts of an upload go.
#[derive(Debug)]
pub(super) struct Facts {
    context: ShardContext,
    began: Instant,
    trace: UploadTrace,
}

impl Facts {
    /// The upload of an epoch begins.
    pub(super) fn new(context: ShardContext, epoch: EpochNumber) -> Self {
        Self { began: Instant::now(), trace: UploadTrace::begin(&context.traces, epoch), context }
    }

    /// The epoch's number is claimed.
    pub(super) fn claimed(&self) {
        self.hit("sinks.claimed");
    }

    /// The manifest is next.
    pub(super) fn reaches_manifest(&self) {
        self.hit("sinks.manifest");
    }

    /// An object that is no claim is next.
    pub(super) fn reaches_object(&self) {
        self.hit("sinks.object");
    }

    /// An object is about to be uploaded.
    pub(super) fn uploads(&self, object: &EncodedObject) {
        self.trace.object(object.planned.zone, object.bytes.len());
    }

    /// The bucket has answered, with whatever success.
    pub(super) fn answered(&self) {
        self.context.progress.wrote();
    }

    /// An object is stored, now or before.
    pub(super) fn stored(&self, zone: Zone, put: Put) {
        self.context.figures.passed(Hold::Uploading);
        self.trace.stored(zone);
        if put == Put::Same {
            metrics::object_was_there();
        }
    }

    /// An object is there that says something else.
    pub(super) fn differs(&self, different: &NotStored, key: &str) {
        error!(shard = %self.context.shard, key, "an object says something else than planned");
        let now_ms = self.context.clock.now_ms();
        self.context.outcome.failed(Failing::Storing, &different.to_string(), true, now_ms);
    }

    /// An object cannot be stored.
    pub(super) fn failed(&self, error: &CallError) {
        self.context.held(Hold::Uploading, error);
    }

    /// It is tried again.
    pub(super) fn retries(&self, zone: Zone, attempt: u32, error: &CallError) {
        metrics::upload_retried(error.failure);
        self.failed(error);
        self.trace.retried(zone);
        let trace_id = self.trace.trace_id().map(display);
        warn!(shard = %self.context.shard, attempt, %error, trace_id, "upload failed, trying again");
    }

    /// Every object of the epoch is stored.
    pub(super) fn uploaded(&self, plan: &EpochPlan) {
        metrics::epoch_uploaded(plan, self.began.elapsed());
    }

    /// The upload has ended so.
    pub(super) fn end(self, result: &Result<(), NotStored>) {
        self.trace.end(result);
    }

    fn hit(&self, point: &str) {
        self.context.faults.hit(point, self.context.shard.short());
    }
}
