//! What a shard begins with, by its row and those of its parents.
//!
//! **Promises**
//! - LINEAGE: a shard that has no epoch yet begins when all its parents have been read to their ends, with all that they
//!   have left of its hash range; a split filters, a merge unites.
//! - What an epoch has pinned is finished first, and what it has in quarantine as poison is poison again.
//!
//! **Not here**: reading rows and states (`shard.rs`).

use actors::ports::faults::{Faults, Mechanism};
use actors::ports::leases::LeaseRow;
use actors::ports::stream::ShardInfo;
use actors::recovery::Recovered;
use messages::{HashRange, Position, ShardId, Suspect};

/// A parent's row, if the table has one.
pub(super) type Parent = (ShardId, Option<LeaseRow>);

/// The rules, all of which hold but in mutants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// Whether a parent that the stream has forgotten before all of it was read counts as read.
    pub(super) skip_trimmed: bool,
    all_parents: bool,
    /// How many parents are heard.
    heard_max: usize,
    windows_stay: bool,
    finishes_pinned: bool,
}

/// Why a shard cannot begin yet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotYet {
    #[error("its parent {0} has not ended yet")]
    NotEnded(ShardId),
    #[error("the stream still has its parent {0}, but the lease table has no row of it yet")]
    WithoutRow(ShardId),
}

impl Beginning {
    pub(super) fn new(skip_trimmed: bool, faults: &Faults) -> Self {
        let heard_max = match () {
            () if faults.lacks(Mechanism::ParentStates) => 0,
            () if faults.lacks(Mechanism::BothParentStates) => 1,
            () => usize::MAX,
        };
        Self {
            skip_trimmed,
            all_parents: !faults.lacks(Mechanism::AllParents),
            heard_max,
            windows_stay: !faults.lacks(Mechanism::WindowsStay),
            finishes_pinned: !faults.lacks(Mechanism::FinishPinned),
        }
    }

    /// The rows of the parents, if all of them have ended. `listed`: what the stream has; it need not be asked where
    /// every parent has a row that ended.
    pub(super) fn ended(&self, parents: Vec<Parent>, listed: &[ShardInfo]) -> Result<Vec<LeaseRow>, NotYet> {
        let mut ended = Vec::new();
        for (parent, row) in parents {
            let is_listed = listed.iter().any(|info| info.shard == parent);
            match row {
                Some(row) if has_ended(&row) => ended.push(row),
                // Trimmed before all was read; that this counts as ended is the operator's decision.
                Some(row) if !is_listed && self.skip_trimmed => ended.push(row),
                Some(row) if !self.all_parents && !ended.is_empty() => ended.push(row),
                Some(_) => return Err(NotYet::NotEnded(parent)),
                // The table was begun later than the parent ended.
                None if !is_listed => {}
                None => return Err(NotYet::WithoutRow(parent)),
            }
        }
        Ok(ended)
    }

    /// The parents whose states are read.
    pub(super) fn heard<'a>(&self, parents: &'a [LeaseRow]) -> &'a [LeaseRow] {
        &parents[..parents.len().min(self.heard_max)]
    }

    /// Adds what a parent has left to a shard of this hash range.
    pub(super) fn inherit(&self, heir: &mut Recovered, parent: &LeaseRow, states: Recovered, range: HashRange) {
        let (start, end) = &parent.hash_range;
        if !self.windows_stay {
            heir.windows.extend(states.windows.iter().cloned());
        }
        heir.unite(states, HashRange::parse(start, end).unwrap_or(HashRange::FULL), range);
    }

    /// The row as it is gone on from.
    pub(super) fn from(&self, row: LeaseRow) -> LeaseRow {
        let pending = row.pending.clone().filter(|_| self.finishes_pinned);
        LeaseRow { pending, ..row }
    }
}

/// Whether all of a shard has been read.
pub(super) fn has_ended(row: &LeaseRow) -> bool {
    row.checkpoint == Position::ShardEnd
}

/// What is read with care: records that a process died of before they were prepared, and what a prepared epoch has in
/// quarantine as poison, which is poison again.
pub(super) fn suspects(row: &LeaseRow) -> Vec<Suspect> {
    // What has been prepared was judged; only the plan says now what of it is poison.
    let prepared = row.pending.as_ref().map_or(&row.checkpoint, |pending| &pending.to);
    let open = row.suspects.iter().filter(|suspect| Position::At(suspect.sequence.clone()) > *prepared).cloned();
    let poisoned = row.pending.iter().flat_map(|pending| &pending.plan.poisoned);
    let again = poisoned.cloned().map(|(sequence, sub_sequence)| Suspect { sequence, sub_sequence, tries: u32::MAX });
    open.chain(again).collect()
}

#[cfg(test)]
mod tests {
    use actors::ports::leases::Pending;
    use messages::{Cut, CutReason, EpochNumber, EpochPlan, SequenceNumber};

    use super::*;

    const RULES: Beginning = Beginning {
        skip_trimmed: false,
        all_parents: true,
        heard_max: usize::MAX,
        windows_stay: true,
        finishes_pinned: true,
    };

    fn id(n: u32) -> ShardId {
        ShardId::new(&format!("shardId-{n:012}"))
    }

    fn row(n: u32, checkpoint: Position) -> LeaseRow {
        LeaseRow { checkpoint, ..LeaseRow::fresh(id(n), Vec::new(), Default::default()) }
    }

    fn pending(to: &str, poisoned: Vec<(SequenceNumber, Option<u32>)>) -> Pending {
        let to = Position::At(SequenceNumber::parse(to).unwrap());
        let cut = Cut {
            epoch: EpochNumber(1),
            from: Position::TrimHorizon,
            to: to.clone(),
            reason: CutReason::Age,
            full_state: true,
            whole_aggregates: false,
            spread: false,
        };
        let plan = EpochPlan {
            format: EpochPlan::FORMAT,
            stream: None,
            shard: id(0),
            cut,
            schema: String::new(),
            records: 2,
            readings: 2,
            clean: 1,
            quarantined: 1,
            duplicates: 0,
            reasons: Default::default(),
            alerts: 0,
            poisoned,
            previous_state: None,
            objects: Vec::new(),
        };
        Pending { to, plan: Box::new(plan) }
    }

    fn info(n: u32) -> ShardInfo {
        ShardInfo { shard: id(n), parents: Vec::new(), hash_range: Default::default(), closed: true }
    }

    fn names(rows: Vec<LeaseRow>) -> Vec<ShardId> {
        rows.into_iter().map(|row| row.shard).collect()
    }

    #[test]
    fn all_parents_have_to_end() {
        let ended = || (id(0), Some(row(0, Position::ShardEnd)));
        let open = (id(1), Some(row(1, Position::TrimHorizon)));
        assert_eq!(RULES.ended(vec![ended()], &[]).map(names), Ok(vec![id(0)]));
        let both = vec![ended(), open];
        assert_eq!(RULES.ended(both.clone(), &[info(1)]).unwrap_err(), NotYet::NotEnded(id(1)));
        assert_eq!(RULES.ended(both.clone(), &[]).unwrap_err(), NotYet::NotEnded(id(1)), "data was lost");
        let lenient = Beginning { skip_trimmed: true, ..RULES };
        assert_eq!(lenient.ended(both.clone(), &[]).map(names), Ok(vec![id(0), id(1)]));
        assert_eq!(lenient.ended(both, &[info(1)]).unwrap_err(), NotYet::NotEnded(id(1)), "it can be read");
    }

    #[test]
    fn a_parent_without_a_row_counts_only_while_the_stream_has_it() {
        assert_eq!(RULES.ended(vec![(id(0), None)], &[]).map(names), Ok(Vec::new()));
        assert_eq!(RULES.ended(vec![(id(0), None)], &[info(0)]).unwrap_err(), NotYet::WithoutRow(id(0)));
    }

    #[test]
    fn what_is_prepared_is_judged_already() {
        let at = |n: &str| SequenceNumber::parse(n).unwrap();
        let suspect = |n: &str| Suspect { sequence: at(n), sub_sequence: None, tries: 2 };
        let read = LeaseRow { suspects: vec![suspect("5"), suspect("20")], ..row(0, Position::At(at("10"))) };
        assert_eq!(suspects(&read), [suspect("20")]);
        let prepared = LeaseRow { pending: Some(pending("20", vec![(at("15"), Some(3))])), ..read };
        let poison = Suspect { sequence: at("15"), sub_sequence: Some(3), tries: u32::MAX };
        assert_eq!(suspects(&prepared), [poison]);
        assert!(RULES.from(prepared.clone()).pending.is_some());
        assert!(Beginning { finishes_pinned: false, ..RULES }.from(prepared).pending.is_none());
    }

    #[test]
    fn mutants_lack_what_they_say() {
        let parents = [row(0, Position::ShardEnd), row(1, Position::ShardEnd)];
        let heard = |name: &str| {
            let faults = Faults::parse(&format!("mutant={name}")).unwrap();
            Beginning::new(false, &faults).heard(&parents).len()
        };
        assert_eq!(["child-without-states", "child-with-one-parents-states", "no-prepare"].map(heard), [0, 1, 2]);
        let hasty = Beginning { all_parents: false, ..RULES };
        let one_ended = vec![(id(0), Some(row(0, Position::ShardEnd))), (id(1), Some(row(1, Position::TrimHorizon)))];
        assert_eq!(hasty.ended(one_ended, &[info(1)]).map(names), Ok(vec![id(0), id(1)]));
    }
}
