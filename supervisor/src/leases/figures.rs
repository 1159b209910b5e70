//! What the leases tell others: readiness, the demo, tests, metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::metrics::failure_name;
use actors::ports::aws::Failure;
use actors::ports::leases::LeaseError;
use messages::ShardId;
use metrics::counter;
use tokio::time::Instant;
use tracing::{info, warn};

use super::seen::LeasesSeen;

/// Something that keeps shards from being read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseFinding {
    /// The heartbeat cannot be written.
    Fenced,
    /// The shard failed here again and again.
    GivenUp(ShardId),
    /// The stream has forgotten the shard before all was read.
    Trimmed(ShardId),
    /// The shard has epochs but no row.
    Orphan(ShardId),
    /// The shard's row and the bucket disagree.
    Disagrees(ShardId),
    /// The stream was deleted and made again.
    OtherStream,
    /// This worker has committed nothing yet.
    Unproven,
}

impl LeaseFinding {
    /// Every kind.
    pub const KINDS: [&str; 7] = ["fenced", "given_up", "trimmed", "orphan", "disagrees", "other_stream", "unproven"];

    /// Which of them it is.
    pub fn kind(&self) -> &'static str {
        let [fenced, given_up, trimmed, orphan, disagrees, other_stream, unproven] = Self::KINDS;
        match self {
            Self::Fenced => fenced,
            Self::GivenUp(_) => given_up,
            Self::Trimmed(_) => trimmed,
            Self::Orphan(_) => orphan,
            Self::Disagrees(_) => disagrees,
            Self::OtherStream => other_stream,
            Self::Unproven => unproven,
        }
    }
}

/// A call that fails again and again is said less and less often.
#[derive(Debug)]
struct FailingCall {
    since: Instant,
    failures: u64,
    logged_at: Instant,
    pause: Duration,
}

impl FailingCall {
    fn first(now: Instant) -> Self {
        Self { since: now, failures: 0, logged_at: now, pause: Duration::ZERO }
    }

    /// Counts one more. True if it is worth a line.
    fn failed(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let says = now.duration_since(self.logged_at) >= self.pause;
        if says {
            (self.logged_at, self.pause) = (now, (self.pause * 2).clamp(SAY_AGAIN_MIN, SAY_AGAIN_MAX));
        }
        says
    }
}

/// What a worker lacks before it has tried anything.
pub(super) const UNTRIED: &str = "it has not tried its bucket and its lease table yet";

const SAY_AGAIN_MIN: Duration = Duration::from_secs(2);
const SAY_AGAIN_MAX: Duration = Duration::from_secs(60);

/// Figures of one worker's leases. Findings are bounded by the number of shards.
#[derive(Debug, Default)]
pub struct LeaseFigures {
    unowned: AtomicU64,
    beaten_at: Mutex<Option<Instant>>,
    takeovers: AtomicU64,
    handovers: AtomicU64,
    losses: AtomicU64,
    fences: AtomicU64,
    findings: Mutex<BTreeMap<LeaseFinding, String>>,
    seen: Mutex<Arc<LeasesSeen>>,
    failing: Mutex<BTreeMap<&'static str, FailingCall>>,
}

impl LeaseFigures {
    /// The figures of a worker that has not begun: it has shown nothing yet, whoever asks before its leases have looked at the table.
    pub(crate) fn new() -> Self {
        let figures = Self::default();
        figures.proves(Some(UNTRIED.to_owned()));
        figures
    }

    /// Shards taken from dead workers, handed over in good order, lost to others; fences.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("takeovers", of(&self.takeovers)),
            ("handovers", of(&self.handovers)),
            ("losses", of(&self.losses)),
            ("fences", of(&self.fences)),
        ]
    }

    /// What keeps shards from being read, and why.
    pub fn findings(&self) -> Vec<(LeaseFinding, String)> {
        self.lock().iter().map(|(finding, why)| (finding.clone(), why.clone())).collect()
    }

    /// Readable shards without a living owner, as of the last look.
    pub fn unowned(&self) -> u64 {
        self.unowned.load(Ordering::Relaxed)
    }

    /// Since the last heartbeat that was written had begun; none before the first.
    pub fn heartbeat_age(&self) -> Option<Duration> {
        self.beaten_at.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    pub(super) fn beaten(&self, began: Instant) {
        *self.beaten_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
    }

    /// A call of the lease table failed; it is tried again.
    pub(super) fn call_failed(&self, call: &'static str, error: &LeaseError) {
        let failure = match error {
            LeaseError::Call(error) => error.failure,
            LeaseError::Lost(_)
            | LeaseError::RowGone(_)
            | LeaseError::NameInUse(_)
            | LeaseError::NameDisputed(_)
            | LeaseError::NotLoading(_) => Failure::Condition,
            LeaseError::Row(_) => Failure::Refused,
        };
        counter!("mangrove_lease_failures_total", "call" => call, "failure" => failure_name(failure)).increment(1);
        let now = Instant::now();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = failing.entry(call).or_insert_with(|| FailingCall::first(now));
        if failing.failed(now) {
            let (failures, for_s) = (failing.failures, now.duration_since(failing.since).as_secs());
            warn!(call, %error, failures, for_s, "a call of the lease table failed, trying again");
        }
    }

    /// A call of the lease table has been answered.
    pub(super) fn call_passed(&self, call: &'static str) {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner).remove(call);
        if let Some(FailingCall { since, failures, .. }) = failing.filter(|failing| failing.failures > 1) {
            let for_s = since.elapsed().as_secs();
            info!(call, failures, for_s, "a call of the lease table is answered again");
        }
    }

    pub(super) fn saw_unowned(&self, unowned: usize) {
        self.unowned.store(unowned as u64, Ordering::Relaxed);
    }

    /// What the last look at the table showed, at most a second older than the look itself.
    pub fn seen(&self) -> Arc<LeasesSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn saw(&self, seen: LeasesSeen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
    }

    /// This worker takes no more: what was seen of its own shards is no longer so.
    pub(super) fn leaves(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Arc::new(LeasesSeen { leaving: true, ..seen.as_ref().clone() });
    }

    pub(super) fn took_over(&self) {
        self.takeovers.fetch_add(1, Ordering::Relaxed);
        counter!("mangrove_lease_takeovers_total").increment(1);
    }

    pub(super) fn handed_over(&self) {
        self.handovers.fetch_add(1, Ordering::Relaxed);
        counter!("mangrove_lease_handovers_total").increment(1);
    }

    pub(super) fn lost(&self) {
        self.losses.fetch_add(1, Ordering::Relaxed);
        counter!("mangrove_leases_lost_total").increment(1);
    }

    pub(super) fn fenced(&self, silent: Duration) {
        self.fences.fetch_add(1, Ordering::Relaxed);
        counter!("mangrove_fences_total").increment(1);
        let why = format!("no heartbeat was written for {silent:.1?}: the lease table cannot be reached");
        self.lock().insert(LeaseFinding::Fenced, why);
    }

    pub(super) fn gave_up(&self, shard: &ShardId, cause: String) {
        counter!("mangrove_shards_given_up_total").increment(1);
        self.lock().insert(LeaseFinding::GivenUp(shard.clone()), cause);
    }

    pub(super) fn refused(&self, shard: &ShardId, cause: String) {
        counter!("mangrove_shards_refused_total").increment(1);
        self.lock().insert(LeaseFinding::Disagrees(shard.clone()), cause);
    }

    pub(super) fn other_stream(&self, why: String) {
        self.lock().insert(LeaseFinding::OtherStream, why);
    }

    pub(super) fn finding(&self, finding: LeaseFinding) {
        let why = match &finding {
            LeaseFinding::Trimmed(_) => "the stream has forgotten it before all was read (stream.on_trimmed)",
            LeaseFinding::Orphan(_) => {
                "the bucket has its epochs, the lease table has no row of it: mangrove leases rebuild makes one of them"
            }
            LeaseFinding::Fenced | LeaseFinding::GivenUp(_) | LeaseFinding::Unproven => "",
            LeaseFinding::Disagrees(_) | LeaseFinding::OtherStream => "",
        };
        self.lock().insert(finding, why.to_owned());
    }

    /// The worker has not shown yet that it can commit, or has.
    pub(super) fn proves(&self, lacks: Option<String>) {
        match lacks {
            Some(why) => drop(self.lock().insert(LeaseFinding::Unproven, why)),
            None => drop(self.lock().remove(&LeaseFinding::Unproven)),
        }
    }

    /// A finding has passed.
    pub(crate) fn clear(&self, finding: LeaseFinding) {
        self.lock().remove(&finding);
    }

    /// Keeps the findings that are still there.
    pub(super) fn retain(&self, is_there: impl Fn(&LeaseFinding) -> bool) {
        self.lock().retain(|finding, _| is_there(finding));
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseFinding, String>> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_cut_off_for_an_hour_says_so_a_few_dozen_times() {
        let began = Instant::now();
        let mut failing = FailingCall::first(began);
        let said = (0..4 * 3_600).filter(|n| failing.failed(began + Duration::from_millis(250) * *n)).count();
        assert_eq!(failing.failures, 14_400);
        assert!((30..100).contains(&said), "{said} lines");
        assert!(FailingCall::first(began).failed(began), "the first time at once");
    }
}
