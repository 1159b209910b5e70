//! Which objects of an epoch are uploaded, in which order, and what a failure means.
//!
//! **Promises** the claim on the epoch's number goes first, before anything that a reader of the lake looks at: who finds
//! the number taken for something else has written nothing of it. The manifest goes last, and an upload that failed stops
//! the epoch (RAW-ONCE, CLEAN-ONCE).
//!
//! **Not here**: the calls (`sinks.rs`).

use messages::{EncodedEpoch, EncodedObject, EpochNumber, EpochPlan, NotStored};

use crate::ports::faults::{Faults, Mechanism};

/// How epochs are uploaded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uploads {
    /// False only in a mutant: the epoch's number is not claimed, and its objects are named by its end.
    pub(super) claims: bool,
    /// False only in a mutant: the manifest goes before what it names.
    pub(super) manifest_last: bool,
    /// False only in a mutant: an upload that failed is passed over.
    pub(super) failures_count: bool,
}

/// Uploads that may be under way at once; the next step begins when all of them are stored.
#[derive(Debug, PartialEq)]
pub(super) enum UploadStep<'a> {
    /// The claim on the epoch's number.
    Claim(&'a EncodedObject),
    /// Every object but the claim and the manifest.
    Objects(&'a [EncodedObject]),
    /// The manifest.
    Manifest(&'a EncodedObject),
}

impl Uploads {
    pub(super) fn new(faults: &Faults) -> Self {
        Self {
            claims: !faults.lacks(Mechanism::EpochClaimed),
            manifest_last: !faults.lacks(Mechanism::ManifestLast),
            failures_count: !faults.lacks(Mechanism::UploadsCount),
        }
    }

    /// The format of an epoch. One that was pinned is finished as it was pinned, also by a later build.
    pub(super) fn format_of(&self, epoch: EpochNumber, pinned: Option<(EpochNumber, u32)>) -> u32 {
        match pinned {
            Some((pinned, format)) if pinned == epoch => format,
            _ if !self.claims => EpochPlan::NAMED_BY_END,
            _ => EpochPlan::FORMAT,
        }
    }

    /// What is uploaded, step by step.
    pub(super) fn steps<'a>(&self, sealed: &'a EncodedEpoch) -> Vec<UploadStep<'a>> {
        let (objects, manifest) = (UploadStep::Objects(&sealed.objects), UploadStep::Manifest(&sealed.manifest));
        let claim = self.claims.then_some(UploadStep::Claim(&sealed.claim));
        let rest = if self.manifest_last { [objects, manifest] } else { [manifest, objects] };
        claim.into_iter().chain(rest).collect()
    }

    /// What became of the epoch.
    pub(super) fn outcome(&self, result: Result<(), NotStored>) -> Result<(), NotStored> {
        if self.failures_count { result } else { Ok(()) }
    }
}
