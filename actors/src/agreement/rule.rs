//! What follows from a row and from what lies behind it in the bucket.
//!
//! **Promises** a function of what was found. The rule: of the same stream and shard, epochs that are whole count, and
//! what was claimed behind the last of them is finished as it was claimed. A row is moved on only along epochs that follow
//! on each other without a gap, from its own checkpoint; a row that says more than the bucket is not believed.

use messages::EpochNumber;

use super::error::Disagreement;
use super::{FoundPlan, ListedKeys, ReadPlans, pending};
use crate::lake::{epoch_of_claim, is_state_of};
use crate::ports::faults::{Faults, Mechanism};
use crate::ports::leases::{Advance, Home, LeaseRow, OtherHome, row_of};

/// Everything that counts.
pub(super) struct Evidence<'a> {
    pub(super) row: &'a LeaseRow,
    pub(super) home: &'a Home,
    pub(super) listed: &'a ListedKeys,
    pub(super) found: &'a ReadPlans,
}

/// What follows.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// What taking the row has to write.
    pub(super) advance: Option<Advance>,
    /// The claim of the row's epoch, whose manifest is gone.
    pub(super) lost: Option<FoundPlan>,
    /// The manifest of the row's epoch, if it is damaged and its claim is not.
    pub(super) damaged: Option<String>,
}

/// Whether a table, or a row of it, is of the stream and the bucket that a worker has.
pub fn is_home(ours: &Home, what: &str, theirs: &Home, faults: &Faults) -> Result<(), OtherHome> {
    if faults.lacks(Mechanism::RowIsOurs) { Ok(()) } else { ours.is_of(what, theirs) }
}

/// Whether the row is of this stream and bucket at all.
pub(super) fn is_row_home(home: &Home, stream: &str, row: &LeaseRow, faults: &Faults) -> Result<(), Disagreement> {
    if let Some(theirs) = &row.home {
        is_home(home, &row_of(&row.shard), theirs, faults)?;
    }
    match &row.state_key {
        Some(_) if faults.lacks(Mechanism::RowIsOurs) => Ok(()),
        Some(state) if !is_state_of(state, stream, &row.shard) => {
            Err(Disagreement::OtherStates { shard: row.shard.clone(), state: state.clone(), stream: stream.to_owned() })
        }
        _ => Ok(()),
    }
}

pub(super) fn decide(evidence: &Evidence<'_>, faults: &Faults) -> Result<Agreement, Disagreement> {
    if faults.lacks(Mechanism::ManifestsSeen) || faults.lacks(Mechanism::RowIsOurs) {
        return Ok(Agreement::default());
    }
    let Evidence { row, listed, found, .. } = evidence;
    if listed.more {
        return Err(Disagreement::FarBehind { row: row.epoch, seen: listed.newest(row) });
    }
    let mut verdict = if row.epoch.0 > 0 { evidence.own()? } else { Agreement::default() };
    let newest = evidence.along()?;
    let newest_number = newest.as_ref().map_or(row.epoch, |advance| advance.epoch);
    if let Some(beyond) = listed.claims.iter().filter_map(|key| epoch_of_claim(key)).find(|n| *n > newest_number.next())
    {
        return Err(Disagreement::Gap { row: row.epoch, missing: newest_number.next(), newest: beyond });
    }
    // The usual crash between upload and commit: what was pinned is finished as ever.
    let pinned = row.pending.as_ref().map(|pending| &*pending.plan);
    let is_pinned =
        |found: &FoundPlan| pinned.is_some_and(|pinned| found.plan.as_ref().is_ok_and(|plan| plan == pinned));
    let only_pinned = match found.ahead.as_slice() {
        [] => found.next_claim.as_ref().is_none_or(is_pinned),
        [one] => is_pinned(one) && found.next_claim.is_none(),
        _ => false,
    };
    if only_pinned {
        return Ok(verdict);
    }
    let mut advance = newest.unwrap_or_else(|| Advance {
        checkpoint: row.checkpoint.clone(),
        epoch: row.epoch,
        state_key: row.state_key.clone(),
        pending: None,
    });
    if let Some(claim) = &found.next_claim {
        evidence.follows(&advance, claim)?;
        advance.pending = Some(pending(claim.plan()?));
    }
    verdict.advance = Some(advance);
    Ok(verdict)
}

impl Evidence<'_> {
    /// The manifest of the row's epoch, held against the row.
    fn own(&self) -> Result<Agreement, Disagreement> {
        let Self { row, listed, found, .. } = self;
        let claim = found.own_claim.as_ref().filter(|claim| self.says_the_same(claim).is_ok());
        match (found.own.as_slice(), claim) {
            ([own], Some(_)) if own.plan.is_err() => {
                Ok(Agreement { damaged: Some(own.key.clone()), ..Agreement::default() })
            }
            ([own], _) => self.says_the_same(own).map(|()| Agreement::default()),
            ([], Some(claim)) => Ok(Agreement { lost: Some(claim.clone()), ..Agreement::default() }),
            ([], None) => {
                let prefix = format!("s3://{}/{}", self.home.bucket, listed.prefix);
                Err(Disagreement::ManifestLost { row: row.epoch, prefix })
            }
            ([first, second, ..], _) => Err(twice(row.epoch, first, second)),
        }
    }

    /// Whether a manifest or claim of the row's epoch says what the row says. A KCL application may have gone further.
    fn says_the_same(&self, own: &FoundPlan) -> Result<(), Disagreement> {
        let Self { row, home, .. } = self;
        let plan = own.plan()?;
        if let Some(theirs) = &plan.stream {
            home.reads(&own.key, theirs)?;
        }
        let key = own.key.clone();
        if plan.cut.to > row.reached() {
            let (row, manifest) = (row.reached(), plan.cut.to.clone());
            return Err(Disagreement::SetBack { epoch: own.epoch, row, manifest, key });
        }
        if plan.state_key() != row.state_key.as_deref() {
            let (row, manifest) = (said(row.state_key.as_deref()), said(plan.state_key()));
            return Err(Disagreement::States { epoch: own.epoch, row, manifest, key });
        }
        Ok(())
    }

    /// Along the manifests behind the row, as far as they go; none if there are none.
    fn along(&self) -> Result<Option<Advance>, Disagreement> {
        let Self { row, found, .. } = self;
        let mut at = Advance {
            checkpoint: row.checkpoint.clone(),
            epoch: row.epoch,
            state_key: row.state_key.clone(),
            pending: None,
        };
        let newest = found.ahead.last().map(|last| last.epoch);
        let mut before: Option<&FoundPlan> = None;
        for next in &found.ahead {
            if let Some(before) = before.filter(|before| before.epoch == next.epoch) {
                return Err(twice(next.epoch, before, next));
            }
            if next.epoch != at.epoch.next() {
                let newest = newest.unwrap_or(next.epoch);
                return Err(Disagreement::Gap { row: row.epoch, missing: at.epoch.next(), newest });
            }
            self.follows(&at, next)?;
            let plan = next.plan()?;
            at = Advance {
                checkpoint: plan.cut.to.clone(),
                epoch: next.epoch,
                state_key: plan.state_key().map(str::to_owned),
                pending: None,
            };
            before = Some(next);
        }
        Ok(before.map(|_| at))
    }

    /// That an epoch goes on where another one has ended. The first of a shard goes on from its parents' states.
    fn follows(&self, at: &Advance, next: &FoundPlan) -> Result<(), Disagreement> {
        let plan = next.plan()?;
        if let Some(theirs) = &plan.stream {
            self.home.reads(&next.key, theirs)?;
        }
        let states = at.epoch == EpochNumber(0) || plan.previous_state == at.state_key;
        if plan.cut.from == at.checkpoint && states {
            return Ok(());
        }
        Err(Disagreement::Fork {
            row: at.epoch,
            checkpoint: at.checkpoint.clone(),
            expected: said(at.state_key.as_deref()),
            epoch: next.epoch,
            from: plan.cut.from.clone(),
            states: said(plan.previous_state.as_deref()),
            key: next.key.clone(),
        })
    }
}

fn twice(epoch: EpochNumber, first: &FoundPlan, second: &FoundPlan) -> Disagreement {
    Disagreement::Twice { epoch, first: first.key.clone(), second: second.key.clone() }
}

fn said(key: Option<&str>) -> String {
    key.unwrap_or("none").to_owned()
}
