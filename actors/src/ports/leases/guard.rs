//! What makes a write of the table safe: its condition, the nonce that tells our own write, and that the state moves with
//! its epoch.
//!
//! **Not here**: the calls (`leases/write.rs`), which conditions there are (`leases.rs`).

use messages::EpochPlan;

use super::row::Item;
use super::write::{NONCE, Write, Written, text};
use crate::ports::faults::{Faults, Mechanism};

/// How rows are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    /// False only in a mutant: whoever else has written the row, it is written.
    conditional: bool,
    /// False only in a mutant: a condition that failed is a lost race, also against our own write.
    knows_its_own: bool,
    /// False only in a mutant: the row goes on pointing to the state before.
    state_with_epoch: bool,
}

impl Guard {
    pub(super) fn new(faults: &Faults) -> Self {
        Self {
            conditional: !faults.lacks(Mechanism::LeaseCondition),
            knows_its_own: !faults.lacks(Mechanism::NonceReadBack),
            state_with_epoch: !faults.lacks(Mechanism::StateWithEpoch),
        }
    }

    /// The write as it is sent, under this nonce.
    pub(super) fn sealed(&self, mut write: Write, nonce: &str) -> Write {
        write.set(NONCE, text(nonce));
        if !self.conditional {
            write.forget_conditions();
        }
        write
    }

    /// What it means that a condition failed, as the row is now.
    pub(super) fn refused(&self, found: Option<&Item>, nonce: &str) -> Written {
        match found {
            None => Written::Gone,
            Some(found) if self.knows_its_own && found.get(NONCE) == Some(&text(nonce)) => Written::Applied,
            Some(_) => Written::ConditionFailed,
        }
    }

    /// The state that the row is to point to when this epoch is committed.
    pub(super) fn state_key<'a>(&self, plan: &'a EpochPlan) -> Option<&'a str> {
        plan.state_key().filter(|_| self.state_with_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::leases::write::number;

    fn row(nonce: &str) -> Item {
        Item::from([(NONCE.to_owned(), text(nonce))])
    }

    #[test]
    fn a_failed_condition_is_our_own_write_a_lost_race_or_a_row_that_is_gone() {
        let guard = Guard::new(&Faults::none());
        assert_eq!(guard.refused(Some(&row("ours")), "ours"), Written::Applied);
        assert_eq!(guard.refused(Some(&row("theirs")), "ours"), Written::ConditionFailed);
        assert_eq!(guard.refused(Some(&Item::default()), "ours"), Written::ConditionFailed);
        assert_eq!(guard.refused(None, "ours"), Written::Gone);
        let forgetful = Guard { knows_its_own: false, ..guard };
        assert_eq!(forgetful.refused(Some(&row("ours")), "ours"), Written::ConditionFailed);
    }

    #[test]
    fn a_write_keeps_its_conditions_and_the_values_that_it_sets() {
        let write = || {
            let mut write = Write::default();
            write.set("a", number(1)).only_if("b", number(2)).only_if_absent("c");
            write
        };
        let guard = Guard::new(&Faults::none());
        let (sealed, open) = (guard.sealed(write(), "n"), Guard { conditional: false, ..guard }.sealed(write(), "n"));
        assert_eq!(sealed.condition().as_deref(), Some("b = :v1 AND attribute_not_exists(c)"));
        assert_eq!(open.condition().as_deref(), Some("attribute_exists(leaseKey)"));
        assert_eq!((sealed.update(), sealed.values().len()), ("SET a = :v0, mangroveNonce = :v2".to_owned(), 3));
        assert_eq!((open.update(), open.values().len()), (sealed.update(), 2));
    }
}
