//! How far a shard is: when something last moved, and what is not committed yet.
//!
//! **Owns** the word on whether the shard hangs, and whether it has caught up.
//! **Promises** of one incarnation: a shard that starts again from its checkpoint has read nothing. Constant memory.
//! **Not here**: what becomes of it. The leases end what hangs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far one shard is.
#[derive(Debug, Default)]
pub struct ShardProgress(Mutex<Moved>);

#[derive(Debug)]
struct Moved {
    /// When the reader last asked the stream, by the runtime's own clock. None while it has no reason to.
    polled: Option<Instant>,
    /// When the bucket last answered, or an epoch went one step further. None while no epoch is on its way.
    wrote: Option<Instant>,
    /// Records that are read and not committed.
    pending: u64,
    /// When a page last said that there is nothing more, milliseconds since 1970; 0 before that. It must be an empty
    /// one: how far behind a full page is, not every implementation of the service tells.
    at_tip_ms: i64,
    closed: bool,
}

impl Default for Moved {
    fn default() -> Self {
        Self { polled: Some(Instant::now()), wrote: None, pending: 0, at_tip_ms: 0, closed: false }
    }
}

impl ShardProgress {
    /// Whether all that was put into the shard before then is read and committed. One that is closed is about to end; its
    /// children come next.
    pub fn has_caught_up(&self, since_ms: i64) -> bool {
        let moved = self.lock();
        !moved.closed && moved.at_tip_ms > since_ms && moved.pending == 0
    }

    /// For how long nothing has moved that should: a service that fails moves, an actor that hangs does not.
    pub fn stalled_for(&self) -> Duration {
        let moved = self.lock();
        let since = [moved.polled, moved.wrote].into_iter().flatten().min();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The reader has asked the stream once more, with whatever success.
    pub(crate) fn polled(&self) {
        self.lock().polled = Some(Instant::now());
    }

    /// The reader has no more to ask for.
    pub(crate) fn stopped_reading(&self) {
        self.lock().polled = None;
    }

    /// The bucket has answered, with whatever success, or an epoch went a step further.
    pub(crate) fn wrote(&self) {
        self.lock().wrote = Some(Instant::now());
    }

    /// What an epoch that was cut still waits for has become less. A long epoch moves; one that hangs does not, whatever
    /// else is judged meanwhile.
    pub(crate) fn came_closer(&self) {
        if let Some(wrote) = &mut self.lock().wrote {
            *wrote = Instant::now();
        }
    }

    /// A page came. True if the tip is reached, and nothing waits for a commit.
    pub(super) fn paged(&self, records: u64, millis_behind: Option<i64>, now_ms: i64) -> bool {
        let moved = &mut *self.lock();
        moved.pending += records;
        let at_tip = records == 0 && millis_behind == Some(0);
        if at_tip {
            moved.at_tip_ms = now_ms;
        }
        at_tip && moved.pending == 0
    }

    /// The stream said that nothing more will come.
    pub(super) fn closed(&self) {
        self.lock().closed = true;
    }

    /// An epoch of so many records was committed, and none is on its way. True if nothing waits for a commit.
    pub(super) fn committed(&self, records: u64) -> bool {
        let moved = &mut *self.lock();
        moved.wrote = None;
        moved.pending = moved.pending.saturating_sub(records);
        moved.pending == 0
    }

    /// The shard starts again from its checkpoint.
    pub(super) fn rewound(&self) {
        let closed = self.lock().closed;
        *self.lock() = Moved { closed, ..Moved::default() };
    }

    // A panic while the lock was held leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_caught_up_when_an_empty_page_came_and_all_is_committed() {
        let progress = ShardProgress::default();
        assert!(!progress.paged(3, Some(0), 1_000), "records may follow");
        assert!(
            !progress.paged(0, None, 3_000) && !progress.paged(0, Some(0), 2_000) && !progress.has_caught_up(1_999),
            "they wait for a commit"
        );
        assert!(!progress.committed(2) && progress.committed(1));
        assert!(progress.has_caught_up(1_999) && !progress.has_caught_up(2_000));
        progress.paged(1, Some(0), 3_000);
        progress.rewound();
        assert!(!progress.has_caught_up(0), "nothing is read of what comes again");
        assert!(progress.paged(0, Some(0), 4_000));
        progress.closed();
        assert!(!progress.has_caught_up(0), "its children come next");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_reason_to_move_does_not_hang() {
        let (progress, s) = (ShardProgress::default(), Duration::from_secs(1));
        tokio::time::advance(s).await;
        assert_eq!(progress.stalled_for(), s);
        progress.stopped_reading();
        progress.came_closer();
        assert_eq!(progress.stalled_for(), Duration::ZERO, "no epoch is on its way");
        progress.wrote();
        tokio::time::advance(s * 2).await;
        progress.polled();
        assert_eq!(progress.stalled_for(), s * 2, "what moved last is no excuse for the other");
        progress.came_closer();
        assert_eq!(progress.stalled_for(), Duration::ZERO);
        tokio::time::advance(s).await;
        progress.committed(0);
        assert_eq!(progress.stalled_for(), s, "only the reader is asked now");
    }
}
