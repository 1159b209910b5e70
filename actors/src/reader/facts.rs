//! The facts of reading a shard: one function per fact, so that figures, metrics, log, spans and crash points cannot
//! disagree.

use messages::{Batch, BatchTrace, EpochNumber, Position, Suspect};
use tokio::time::Instant;
use tracing::{info, warn};

use super::decode::{PathWatch, Sightings};
use crate::metrics;
use crate::ports::aws::CallError;
use crate::ports::stream::Page;
use crate::shard::{Hold, ShardContext};
use crate::traces;

/// When the stream was asked for a page. What the answer does not know of came later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Instant,
    at_us: Option<i64>,
    pub(super) at_ms: i64,
}

/// Where facts go.
#[derive(Debug)]
pub(super) struct Facts {
    context: ShardContext,
    /// Which of the schema's paths the open epoch's events had.
    paths: PathWatch,
    /// When the last page was asked for and came; only if epochs are traced.
    page: Option<traces::PageTimes>,
}

impl Facts {
    /// An incarnation begins; a shard that has ended is kept for its last alerts only.
    pub(super) fn new(context: ShardContext, has_ended: bool) -> Self {
        context.rewound();
        let facts = Self { context, paths: PathWatch::default(), page: None };
        if has_ended {
            facts.stopped();
        }
        facts
    }

    /// There is no more to read.
    pub(super) fn stopped(&self) {
        self.context.progress.stopped_reading();
    }

    /// Nothing is read, as the budget is used up.
    pub(super) fn waits_for_budget(&self) {
        metrics::reader_waits_for_budget();
        self.context.figures.waits_for_budget(self.context.clock.now_ms());
    }

    /// The stream was asked, or is not to be asked yet, with whatever success.
    pub(super) fn polled(&self) {
        self.context.progress.polled();
    }

    /// A page is about to be asked for.
    pub(super) fn asks(&self) -> Asked {
        Asked { at: Instant::now(), at_us: self.context.traces.now_us(), at_ms: self.context.clock.now_ms() }
    }

    /// The page came that was asked for then, to be read on after this position; or it did not.
    pub(super) async fn answered(
        &mut self,
        asked: Asked,
        answer: Result<Page, CallError>,
        after: &Position,
    ) -> Result<Page, CallError> {
        let context = &self.context;
        let page = answer.inspect_err(|error| context.traces.page_failed(asked.at_us, error.failure))?;
        metrics::reader_page(&context.shard, page.records.len(), asked.at.elapsed());
        self.page = context.traces.page(asked.at_us, page.records.len());
        context.faults.reach("reader.page", context.shard.short()).await;
        if page.next.is_none() {
            context.closed();
        }
        if context.read(page.records.len() as u64, page.millis_behind, asked.at_ms) {
            info!(shard = %context.shard, %after, "shard is read");
        }
        Ok(page)
    }

    /// The stream no longer holds this position: it is read from its oldest record.
    pub(super) fn turns_back(&self, position: &Position, why: &str) {
        metrics::reader_position_trimmed();
        self.context.figures.position_trimmed(self.context.clock.now_ms());
        let shard = &self.context.shard;
        warn!(
            %shard, %position, why,
            "the stream no longer holds what was read last: it is read from its oldest record; if any came in between, they are lost"
        );
    }

    /// The stream did not give what was asked for.
    pub(super) fn failed(&self, error: &CallError) {
        metrics::reader_failed(error.failure);
        self.context.held(Hold::Reading, error);
    }

    /// The stream gives no more for a second: others may read it too.
    pub(super) fn throttled(&self, error: &CallError) {
        info!(shard = %self.context.shard, %error, "others read this shard too: it is asked again soon, and half as often for a minute");
    }

    /// It is asked again.
    pub(super) fn retries(&self, attempt: u32, error: &CallError) {
        warn!(shard = %self.context.shard, attempt, %error, "read failed, trying again");
    }

    /// A record is taken unread, as it was tried too often.
    pub(super) fn goes_unread(&self, Suspect { sequence, tries, .. }: &Suspect) {
        warn!(shard = %self.context.shard, %sequence, tries, "a record is quarantined unread");
    }

    /// A batch is about to be decoded; answers when, if epochs are traced.
    pub(super) fn decodes(&self) -> Option<i64> {
        self.context.traces.now_us()
    }

    /// A batch has these paths.
    pub(super) fn saw(&mut self, sightings: Sightings) {
        self.paths.take(sightings);
    }

    /// A batch that was decoded since then is about to be handed on; answers its trace.
    pub(super) fn decoded(&self, decoding_us: Option<i64>, batch: &Batch) -> Option<BatchTrace> {
        self.context.traces.batch(self.page, decoding_us, batch)
    }

    /// The epoch ends.
    pub(super) fn cut(&mut self, epoch: EpochNumber) {
        if let Some(unseen) = self.paths.cut(&self.context.schema) {
            for path in self.context.figures.set_unseen_paths(unseen) {
                warn!(shard = %self.context.shard, "{path}");
            }
        }
        self.context.traces.cut(epoch);
    }
}
