//! What the creation of an object asks for, and what its answer means.
//!
//! **Promises** an object is created, never replaced; whether one that is there is ours, its digest decides.

use crate::ports::faults::{Faults, Mechanism};

/// How objects are created.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creation {
    /// False only in a mutant: an object that is there is replaced.
    create_only: bool,
    /// False only in a mutant: a race that is still under way counts as won.
    conflict_is_no_success: bool,
    /// False only in a mutant: an object that is there is a failure, also if it is ours.
    same_is_success: bool,
}

/// What an error of the service means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PutAnswer {
    /// It was not created; whether to try again, the error says.
    Failed,
    /// Something is there: its digest tells whether it is ours.
    IsThere,
    /// Ours is there. Never said of a creation that heeds all mechanisms.
    IsOurs,
}

impl Creation {
    pub(super) fn new(faults: &Faults) -> Self {
        Self {
            create_only: !faults.lacks(Mechanism::CreateOnly),
            conflict_is_no_success: !faults.lacks(Mechanism::ConflictIsNoSuccess),
            same_is_success: !faults.lacks(Mechanism::SameIsSuccess),
        }
    }

    /// The condition, as the header `If-None-Match` has it.
    pub(super) fn if_none_match(&self) -> Option<String> {
        self.create_only.then(|| "*".to_owned())
    }

    /// What an error with this status means.
    pub(super) fn answer(&self, status: Option<u16>) -> PutAnswer {
        match status {
            // Settled: something is there.
            Some(412) if self.same_is_success => PutAnswer::IsThere,
            Some(409) if !self.conflict_is_no_success => PutAnswer::IsOurs,
            // Among them 409, a race still under way: the caller tries again.
            _ => PutAnswer::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_that_is_there_is_looked_at() {
        let creation = Creation::new(&Faults::none());
        assert_eq!(creation.if_none_match().as_deref(), Some("*"));
        assert_eq!(creation.answer(Some(412)), PutAnswer::IsThere);
        for status in [Some(409), Some(403), Some(500), Some(503), None] {
            assert_eq!(creation.answer(status), PutAnswer::Failed, "{status:?}");
        }
    }

    #[test]
    fn each_mechanism_can_be_lacked() {
        let all = Creation::new(&Faults::none());
        assert_eq!(Creation { create_only: false, ..all }.if_none_match(), None);
        assert_eq!(Creation { conflict_is_no_success: false, ..all }.answer(Some(409)), PutAnswer::IsOurs);
        assert_eq!(Creation { same_is_success: false, ..all }.answer(Some(412)), PutAnswer::Failed);
    }
}
