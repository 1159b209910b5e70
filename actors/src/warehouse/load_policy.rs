//! How much is loaded at once, and what becomes of epochs that the warehouse refuses.
//!
//! **Promises** a refused batch is halved down to the epoch that is at fault; that one is tried `attempts_max` times and
//! then put aside, so that the rest goes on. Words that `alike_max` different epochs in a row are refused with are nobody's
//! fault: no more of them are put aside. What was put aside is looked at once more when loads succeed. What is remembered
//! is `alike_max` epochs.
//! **Not here**: waiting.

use std::collections::BTreeMap;

use messages::{EpochNumber, ShardId};

use super::batch::LoadBatch;
use super::ledger::{RefusedEpoch, Tip, Tips};
use super::words::alike;

/// What the ledger said is believed for this long. Only people take something out of it.
pub const TIPS_AGE_MAX_MS: i64 = 3_600_000;

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalStep {
    /// Try fewer epochs.
    Smaller,
    /// Try the same epoch again: it was tried this often.
    Again(u32),
    /// Put it aside: it was tried this often.
    PutAside(u32),
    /// So many epochs in a row say the same: wait.
    Wait(usize),
}

/// When an epoch counts as refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalPatience {
    /// Tries of one epoch, before it is put aside.
    pub attempts_max: u32,
    /// Different epochs in a row that are refused with the same words, from which on none is at fault.
    pub alike_max: usize,
}

/// Epochs that were put aside one after the other, with the same words.
#[derive(Clone, Debug, Default)]
struct Run {
    words: String,
    epochs: Vec<(ShardId, EpochNumber)>,
}

/// Looks at what was put aside; some may fail before the next load that succeeds.
const LOOKS_MAX: u32 = 8;
/// Different words of which one epoch is tried again in one look.
const WORDS_MAX: usize = 8;

/// The policy of one loader.
#[derive(Clone, Debug)]
pub struct LoadPolicy {
    epochs_max: usize,
    patience: RefusalPatience,
    epochs: usize,
    tried: Option<(ShardId, EpochNumber, u32)>,
    run: Run,
    /// Looks that are left, and the words that still hold.
    look: (u32, Vec<String>),
    /// When the ledger was asked (milliseconds since 1970), and how far it has come.
    tips: Option<(i64, Tips)>,
}

impl LoadPolicy {
    /// Begins with batches of `epochs_max`, and with a look at what was put aside before.
    pub fn new(epochs_max: usize, patience: RefusalPatience) -> Self {
        let epochs_max = epochs_max.max(1);
        let look = (LOOKS_MAX, Vec::new());
        Self { epochs_max, patience, epochs: epochs_max, tried: None, run: Run::default(), look, tips: None }
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
    pub fn reached(&mut self, batch: &LoadBatch) {
        let Some((_, tips)) = &mut self.tips else { return };
        for epoch in &batch.epochs {
            let (to, content) = (epoch.to.to_string(), Some(epoch.content.clone()));
            let tip = Tip { epoch: epoch.epoch, to, content };
            tips.0.insert(epoch.shard.clone(), tip);
        }
    }

    /// A batch was loaded: the next may be larger, and what epochs were put aside for may have passed.
    pub fn loaded(&mut self) {
        if !self.run.epochs.is_empty() {
            self.look = (LOOKS_MAX, Vec::new());
        }
        self.run = Run::default();
        self.goes_on();
    }

    /// An epoch was put aside: the next may be loaded.
    pub fn goes_on(&mut self) {
        self.epochs = (self.epochs * 2).min(self.epochs_max);
        self.tried = None;
    }

    /// A batch could not be loaded, for whatever reason: fewer epochs need less, and show which one it is.
    pub fn smaller(&mut self, batch: &LoadBatch) {
        self.epochs = (batch.epochs.len() / 2).max(1);
    }

    /// The warehouse refused a batch with these words. A fault that is `proven` to be the epoch's is nobody else's,
    /// however many have it.
    pub fn refused(&mut self, batch: &LoadBatch, words: &str, proven: bool) -> RefusalStep {
        let [epoch] = batch.epochs.as_slice() else {
            self.smaller(batch);
            return RefusalStep::Smaller;
        };
        self.epochs = 1;
        let me = (epoch.shard.clone(), epoch.epoch);
        if !proven && let Some(n) = self.in_a_row(&me, words) {
            return RefusalStep::Wait(n);
        }
        let tried = match &self.tried {
            Some((shard, number, tried)) if (shard, *number) == (&epoch.shard, epoch.epoch) => tried + 1,
            _ => 1,
        };
        if tried < self.patience.attempts_max {
            self.tried = Some((me.0, me.1, tried));
            return RefusalStep::Again(tried);
        }
        self.tried = None;
        if !proven {
            let words = alike(words);
            if self.run.words != words {
                self.run = Run { words, epochs: Vec::new() };
            }
            self.run.epochs.push(me);
        }
        RefusalStep::PutAside(tried)
    }

    /// How many epochs in a row are refused so with this one, if that is too many.
    fn in_a_row(&self, me: &(ShardId, EpochNumber), words: &str) -> Option<usize> {
        let others = self.run.epochs.iter().filter(|epoch| *epoch != me).count();
        (others + 1 >= self.patience.alike_max && alike(words) == self.run.words).then_some(others + 1)
    }

    /// Whether what was put aside is to be looked at.
    pub fn looks_back(&self) -> bool {
        self.look.0 > 0
    }

    /// The epochs to load again next: put aside with the same words, most often said, not seen to hold still. None ends
    /// the look.
    pub fn suspects<'a>(&mut self, refusals: &'a [RefusedEpoch]) -> Vec<&'a RefusedEpoch> {
        let mut kinds: BTreeMap<String, Vec<&RefusedEpoch>> = BTreeMap::new();
        for epoch in refusals {
            kinds.entry(alike(&epoch.error)).or_default().push(epoch);
        }
        let holds = &self.look.1;
        kinds.retain(|words, _| !holds.contains(words));
        let most = kinds.into_values().max_by_key(Vec::len).filter(|_| holds.len() < WORDS_MAX);
        if most.is_none() {
            self.look = (0, Vec::new());
        }
        most.unwrap_or_default()
    }

    /// One of the suspects was refused again: what they were refused for holds still.
    pub fn holds_still(&mut self, suspect: &RefusedEpoch) {
        self.look.1.push(alike(&suspect.error));
    }

    /// A look failed.
    pub fn looked_in_vain(&mut self) {
        self.look.0 = self.look.0.saturating_sub(1);
    }
}
