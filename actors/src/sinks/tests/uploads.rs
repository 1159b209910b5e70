use messages::{EncodedEpoch, EpochNumber, EpochPlan, NotStored, Zone};

use super::fixture::{Part, batches, clean, content, context, event};
use crate::sinks::encode_epoch;
use crate::sinks::uploads::{UploadStep, Uploads};

const UPLOADS: Uploads = Uploads { claims: true, manifest_last: true, failures_count: true };

/// What is uploaded, step by step, and how many objects each has.
fn order(uploads: Uploads, epoch: &EncodedEpoch) -> Vec<(&'static str, usize)> {
    let named = |step: &UploadStep<'_>| match step {
        UploadStep::Claim(claim) => ("claim", usize::from(**claim == epoch.claim)),
        UploadStep::Objects(objects) => ("objects", objects.len()),
        UploadStep::Manifest(manifest) => ("manifest", usize::from(**manifest == epoch.manifest)),
    };
    uploads.steps(epoch).iter().map(named).collect()
}

// RAW-ONCE, CLEAN-ONCE
#[test]
fn the_claim_goes_first_and_the_manifest_last() {
    let events = [event(11, vec![Part::Reading(clean("a", 5, 1.0))])];
    let epoch = encode_epoch(&context(), &batches(&events, 1), &content()).unwrap();
    let (claim, objects, manifest) = (("claim", 1), ("objects", epoch.objects.len()), ("manifest", 1));
    assert!(epoch.objects.iter().all(|object| object.planned.zone != Zone::Manifest));
    assert_eq!(order(UPLOADS, &epoch), [claim, objects, manifest]);
    assert_eq!(order(Uploads { claims: false, ..UPLOADS }, &epoch), [objects, manifest]);
    assert_eq!(order(Uploads { manifest_last: false, ..UPLOADS }, &epoch), [claim, manifest, objects]);
}

#[test]
fn an_upload_that_failed_stops_the_epoch() {
    let failed = || Err(NotStored::Failed("no answer".into()));
    assert!(UPLOADS.outcome(failed()).is_err());
    assert!(Uploads { failures_count: false, ..UPLOADS }.outcome(failed()).is_ok());
}

#[test]
fn a_pinned_epoch_keeps_its_format() {
    let (pinned, other) = (EpochNumber(7), EpochNumber(8));
    let of = |epoch| UPLOADS.format_of(epoch, Some((pinned, EpochPlan::NAMED_BY_END)));
    assert_eq!((of(pinned), of(other)), (EpochPlan::NAMED_BY_END, EpochPlan::FORMAT));
    assert_eq!(Uploads { claims: false, ..UPLOADS }.format_of(other, None), EpochPlan::NAMED_BY_END);
}
