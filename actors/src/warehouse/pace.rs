//! How much is loaded at once, and what becomes of epochs that the warehouse refuses.
//!
//! **Promises** a refused batch is halved down to the epoch that is at fault; that one is tried `attempts_max` times and
//! then put aside, so that the rest goes on; what is remembered is one epoch.
//! **Not here**: waiting.

use messages::{EpochNumber, Position, ShardId};

use super::batch::Batch;
use super::ledger::{Tip, Tips};

/// What the ledger said is believed for this long. Only people take something out of it.
pub const TIPS_AGE_MAX_MS: i64 = 3_600_000;

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try fewer epochs.
    Smaller,
    /// Try the same epoch again.
    Again,
    /// Put it aside: it was tried this often.
    PutAside(u32),
}

/// The pace of one loader.
#[derive(Clone, Debug)]
pub struct Pace {
    epochs_max: usize,
    attempts_max: u32,
    epochs: usize,
    tried: Option<(ShardId, EpochNumber, u32)>,
    /// When the ledger was asked (milliseconds since 1970), and how far it has come.
    tips: Option<(i64, Tips)>,
}

impl Pace {
    /// Begins with batches of `epochs_max`.
    pub fn new(epochs_max: usize, attempts_max: u32) -> Self {
        let epochs_max = epochs_max.max(1);
        Self { epochs_max, attempts_max: attempts_max.max(1), epochs: epochs_max, tried: None, tips: None }
    }

    /// The most epochs that the next batch may have.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// How far the ledger was when it was last asked, and has come since by this loader; none before, and none after
    /// [`TIPS_AGE_MAX_MS`].
    pub fn tips(&self, now_ms: i64) -> Option<&Tips> {
        let (asked_ms, tips) = self.tips.as_ref()?;
        (0..TIPS_AGE_MAX_MS).contains(&(now_ms - asked_ms)).then_some(tips)
    }

    /// The ledger was asked.
    pub fn asked(&mut self, tips: Tips, now_ms: i64) {
        self.tips = Some((now_ms, tips));
    }

    /// The ledger has taken this batch, by this load.
    pub fn reached(&mut self, batch: &Batch) {
        let Some((_, tips)) = &mut self.tips else { return };
        for epoch in &batch.epochs {
            let tip = Tip { epoch: epoch.epoch, ended: epoch.to == Position::ShardEnd };
            tips.0.insert(epoch.shard.clone(), tip);
        }
    }

    /// A batch was loaded: the next may be larger.
    pub fn loaded(&mut self) {
        self.epochs = (self.epochs * 2).min(self.epochs_max);
        self.tried = None;
    }

    /// The warehouse refused a batch.
    pub fn refused(&mut self, batch: &Batch) -> Step {
        let [epoch] = batch.epochs.as_slice() else {
            self.epochs = (batch.epochs.len() / 2).max(1);
            return Step::Smaller;
        };
        self.epochs = 1;
        let tried = match &self.tried {
            Some((shard, number, tried)) if (shard, *number) == (&epoch.shard, epoch.epoch) => tried + 1,
            _ => 1,
        };
        if tried >= self.attempts_max {
            self.tried = None;
            return Step::PutAside(tried);
        }
        self.tried = Some((epoch.shard.clone(), epoch.epoch, tried));
        Step::Again
    }
}
