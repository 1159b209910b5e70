use messages::{EpochPlan, Position, Zone};
use sha2::{Digest, Sha256};

use super::fixture::{Part, batches, clean, content, context, cut, event};
use crate::lake::digest::hex;
use crate::sinks::encode_epoch;

#[test]
fn an_epoch_without_records_is_a_state_and_a_manifest() {
    let mut content = content();
    content.cut = cut(Position::ShardEnd);
    let epoch = encode_epoch(&context(), &[], &content).unwrap();
    let keys: Vec<&str> = epoch.plan.objects.iter().map(|o| o.key.as_str()).collect();
    assert_eq!(keys, ["state/climate/000000000003/00000007.state"]);
    assert_eq!(epoch.manifest.planned.key, "manifests/climate/000000000003/00000007.json");
    assert_eq!((epoch.plan.records, epoch.plan.readings), (0, 0));
    assert_eq!(epoch.plan.state_key(), Some(keys[0]));
}

#[test]
fn the_manifest_is_the_plan() {
    let events = [event(11, vec![Part::Reading(clean("a", 5, 1.0))])];
    let epoch = encode_epoch(&context(), &batches(&events, 1), &content()).unwrap();
    let read: EpochPlan = serde_json::from_slice(&epoch.manifest.bytes).unwrap();
    assert_eq!(read, epoch.plan);
    assert_eq!(epoch.manifest.planned.zone, Zone::Manifest);
    assert_eq!(epoch.manifest.planned.digest, hex(&Sha256::digest(&epoch.manifest.bytes)));
    let encoded: Vec<_> = epoch.objects.iter().map(|o| o.planned.clone()).collect();
    assert_eq!(encoded, epoch.plan.objects);
    assert!(epoch.plan.objects.is_sorted_by(|a, b| a.key < b.key));
    assert!(epoch.plan.objects.iter().all(|o| o.rows > 0 || o.zone == Zone::State));
}

#[test]
#[should_panic(expected = "every row is late or not")]
fn a_batch_without_late_flags_is_a_mistake_of_this_program() {
    let events = [event(11, vec![Part::Reading(clean("a", 5, 1.0))])];
    let mut batches = batches(&events, 1);
    batches[0].late.clear();
    let _ = encode_epoch(&context(), &batches, &content());
}
